//! Why the node cannot start or go on, sorted by what the person at the terminal does next.

use std::io;
use std::path::{Path, PathBuf};

use waxwing_crypto::membership::{Rule, TokenError};
use waxwing_crypto::{Name, Pin};

use crate::hooks::Unfit;

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the node, or a command that works on its state folder, gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration or an argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// Others could read, or change, what is this node's alone.
    #[error("others than its owner have access to {}", .path.display())]
    TooOpen {
        /// Which file or folder.
        path: PathBuf,
        /// Which of the two it is.
        is_folder: bool,
    },
    /// What would be run after events is not there, or others could change it.
    #[error("the hook for {kind}, {}: {cause}", .path.display())]
    Hook {
        /// Which events.
        kind: &'static str,
        /// The executable.
        path: PathBuf,
        /// What is wrong with it.
        cause: Unfit,
    },
    /// Another node holds this state folder.
    #[error("a node is already running on {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// What the command would make exists already.
    #[error("{0}")]
    Conflict(String),
    /// The node is in no such mesh.
    #[error("{0}")]
    UnknownMesh(String),
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
    /// This state is behind what the broker has seen of the node: it is a copy, or was set back.
    #[error("the broker has seen a newer state of this node: {0}")]
    StaleState(String),
    /// The node has other keys by now: this is a copy from before.
    #[error("this is an old copy of the node: {0}")]
    Superseded(String),
    /// The broker refused this node, or the invite, for good.
    #[error("{0}")]
    NotAuthorised(String),
    /// The broker says that this node's membership has ended.
    #[error("{0}")]
    Revoked(String),
    /// The mesh would be without an admin.
    #[error("{0}")]
    LastAdmin(String),
    /// This needs a link, and there is none.
    #[error("{0}")]
    Offline(String),
    /// The text is no whole invite token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The invite does not let this node in.
    #[error(transparent)]
    Invite(#[from] Uninvited),
    /// A member has the name that this node would take.
    #[error("a member of this mesh is called {0} already")]
    NameTaken(Name),
    /// The broker does not go by the URL that was dialled.
    #[error("{0}")]
    WrongBroker(String),
    /// The broker does not have the mesh that the invite is for.
    #[error("{0}")]
    NoSuchMesh(String),
    /// The broker, or the log it shows, cannot be trusted or understood.
    #[error("{0}")]
    Incompatible(String),
    /// The broker shows another log of the mesh than it did before, and no admin has said that it is right.
    #[error("log_rollback: {0}")]
    LogRollback(String),
    /// What answers there is not the broker meant, as far as its certificate says.
    #[error("what answers at {url} is not the broker meant: {cause}")]
    Untrusted {
        /// What was dialled.
        url: String,
        /// What is wrong with its certificate.
        cause: Untrusted,
    },
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
    Database(#[from] waxwing_sqlite::Error),
    /// The disk did not take what was to be stored, or did not say that it has. What it was is not acknowledged.
    #[error("{0}; nothing of what was to be stored then is acknowledged")]
    NotStored(String),
    /// Keys, entries or sealed data on this disk are damaged.
    #[error("the state on this disk is damaged: {0}")]
    Damaged(String),
}

/// Why an invite does not let a node in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Uninvited {
    /// The mesh's log does not have it.
    #[error("the mesh's log does not know this invite")]
    Unknown,
    /// Its time is over.
    #[error("the invite has expired")]
    Expired,
    /// As many have joined by it as it was made for.
    #[error("the invite has been used up")]
    UsedUp,
    /// It was revoked: itself, with its maker, or with a node that joined by it.
    #[error("the invite has been revoked")]
    Revoked,
    /// It is for another name than this.
    #[error("the invite is for another name than {0}")]
    OtherName(Name),
}

impl Uninvited {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "invite_unknown",
            Self::Expired => "invite_expired",
            Self::UsedUp => "invite_used_up",
            Self::Revoked => "invite_revoked",
            Self::OtherName(_) => "invite_other_name",
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::OtherName(_) => {
                "leave --name away to take the name that the invite is for, or ask for another"
            }
            Self::Unknown | Self::Expired | Self::UsedUp | Self::Revoked => {
                "ask an admin of the mesh for a new one, who makes it with `waxwing invite`"
            }
        }
    }
}

/// Why a broker's certificate is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Untrusted {
    /// It shows another key than the pinned one.
    #[error("its key has the pin {found}, and {pinned} is expected")]
    Pin {
        /// What the URL or the invite says.
        pinned: Pin,
        /// What it showed.
        found: Pin,
    },
    /// Its certificate is for other names.
    #[error("its certificate is not for {0}")]
    Name(String),
    /// Its certificate was good once.
    #[error("its certificate has expired, or this host's clock is wrong")]
    Expired,
    /// Nobody whom this host trusts vouches for it.
    #[error("no CA that this host trusts vouches for its certificate")]
    Issuer,
    /// This host trusts nobody.
    #[error("this host has no list of CAs to check its certificate by")]
    NoAuthorities,
    /// Anything else, in the TLS library's words.
    #[error("its certificate cannot be used: {0}")]
    Unusable(String),
}

impl Untrusted {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pin { .. } => "wrong_pin",
            Self::Name(_) => "wrong_name",
            Self::Expired => "certificate_expired",
            Self::Issuer => "unknown_issuer",
            Self::NoAuthorities => "no_authorities",
            Self::Unusable(_) => "bad_certificate",
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::Pin { .. } => {
                "somebody may be in between, or the broker has a new key: ask its operator for its URL another way, and then say it with \
                 `waxwing mesh broker URL`, or ask for a new invite"
            }
            Self::Name(_) => "dial it by a name that its certificate is for, or by its URL with #pin=",
            Self::Expired => "compare the clocks; then its operator must renew the certificate",
            Self::Issuer | Self::Unusable(_) => {
                "dial it by its URL with #pin=, which `waxwing broker run` prints, or have this host trust its CA"
            }
            Self::NoAuthorities => {
                "install the system's CA certificates, name them in SSL_CERT_FILE, or dial the broker by its URL with #pin="
            }
        }
    }
}

impl Error {
    /// The process's exit code, the same for every command.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Token(TokenError::UnsupportedVersion) => 5,
            Self::Usage(_) | Self::TooOpen { .. } | Self::Hook { .. } | Self::Token(_) => 2,
            Self::NotAuthorised(_) | Self::Revoked(_) | Self::Invite(_) => 3,
            Self::WrongHost { .. } | Self::StaleState(_) | Self::Superseded(_) => 4,
            Self::Incompatible(_)
            | Self::LogRollback(_)
            | Self::Untrusted { .. }
            | Self::WrongBroker(_)
            | Self::NoSuchMesh(_) => 5,
            Self::Unreachable { .. } | Self::Offline(_) => 6,
            Self::NotFound(_) | Self::UnknownMesh(_) => 7,
            Self::AlreadyRunning(_) | Self::Conflict(_) | Self::LastAdmin(_) | Self::NameTaken(_) => 8,
            Self::File { .. } | Self::Database(_) | Self::NotStored(_) | Self::Damaged(_) => 1,
        }
    }

    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::TooOpen { .. } => "too_open",
            Self::Hook { .. } => "bad_hook",
            Self::NotAuthorised(_) => "not_authorised",
            Self::Revoked(_) => "revoked",
            Self::LastAdmin(_) => "last_admin",
            Self::Offline(_) => "offline",
            Self::Token(error) => token_code(*error),
            Self::Invite(why) => why.code(),
            Self::NameTaken(_) => "name_taken",
            Self::WrongBroker(_) => "wrong_broker",
            Self::NoSuchMesh(_) => "no_such_mesh",
            Self::WrongHost { .. } => "wrong_host",
            Self::StaleState(_) => "stale_state",
            Self::Superseded(_) => "superseded",
            Self::Incompatible(_) => "incompatible",
            Self::LogRollback(_) => "log_rollback",
            Self::Untrusted { cause, .. } => cause.code(),
            Self::Unreachable { .. } => "unreachable",
            Self::NotFound(_) => "not_found",
            Self::UnknownMesh(_) => "unknown_mesh",
            Self::AlreadyRunning(_) => "already_running",
            Self::Conflict(_) => "conflict",
            Self::File { .. } => "file",
            Self::Database(_) | Self::NotStored(_) => "database",
            Self::Damaged(_) => "damaged",
        }
    }

    /// What to do about it, where one step mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, is_folder } => {
                Some(format!("chmod {} {}", if *is_folder { "700" } else { "600" }, path.display()))
            }
            Self::Hook { path, cause, .. } => Some(cause.mend(path)),
            Self::AlreadyRunning(_) => Some("stop it with `waxwing node down`, or use another --state".into()),
            Self::WrongHost { .. } => Some(
                "if this is the node's own host from now on, say `waxwing node accept-host`; if this folder is a copy, delete \
                 it and join the mesh anew with `waxwing join`"
                    .into(),
            ),
            Self::StaleState(_) => Some(
                "if the other copy is gone for good, say `waxwing node accept-host`; if this one is the copy, delete its folder and \
                 join the mesh anew with `waxwing join`"
                    .into(),
            ),
            Self::Superseded(_) => {
                Some("the node lives on elsewhere: delete this folder, or join the mesh anew with `waxwing join`".into())
            }
            Self::LogRollback(_) => Some(
                "the broker may have been set back, or lies: ask its operator; `waxwing node up` tries again, and if another admin's log \
                 is the right one, `waxwing mesh resume` there says so"
                    .into(),
            ),
            Self::Untrusted { cause, .. } => Some(cause.hint().into()),
            Self::Token(TokenError::UnsupportedVersion) => Some("use a newer `waxwing`".into()),
            Self::Token(_) => Some("copy it again, from ww1_ to its end".into()),
            Self::Invite(why) => Some(why.hint().into()),
            Self::NameTaken(_) => Some("choose another with --name".into()),
            Self::WrongBroker(_) => Some(
                "the broker's operator says with --advertise what it goes by; or ask for an invite to the right broker".into(),
            ),
            Self::NoSuchMesh(_) => {
                Some("ask an admin of the mesh where its broker is now, and for a new invite".into())
            }
            Self::Unreachable { .. } => Some("start it with `waxwing broker run`, or check the address".into()),
            Self::Revoked(_) => Some(
                "`waxwing leave` deletes what this host has of the mesh; to come back, ask an admin for an invite".into(),
            ),
            Self::Offline(_) => Some("`waxwing node status` shows how the node is".into()),
            Self::Usage(_)
            | Self::NotAuthorised(_)
            | Self::LastAdmin(_)
            | Self::Incompatible(_)
            | Self::NotFound(_)
            | Self::UnknownMesh(_)
            | Self::Conflict(_)
            | Self::File { .. }
            | Self::Database(_) => None,
            Self::NotStored(_) => {
                Some("see to the disk; `waxwing node up` then goes on from what is on it".into())
            }
            Self::Damaged(_) => Some(
                "`waxwing node repair` saves what can be read of a database; or restore a backup (`waxwing node backup` makes them), or \
                 join the mesh anew"
                    .into(),
            ),
        }
    }

    /// Whether it is about what one mesh has on the disk, and says nothing of other meshes.
    pub(crate) const fn is_of_one_mesh(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_)
                | Self::Database(_)
                | Self::NotStored(_)
                | Self::File { .. }
                | Self::Incompatible(_)
        )
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { what, path, source }
    }
}

/// A stable word for what is wrong with a token.
const fn token_code(error: TokenError) -> &'static str {
    match error {
        TokenError::NotAToken => "token_unknown",
        TokenError::Truncated => "token_truncated",
        TokenError::Damaged => "token_damaged",
        TokenError::UnsupportedVersion => "token_unsupported",
    }
}

impl Error {
    /// What it means to whoever would join under this name that the log's rules forbid it.
    pub(crate) fn join(rule: Rule, name: &Name) -> Self {
        match rule {
            Rule::NameTaken => Self::NameTaken(name.clone()),
            Rule::UnknownInvite => Self::Invite(Uninvited::Unknown),
            Rule::InviteExpired => Self::Invite(Uninvited::Expired),
            Rule::InviteUsedUp => Self::Invite(Uninvited::UsedUp),
            Rule::InviteRevoked => Self::Invite(Uninvited::Revoked),
            Rule::NotInvitedName => Self::Invite(Uninvited::OtherName(name.clone())),
            // Nothing that a token could bring about.
            Rule::NotGenesis
            | Rule::GenesisAgain
            | Rule::OtherMesh
            | Rule::NotAtHead
            | Rule::BackInTime
            | Rule::WrongSigners
            | Rule::NotAnAdmin
            | Rule::Superseded
            | Rule::KeyUsed
            | Rule::IdUsed
            | Rule::InviteWithoutUses
            | Rule::UnknownNode
            | Rule::NotLive
            | Rule::LastAdmin
            | Rule::NothingChanges
            | Rule::EpochNotNext
            | Rule::OtherHead => Self::NotAuthorised(rule.to_string()),
        }
    }
}

impl From<waxwing_crypto::Error> for Error {
    /// Something of our own did not verify, open or parse.
    fn from(error: waxwing_crypto::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}
