//! What is over goes when its time has come: content first, ids last. A little at a time: whoever sends meanwhile waits
//! for one such step.

use waxwing_crypto::Timestamp;
use waxwing_sqlite::{Connection, Executor};

use super::{millis, number};

/// Most rows of one step.
const ROWS: u64 = 64;
/// A step ends with the row that brings it to so many bytes of content.
const BYTES: u64 = 1024 * 1024;

/// What is over since before these moments may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    /// Received messages, read before.
    pub(crate) inbox: Timestamp,
    /// Content of sent messages, delivered before.
    pub(crate) sent: Timestamp,
    /// Ids of received messages, received before.
    pub(crate) received_ids: Timestamp,
    /// Ids of sent messages, delivered or ended before.
    pub(crate) sent_ids: Timestamp,
}

/// Whether anything may go.
pub(crate) async fn any(db: impl Executor<'_>, over: &Over) -> waxwing_sqlite::Result<bool> {
    waxwing_sqlite::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM inbox WHERE read_at < ?1) \
         OR EXISTS (SELECT 1 FROM outbox WHERE delivered_at < ?2 AND size > 0) \
         OR EXISTS (SELECT 1 FROM dedupe WHERE received_at < ?3) \
         OR EXISTS (SELECT 1 FROM outbox WHERE coalesce(delivered_at, ended_at) < ?4 \
            AND coalesce(delivered_at, ended_at) IS NOT NULL \
            AND (void_told = 1 OR (delivered_at IS NOT NULL AND renumbered = 0))) \
         OR EXISTS (SELECT 1 FROM outbox WHERE ended_at < ?4 AND delivered_at IS NULL AND size > 0)",
    )
    .bind(millis(over.inbox))
    .bind(millis(over.sent))
    .bind(millis(over.received_ids))
    .bind(millis(over.sent_ids))
    .fetch_one(db)
    .await
}

/// One step. Says how many rows it was; none if nothing may go.
pub(crate) async fn step(db: &mut Connection, over: &Over) -> waxwing_sqlite::Result<u64> {
    let steps = [
        (DELETE_READ, over.inbox),
        (WIPE_DELIVERED, over.sent),
        (FORGET_RECEIVED, over.received_ids),
        (FORGET_SENT, over.sent_ids),
        (WIPE_ENDED, over.sent_ids),
    ];
    for (sql, before) in steps {
        let done = waxwing_sqlite::query(sql).bind(millis(before)).bind(number(ROWS)).bind(number(BYTES));
        let rows = done.execute(&mut *db).await?;
        if rows > 0 {
            return Ok(rows);
        }
    }
    Ok(0)
}

/// Messages that were read.
const DELETE_READ: &str = "DELETE FROM inbox WHERE row IN (SELECT row FROM (SELECT row, size, \
    sum(size) OVER (ORDER BY read_at, row) AS upto FROM (SELECT row, read_at, length(content) AS size FROM inbox \
    WHERE read_at < ?1 ORDER BY read_at, row LIMIT ?2)) WHERE upto - size < ?3)";

/// Content of what was delivered.
const WIPE_DELIVERED: &str = "UPDATE outbox SET size = 0 WHERE row IN (SELECT row FROM (SELECT row, size, \
    sum(size) OVER (ORDER BY delivered_at, row) AS upto FROM (SELECT row, delivered_at, size FROM outbox \
    WHERE delivered_at < ?1 AND size > 0 ORDER BY delivered_at, row LIMIT ?2)) WHERE upto - size < ?3)";

/// Content of what ended otherwise, once it is as old as ids that are forgotten: only its counter is still to be told.
const WIPE_ENDED: &str = "UPDATE outbox SET size = 0 WHERE row IN (SELECT row FROM (SELECT row, size, \
    sum(size) OVER (ORDER BY ended_at, row) AS upto FROM (SELECT row, ended_at, size FROM outbox \
    WHERE ended_at < ?1 AND delivered_at IS NULL AND size > 0 ORDER BY ended_at, row LIMIT ?2)) WHERE upto - size < ?3)";

/// That a message was received.
const FORGET_RECEIVED: &str = "DELETE FROM dedupe WHERE (sender, client_id) IN (SELECT sender, client_id FROM dedupe \
    WHERE received_at < ?1 ORDER BY received_at LIMIT min(?2, ?3))";

/// That a message was sent.
const FORGET_SENT: &str = "DELETE FROM outbox WHERE row IN (SELECT row FROM (SELECT row, size, \
    sum(size) OVER (ORDER BY over, row) AS upto FROM (SELECT row, coalesce(delivered_at, ended_at) AS over, size FROM outbox \
    WHERE coalesce(delivered_at, ended_at) < ?1 AND coalesce(delivered_at, ended_at) IS NOT NULL \
    AND (void_told = 1 OR (delivered_at IS NOT NULL AND renumbered = 0)) ORDER BY over, row LIMIT ?2)) \
    WHERE upto - size < ?3)";

#[cfg(test)]
mod tests {

    use super::*;
    use crate::store::tests::database;

    #[tokio::test]
    async fn no_step_reads_more_of_a_table_than_it_takes() {
        let (_folder, mut db, _readers) = database().await;
        for sql in [DELETE_READ, WIPE_DELIVERED, WIPE_ENDED, FORGET_RECEIVED, FORGET_SENT] {
            let plan = waxwing_sqlite::query(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan = plan.bind(1).bind(1).bind(1).fetch_all(&mut db).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
            let scans = |line: &&String| {
                ["SCAN outbox", "SCAN inbox", "SCAN dedupe"].iter().any(|s| line.contains(s))
            };
            assert!(plan.iter().find(scans).is_none(), "{sql}: {plan:?}");
        }
    }
}
