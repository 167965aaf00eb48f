//! How a file is opened, and what it must promise.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;

use crate::log::Log;
use crate::{Connection, Error, Readers, Result};

/// How long a statement waits for somebody else's lock on the file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Statements that a connection keeps prepared.
const PREPARED: usize = 256;

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct Options {
    path: PathBuf,
    mode: Mode,
    cache_kib: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Write {
        create: bool,
    },
    Read,
    /// A copy that is handed on.
    Copy,
    /// Nobody writes it, and nothing is put beside it.
    Immutable,
    Memory,
}

impl Options {
    /// A file that must be there, to be read and written.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), mode: Mode::Write { create: false }, cache_kib: None }
    }

    /// A database of its own in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { path: PathBuf::new(), mode: Mode::Memory, cache_kib: None }
    }

    /// Makes the file if it is not there.
    #[must_use]
    pub const fn create(mut self) -> Self {
        self.mode = Mode::Write { create: true };
        self
    }

    /// Only reads it.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.mode = Mode::Read;
        self
    }

    /// Takes it for a copy that is made ready to be handed on: it has no log beside it, and of what is deleted no byte stays in it.
    /// Whoever hands it on sees to it that it is on the disk.
    #[must_use]
    pub const fn copy(mut self) -> Self {
        self.mode = Mode::Copy;
        self
    }

    /// Only reads it, and takes it for a file that nobody writes: nothing is put beside it.
    #[must_use]
    pub const fn immutable(mut self) -> Self {
        self.mode = Mode::Immutable;
        self
    }

    /// Keeps so much of the file in memory, in KiB, instead of 2 MiB. What does not fit is written to the log before its commit, and
    /// again with it.
    #[must_use]
    pub const fn cache_kib(mut self, kib: u32) -> Self {
        self.cache_kib = Some(kib);
        self
    }

    /// Opens it. May block: a log that was left behind is read.
    ///
    /// # Errors
    /// SQLite's; `NotDurable` if a commit would not be on the disk when it returns.
    pub fn open(&self) -> Result<Connection> {
        let db = match self.mode {
            Mode::Memory => rusqlite::Connection::open_in_memory()?,
            Mode::Immutable => rusqlite::Connection::open_with_flags(self.immutable_uri()?, self.flags())?,
            Mode::Write { .. } | Mode::Copy | Mode::Read => {
                rusqlite::Connection::open_with_flags(&self.path, self.flags())?
            }
        };
        let mut log = None;
        db.busy_timeout(PATIENCE)?;
        db.set_prepared_statement_cache_capacity(PREPARED);
        // Without this, a statement whose plan may depend on a value is planned anew whenever that is bound.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // What a statement over many rows would undo if it failed is kept in memory, not written to a file.
        db.pragma_update(None, "temp_store", "memory")?;
        if let Some(kib) = self.cache_kib {
            db.pragma_update(None, "cache_size", -i64::from(kib))?;
        }
        if matches!(self.mode, Mode::Write { .. }) {
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "full")?;
            db.pragma_update(None, "fullfsync", true)?;
            assert_durable(&db)?;
            log = Some(Box::new(RefCell::new(Log::begin(self, &db))));
        }
        if self.mode == Mode::Copy {
            db.pragma_update(None, "journal_mode", "delete")?;
            db.pragma_update(None, "secure_delete", true)?;
        }
        Ok(Connection { db, log })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another connection to what one writes, to work on its log.
    pub(crate) fn beside(&self) -> Result<rusqlite::Connection> {
        let db = rusqlite::Connection::open_with_flags(
            &self.path,
            Self { mode: Mode::Write { create: false }, ..self.clone() }.flags(),
        )?;
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "fullfsync", true)?;
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(db)
    }

    /// So many connections at most, each made when it is needed.
    #[must_use]
    pub fn readers(self, most: u32) -> Readers {
        Readers::new(self, most)
    }

    fn flags(&self) -> OpenFlags {
        // A connection is used by one thread at a time: it needs no lock of its own.
        let common = OpenFlags::SQLITE_OPEN_NO_MUTEX;
        common
            | match self.mode {
                Mode::Write { create: true } => {
                    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
                }
                Mode::Write { create: false } | Mode::Copy | Mode::Memory => {
                    OpenFlags::SQLITE_OPEN_READ_WRITE
                }
                Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
                Mode::Immutable => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            }
    }

    /// The file as a URI, which is how SQLite is told.
    fn immutable_uri(&self) -> Result<String> {
        let path = self.path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(self.path.clone()))?;
        let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Ok(format!("file:{escaped}?immutable=1"))
    }
}

/// Asks SQLite itself, since a typo in a pragma is not an error to it.
fn assert_durable(db: &rusqlite::Connection) -> Result<()> {
    let journal: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if journal == "wal" && synchronous == 2 {
        Ok(())
    } else {
        Err(Error::NotDurable(format!("journal_mode is {journal}, synchronous is {synchronous}")))
    }
}

/// Whether a database was closed in order, or is not there yet: what is closed has no log.
#[must_use]
pub fn was_closed(path: &Path) -> bool {
    !log_file(path).exists()
}

/// Whether a crash has left this database in the moment in which it, new or restored, was set to keep a log. Only a connection that writes
/// can take that back, and does when it is opened.
#[must_use]
pub fn has_journal(path: &Path) -> bool {
    beside(path, "-journal").exists()
}

/// The log of a database: what is committed and not yet in its file.
#[must_use]
pub fn log_file(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// A file that SQLite keeps beside a database.
fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    path.into()
}
