//! The node's database: one SQLite file per mesh, one file here per table, and the only place with SQL.
//!
//! Functions take an executor, so that the same one serves the read pool and the writer's transaction. Only the
//! writer task opens transactions; it owns the one connection that writes.

pub(crate) mod blocked;
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

use waxwing_crypto::{NodeId, Priority, Timestamp};
use waxwing_sqlite::{Connection, Migrations, Options, Readers};

pub(crate) use waxwing_sqlite::was_closed;

use crate::error::{Error, Result};

const MIGRATIONS: Migrations = Migrations(&[include_str!("../../../migrations/node/0001_first.sql")]);

/// Connections that read. Each is a thread with memory of its own: more than there are cores would read no faster.
static READERS: LazyLock<u32> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).clamp(2, 4)
});

/// What the writer keeps of the file in memory at most, in KiB. The keys of spaces are digests, so a copy that catches up changes its
/// index everywhere: with SQLite's 2 MiB it is written out in the middle of commits.
const CACHE_KIB: u32 = 8_192;

/// Opens a mesh's database, making or migrating it: the writer's connection, and a pool that only reads.
pub(crate) async fn open(path: &Path) -> Result<(Connection, Readers)> {
    let file = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_as_it_is(&file)).await;
    opened.unwrap_or(Err(Error::Database(waxwing_sqlite::Error::Closed))).map_err(|error| {
        let Error::Database(error) = error else { return error };
        if let waxwing_sqlite::Error::Newer { found, .. } = error {
            return Error::Incompatible(format!(
                "this database was written by a newer waxwing (schema {found}): use that one"
            ));
        }
        if error.is_damage() || matches!(error, waxwing_sqlite::Error::NotDurable(_)) {
            return Error::Damaged(format!("{}: {error}", path.display()));
        }
        why_not(path).unwrap_or(Error::Database(error))
    })
}

/// The system's word for why a database cannot be opened, where that is the reason: SQLite has only its own.
fn why_not(path: &Path) -> Option<Error> {
    let opened = std::fs::OpenOptions::new().append(true).open(path);
    opened.err().map(Error::file("cannot write", path))
}

fn open_as_it_is(path: &Path) -> Result<(Connection, Readers)> {
    let options = Options::new(path);
    let mut writer = options.clone().create().cache_kib(CACHE_KIB).open()?;
    restrict(path)?;
    MIGRATIONS.run(&mut writer)?;
    Ok((writer, options.read_only().readers(*READERS)))
}

/// A mesh's database as it is, to be read by somebody who is not its node, and leaves nothing beside it.
pub(crate) fn look(path: &Path) -> Readers {
    to_look(path).readers(*READERS)
}

/// How that is opened.
pub(crate) fn to_look(path: &Path) -> Options {
    let options = Options::new(path);
    // One that was closed in order would be given a log.
    if was_closed(path) { options.immutable() } else { options.read_only() }
}

/// Opens a mesh's database to look something up.
pub(crate) fn open_to_read(path: &Path) -> Readers {
    Options::new(path).read_only().readers(1)
}

/// Copies a database to a file that must not exist: one moment of it, private, and on the disk.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let unnamable = || Error::Usage(format!("{}: its name is not UTF-8", to.display()));
    let name = to.to_str().ok_or_else(unnamable)?;
    // Private from its first moment. SQLite fills a file that is empty.
    crate::home::write_private(to, b"")?;
    let readers = look(from);
    let copied = waxwing_sqlite::query("VACUUM INTO ?").bind(name).execute(&readers).await;
    readers.close().await;
    copied?;
    // A copy that nobody else knows of, and that gets nothing beside it.
    let copy = Options::new(to).immutable().readers(1);
    let wrong: String = waxwing_sqlite::query_scalar("PRAGMA integrity_check(1)").fetch_one(&copy).await?;
    copy.close().await;
    if wrong != "ok" {
        return Err(Error::Damaged(format!("{}: {wrong}", from.display())));
    }
    let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(Error::file("cannot sync", to))
}

/// Closes a database so that nothing is left in its log.
pub(crate) async fn close(writer: Connection, readers: Readers) -> Result<()> {
    readers.close().await;
    let closed = tokio::task::spawn_blocking(move || writer.close()).await;
    closed.unwrap_or(Err(waxwing_sqlite::Error::Closed)).map_err(Error::from)
}

/// The folder is private already; the file is too, for when the folder's mode is changed.
fn restrict(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(Error::file("cannot restrict", path))
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
pub(crate) fn damaged(what: &'static str) -> waxwing_sqlite::Error {
    waxwing_sqlite::Error::Damaged(what.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A migrated database in a temporary folder.
    pub(crate) async fn database() -> (tempfile::TempDir, Connection, Readers) {
        let folder = tempfile::tempdir().unwrap();
        let (writer, readers) = open(&folder.path().join("node.db")).await.unwrap();
        (folder, writer, readers)
    }

    /// MB-27.
    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (folder, mut writer, readers) = database().await;
        writer.run("PRAGMA user_version = 9999").unwrap();
        close(writer, readers).await.unwrap();
        let refused = open(&folder.path().join("node.db")).await.unwrap_err();
        assert_eq!(refused.exit_code(), 5, "{refused}");
    }
}
