//! Columns as the types they hold. What does not fit is damage: the file was changed by somebody else.

use waxwing_crypto::{ClientMessageId, Fingerprint, Name, NodeId, Priority, Receipt, Timestamp, WireId};
use waxwing_protocol::MessageId;
use waxwing_sqlite::Row;

use super::{damaged, time};

pub(super) fn node(row: &Row, column: &str) -> waxwing_sqlite::Result<NodeId> {
    NodeId::try_from(row.try_get::<&[u8], _>(column)?).map_err(|_| damaged("node id"))
}

pub(super) fn client_id(row: &Row) -> waxwing_sqlite::Result<ClientMessageId> {
    row.try_get::<&str, _>("client_id")?.parse().map_err(|_| damaged("client id"))
}

pub(super) fn wire_id(row: &Row) -> waxwing_sqlite::Result<WireId> {
    WireId::try_from(row.try_get::<&[u8], _>("wire_id")?).map_err(|_| damaged("wire id"))
}

pub(super) fn fingerprint(row: &Row) -> waxwing_sqlite::Result<Fingerprint> {
    Fingerprint::try_from(row.try_get::<&[u8], _>("fingerprint")?).map_err(|_| damaged("fingerprint"))
}

pub(super) fn receipt(row: &Row) -> waxwing_sqlite::Result<Receipt> {
    Receipt::try_from(row.try_get::<&[u8], _>("receipt")?).map_err(|_| damaged("receipt"))
}

pub(super) fn message_id(row: &Row) -> waxwing_sqlite::Result<Option<MessageId>> {
    let bytes: Option<&[u8]> = row.try_get("message_id")?;
    bytes
        .map(|bytes| bytes.try_into().map(MessageId::from_bytes).map_err(|_| damaged("message id")))
        .transpose()
}

pub(super) fn priority(row: &Row) -> waxwing_sqlite::Result<Priority> {
    to_priority(row.try_get("priority")?)
}

pub(super) fn to_priority(code: i64) -> waxwing_sqlite::Result<Priority> {
    u8::try_from(code).ok().and_then(|code| Priority::try_from(code).ok()).ok_or_else(|| damaged("priority"))
}

/// An app's name; none for the empty one.
pub(super) fn app(row: &Row, column: &str) -> waxwing_sqlite::Result<Option<Name>> {
    let text: &str = row.try_get(column)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| damaged("app name")) }
}

pub(super) fn moment(row: &Row, column: &str) -> waxwing_sqlite::Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(time))
}
