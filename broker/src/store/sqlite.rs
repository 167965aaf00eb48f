//! The store in a file: how it is opened, what it must promise, and how its schema is brought up to date.

use std::path::{Path, PathBuf};

use tokio::time::Instant;
use tracing::info;
use waxwing_sqlite::{Connection, Executor, Migrations, Options, has_journal, query, query_scalar};

use super::db::Pool;
use super::{READERS, Store, copy, inspect};
use crate::error::{Error, Result};

pub(super) const MIGRATIONS: Migrations =
    Migrations(&[include_str!("../../../migrations/broker/sqlite/0001_initial.sql")]);

/// Of the connection that writes. A batch changes a page for nearly every message: ids are random, and so is where they stand.
const CACHE_KIB: u32 = 16 * 1024;

/// Opens or makes the database at `path`, and brings its schema up to date. See [`Store::open`].
pub(super) async fn open(path: &Path) -> Result<Store> {
    // It is left by a crash in the moment in which a file, new or restored, was set to keep a log. Only who writes can take it back.
    let had_journal = has_journal(path);
    if !had_journal && !is_closed(path) {
        check(&mut inspect::file(path).await?).await?;
    }
    let mut writer = Options::new(path).create().cache_kib(CACHE_KIB).open()?;
    if had_journal {
        check(&mut writer).await?;
    }
    // What the process before was not told to be on the disk may only seem to be: all of its log is written into the file and synced
    // before anything in it counts as stored.
    writer.run("PRAGMA wal_checkpoint(TRUNCATE)")?;
    migrate(&mut writer, &MIGRATIONS, path).await?;
    let readers = Options::new(path).read_only().readers(READERS);
    Ok(Store { writer: writer.into(), readers: Pool::Sqlite(readers) })
}

/// Whether the last broker closed this database. A closed one has its log folded in, and no log is left, or an empty one of who has
/// looked at it since.
fn is_closed(path: &Path) -> bool {
    std::fs::metadata(waxwing_sqlite::log_file(path)).map_or(true, |log| log.len() == 0)
}

/// Looks at a database that was not closed. A crash alone does no damage to it; what caused the crash may have.
///
/// By a connection that cannot write: another would fold the log into the file when it is closed, and a damaged file stays as it was
/// found.
async fn check(db: impl Executor<'_>) -> Result<()> {
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
async fn migrate(db: &mut Connection, migrations: &Migrations, path: &Path) -> Result<()> {
    let (found, newest) = (waxwing_sqlite::version(db)?, migrations.newest());
    if (1..newest).contains(&found) {
        let kept = copy_before_migrating(path);
        info!(from = found, to = newest, copy = %kept.display(), "migrating; keeping a copy");
        copy::replace(&mut inspect::file(path).await?, &kept).await?;
    }
    Ok(migrations.run(db)?)
}

/// Where the copy is that is kept before a migration.
fn copy_before_migrating(database: &Path) -> PathBuf {
    database.with_extension("before-migration.db")
}

/// The schema's version; none if nothing was ever made in it.
pub(super) async fn schema(db: impl Executor<'_>) -> Result<Option<i64>> {
    let version = query_scalar("PRAGMA user_version").fetch_one(db).await?;
    Ok(Some(version).filter(|version| *version > 0))
}

/// Whether there is such a table.
pub(super) async fn has_table(db: impl Executor<'_>, table: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1";
    Ok(query(sql).bind(table).fetch_optional(db).await?.is_some())
}

#[cfg(test)]
pub(super) fn in_memory() -> Connection {
    let mut db = Options::in_memory().open().unwrap();
    MIGRATIONS.run(&mut db).unwrap();
    db
}

/// How SQLite means to run a statement.
#[cfg(test)]
pub(crate) async fn plan(sql: &str) -> String {
    let explain = query(format!("EXPLAIN QUERY PLAN {sql}"));
    // Its values are none: a plan does not depend on them.
    let rows =
        explain.bind_all(vec![waxwing_sqlite::Value::Null; 32]).fetch_all(&mut in_memory()).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>(3_usize).unwrap()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::query;
    use crate::store::{mesh, schema_version};

    fn connect(path: &Path) -> Connection {
        Options::new(path).open().unwrap()
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
        assert!(
            std::fs::metadata(waxwing_sqlite::log_file(&path)).unwrap().len() > 0,
            "the migration is in it"
        );
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(waxwing_sqlite::log_file(&path), waxwing_sqlite::log_file(&copy)).unwrap();
        drop(store);
        let _store = open(&copy).await.unwrap();
        assert_eq!(std::fs::metadata(waxwing_sqlite::log_file(&copy)).unwrap().len(), 0);
    }

    /// This broker's migrations and one more that nobody has made yet.
    fn later() -> Migrations {
        let mut steps = MIGRATIONS.0.to_vec();
        steps.push("CREATE TABLE later (x INTEGER)");
        Migrations(steps.leak())
    }

    #[tokio::test]
    async fn one_copy_is_kept_before_a_migration_of_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.db");
        let kept = copy_before_migrating(&path);
        drop(open(&path).await.unwrap());
        assert!(!kept.exists(), "there was nothing to keep");
        let mut db = connect(&path);
        db.run("INSERT INTO mesh (mesh, created, head_seq, head_hash, waits) VALUES (zeroblob(16), 1, 1, zeroblob(32), 0)")
            .unwrap();
        std::fs::write(&kept, "of an older migration").unwrap();
        migrate(&mut db, &later(), &path).await.unwrap();
        assert!(has_table(&mut db, "later").await.unwrap());

        let mut copy = inspect::file(&kept).await.unwrap();
        assert_eq!(schema(&mut copy).await.unwrap(), Some(schema_version()));
        assert!(!has_table(&mut copy, "later").await.unwrap());
        assert_eq!(mesh::all(&mut super::super::Connection::from(copy)).await.unwrap().len(), 1);
        let made = std::fs::metadata(&kept).unwrap().modified().unwrap();
        migrate(&mut db, &later(), &path).await.unwrap();
        assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), made, "nothing was pending");
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.db");
        drop(open(&path).await.unwrap());
        connect(&path).run("PRAGMA user_version = 99").unwrap();
        assert!(matches!(open(&path).await, Err(Error::NewerSchema { found: 99, known: 1 })));
    }
}
