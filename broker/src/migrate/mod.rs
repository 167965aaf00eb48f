//! Moves a store to another database: from a file to a server, or back.
//!
//! No broker may run on either meanwhile, so both are locked as a broker locks them. Every table is copied in one transaction of the
//! target, then read back from both and compared, and only then is it committed: the target has the whole store or nothing. It is
//! the same store afterwards, with its id, its openings and its secret; so nodes notice nothing, and the one that was left behind is
//! from then on an older copy of it.

use std::path::Path;

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::config::Database;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::store::tables::{self, Contents};
use crate::store::{Connection, Store, inspect};

/// What is being done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Rows are copied.
    Copying,
    /// Rows are read back from both.
    Comparing,
}

/// What was moved.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// All rows together.
    pub rows: u64,
    /// Each table, as both databases have it now.
    pub tables: Vec<MovedTable>,
}

/// A table that was moved.
#[derive(Clone, Debug, Serialize)]
pub struct MovedTable {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 over every value of every row in the order of its key, in hex.
    pub sha256: String,
}

impl From<Contents> for MovedTable {
    fn from(contents: Contents) -> Self {
        let sha256 = HEXLOWER.encode(&contents.sha256);
        Self { table: contents.table, rows: contents.rows, sha256 }
    }
}

/// Moves the store of `from` to `to`, which must be empty. `progress` is told what is being done, and with how many rows of how many.
///
/// # Errors
/// `Config` if there is no store at `from`, or both are files; `InUse` if a broker runs on either; `NotEmpty` if `to` has a store;
/// `Differs` if what `to` has is not what `from` has; `NewerSchema`, `Damaged`, `Unavailable` and `Internal` as when a broker starts.
/// After each of them `to` has nothing, unless it is `Unavailable` at the very end: then it has either nothing or all.
pub async fn migrate(
    from: &Database,
    to: &Database,
    mut progress: impl FnMut(Step, u64, u64),
) -> Result<Moved> {
    if from.file().is_some() && to.file().is_some() {
        let why = "both are files: stop the broker and move the file itself, with its -wal beside it";
        return Err(Error::Config(why.into()));
    }
    let mut source = Locked::with_store(from).await?;
    let mut target = Locked::open(to).await?;
    for table in tables::all() {
        if !table.is_empty(&mut target.db).await? {
            return Err(Error::NotEmpty(to.to_string()));
        }
    }
    source.db.begin().await?;
    target.db.begin().await?;
    let moved = match copy_and_compare(&mut source.db, &mut target.db, &mut progress).await {
        Ok(contents) => target.db.commit().await.map(|()| contents),
        Err(err) => Err(err),
    };
    // What is not committed is undone with its connection, and what is committed stays, however that ends.
    let _ = (target.db.close().await, source.db.close().await);
    let contents = moved?;
    let rows = contents.iter().map(|table| table.rows).sum();
    Ok(Moved { rows, tables: contents.into_iter().map(MovedTable::from).collect() })
}

/// A store that no broker runs on, as long as the value lives.
struct Locked {
    db: Connection,
    /// A server's lock is the connection's.
    _folder: Option<Folder>,
}

impl Locked {
    /// Opens a store, or makes one, and keeps brokers off it.
    async fn open(database: &Database) -> Result<Self> {
        let folder = match database.file() {
            Some(file) => Some(Folder::open(file.parent().unwrap_or(Path::new("/")))?),
            None => None,
        };
        let Store { writer, readers } = Store::open(database).await?;
        readers.close().await;
        Ok(Self { db: writer, _folder: folder })
    }

    /// One that holds a store already.
    async fn with_store(database: &Database) -> Result<Self> {
        let none =
            || Error::Config(format!("no broker has ever run on {database}: there is no store to move"));
        if database.file().is_some_and(|file| !file.exists())
            || inspect::schema(&mut inspect::look(database).await?).await?.is_none()
        {
            return Err(none());
        }
        let mut locked = Self::open(database).await?;
        if !tables::is_alone(&mut locked.db).await? {
            return Err(Error::InUse(database.to_string().into()));
        }
        for table in tables::all().iter().filter(|table| table.name == "meta") {
            if table.is_empty(&mut locked.db).await? {
                return Err(none());
            }
        }
        Ok(locked)
    }
}

async fn copy_and_compare(
    from: &mut Connection,
    to: &mut Connection,
    progress: &mut impl FnMut(Step, u64, u64),
) -> Result<Vec<Contents>> {
    let mut counts = Vec::with_capacity(tables::all().len());
    for table in tables::all() {
        counts.push(table.count(from).await?);
    }
    let all = counts.iter().sum();
    let mut done = 0;
    for table in tables::all() {
        let mut copied = 0;
        let told = |rows| {
            copied = rows;
            progress(Step::Copying, done + rows, all);
        };
        table.copy(from, to, told).await?;
        done += copied;
    }
    let mut contents = Vec::with_capacity(tables::all().len());
    let mut done = 0;
    for (table, count) in tables::all().iter().zip(counts) {
        let there = table.digest(to, |rows| progress(Step::Comparing, done + rows, 2 * all)).await?;
        done += there.rows;
        let here = table.digest(from, |rows| progress(Step::Comparing, done + rows, 2 * all)).await?;
        done += here.rows;
        // Both are read page by page, as they were copied: the count knows of no pages.
        if here != there || here.rows != count {
            return Err(Error::Differs(table.name));
        }
        contents.push(here);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests;
