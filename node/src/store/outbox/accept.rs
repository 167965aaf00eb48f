//! Storing a send, and looking up ids that may be taken.

use std::collections::HashMap;

use bytes::Bytes;
use waxwing_crypto::sealing::Kind;
use waxwing_crypto::{ClientMessageId, Fingerprint, Name, Timestamp, WireId};
use waxwing_protocol::MessageId;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, FromRow};

use super::{State, kind_code};
use crate::content::Content;
use crate::store::columns::{client_id, fingerprint, message_id, moment};
use crate::store::{OutLane, millis, number};

/// A message about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) client_id: ClientMessageId,
    pub(crate) kind: Kind,
    pub(crate) wants_read: bool,
    pub(crate) reply_to: Option<ClientMessageId>,
    pub(crate) wire_id: WireId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lane: OutLane,
    /// None for what nobody has addressed: read receipts, what goes back to whoever has asked.
    pub(crate) to_node: Option<Name>,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) counter: u64,
    pub(crate) expires: Timestamp,
    pub(crate) queued_at: Timestamp,
    /// Encrypted under the storage key.
    pub(crate) content: Bytes,
    /// The same before, for a link that sends it at once.
    pub(crate) open: Option<Content>,
}

/// Stores messages as pending, in this order, from row `first` on.
pub(crate) async fn insert(db: &mut Connection, first: i64, rows: &[NewRow]) -> waxwing_sqlite::Result<()> {
    const INSERT: &str = "INSERT INTO outbox (row, client_id, wire_id, fingerprint, recipient, to_node, to_app, from_app, priority, \
             counter, expires, queued_at, size, kind, wants_read, reply_to, void_told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    const CONTENT: &str = "INSERT INTO outbox_content (row, content) VALUES (?, ?)";
    let (mut query, mut contents) = (waxwing_sqlite::query(INSERT), waxwing_sqlite::query(CONTENT));
    for (place, row) in (first..).zip(rows) {
        contents = contents.bind(place).bind(&row.content[..]);
        query = query
            .bind(place)
            .bind(row.client_id.as_str())
            .bind(&row.wire_id.as_bytes()[..])
            .bind(&row.fingerprint.as_bytes()[..])
            .bind(&row.lane.recipient.as_bytes()[..])
            .bind(row.to_node.as_ref().map_or("", Name::as_str))
            .bind(row.to_app.as_ref().map_or("", Name::as_str))
            .bind(row.from_app.as_ref().map_or("", Name::as_str))
            .bind(i64::from(row.lane.priority.as_u8()))
            .bind(number(row.counter))
            .bind(millis(row.expires))
            .bind(millis(row.queued_at))
            .bind(number(row.content.len() as u64))
            .bind(kind_code(row.kind))
            .bind(row.wants_read)
            .bind(row.reply_to.as_ref().map(ClientMessageId::as_str))
            // Without a counter there is none to tell of.
            .bind(row.kind.is_live());
    }
    query.execute_each(&mut *db).await?;
    contents.execute_each(db).await.map(|_| ())
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
    pub(crate) read_at: Option<Timestamp>,
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
            read_at: None,
        }
    }
}

/// Looks up ids. Those that are free are not in the answer.
pub(crate) async fn find(
    db: &mut Connection,
    ids: &[&ClientMessageId],
) -> waxwing_sqlite::Result<HashMap<ClientMessageId, Known>> {
    const FIND: &str = "SELECT client_id, row, fingerprint, state, reason, message_id, delivered_at, read_at FROM outbox \
             WHERE client_id = ?";
    let mut known = HashMap::new();
    let query = ids.iter().fold(waxwing_sqlite::query(FIND), |query, id| query.bind(id.as_str()));
    for row in query.fetch_each(&mut *db).await? {
        known.insert(client_id(&row)?, Known::from_row(&row)?);
    }
    Ok(known)
}

impl FromRow for Known {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            row: row.try_get("row")?,
            fingerprint: fingerprint(row)?,
            state: State::from_code(row.try_get("state")?)?,
            reason: row.try_get("reason")?,
            message_id: message_id(row)?,
            delivered_at: moment(row, "delivered_at")?,
            read_at: moment(row, "read_at")?,
        })
    }
}
