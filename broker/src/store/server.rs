//! What a PostgreSQL server says of itself, and of the store that is on it.

use waxwing_crypto::Timestamp;

use super::db::{Connection, number, optional, query};
use super::postgres::LOCK;
use crate::error::Result;

/// How a server is set.
pub(crate) struct Server {
    /// Its version, as its distributor writes it.
    pub(crate) version: String,
    /// Whether it follows another, and takes no writes.
    pub(crate) is_standby: bool,
    /// What decides whether its disk has what it confirms.
    pub(crate) fsync: String,
    /// Whether a page that was written by half can be mended.
    pub(crate) full_page_writes: String,
    /// What a session has that does not say it.
    pub(crate) synchronous_commit: String,
    /// Standbys that a commit waits for; empty if for none.
    pub(crate) standbys: String,
    /// Whether it takes up by itself what rows have left.
    pub(crate) autovacuum: String,
}

/// How the server is set that this connection is to.
pub(crate) async fn settings(db: &mut Connection) -> Result<Server> {
    let row = query(
        "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('fsync'),
                current_setting('full_page_writes'), current_setting('synchronous_commit'),
                current_setting('synchronous_standby_names'), current_setting('autovacuum')",
    )
    .fetch_one(db)
    .await?;
    Ok(Server {
        version: row.get(0)?,
        is_standby: row.get(1)?,
        fsync: row.get(2)?,
        full_page_writes: row.get(3)?,
        synchronous_commit: row.get(4)?,
        standbys: row.get(5)?,
        autovacuum: row.get(6)?,
    })
}

/// The session that has the right to write.
pub(crate) struct WriterSession {
    /// Its process at the server.
    pub(crate) pid: u64,
    /// From where it comes; none over a Unix socket, or if this role may not see it.
    pub(crate) from: Option<String>,
}

/// Who holds the store's lock.
pub(crate) async fn writer(db: &mut Connection) -> Result<Option<WriterSession>> {
    let row = query(
        "SELECT l.pid::int8, host(a.client_addr)
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid::int8 = $1
           AND l.objid::int8 = hashtext(coalesce(current_schema(), ''))::int8 & 4294967295
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(i64::from(LOCK))
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(WriterSession { pid: number(&row, 0)?, from: row.get(1)? })).transpose()
}

/// What the rows of queues have left behind.
pub(crate) struct Leavings {
    /// Rows of the table.
    pub(crate) live: u64,
    /// Rows that are gone and still take room.
    pub(crate) dead: u64,
    /// When they were last taken up.
    pub(crate) vacuumed: Option<Timestamp>,
}

/// How far the server has come in taking up what is left of messages that are gone. None of a table that it has no figures of.
pub(crate) async fn leavings(db: &mut Connection) -> Result<Option<Leavings>> {
    let row = query(
        "SELECT n_live_tup, n_dead_tup,
                (extract(epoch FROM greatest(last_vacuum, last_autovacuum)) * 1000)::int8
         FROM pg_stat_user_tables WHERE relname = 'queue' AND schemaname = current_schema()",
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let vacuumed = optional(&row, 2)?.map(Timestamp::from_millis);
        Ok(Leavings { live: number(&row, 0)?, dead: number(&row, 1)?, vacuumed })
    })
    .transpose()
}
