//! One message's whole life, and how much is under way.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _, SqliteExecutor};
use waxwing_crypto::{ClientMessageId, Name, Priority, Timestamp};
use waxwing_protocol::MessageId;
use waxwing_protocol::api::Voucher;

use super::{State, voucher};
use crate::store::columns::{app, message_id, moment, priority};
use crate::store::{damaged, time, unsigned};

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
