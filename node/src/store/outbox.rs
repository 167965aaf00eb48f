//! Messages accepted from apps, until they are delivered and after.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _, SqliteConnection, SqliteExecutor};
use waxwing_crypto::sealing::CounterRange;
use waxwing_crypto::{ClientMessageId, Fingerprint, Name, NodeId, Priority, Timestamp, WireId};
use waxwing_protocol::MessageId;
use waxwing_protocol::api::Voucher;

use super::chunks::Chunks;
use super::{OutLane, damaged, millis, number, time, unsigned};

/// The stored state of a row. That it is in flight is the link's knowledge, not a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// To be sent.
    Pending,
    /// At the broker.
    Done,
    /// Refused for good, or out of time.
    Dead,
    /// Given up by an operator.
    Aborted,
}

impl State {
    const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Done => 1,
            Self::Dead => 2,
            Self::Aborted => 3,
        }
    }

    fn from_code(code: i64) -> sqlx::Result<Self> {
        [Self::Pending, Self::Done, Self::Dead, Self::Aborted]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| damaged("outbox state"))
    }
}

/// A message about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) client_id: ClientMessageId,
    pub(crate) wire_id: WireId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lane: OutLane,
    pub(crate) to_node: Name,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) counter: u64,
    pub(crate) expires: Timestamp,
    pub(crate) queued_at: Timestamp,
    pub(crate) content: Bytes,
}

/// Stores messages as pending, in this order.
pub(crate) async fn insert(db: &mut SqliteConnection, rows: &[NewRow]) -> sqlx::Result<()> {
    static INSERT: LazyLock<Chunks> = LazyLock::new(|| {
        Chunks::new(
            "INSERT INTO outbox (client_id, wire_id, fingerprint, recipient, to_node, to_app, from_app, priority, \
             counter, expires, queued_at, size, content) VALUES",
            13,
            "",
        )
    });
    for (sql, share) in INSERT.of(rows) {
        let mut query = sqlx::query(sql);
        for row in share {
            query = query
                .bind(row.client_id.as_str())
                .bind(&row.wire_id.as_bytes()[..])
                .bind(&row.fingerprint.as_bytes()[..])
                .bind(&row.lane.recipient.as_bytes()[..])
                .bind(row.to_node.as_str())
                .bind(row.to_app.as_ref().map_or("", Name::as_str))
                .bind(row.from_app.as_ref().map_or("", Name::as_str))
                .bind(i64::from(row.lane.priority.as_u8()))
                .bind(number(row.counter))
                .bind(millis(row.expires))
                .bind(millis(row.queued_at))
                .bind(number(row.content.len() as u64))
                .bind(&row.content[..]);
        }
        query.execute(&mut *db).await?;
    }
    Ok(())
}

/// What is known of an id that is taken.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) row: i64,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) state: State,
    pub(crate) reason: Option<String>,
    pub(crate) message_id: Option<MessageId>,
    pub(crate) delivered_at: Option<Timestamp>,
}

impl Known {
    /// One that is being stored in the same transaction.
    pub(crate) const fn queued(fingerprint: Fingerprint) -> Self {
        Self {
            row: 0,
            fingerprint,
            state: State::Pending,
            reason: None,
            message_id: None,
            delivered_at: None,
        }
    }
}

/// Looks up ids. Those that are free are not in the answer.
pub(crate) async fn find(
    db: &mut SqliteConnection,
    ids: &[&ClientMessageId],
) -> sqlx::Result<HashMap<ClientMessageId, Known>> {
    static FIND: LazyLock<Chunks> = LazyLock::new(|| {
        Chunks::new(
            "SELECT client_id, row, fingerprint, state, reason, message_id, delivered_at FROM outbox \
             WHERE client_id IN (VALUES",
            1,
            ")",
        )
    });
    let mut known = HashMap::new();
    for (sql, share) in FIND.of(ids) {
        let query = share.iter().fold(sqlx::query(sql), |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(&mut *db).await? {
            let id: String = row.try_get("client_id")?;
            known.insert(id.parse().map_err(|_| damaged("client id"))?, Known::from_row(&row)?);
        }
    }
    Ok(known)
}

impl FromRow<'_, SqliteRow> for Known {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            row: row.try_get("row")?,
            fingerprint: fingerprint(row)?,
            state: State::from_code(row.try_get("state")?)?,
            reason: row.try_get("reason")?,
            message_id: message_id(row)?,
            delivered_at: moment(row, "delivered_at")?,
        })
    }
}

/// A message to seal and send.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) row: i64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) wire_id: WireId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) counter: u64,
    pub(crate) seal: u32,
    pub(crate) expires: Timestamp,
    pub(crate) queued_at: Timestamp,
    pub(crate) content: Vec<u8>,
}

/// The next pending messages of a lane after a row, in lane order.
pub(crate) async fn pending(
    db: impl SqliteExecutor<'_>,
    lane: OutLane,
    after: i64,
    limit: usize,
) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as(
        "SELECT row, client_id, wire_id, fingerprint, to_app, from_app, counter, seal, expires, queued_at, content \
         FROM outbox WHERE state = 0 AND priority = ? AND recipient = ? AND row > ? ORDER BY row LIMIT ?",
    )
    .bind(i64::from(lane.priority.as_u8()))
    .bind(&lane.recipient.as_bytes()[..])
    .bind(after)
    .bind(number(limit as u64))
    .fetch_all(db)
    .await
}

impl FromRow<'_, SqliteRow> for Pending {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let id: &str = row.try_get("client_id")?;
        Ok(Self {
            row: row.try_get("row")?,
            client_id: id.parse().map_err(|_| damaged("client id"))?,
            wire_id: wire_id(row)?,
            fingerprint: fingerprint(row)?,
            to_app: app(row, "to_app")?,
            from_app: app(row, "from_app")?,
            counter: unsigned(row.try_get("counter")?),
            seal: row.try_get("seal")?,
            expires: time(row.try_get("expires")?),
            queued_at: time(row.try_get("queued_at")?),
            content: row.try_get("content")?,
        })
    }
}

/// Every lane that has pending messages, most urgent first.
pub(crate) async fn pending_lanes(db: &mut SqliteConnection) -> sqlx::Result<Vec<OutLane>> {
    // A loose index scan: one step per lane, however many messages wait in each.
    let mut lanes: Vec<OutLane> = Vec::new();
    let next = "SELECT priority, recipient FROM outbox WHERE state = 0 AND (priority, recipient) > (?, ?) \
                ORDER BY priority, recipient LIMIT 1";
    loop {
        let (priority, recipient) = match lanes.last() {
            Some(lane) => (i64::from(lane.priority.as_u8()), &lane.recipient.as_bytes()[..]),
            None => (-1, &[][..]),
        };
        let row = sqlx::query(next).bind(priority).bind(recipient).fetch_optional(&mut *db).await?;
        match row {
            Some(row) => lanes.push(lane(&row)?),
            None => return Ok(lanes),
        }
    }
}

/// Counters of a lane below `below` that its recipient has to be told it will never see, nearest first.
pub(crate) async fn untold(
    db: impl SqliteExecutor<'_>,
    lane: OutLane,
    below: u64,
    limit: usize,
) -> sqlx::Result<Vec<u64>> {
    let counters: Vec<i64> = sqlx::query_scalar(
        "SELECT counter FROM outbox WHERE priority = ? AND recipient = ? AND counter < ? \
         AND ended_at IS NOT NULL AND delivered_at IS NULL AND void_told = 0 ORDER BY counter DESC LIMIT ?",
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
    db: &mut SqliteConnection,
    lane: OutLane,
    ranges: &[CounterRange],
) -> sqlx::Result<()> {
    for range in ranges {
        sqlx::query(
            "UPDATE outbox SET void_told = 1 WHERE priority = ? AND recipient = ? AND counter BETWEEN ? AND ? \
             AND ended_at IS NOT NULL AND delivered_at IS NULL AND void_told = 0",
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

/// The broker has one seal of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) row: i64,
    pub(crate) seal: u32,
    pub(crate) message_id: MessageId,
}

/// Marks rows done, where the seal is still the one the broker has.
pub(crate) async fn accept(db: &mut SqliteConnection, rows: &[Accepted], at: Timestamp) -> sqlx::Result<()> {
    static UPDATE: LazyLock<Chunks> = LazyLock::new(|| {
        Chunks::new(
            "UPDATE outbox SET state = 1, message_id = v.column3, accepted_at = coalesce(accepted_at, v.column4) \
             FROM (VALUES",
            4,
            ") AS v WHERE outbox.row = v.column1 AND outbox.seal = v.column2 AND outbox.state = 0",
        )
    });
    for (sql, share) in UPDATE.of(rows) {
        let query = share.iter().fold(sqlx::query(sql), |query, row| {
            query.bind(row.row).bind(row.seal).bind(&row.message_id.as_bytes()[..]).bind(millis(at))
        });
        query.execute(&mut *db).await?;
    }
    Ok(())
}

/// Ends a row that is not delivered and, if a seal is given, still has it.
pub(crate) async fn kill(
    db: &mut SqliteConnection,
    row: i64,
    seal: Option<u32>,
    reason: &str,
    by: Voucher,
    at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE outbox SET state = 2, reason = ?, ended_by = ?, ended_at = ? \
         WHERE row = ? AND state IN (0, 1) AND delivered_at IS NULL AND seal = coalesce(?, seal)",
    )
    .bind(reason)
    .bind(voucher_code(by))
    .bind(millis(at))
    .bind(row)
    .bind(seal)
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a row pending again under a higher seal, unless it is delivered or ended.
pub(crate) async fn reseal(db: &mut SqliteConnection, row: i64, seal: u32) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE outbox SET state = 0, seal = ? WHERE row = ? AND state IN (0, 1) AND delivered_at IS NULL",
    )
    .bind(seal)
    .bind(row)
    .execute(db)
    .await?;
    Ok(())
}

/// Marks rows delivered, whatever state they were in; a dead one lives again.
pub(crate) async fn deliver(db: &mut SqliteConnection, rows: &[i64], at: Timestamp) -> sqlx::Result<()> {
    static UPDATE: LazyLock<Chunks> = LazyLock::new(|| {
        Chunks::new(
            "UPDATE outbox SET delivered_at = v.column2, state = CASE state WHEN 3 THEN 3 ELSE 1 END, \
             accepted_at = coalesce(accepted_at, v.column2), reason = CASE state WHEN 3 THEN reason END, \
             ended_by = CASE state WHEN 3 THEN ended_by END, ended_at = CASE state WHEN 3 THEN ended_at END \
             FROM (VALUES",
            2,
            ") AS v WHERE outbox.row = v.column1 AND outbox.delivered_at IS NULL",
        )
    });
    for (sql, share) in UPDATE.of(rows) {
        let query = share.iter().fold(sqlx::query(sql), |query, row| query.bind(row).bind(millis(at)));
        query.execute(&mut *db).await?;
    }
    Ok(())
}

/// Ends pending rows whose time has passed, at most `limit` of them. Says how many.
pub(crate) async fn expire(db: &mut SqliteConnection, now: Timestamp, limit: usize) -> sqlx::Result<u64> {
    let ended = sqlx::query(
        "UPDATE outbox SET state = 2, reason = 'expired', ended_by = 0, ended_at = ?1 WHERE row IN \
         (SELECT row FROM outbox WHERE state = 0 AND expires <= ?1 ORDER BY expires LIMIT ?2)",
    )
    .bind(millis(now))
    .bind(number(limit as u64))
    .execute(db)
    .await?;
    Ok(ended.rows_affected())
}

/// Whether any pending row's time has passed.
pub(crate) async fn any_expired(db: impl SqliteExecutor<'_>, now: Timestamp) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 0 AND expires <= ?)")
        .bind(millis(now))
        .fetch_one(db)
        .await
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
    db: &mut SqliteConnection,
    ids: &[WireId],
) -> sqlx::Result<HashMap<WireId, Sent>> {
    static FIND: LazyLock<Chunks> = LazyLock::new(|| {
        Chunks::new(
            "SELECT row, client_id, wire_id, fingerprint, recipient, priority, seal FROM outbox \
             WHERE wire_id IN (VALUES",
            1,
            ")",
        )
    });
    let mut sent = HashMap::new();
    for (sql, share) in FIND.of(ids) {
        let query = share.iter().fold(sqlx::query(sql), |query, id| query.bind(&id.as_bytes()[..]));
        for row in query.fetch_all(&mut *db).await? {
            let id: &str = row.try_get("client_id")?;
            let found = Sent {
                row: row.try_get("row")?,
                client_id: id.parse().map_err(|_| damaged("client id"))?,
                wire_id: wire_id(&row)?,
                fingerprint: fingerprint(&row)?,
                lane: lane(&row)?,
                seal: row.try_get("seal")?,
            };
            sent.insert(found.wire_id, found);
        }
    }
    Ok(sent)
}

/// Everything about one message but its content.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) row: i64,
    pub(crate) to_node: Name,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) priority: Priority,
    pub(crate) seal: u32,
    pub(crate) state: State,
    pub(crate) expires: Timestamp,
    pub(crate) queued_at: Timestamp,
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) ended_by: Voucher,
    pub(crate) reason: Option<String>,
    pub(crate) message_id: Option<MessageId>,
}

/// One message's life.
pub(crate) async fn life(db: impl SqliteExecutor<'_>, id: &ClientMessageId) -> sqlx::Result<Option<Life>> {
    sqlx::query_as(
        "SELECT row, to_node, to_app, from_app, priority, seal, state, expires, queued_at, accepted_at, \
         delivered_at, ended_at, ended_by, reason, message_id FROM outbox WHERE client_id = ?",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
}

impl FromRow<'_, SqliteRow> for Life {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            row: row.try_get("row")?,
            to_node: row.try_get::<&str, _>("to_node")?.parse().map_err(|_| damaged("name"))?,
            to_app: app(row, "to_app")?,
            from_app: app(row, "from_app")?,
            priority: priority(row)?,
            seal: row.try_get("seal")?,
            state: State::from_code(row.try_get("state")?)?,
            expires: time(row.try_get("expires")?),
            queued_at: time(row.try_get("queued_at")?),
            accepted_at: moment(row, "accepted_at")?,
            delivered_at: moment(row, "delivered_at")?,
            ended_at: moment(row, "ended_at")?,
            ended_by: voucher(row.try_get::<Option<i64>, _>("ended_by")?),
            reason: row.try_get("reason")?,
            message_id: message_id(row)?,
        })
    }
}

/// How much is under way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Load {
    pub(crate) pending: u64,
    pub(crate) unreceipted: u64,
    pub(crate) bytes: u64,
}

/// Counts what is neither delivered nor ended.
pub(crate) async fn load(db: impl SqliteExecutor<'_>) -> sqlx::Result<Load> {
    let (pending, unreceipted, bytes): (i64, i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0), coalesce(sum(size), 0) FROM outbox \
         INDEXED BY outbox_open WHERE delivered_at IS NULL AND ended_at IS NULL",
    )
    .fetch_one(db)
    .await?;
    Ok(Load { pending: unsigned(pending), unreceipted: unsigned(unreceipted), bytes: unsigned(bytes) })
}

const fn voucher_code(by: Voucher) -> i64 {
    match by {
        Voucher::Node => 0,
        Voucher::Broker => 1,
        Voucher::Recipient => 2,
    }
}

const fn voucher(code: Option<i64>) -> Voucher {
    match code {
        Some(1) => Voucher::Broker,
        Some(2) => Voucher::Recipient,
        _ => Voucher::Node,
    }
}

fn lane(row: &SqliteRow) -> sqlx::Result<OutLane> {
    let recipient: &[u8] = row.try_get("recipient")?;
    Ok(OutLane {
        priority: priority(row)?,
        recipient: NodeId::try_from(recipient).map_err(|_| damaged("recipient"))?,
    })
}

fn priority(row: &SqliteRow) -> sqlx::Result<Priority> {
    let code: i64 = row.try_get("priority")?;
    u8::try_from(code).ok().and_then(|code| Priority::try_from(code).ok()).ok_or_else(|| damaged("priority"))
}

fn wire_id(row: &SqliteRow) -> sqlx::Result<WireId> {
    WireId::try_from(row.try_get::<&[u8], _>("wire_id")?).map_err(|_| damaged("wire id"))
}

fn fingerprint(row: &SqliteRow) -> sqlx::Result<Fingerprint> {
    Fingerprint::try_from(row.try_get::<&[u8], _>("fingerprint")?).map_err(|_| damaged("fingerprint"))
}

fn message_id(row: &SqliteRow) -> sqlx::Result<Option<MessageId>> {
    let bytes: Option<&[u8]> = row.try_get("message_id")?;
    bytes
        .map(|bytes| bytes.try_into().map(MessageId::from_bytes).map_err(|_| damaged("message id")))
        .transpose()
}

fn app(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Name>> {
    let text: &str = row.try_get(column)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| damaged("app name")) }
}

fn moment(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(time))
}
