//! What can go wrong, sorted by who does what next.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a broker does not start, or stops. What a peer did wrong never stops one: it gets an error frame or the end
/// of its link.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, or what it points at, must be changed first. Says what and how.
    #[error("{0}")]
    Config(String),
    /// Another broker runs on this data folder.
    #[error("another broker is using {}", .0.display())]
    InUse(PathBuf),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// A newer Waxwing has changed the store's schema. Nothing was touched.
    #[error("the store has schema {found}, and this broker knows {known}: run a newer one")]
    NewerSchema {
        /// What the store has.
        found: i64,
        /// What this broker knows.
        known: i64,
    },
    /// The store is damaged. Nothing more was written to it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A broker runs and does not answer.
    #[error("the broker does not answer: {0}")]
    Unreachable(String),
    /// A file that was to be made is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// Our side failed: the disk, the database, the listener. Nothing that was not stored has been acknowledged.
    #[error("the broker failed: {0}")]
    Internal(#[source] BoxError),
}

/// Any cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The store holds what no broker puts there.
    pub(crate) fn damaged(what: &'static str) -> Self {
        Self::Damaged(what.to_owned())
    }
}

/// SQLite's codes for a file that is damaged, and for one that is no database at all.
const DAMAGED: [u32; 2] = [11, 26];

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        let code = err.as_database_error().and_then(|err| err.code()?.parse::<u32>().ok());
        // The lowest byte is the kind of fault, the others say where.
        match code.map(|code| code & 0xff) {
            Some(code) if DAMAGED.contains(&code) => Self::Damaged(err.to_string()),
            _ => Self::Internal(err.into()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(err: std::io::Error) -> Self {
        Self::Internal(err.into())
    }
}
