//! Why the node cannot start or go on, sorted by what the person at the terminal does next.

use std::io;
use std::path::{Path, PathBuf};

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the node, or a command that works on its state folder, gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration or an argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// Another node holds this state folder.
    #[error("a node is already running on {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// What the command would make exists already.
    #[error("{0}")]
    Conflict(String),
    /// What the command needs does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The host is not the one this node belongs to. Nothing was touched.
    #[error("this node belongs to another host: {cause} (mesh {mesh}; stored {stored}, found {found})")]
    WrongHost {
        /// The mesh whose record refuses.
        mesh: String,
        /// One line of cause.
        cause: String,
        /// Digests stored, 8 hex digits each.
        stored: String,
        /// Digests found.
        found: String,
    },
    /// The broker refused this node, or the invite, for good.
    #[error("{0}")]
    NotAuthorised(String),
    /// The broker, or the log it shows, cannot be trusted or understood.
    #[error("{0}")]
    Incompatible(String),
    /// The broker does not answer.
    #[error("the broker at {url} cannot be reached: {cause}")]
    Unreachable {
        /// What was dialled.
        url: String,
        /// Why it failed.
        cause: String,
    },
    /// A file could not be read or written.
    #[error("{what} {}: {source}", .path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Keys, entries or sealed data on this disk are damaged.
    #[error("the state on this disk is damaged: {0}")]
    Damaged(String),
}

impl Error {
    /// The process's exit code, the same for every command.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotAuthorised(_) => 3,
            Self::WrongHost { .. } => 4,
            Self::Incompatible(_) => 5,
            Self::Unreachable { .. } => 6,
            Self::NotFound(_) => 7,
            Self::AlreadyRunning(_) | Self::Conflict(_) => 8,
            Self::File { .. } | Self::Database(_) | Self::Damaged(_) => 1,
        }
    }

    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::NotAuthorised(_) => "not_authorised",
            Self::WrongHost { .. } => "wrong_host",
            Self::Incompatible(_) => "incompatible",
            Self::Unreachable { .. } => "unreachable",
            Self::NotFound(_) => "not_found",
            Self::AlreadyRunning(_) => "already_running",
            Self::Conflict(_) => "conflict",
            Self::File { .. } => "file",
            Self::Database(_) => "database",
            Self::Damaged(_) => "damaged",
        }
    }

    /// What to do about it, where one step mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyRunning(_) => Some("stop it with `waxwing node down`, or use another --state".into()),
            Self::WrongHost { .. } => Some(
                "if this is the node's own host from now on, say `waxwing node accept-host`; if this folder is a copy, delete \
                 it and join the mesh anew with `waxwing join`"
                    .into(),
            ),
            Self::Unreachable { .. } => Some("start it with `waxwing broker run`, or check the address".into()),
            Self::Usage(_)
            | Self::NotAuthorised(_)
            | Self::Incompatible(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::File { .. }
            | Self::Database(_)
            | Self::Damaged(_) => None,
        }
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { what, path, source }
    }
}

impl From<waxwing_crypto::Error> for Error {
    /// Something of our own did not verify, open or parse.
    fn from(error: waxwing_crypto::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}
