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
    /// Another broker runs on this data folder or database.
    #[error("another broker is using {}", .0.display())]
    InUse(PathBuf),
    /// The database server cannot be reached, or takes no writes now. Nothing that was not stored has been acknowledged.
    #[error("the database is away: {0}")]
    Unavailable(#[source] BoxError),
    /// The disk has no room for what was to be stored. Nothing of it was, and nothing that was is in doubt.
    #[error("the disk is full: {0}")]
    DiskFull(#[source] BoxError),
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
    /// What takes a file was asked of a store on a server, which has tools of its own for it.
    #[error("the store is on a database server ({0}), whose own tools copy it")]
    OnServer(String),
    /// A database that was to take a store has one.
    #[error("{0} is not empty: it has a store already")]
    NotEmpty(String),
    /// What was written is not what was read. Nothing of it stays.
    #[error("the copy differs from the store in table `{0}`: it was undone, and nothing has moved")]
    Differs(&'static str),
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

/// What PostgreSQL says of itself, by SQLSTATE or the beginning of one, that another try may find mended: a connection that has ended
/// (08, 57P), a standby that takes no writes (25006), another transaction in the way (40), no room or no place (53), a lock that
/// was not had in time (55P03).
const PASSING: [&str; 6] = ["08", "57P", "25006", "40", "53", "55P03"];
/// Of a damaged table or index.
const CORRUPTED: &str = "XX00";

fn of_postgres(code: &str, err: sqlx::Error) -> Error {
    if PASSING.iter().any(|passing| code.starts_with(passing)) {
        Error::Unavailable(err.into())
    } else if code.starts_with(CORRUPTED) && code != "XX000" {
        Error::Damaged(err.to_string())
    } else {
        Error::Internal(err.into())
    }
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        if let Some(code) = err.as_database_error().and_then(|err| {
            Some(err.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?.code().to_owned())
        }) {
            return of_postgres(&code, err);
        }
        if matches!(
            err,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut
        ) {
            return Self::Unavailable(err.into());
        }
        Self::Internal(err.into())
    }
}

impl From<waxwing_sqlite::Error> for Error {
    fn from(err: waxwing_sqlite::Error) -> Self {
        match err {
            waxwing_sqlite::Error::Newer { found, known } => {
                Self::NewerSchema { found: schema(found), known: schema(known) }
            }
            waxwing_sqlite::Error::Damaged(_) => Self::Damaged(err.to_string()),
            waxwing_sqlite::Error::Sqlite(_) if err.is_damage() => Self::Damaged(err.to_string()),
            // The transaction is undone, and the next one may find room.
            waxwing_sqlite::Error::Sqlite(_) if err.is_full() => Self::DiskFull(err.into()),
            waxwing_sqlite::Error::Sqlite(_)
            | waxwing_sqlite::Error::NoRow
            | waxwing_sqlite::Error::Migration(_)
            | waxwing_sqlite::Error::Writer(_)
            | waxwing_sqlite::Error::Closed
            | waxwing_sqlite::Error::NotDurable(_) => Self::Internal(err.into()),
        }
    }
}

/// A file's schema version, as both databases number them.
pub(crate) fn schema(version: usize) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

impl From<std::io::Error> for Error {
    fn from(err: std::io::Error) -> Self {
        Self::Internal(err.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_try_may_mend_is_told_from_what_it_does_not() {
        let kind = |code| match of_postgres(code, sqlx::Error::RowNotFound) {
            Error::Unavailable(_) => "away",
            Error::Damaged(_) => "damaged",
            Error::Config(_)
            | Error::InUse(_)
            | Error::DiskFull(_)
            | Error::Listen { .. }
            | Error::NewerSchema { .. }
            | Error::Unreachable(_)
            | Error::Exists(_)
            | Error::OnServer(_)
            | Error::NotEmpty(_)
            | Error::Differs(_)
            | Error::Internal(_) => "failed",
        };
        // A cut connection, a server that stops, crashes or starts, a standby, a serialisation failure, a deadlock, a full disk.
        for code in ["08006", "57P01", "57P02", "57P03", "25006", "40001", "40P01", "53100"] {
            assert_eq!(kind(code), "away", "{code}");
        }
        assert_eq!(kind("XX001"), "damaged");
        assert_eq!(kind("XX002"), "damaged");
        // A failed write or sync, an internal error, a row that is there twice.
        for code in ["58030", "XX000", "23505"] {
            assert_eq!(kind(code), "failed", "{code}");
        }
    }
}
