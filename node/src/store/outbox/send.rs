//! What a link drains: pending messages, lane by lane, and the counters that will never come.

use waxwing_crypto::sealing::{CounterRange, Kind};
use waxwing_crypto::{ClientMessageId, Fingerprint, Name, Timestamp, WireId};
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, Executor, FromRow, On};

use super::{NewRow, Sent, kind, lane};
use crate::content::Content;
use crate::store::columns::{app, client_id, fingerprint, wire_id};
use crate::store::{OutLane, number, time, unsigned};

/// What is in a message to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// As its row has it.
    Sealed(Vec<u8>),
    /// As it was before it was encrypted for its row.
    Open(Content),
}

/// A message to seal and send.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) row: i64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) kind: Kind,
    pub(crate) wants_read: bool,
    pub(crate) wire_id: WireId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) counter: u64,
    pub(crate) seal: u32,
    pub(crate) expires: Timestamp,
    pub(crate) queued_at: Timestamp,
    pub(crate) content: Written,
}

/// The next pending messages of a lane after a row, in lane order.
pub(crate) async fn pending(
    db: impl Executor<'_>,
    lane: OutLane,
    after: i64,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Pending>> {
    waxwing_sqlite::query_as(
        "SELECT row, client_id, kind, wants_read, wire_id, fingerprint, to_app, from_app, counter, seal, expires, queued_at, content \
         FROM outbox LEFT JOIN outbox_content USING (row) WHERE state = 0 AND priority = ? AND recipient = ? AND row > ? ORDER BY row LIMIT ?",
    )
    .bind(i64::from(lane.priority.as_u8()))
    .bind(&lane.recipient.as_bytes()[..])
    .bind(after)
    .bind(number(limit as u64))
    .fetch_all(db)
    .await
}

impl Pending {
    /// One that has just been stored.
    pub(crate) fn stored(row: i64, new: NewRow) -> Self {
        Self {
            row,
            client_id: new.client_id,
            kind: new.kind,
            wants_read: new.wants_read,
            wire_id: new.wire_id,
            fingerprint: new.fingerprint,
            to_app: new.to_app,
            from_app: new.from_app,
            counter: new.counter,
            seal: 0,
            expires: new.expires,
            queued_at: new.queued_at,
            content: new.open.map_or_else(|| Written::Sealed(new.content.into()), Written::Open),
        }
    }

    /// What is asked of it when it has been received.
    pub(crate) fn sent(&self, lane: OutLane) -> Sent {
        Sent {
            row: self.row,
            client_id: self.client_id.clone(),
            wire_id: self.wire_id,
            fingerprint: self.fingerprint,
            lane,
            seal: self.seal,
        }
    }

    /// Bytes that it takes up, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.content {
                Written::Sealed(bytes) => bytes.len(),
                Written::Open(content) => content.body.len() + content.meta.len(),
            }
    }
}

impl FromRow for Pending {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            row: row.try_get("row")?,
            client_id: client_id(row)?,
            kind: kind(row.try_get("kind")?)?,
            wants_read: row.try_get("wants_read")?,
            wire_id: wire_id(row)?,
            fingerprint: fingerprint(row)?,
            to_app: app(row, "to_app")?,
            from_app: app(row, "from_app")?,
            counter: unsigned(row.try_get("counter")?),
            seal: row.try_get("seal")?,
            expires: time(row.try_get("expires")?),
            queued_at: time(row.try_get("queued_at")?),
            content: Written::Sealed(row.try_get("content")?),
        })
    }
}

/// Every lane that has pending messages, most urgent first.
pub(crate) async fn pending_lanes(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<OutLane>> {
    // A loose index scan: one step per lane, however many messages wait in each.
    let (mut db, mut lanes): (On<'_>, Vec<OutLane>) = (db.into(), Vec::new());
    let next = "SELECT priority, recipient FROM outbox WHERE state = 0 AND (priority, recipient) > (?, ?) \
                ORDER BY priority, recipient LIMIT 1";
    loop {
        let (priority, recipient) = match lanes.last() {
            Some(lane) => (i64::from(lane.priority.as_u8()), &lane.recipient.as_bytes()[..]),
            None => (-1, &[][..]),
        };
        let row = waxwing_sqlite::query(next).bind(priority).bind(recipient).fetch_optional(&mut db).await?;
        match row {
            Some(row) => lanes.push(lane(&row)?),
            None => return Ok(lanes),
        }
    }
}

/// Counters of a lane below `below` that its recipient has to be told it will never see, nearest first.
pub(crate) async fn untold(
    db: impl Executor<'_>,
    lane: OutLane,
    below: u64,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<u64>> {
    let counters: Vec<i64> = waxwing_sqlite::query_scalar(
        "SELECT counter FROM outbox WHERE priority = ? AND recipient = ? AND counter < ? \
         AND (CASE WHEN delivered_at IS NULL THEN ended_at IS NOT NULL ELSE renumbered END) AND void_told = 0 ORDER BY counter DESC LIMIT ?",
    )
    .bind(i64::from(lane.priority.as_u8()))
    .bind(&lane.recipient.as_bytes()[..])
    .bind(number(below))
    .bind(number(limit as u64))
    .fetch_all(db)
    .await?;
    Ok(counters.into_iter().map(unsigned).collect())
}

/// Notes that the recipient has been told of these counters.
pub(crate) async fn told(
    db: &mut Connection,
    lane: OutLane,
    ranges: &[CounterRange],
) -> waxwing_sqlite::Result<()> {
    for range in ranges {
        waxwing_sqlite::query(
            "UPDATE outbox SET void_told = 1 WHERE priority = ? AND recipient = ? AND counter BETWEEN ? AND ? \
             AND (CASE WHEN delivered_at IS NULL THEN ended_at IS NOT NULL ELSE renumbered END) AND void_told = 0",
        )
        .bind(i64::from(lane.priority.as_u8()))
        .bind(&lane.recipient.as_bytes()[..])
        .bind(number(range.first()))
        .bind(number(range.last()))
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
