//! The node's database: one SQLite file per mesh, one file here per table, and the only place with SQL.
//!
//! Functions take an executor, so that the same one serves the read pool and the writer's transaction. Only the
//! writer task opens transactions; it owns the one connection that writes.

pub(crate) mod blocked;
mod chunks;
mod columns;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod lanes;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod outbox;
pub(crate) mod prekeys;
pub(crate) mod presence;
pub(crate) mod quarantine;
pub(crate) mod records;
pub(crate) mod renewal;
pub(crate) mod retention;
pub(crate) mod roster;
pub(crate) mod salvage;
pub(crate) mod sessions;
pub(crate) mod spaces;
pub(crate) mod state;
pub(crate) mod topics;
pub(crate) mod whole;

use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};
use waxwing_crypto::{NodeId, Priority, Timestamp};

use crate::error::{Error, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/node");

/// Connections that read. Each is a thread with memory of its own: more than there are cores would read no faster.
static READERS: LazyLock<u32> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).clamp(2, 4)
});

/// Pages after which SQLite moves its log into the database file. The default of 1,000 stalls one commit in ten.
const CHECKPOINT_PAGES: &str = "16000";

/// What the writer keeps of the file in memory at most, in KiB, negative as SQLite has it. The keys of spaces are digests, so a
/// copy that catches up changes its index everywhere: with the default of 2 MiB it is written out in the middle of commits.
const CACHE: &str = "-8192";

/// Opens a mesh's database, making or migrating it: the writer's connection, and a pool that only reads.
pub(crate) async fn open(path: &Path) -> Result<(SqliteConnection, SqlitePool)> {
    open_as_it_is(path).await.map_err(|error| {
        let Error::Database(error) = error else { return error };
        if is_damage(&error) {
            return Error::Damaged(format!("{}: {error}", path.display()));
        }
        why_not(path).unwrap_or(Error::Database(error))
    })
}

/// Whether a database was closed in order, or is not there yet. One that was closed has no log.
pub(crate) fn was_closed(path: &Path) -> bool {
    !path.with_extension("db-wal").exists()
}

/// The system's word for why a database cannot be opened, where that is the reason: SQLite has only its own.
fn why_not(path: &Path) -> Option<Error> {
    let opened = std::fs::OpenOptions::new().append(true).open(path);
    opened.err().map(Error::file("cannot write", path))
}

/// Whether SQLite has found that a file is no database, or not as it has written it.
fn is_damage(error: &sqlx::Error) -> bool {
    /// SQLITE_CORRUPT and SQLITE_NOTADB.
    const DAMAGE: [u32; 2] = [11, 26];
    code(error).is_some_and(|code| DAMAGE.contains(&code))
}

/// Whether the system would not read or write a file.
fn is_unreadable(error: &sqlx::Error) -> bool {
    /// SQLITE_IOERR.
    const IO: u32 = 10;
    code(error) == Some(IO)
}

/// SQLite's word for an error. What is above the lowest byte says more of it.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(DatabaseError::code)?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

async fn open_as_it_is(path: &Path) -> Result<(SqliteConnection, SqlitePool)> {
    let options = options(path);
    let mut writer = options.clone().create_if_missing(true).pragma("cache_size", CACHE).connect().await?;
    restrict(path)?;
    migrate(&mut writer).await?;
    let full: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut writer).await?;
    if full != 2 {
        return Err(Error::Damaged(format!("synchronous is {full}, not FULL: commits would not be durable")));
    }
    Ok((writer, readers(options)))
}

/// A mesh's database as it is, to be read by somebody who is not its node, and leaves nothing beside it.
pub(crate) fn look(path: &Path) -> SqlitePool {
    // One that was closed in order would be given a log.
    readers(options(path).immutable(was_closed(path)))
}

fn readers(options: SqliteConnectOptions) -> SqlitePool {
    PoolOptions::new().max_connections(*READERS).connect_lazy_with(options.read_only(true))
}

/// Opens a mesh's database to look something up.
pub(crate) fn open_to_read(path: &Path) -> SqlitePool {
    PoolOptions::new().max_connections(1).connect_lazy_with(options(path).read_only(true))
}

/// Copies a database to a file that must not exist: one moment of it, private, and on the disk.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let unnamable = || Error::Usage(format!("{}: its name is not UTF-8", to.display()));
    let name = to.to_str().ok_or_else(unnamable)?;
    // Private from its first moment. SQLite fills a file that is empty.
    crate::home::write_private(to, b"")?;
    let readers = look(from);
    let copied = sqlx::query("VACUUM INTO ?").bind(name).execute(&readers).await;
    readers.close().await;
    copied?;
    let copy = readers_of_copy(to);
    let wrong: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&copy).await?;
    copy.close().await;
    if wrong != "ok" {
        return Err(Error::Damaged(format!("{}: {wrong}", from.display())));
    }
    let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(Error::file("cannot sync", to))
}

/// A copy that nobody else knows of, and that gets nothing beside it.
fn readers_of_copy(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).immutable(true).read_only(true);
    PoolOptions::new().max_connections(1).connect_lazy_with(options.disable_statement_logging())
}

/// Closes a database so that nothing is left in its log.
pub(crate) async fn close(writer: SqliteConnection, readers: SqlitePool) -> Result<()> {
    readers.close().await;
    writer.close().await.map_err(Error::from)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("fullfsync", "on")
        // What a statement over many rows would undo if it failed is kept in memory, not written to a file.
        .pragma("temp_store", "memory")
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// The folder is private already; the file is too, for when the folder's mode is changed.
fn restrict(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(Error::file("cannot restrict", path))
}

async fn migrate(writer: &mut SqliteConnection) -> Result<()> {
    // `run` takes any `Acquire`, and then the compiler cannot show that this future is `Send`.
    match MIGRATIONS.run_direct(None, writer, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => Err(Error::Incompatible(format!(
            "this database was written by a newer waxwing (schema {version}): use that one"
        ))),
        Err(error) => Err(Error::Database(error.into())),
    }
}

/// A lane as its sender sees it: the unit of order. Sorts by urgency.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct OutLane {
    pub(crate) priority: Priority,
    pub(crate) recipient: NodeId,
}

/// A number for SQLite, which has no unsigned ones. Counters, rows and times stay far below its limit.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number from SQLite.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) fn millis(time: Timestamp) -> i64 {
    number(time.as_millis())
}

pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}

/// A value read back that is not of its type: the file was changed by somebody else.
pub(crate) fn damaged(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} is damaged").into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A migrated database in a temporary folder.
    pub(crate) async fn database() -> (tempfile::TempDir, SqliteConnection, SqlitePool) {
        let folder = tempfile::tempdir().unwrap();
        let (writer, readers) = open(&folder.path().join("node.db")).await.unwrap();
        (folder, writer, readers)
    }

    /// MB-27.
    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (folder, mut writer, readers) = database().await;
        sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 1)")
            .execute(&mut writer)
            .await
            .unwrap();
        close(writer, readers).await.unwrap();
        let refused = open(&folder.path().join("node.db")).await.unwrap_err();
        assert_eq!(refused.exit_code(), 5, "{refused}");
    }
}
