//! What can go wrong, and which of it somebody can do something about.

use rusqlite::ffi;

/// The result of a statement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement was not run, or gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite's word.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// There is no row where there is always one.
    #[error("there is no row where there is always one")]
    NoRow,
    /// A value is not of its type: the file was changed by somebody else.
    #[error("{0} is damaged")]
    Damaged(String),
    /// The schema is of a newer program.
    #[error("its schema is {found}, and this program knows {known}")]
    Newer {
        /// The version found.
        found: usize,
        /// The newest that is known.
        known: usize,
    },
    /// A change of the schema failed.
    #[error("the schema could not be changed: {0}")]
    Migration(String),
    /// Whoever changes the database has said why it cannot go on.
    #[error("{0}")]
    Writer(String),
    /// The readers are closed.
    #[error("the database is closed")]
    Closed,
    /// A commit would not be on the disk when it returns.
    #[error("{0}: commits would not be durable")]
    NotDurable(String),
}

impl Error {
    /// SQLite's number for it, without what is above the lowest byte; none if it is not SQLite's.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        let Self::Sqlite(error) = self else { return None };
        error.sqlite_error().map(|error| error.extended_code & 0xff)
    }

    /// Whether there is no room on the disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.code() == Some(ffi::SQLITE_FULL)
    }

    /// Whether a file is no database, or not as SQLite has written it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self.code(), Some(ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB))
    }

    /// Whether the system would not read or write a file.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.code() == Some(ffi::SQLITE_IOERR)
    }
}
