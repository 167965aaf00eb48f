//! What became of messages that were sent.

use std::collections::{HashMap, HashSet};

use waxwing_crypto::sealing::Kind;
use waxwing_crypto::{ClientMessageId, Fingerprint, NodeId, Timestamp, WireId};
use waxwing_protocol::MessageId;
use waxwing_protocol::api::Voucher;
use waxwing_sqlite::{Connection, Executor, FromRow, Query, Row};

use super::{kind, lane, voucher_code};
use crate::store::columns::{client_id, fingerprint, wire_id};
use crate::store::{OutLane, meta, millis, number, time, unsigned};

/// The broker has one seal of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) row: i64,
    pub(crate) seal: u32,
    pub(crate) message_id: MessageId,
}

/// Marks rows done, where the seal is still the one the broker has.
pub(crate) async fn accept(
    db: &mut Connection,
    rows: &[Accepted],
    at: Timestamp,
) -> waxwing_sqlite::Result<()> {
    const UPDATE: &str = "UPDATE outbox SET state = 1, message_id = ?3, accepted_at = coalesce(accepted_at, ?4), \
                          doubtful = doubtful & 1 WHERE row = ?1 AND seal = ?2 AND state = 0";
    let query = rows.iter().fold(waxwing_sqlite::query(UPDATE), |query, row| {
        query.bind(row.row).bind(row.seal).bind(&row.message_id.as_bytes()[..]).bind(millis(at))
    });
    query.execute_each(db).await?;
    Ok(())
}

/// A message that has come to another state: what to tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Affected {
    pub(crate) client_id: ClientMessageId,
    /// The app that sent it; empty if it did not name itself.
    pub(crate) from_app: String,
    pub(crate) kind: Kind,
    /// How often its recipient has asked for another seal.
    pub(crate) nacks: i64,
    /// Why it has ended, if it has.
    pub(crate) reason: Option<String>,
}

impl FromRow for Affected {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            client_id: client_id(row)?,
            from_app: row.try_get("from_app")?,
            kind: kind(row.try_get("kind")?)?,
            nacks: row.try_get("nacks")?,
            reason: row.try_get("reason")?,
        })
    }
}

/// Of pending rows whose answer from the broker is missing: it may have them, until it says that it does. Only those, if
/// given, that have had their time by then, or are for that node.
pub(crate) async fn doubt(
    db: &mut Connection,
    rows: &[i64],
    by: Option<Timestamp>,
    recipient: Option<NodeId>,
) -> waxwing_sqlite::Result<()> {
    const UPDATE: &str = "UPDATE outbox SET doubtful = 2 WHERE row = ?1 AND state = 0 AND doubtful = 0 \
                          AND expires <= coalesce(?2, expires) AND recipient = coalesce(?3, recipient)";
    let recipient = recipient.map(|node| *node.as_bytes());
    let query = rows.iter().fold(waxwing_sqlite::query(UPDATE), |query, row| {
        query.bind(*row).bind(by.map(millis)).bind(recipient.as_ref().map(|node| &node[..]))
    });
    query.execute_each(db).await?;
    Ok(())
}

/// A process that has ended without a word while its link was up may have handed over whatever is pending.
pub(crate) async fn doubt_after_crash(db: &mut Connection) -> waxwing_sqlite::Result<()> {
    if meta::number(&mut *db, meta::LINKED).await? == 0 {
        return Ok(());
    }
    db.run("BEGIN IMMEDIATE")?;
    let doubted = async {
        waxwing_sqlite::query("UPDATE outbox SET doubtful = 2 WHERE state = 0 AND doubtful = 0")
            .execute(&mut *db)
            .await?;
        meta::set_number(&mut *db, meta::LINKED, 0).await
    };
    let ended = match doubted.await {
        Ok(()) => db.run("COMMIT"),
        Err(error) => Err(error),
    };
    if ended.is_err() {
        let _ = db.run("ROLLBACK");
    }
    ended
}

/// Ends a row that is not delivered and, if a seal is given, still has it.
pub(crate) async fn kill(
    db: &mut Connection,
    row: i64,
    seal: Option<u32>,
    reason: &str,
    by: Voucher,
    at: Timestamp,
) -> waxwing_sqlite::Result<Option<Affected>> {
    waxwing_sqlite::query_as(
        "UPDATE outbox SET state = 2, reason = ? || iif(doubtful, ', delivery unknown', ''), ended_by = ?, ended_at = ?, \
         size = iif(counter = 0, 0, size) \
         WHERE row = ? AND state IN (0, 1) AND delivered_at IS NULL AND seal = coalesce(?, seal) \
         RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(reason)
    .bind(voucher_code(by))
    .bind(millis(at))
    .bind(row)
    .bind(seal)
    .fetch_optional(db)
    .await
}

/// Ends what was asked in another life of this process: whoever waited for it is gone. Answers go on their way.
pub(crate) async fn end_asked(db: &mut Connection, at: Timestamp) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "UPDATE outbox SET state = 2, reason = 'cancelled', ended_by = 0, ended_at = ?, size = 0 \
         WHERE state = 0 AND kind IN (2, 3, 6)",
    )
    .bind(millis(at))
    .execute(db)
    .await?;
    Ok(())
}

/// Ends every pending row for a node that is no member any more. This node knows it by the log.
pub(crate) async fn end_pending(
    db: &mut Connection,
    recipient: NodeId,
    reason: &str,
    at: Timestamp,
) -> waxwing_sqlite::Result<Vec<Affected>> {
    let ended = waxwing_sqlite::query_as(
        "UPDATE outbox SET state = 2, reason = ? || iif(doubtful, ', delivery unknown', ''), ended_by = ?, ended_at = ? \
         WHERE recipient = ? AND state = 0 RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(reason)
    .bind(voucher_code(Voucher::Node))
    .bind(millis(at))
    .bind(&recipient.as_bytes()[..])
    .fetch_all(&mut *db)
    .await?;
    // Nobody is left to be told which counters never come.
    waxwing_sqlite::query(
        "UPDATE outbox SET void_told = 1 WHERE priority IN (0, 1, 2) AND recipient = ? \
         AND (CASE WHEN delivered_at IS NULL THEN ended_at IS NOT NULL ELSE renumbered END) AND void_told = 0",
    )
    .bind(&recipient.as_bytes()[..])
    .execute(db)
    .await?;
    Ok(ended)
}

/// Makes a row pending again under a higher seal, unless it is delivered or ended. The broker may still hold the older
/// one, but nobody can open that: the message is only here.
pub(crate) async fn reseal(
    db: &mut Connection,
    row: i64,
    seal: u32,
) -> waxwing_sqlite::Result<Option<Affected>> {
    waxwing_sqlite::query_as(
        "UPDATE outbox SET state = 0, seal = ?, nacks = nacks + 1, accepted_at = NULL \
         WHERE row = ? AND state IN (0, 1) AND delivered_at IS NULL RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(seal)
    .bind(row)
    .fetch_optional(db)
    .await
}

/// Takes back what the broker had: it has lost its store. Says how many messages are pending again.
pub(crate) async fn take_back(db: &mut Connection) -> waxwing_sqlite::Result<u64> {
    // What the new store says tells nothing of the old one.
    waxwing_sqlite::query("UPDATE outbox SET doubtful = 1 WHERE state = 0 AND doubtful = 2")
        .execute(&mut *db)
        .await?;
    let done = waxwing_sqlite::query(
        "UPDATE outbox SET state = 0, accepted_at = NULL, doubtful = 1 \
         WHERE state = 1 AND delivered_at IS NULL AND ended_at IS NULL",
    )
    .execute(db)
    .await?;
    Ok(done)
}

/// Gives every row that is not receipted a new counter, from 1 in its old order, and has it sent under the next seal:
/// counters belong to a signing key, and this node has a new one. What the broker has under the old key would only be
/// refused, or leave a gap in the new lane if it were not. Counters of the old lanes need not be told any more. Any of
/// them may have been delivered: a state that was set back does not know what was sent since.
pub(crate) async fn renumber(db: &mut Connection) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("UPDATE outbox SET void_told = 1, renumbered = 0").execute(&mut *db).await?;
    waxwing_sqlite::query(
        "UPDATE outbox SET counter = n.counter, renumbered = 1, void_told = 0, seal = seal + 1, \
         doubtful = 1, state = 0, accepted_at = NULL FROM (SELECT row, \
         row_number() OVER (PARTITION BY recipient, priority ORDER BY counter) AS counter FROM outbox \
         WHERE delivered_at IS NULL AND ended_at IS NULL AND counter > 0) AS n WHERE outbox.row = n.row",
    )
    .execute(&mut *db)
    .await?;
    waxwing_sqlite::query("DELETE FROM lane_out").execute(&mut *db).await?;
    waxwing_sqlite::query(
        "INSERT INTO lane_out (recipient, priority, counter) SELECT recipient, priority, max(counter) FROM outbox \
         WHERE delivered_at IS NULL AND ended_at IS NULL AND counter > 0 GROUP BY recipient, priority",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The highest number ever given to a row, kept or not.
pub(crate) async fn rows(db: impl Executor<'_>) -> waxwing_sqlite::Result<u64> {
    let given: Option<i64> =
        waxwing_sqlite::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
            .fetch_optional(db)
            .await?;
    Ok(given.map_or(0, unsigned))
}

/// Marks rows delivered, whatever state they were in; a dead one lives again.
pub(crate) async fn deliver(
    db: &mut Connection,
    rows: &[i64],
    at: Timestamp,
) -> waxwing_sqlite::Result<Vec<Affected>> {
    // Two statements: `RETURNING` has SQLite make a table for what is returned, and a journal of the statement's own, for each row.
    const FIND: &str = "SELECT client_id, from_app, kind, nacks, iif(state = 3, reason, NULL) AS reason, row, counter \
         FROM outbox WHERE row = ? AND delivered_at IS NULL";
    const UPDATE: &str = "UPDATE outbox SET delivered_at = ?2, state = CASE state WHEN 3 THEN 3 ELSE 1 END, \
         accepted_at = coalesce(accepted_at, ?2), reason = CASE state WHEN 3 THEN reason END, \
         ended_by = CASE state WHEN 3 THEN ended_by END, ended_at = CASE state WHEN 3 THEN ended_at END WHERE row = ?1";
    // What is live has had its use. Apart: its content goes with its size, and a statement that may do so has a journal too.
    const WIPE: &str = "UPDATE outbox SET size = 0 WHERE row = ?";
    let mut seen = HashSet::with_capacity(rows.len());
    let once = rows.iter().copied().filter(|row| seen.insert(*row));
    let found = once.fold(waxwing_sqlite::query(FIND), Query::bind).fetch_each(&mut *db).await?;
    let (mut affected, mut live) = (Vec::with_capacity(found.len()), Vec::new());
    let mut update = waxwing_sqlite::query(UPDATE);
    for message in &found {
        let row: i64 = message.try_get("row")?;
        affected.push(Affected::from_row(message)?);
        update = update.bind(row).bind(millis(at));
        if message.try_get::<i64, _>("counter")? == 0 {
            live.push(row);
        }
    }
    update.execute_each(&mut *db).await?;
    live.into_iter().fold(waxwing_sqlite::query(WIPE), Query::bind).execute_each(db).await?;
    Ok(affected)
}

/// The message that a node says was read, if it was sent to that node.
pub(crate) async fn sent_to(
    db: &mut Connection,
    id: &ClientMessageId,
    recipient: NodeId,
) -> waxwing_sqlite::Result<Option<i64>> {
    waxwing_sqlite::query_scalar("SELECT row FROM outbox WHERE client_id = ? AND recipient = ? AND kind = 0")
        .bind(id.as_str())
        .bind(&recipient.as_bytes()[..])
        .fetch_optional(db)
        .await
}

/// Marks a delivered message read.
pub(crate) async fn mark_read(
    db: &mut Connection,
    row: i64,
    at: Timestamp,
) -> waxwing_sqlite::Result<Option<Affected>> {
    waxwing_sqlite::query_as(
        "UPDATE outbox SET read_at = ? WHERE row = ? AND read_at IS NULL RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(millis(at))
    .bind(row)
    .fetch_optional(db)
    .await
}

/// Gives a message up that is not delivered. False if it is, or was given up before.
pub(crate) async fn abort(
    db: &mut Connection,
    row: i64,
    superseded_by: Option<&ClientMessageId>,
    at: Timestamp,
) -> waxwing_sqlite::Result<Option<Affected>> {
    waxwing_sqlite::query_as(
        "UPDATE outbox SET state = 3, ended_at = ?1, ended_by = 0, superseded_by = ?2, \
         reason = CASE WHEN ?2 IS NULL THEN 'given up' ELSE 'sent again' END \
         WHERE row = ?3 AND state <> 3 AND delivered_at IS NULL RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(millis(at))
    .bind(superseded_by.map(ClientMessageId::as_str))
    .bind(row)
    .fetch_optional(db)
    .await
}

/// Ends pending rows whose time has passed, at most `limit` of them.
pub(crate) async fn expire(
    db: &mut Connection,
    now: Timestamp,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Affected>> {
    waxwing_sqlite::query_as(
        "UPDATE outbox SET state = 2, reason = iif(doubtful, 'expired, delivery unknown', 'expired'), ended_by = 0, ended_at = ?1, \
         size = iif(counter = 0, 0, size) WHERE row IN \
         (SELECT row FROM outbox WHERE state = 0 AND expires <= ?1 ORDER BY expires LIMIT ?2) \
         RETURNING client_id, from_app, kind, nacks, reason",
    )
    .bind(millis(now))
    .bind(number(limit as u64))
    .fetch_all(db)
    .await
}

/// When the first of the pending rows has had its time.
pub(crate) async fn first_expiry(db: impl Executor<'_>) -> waxwing_sqlite::Result<Option<Timestamp>> {
    let first: Option<i64> =
        waxwing_sqlite::query_scalar("SELECT min(expires) FROM outbox WHERE state = 0").fetch_one(db).await?;
    Ok(first.map(time))
}

/// What a receipt or nack is about.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) row: i64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) wire_id: WireId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lane: OutLane,
    pub(crate) seal: u32,
}

/// Looks up messages by what the broker calls them.
pub(crate) async fn by_wire_id(
    db: impl Executor<'_>,
    ids: &[WireId],
) -> waxwing_sqlite::Result<HashMap<WireId, Sent>> {
    const FIND: &str = "SELECT row, client_id, wire_id, fingerprint, recipient, priority, seal FROM outbox \
             WHERE wire_id = ?";
    let (mut db, mut sent) = (db.into(), HashMap::new());
    let query = ids.iter().fold(waxwing_sqlite::query(FIND), |query, id| query.bind(&id.as_bytes()[..]));
    for row in query.fetch_each(&mut db).await? {
        let found = Sent {
            row: row.try_get("row")?,
            client_id: client_id(&row)?,
            wire_id: wire_id(&row)?,
            fingerprint: fingerprint(&row)?,
            lane: lane(&row)?,
            seal: row.try_get("seal")?,
        };
        sent.insert(found.wire_id, found);
    }
    Ok(sent)
}
