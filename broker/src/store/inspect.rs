//! What can be found out about a store from outside: whether it is whole, which schema it has, how full its queues are.

use std::path::Path;

use waxwing_crypto::{MeshId, NodeId, Timestamp};
use waxwing_sqlite::{Executor, Lent, Options};

use super::db::{Connection, Pool, array, number, query};
use super::{postgres, sqlite};
use crate::config::Database;
use crate::error::Result;

/// How closely a database is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Depth {
    /// Every page and what holds them together.
    Quick,
    /// That, and every index against its table.
    Full,
}

/// Faults that are listed. One is enough to know.
const FAULTS: usize = 5;

/// A queue that is not empty.
#[derive(Debug)]
pub(crate) struct QueueState {
    /// Whose.
    pub(crate) node: NodeId,
    /// Envelopes in it.
    pub(crate) envelopes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// When the first of them was accepted, if that is known.
    pub(crate) oldest: Option<Timestamp>,
}

/// A connection that changes nothing.
///
/// # Errors
/// If there is no such database, or it does not answer.
pub(crate) async fn look(database: &Database) -> Result<Connection> {
    match database {
        Database::Sqlite(path) => file(path).await.map(Connection::from),
        Database::Postgres(url) => postgres::look(url).await,
    }
}

/// The same to a file, whichever way that keeps its log: that of a backup is not the broker's. It is opened with the first statement.
pub(crate) async fn file(database: &Path) -> Result<Lent> {
    Ok(Options::new(database).read_only().readers(1).acquire().await?)
}

/// What is wrong with a database; nothing if it is whole.
pub(crate) async fn integrity(db: impl Executor<'_>, depth: Depth) -> Result<Vec<String>> {
    let check = match depth {
        Depth::Quick => "quick_check",
        Depth::Full => "integrity_check",
    };
    let sql = format!("PRAGMA {check}({FAULTS})");
    let found: Vec<String> = waxwing_sqlite::query_scalar(sql).fetch_all(db).await?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// The schema's version; none if nothing was ever made in it.
pub(crate) async fn schema(db: &mut Connection) -> Result<Option<i64>> {
    match db {
        Connection::Sqlite(held) => sqlite::schema(held.get()).await,
        Connection::Postgres(held) => postgres::schema(held.get()).await,
    }
}

/// The fullest queues.
pub(crate) async fn fullest(db: &mut Connection, limit: u32) -> Result<Vec<QueueState>> {
    let rows = query(
        "SELECT mesh, node, queued, queued_bytes FROM node WHERE queued > 0 ORDER BY queued DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut queues = Vec::with_capacity(rows.len());
    for row in rows {
        let (mesh, node) = (MeshId::from_bytes(array(&row, 0)?), NodeId::from_bytes(array(&row, 1)?));
        queues.push(QueueState {
            node,
            envelopes: number(&row, 2)?,
            bytes: number(&row, 3)?,
            oldest: oldest(db, mesh, node).await?,
        });
    }
    Ok(queues)
}

/// When the first envelope of a queue was accepted. The first of each rank is looked at, by its record.
async fn oldest(db: &mut Connection, mesh: MeshId, node: NodeId) -> Result<Option<Timestamp>> {
    let mut oldest = None;
    for rank in 1..=3_i64 {
        let row = query(
            "SELECT d.first_seen FROM
               (SELECT mesh, sender, wire FROM queue WHERE mesh = $1 AND recipient = $2 AND rank = $3
                ORDER BY seq LIMIT 1) q
             JOIN dedupe d ON d.mesh = q.mesh AND d.sender = q.sender AND d.wire = q.wire",
        )
        .bind(mesh.as_bytes())
        .bind(node.as_bytes())
        .bind(rank)
        .fetch_optional(&mut *db)
        .await?;
        if let Some(row) = row {
            let seen = Timestamp::from_millis(number(&row, 0)?);
            oldest = Some(oldest.map_or(seen, |oldest: Timestamp| oldest.min(seen)));
        }
    }
    Ok(oldest)
}

/// The latest moment that the store has seen: no clock that is right is far behind it.
pub(crate) async fn latest(db: &mut Connection) -> Result<Option<Timestamp>> {
    // Records are written with the same distance to their end, so the last to end is the last that was written.
    let row = query("SELECT first_seen FROM dedupe ORDER BY expires DESC LIMIT 1").fetch_optional(db).await?;
    row.map(|row| Ok(Timestamp::from_millis(number(&row, 0)?))).transpose()
}

/// The sizes of what a store is in, by what it is: its file and the log beside it, or its database on the server, with what else
/// is in that. What cannot be found out is left out.
pub(crate) async fn bytes(database: &Database, readers: &Pool) -> Vec<(&'static str, u64)> {
    match database {
        Database::Sqlite(path) => {
            let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
            vec![("database", size(path)), ("log", size(&waxwing_sqlite::log_file(path)))]
        }
        Database::Postgres(_) => {
            let asked = query("SELECT pg_database_size(current_database())").fetch_one(readers).await;
            asked.and_then(|row| number(&row, 0)).map_or(Vec::new(), |bytes| vec![("database", bytes)])
        }
    }
}
