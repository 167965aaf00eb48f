//! The store: the only place with SQL, one file per table.
//!
//! One connection writes, owned by the writer task ([`crate::accept`]); a small pool reads. Every function takes any
//! executor, so that the same serves a pool and a transaction; a transaction is opened by the writer alone. Hand-written
//! statements are text that SQLite and PostgreSQL share; what differs is generated in `sql.rs`.

mod key;
mod notice;
mod sql;

pub(crate) mod branch;
pub(crate) mod change_id;
pub(crate) mod copy;
pub(crate) mod dedupe;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod mesh;
pub(crate) mod meta;
pub(crate) mod node;
pub(crate) mod prekey;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod space;

use std::path::{Path, PathBuf};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;
use tracing::info;

pub(crate) use key::{LoginNumber, NodeKey, Place, QueueKey, Rank, Ranks, Seq};
#[cfg(test)]
pub(crate) use sql::counting;

use crate::error::{Error, Result};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations/broker/sqlite");

/// Connections that read. Links read their backlog through them, one page at a time.
pub(crate) const READERS: u32 = 4;
/// Rows that a reading connection is ahead of who asked, at most 320 KiB each.
const READ_AHEAD: usize = 8;
/// A checkpoint every 64 MiB of log: at the default of 4 MiB it runs inside one commit in a few hundred and is the
/// p99 of all of them.
const CHECKPOINT_PAGES: u32 = 16_000;

/// "wxbr", in the header of the file.
const APPLICATION: &str = "PRAGMA application_id = 2004378226";

/// An open store.
pub(crate) struct Store {
    /// For the writer task.
    pub(crate) writer: SqliteConnection,
    /// For everybody else.
    pub(crate) readers: SqlitePool,
}

impl Store {
    /// Opens or makes the database at `path`, and brings its schema up to date.
    ///
    /// # Errors
    /// `NewerSchema` if a newer broker has been here; `Damaged` if it was not closed and is not whole; `Internal` if the database cannot be used, or does not promise
    /// what an answer after its commit relies on.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let closed = is_closed(path);
        let mut writer = options(path).create_if_missing(true).connect().await?;
        if !closed {
            check(&mut writer).await?;
        }
        migrate(&mut writer, &MIGRATOR, Some(path)).await?;
        assert_durable(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options(path).read_only(true).row_buffer_size(READ_AHEAD))
            .await?;
        Ok(Self { writer, readers })
    }
}

/// How every connection is made. An answer relies on `synchronous=FULL`: a commit has reached the disk when it returns.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("fullfsync", "1")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        // What a statement over many rows would undo if it failed is kept in memory, not written to a file.
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// Whether the last broker closed this database. A closed one has its log folded in, and no log is left.
fn is_closed(path: &Path) -> bool {
    std::fs::metadata(log_file(path)).map_or(true, |log| log.len() == 0)
}

/// Looks at a database that was not closed. A crash alone does no damage to it; what caused the crash may have.
async fn check(db: &mut SqliteConnection) -> Result<()> {
    let begin = Instant::now();
    let wrong = inspect::integrity(db, inspect::Depth::Quick).await?;
    match wrong.first() {
        Some(wrong) => Err(Error::Damaged(wrong.clone())),
        None => {
            info!(ms = begin.elapsed().as_millis(), "the store was not closed; it is whole");
            Ok(())
        }
    }
}

/// Brings the schema up to date. What was there before is kept in one copy beside it.
async fn migrate(db: &mut SqliteConnection, migrator: &Migrator, path: Option<&Path>) -> Result<()> {
    let newest = newest(migrator);
    if let (Some(path), Some(found)) = (path, inspect::schema(db).await?)
        && found < newest
    {
        let kept = copy_before_migrating(path);
        info!(from = found, to = newest, copy = %kept.display(), "migrating; keeping a copy");
        copy::replace(db, &kept).await?;
    }
    // `run` takes any `Acquire`, and then the compiler cannot show that this future is `Send`.
    match migrator.run_direct(None, db, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(Error::NewerSchema { found, known: newest }),
        Err(MigrateError::Execute(err)) => Err(err.into()),
        Err(err) => Err(Error::Internal(err.into())),
    }
}

/// Where the copy is that is kept before a migration.
pub(crate) fn copy_before_migrating(database: &Path) -> PathBuf {
    database.with_extension("before-migration.db")
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Asks the database itself, since a typo in a pragma is not an error to SQLite.
async fn assert_durable(db: &mut SqliteConnection) -> Result<()> {
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *db).await?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *db).await?;
    if journal == "wal" && synchronous == 2 {
        Ok(())
    } else {
        Err(Error::Internal(format!("journal_mode is {journal}, synchronous is {synchronous}").into()))
    }
}

/// The version of the schema that this broker brings a store to.
pub(crate) fn schema_version() -> i64 {
    newest(&MIGRATOR)
}

/// The log of a database: what is committed and not yet in its file.
pub(crate) fn log_file(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Writes the mark by which the file is known as a broker's. It has it already; but a page is written, and with its
/// commit the disk has taken one.
pub(crate) async fn touch(db: &mut SqliteConnection) -> Result<()> {
    sqlx::query(APPLICATION).execute(db).await?;
    Ok(())
}

/// Closes the writer's connection, so that the log is folded into the database file.
pub(crate) async fn close(writer: SqliteConnection) -> Result<()> {
    Ok(writer.close().await?)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A migrated database in memory, and short names for rows in it.

    use sqlx::{Executor as _, Row as _};
    use waxwing_crypto::{MeshId, NodeId};

    use super::*;

    pub(crate) async fn database() -> SqliteConnection {
        let mut db = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        migrate(&mut db, &MIGRATOR, None).await.unwrap();
        db
    }

    pub(crate) fn node(n: u8) -> NodeKey {
        NodeKey { mesh: MeshId::from_bytes([0xee; 16]), node: NodeId::from_bytes([n; 16]) }
    }

    /// How SQLite means to run a statement.
    pub(crate) async fn plan(db: &mut SqliteConnection, sql: &str) -> String {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = db.fetch_all(sqlx::query(explain)).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_durable_or_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("broker.db")).await.unwrap();
        assert_durable(&mut store.writer).await.unwrap();
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut store.writer).await.unwrap();
        assert_durable(&mut store.writer).await.unwrap_err();
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("broker.db")).await.unwrap();
        sqlx::query("DELETE FROM queue").execute(&store.readers).await.unwrap_err();
    }

    /// This broker's migrations and one more that nobody has made yet.
    async fn later(dir: &Path) -> Migrator {
        for migration in MIGRATOR.iter() {
            let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
            std::fs::write(dir.join(name), migration.sql.as_str()).unwrap();
        }
        std::fs::write(dir.join("0099_later.sql"), "CREATE TABLE later (x INTEGER)").unwrap();
        Migrator::new(dir.to_owned()).await.unwrap()
    }

    #[tokio::test]
    async fn one_copy_is_kept_before_a_migration_of_what_was_there() {
        let (dir, migrations) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("broker.db");
        let kept = copy_before_migrating(&path);
        let mut store = Store::open(&path).await.unwrap();
        assert!(!kept.exists(), "there was nothing to keep");
        sqlx::query(
            "INSERT INTO mesh (mesh, created, head_seq, head_hash, waits) VALUES (zeroblob(16), 1, 1, zeroblob(32), 0)",
        )
        .execute(&mut store.writer)
        .await
        .unwrap();
        std::fs::write(&kept, "of an older migration").unwrap();
        let later = later(migrations.path()).await;
        migrate(&mut store.writer, &later, Some(&path)).await.unwrap();
        assert!(inspect::has_table(&mut store.writer, "later").await.unwrap());

        let mut copy = inspect::connect(&kept).await.unwrap();
        assert_eq!(inspect::schema(&mut copy).await.unwrap(), Some(schema_version()));
        assert!(!inspect::has_table(&mut copy, "later").await.unwrap());
        assert_eq!(mesh::all(&mut copy).await.unwrap().len(), 1);
        let made = std::fs::metadata(&kept).unwrap().modified().unwrap();
        migrate(&mut store.writer, &later, Some(&path)).await.unwrap();
        assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), made, "nothing was pending");
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.db");
        let mut store = Store::open(&path).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (99, 'later', 1, x'00', 0)";
        sqlx::query(newer).execute(&mut store.writer).await.unwrap();
        assert!(matches!(Store::open(&path).await, Err(Error::NewerSchema { found: 99, known: 1 })));
    }
}
