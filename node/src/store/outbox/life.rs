//! One message's whole life, and how much is under way.

use waxwing_crypto::{ClientMessageId, Name, Priority, Timestamp};
use waxwing_protocol::MessageId;
use waxwing_protocol::api::Voucher;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Executor, FromRow};

use super::{State, lane, voucher};
use crate::store::columns::{app, client_id, message_id, moment, priority};
use crate::store::{OutLane, damaged, number, time, unsigned};
use crate::writer::Caps;

/// Everything about one message but its content.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) row: i64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) size: u64,
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
    pub(crate) read_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) ended_by: Voucher,
    pub(crate) reason: Option<String>,
    pub(crate) message_id: Option<MessageId>,
    pub(crate) superseded_by: Option<ClientMessageId>,
    /// A broker has, or had, or may have it, and there is no word of that one any more.
    pub(crate) doubtful: bool,
}

/// What an operator asks for, by the name an app gave it or by its row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    Id(&'a ClientMessageId),
    Row(i64),
}

/// One message's life.
pub(crate) async fn life(db: impl Executor<'_>, which: Which<'_>) -> waxwing_sqlite::Result<Option<Life>> {
    // Read receipts have rows too; they are this node's own business.
    match which {
        Which::Id(id) => waxwing_sqlite::query_as("SELECT * FROM outbox WHERE client_id = ? AND kind = 0")
            .bind(id.as_str()),
        Which::Row(row) => {
            waxwing_sqlite::query_as("SELECT * FROM outbox WHERE row = ? AND kind = 0").bind(row)
        }
    }
    .fetch_optional(db)
    .await
}

/// Messages after a row, in the order accepted. `state` is the word that people see.
pub(crate) async fn list(
    db: impl Executor<'_>,
    after: u64,
    state: Option<&str>,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Life>> {
    waxwing_sqlite::query_as(
        "SELECT * FROM outbox WHERE row > ?1 AND kind = 0 AND (?2 IS NULL OR ?2 = CASE WHEN state = 3 THEN 'aborted' \
         WHEN read_at IS NOT NULL THEN 'read' WHEN delivered_at IS NOT NULL THEN 'delivered' \
         WHEN state = 0 THEN 'queued' WHEN state = 1 THEN 'accepted' WHEN reason LIKE 'expired%' THEN 'expired' \
         ELSE 'dead' END) ORDER BY row LIMIT ?3",
    )
    .bind(number(after))
    .bind(state)
    .bind(number(limit as u64))
    .fetch_all(db)
    .await
}

/// The encrypted content of a row; nothing once it is wiped.
pub(crate) async fn content(db: impl Executor<'_>, row: i64) -> waxwing_sqlite::Result<Vec<u8>> {
    let content = waxwing_sqlite::query_scalar("SELECT content FROM outbox_content WHERE row = ?")
        .bind(row)
        .fetch_optional(db);
    Ok(content.await?.unwrap_or_default())
}

/// Where a row goes, to send it again: its lane, and whether a read receipt was asked for.
pub(crate) async fn routing(db: impl Executor<'_>, row: i64) -> waxwing_sqlite::Result<(OutLane, bool)> {
    let row =
        waxwing_sqlite::query("SELECT recipient, priority, wants_read FROM outbox WHERE row = ?").bind(row);
    let row = row.fetch_one(db).await?;
    Ok((lane(&row)?, row.try_get("wants_read")?))
}

impl FromRow for Life {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            row: row.try_get("row")?,
            client_id: client_id(row)?,
            size: unsigned(row.try_get("size")?),
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
            read_at: moment(row, "read_at")?,
            ended_at: moment(row, "ended_at")?,
            ended_by: voucher(row.try_get::<Option<i64>, _>("ended_by")?),
            reason: row.try_get("reason")?,
            message_id: message_id(row)?,
            superseded_by: row
                .try_get::<Option<&str>, _>("superseded_by")?
                .map(|id| id.parse().map_err(|_| damaged("client id")))
                .transpose()?,
            doubtful: row.try_get::<i64, _>("doubtful")? > 0,
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

impl Load {
    /// How full an outbox with these caps is, by messages or by bytes, whichever is the more.
    pub(crate) fn percent_of(&self, caps: Caps) -> u64 {
        let percent = |part: u64, whole: u64| u128::from(part) * 100 / u128::from(whole.max(1));
        let most =
            percent(self.pending + self.unreceipted, caps.messages).max(percent(self.bytes, caps.bytes));
        u64::try_from(most).unwrap_or(u64::MAX)
    }
}

/// Counts what is neither delivered nor ended.
pub(crate) async fn load(db: impl Executor<'_>) -> waxwing_sqlite::Result<Load> {
    let (pending, unreceipted, bytes): (i64, i64, i64) = waxwing_sqlite::query_as(
        "SELECT coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0), coalesce(sum(size), 0) FROM outbox \
         INDEXED BY outbox_open WHERE delivered_at IS NULL AND ended_at IS NULL",
    )
    .fetch_one(db)
    .await?;
    Ok(Load { pending: unsigned(pending), unreceipted: unsigned(unreceipted), bytes: unsigned(bytes) })
}

/// Since when the first of those waits that are neither delivered nor ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oldest {
    /// For the broker.
    pub(crate) pending: Option<Timestamp>,
    /// At the broker, for its receipt.
    pub(crate) unreceipted: Option<Timestamp>,
}

/// Looks for them. Rows are in the order of their acceptance, so that the index alone says which is the first.
pub(crate) async fn oldest(db: impl Executor<'_>) -> waxwing_sqlite::Result<Oldest> {
    let (pending, unreceipted): (Option<i64>, Option<i64>) = waxwing_sqlite::query_as(
        "WITH first (pending, unreceipted) AS (\
         SELECT min(CASE state WHEN 0 THEN row END), min(CASE state WHEN 1 THEN row END) FROM outbox \
         INDEXED BY outbox_open WHERE delivered_at IS NULL AND ended_at IS NULL) \
         SELECT (SELECT queued_at FROM outbox WHERE row = pending), \
         (SELECT queued_at FROM outbox WHERE row = unreceipted) FROM first",
    )
    .fetch_one(db)
    .await?;
    Ok(Oldest { pending: pending.map(time), unreceipted: unreceipted.map(time) })
}
