//! The store in a file: how it is opened, what it must promise, and how its schema is brought up to date.

use std::path::{Path, PathBuf};

use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::time::Instant;
use tracing::info;

#[cfg(test)]
use super::db::Connection;
use super::db::Pool;
use super::{READERS, Store, copy, inspect, newest};
use crate::error::{Error, Result};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("../migrations/broker/sqlite");

/// Rows that a reading connection is ahead of who asked, at most 320 KiB each.
const READ_AHEAD: usize = 8;
/// A checkpoint every 64 MiB of log: at the default of 4 MiB it runs inside one commit in a few hundred and is the
/// p99 of all of them.
const CHECKPOINT_PAGES: u32 = 16_000;

/// Pages of the connection that writes, in KiB. A batch changes a page for nearly every message: ids are random, and so is where they
/// stand. What does not fit is written to the log before its commit, and again with it.
const CACHE: &str = "-16384";

/// Opens or makes the database at `path`, and brings its schema up to date. See [`Store::open`].
pub(super) async fn open(path: &Path) -> Result<Store> {
    // It is left by a crash in the moment in which a file, new or restored, was set to keep a log. Only who writes can take it back.
    let has_journal = beside(path, "-journal").exists();
    if !has_journal && !is_closed(path) {
        check(&mut inspect::file(path).await?).await?;
    }
    let mut writer = options(path).create_if_missing(true).pragma("cache_size", CACHE).connect().await?;
    if has_journal {
        check(&mut writer).await?;
    }
    // What the process before was not told to be on the disk may only seem to be: all of its log is written into the file and synced
    // before anything in it counts as stored.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer).await?;
    migrate(&mut writer, &MIGRATOR, Some(path)).await?;
    assert_durable(&mut writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options(path).read_only(true).row_buffer_size(READ_AHEAD))
        .await?;
    Ok(Store { writer: writer.into(), readers: Pool::Sqlite(readers) })
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
///
/// By a connection that cannot write: another would fold the log into the file when it is closed, and a damaged file stays as it was
/// found.
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
    if let (Some(path), Some(found)) = (path, schema(db).await?)
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
fn copy_before_migrating(database: &Path) -> PathBuf {
    database.with_extension("before-migration.db")
}

/// The schema's version; none if nothing was ever made in it.
pub(super) async fn schema(db: &mut SqliteConnection) -> Result<Option<i64>> {
    if !has_table(&mut *db, "_sqlx_migrations").await? {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(db).await?)
}

/// Whether there is such a table.
pub(super) async fn has_table(db: &mut SqliteConnection, table: &str) -> Result<bool> {
    let found = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1")
        .bind(table)
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
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

/// The log of a database: what is committed and not yet in its file.
pub(super) fn log_file(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// A file that SQLite keeps beside a database.
fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    path.into()
}

#[cfg(test)]
pub(super) async fn in_memory() -> Connection {
    let mut db = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    migrate(&mut db, &MIGRATOR, None).await.unwrap();
    db.into()
}

/// How SQLite means to run a statement.
#[cfg(test)]
pub(crate) async fn plan(sql: &str) -> String {
    use sqlx::{Executor as _, Row as _};

    let mut db = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    migrate(&mut db, &MIGRATOR, None).await.unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = db.fetch_all(sqlx::query(explain)).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::query;
    use crate::store::{mesh, schema_version};

    async fn connect(path: &Path) -> SqliteConnection {
        options(path).create_if_missing(true).connect().await.unwrap()
    }

    #[tokio::test]
    async fn a_store_is_durable_or_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.db");
        drop(open(&path).await.unwrap());
        let mut db = connect(&path).await;
        assert_durable(&mut db).await.unwrap();
        sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut db).await.unwrap();
        assert_durable(&mut db).await.unwrap_err();
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("broker.db")).await.unwrap();
        query("DELETE FROM queue").execute(&store.readers).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_log_that_was_left_is_in_the_file_before_the_store_is_used() {
        let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, copy) = (dir.path().join("broker.db"), left.path().join("broker.db"));
        let store = open(&path).await.unwrap();
        assert!(std::fs::metadata(log_file(&path)).unwrap().len() > 0, "the migration is in it");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(log_file(&path), log_file(&copy)).unwrap();
        drop(store);
        let _store = open(&copy).await.unwrap();
        assert_eq!(std::fs::metadata(log_file(&copy)).unwrap().len(), 0);
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
        drop(open(&path).await.unwrap());
        assert!(!kept.exists(), "there was nothing to keep");
        let mut db = connect(&path).await;
        sqlx::query(
            "INSERT INTO mesh (mesh, created, head_seq, head_hash, waits) VALUES (zeroblob(16), 1, 1, zeroblob(32), 0)",
        )
        .execute(&mut db)
        .await
        .unwrap();
        std::fs::write(&kept, "of an older migration").unwrap();
        let later = later(migrations.path()).await;
        migrate(&mut db, &later, Some(&path)).await.unwrap();
        assert!(has_table(&mut db, "later").await.unwrap());

        let mut copy = inspect::file(&kept).await.unwrap();
        assert_eq!(schema(&mut copy).await.unwrap(), Some(schema_version()));
        assert!(!has_table(&mut copy, "later").await.unwrap());
        assert_eq!(mesh::all(&mut Connection::from(copy)).await.unwrap().len(), 1);
        let made = std::fs::metadata(&kept).unwrap().modified().unwrap();
        migrate(&mut db, &later, Some(&path)).await.unwrap();
        assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), made, "nothing was pending");
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.db");
        drop(open(&path).await.unwrap());
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (99, 'later', 1, x'00', 0)";
        sqlx::query(newer).execute(&mut connect(&path).await).await.unwrap();
        assert!(matches!(open(&path).await, Err(Error::NewerSchema { found: 99, known: 1 })));
    }
}
