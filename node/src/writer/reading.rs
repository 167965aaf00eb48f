//! Read receipts: mail that tells a sender that its message has been acknowledged, if it asked. Stored in the same
//! transaction that marks the message read.

use waxwing_crypto::sealing::Kind;
use waxwing_crypto::storage::{Request, StorageKeys};
use waxwing_crypto::{Priority, Timestamp};
use waxwing_protocol::limits;

use super::Sends;
use crate::content::Content;
use crate::ids;
use crate::store::OutLane;
use crate::store::inbox::Read;
use crate::store::outbox::NewRow;

/// Notes what has just been read; says how much it was.
pub(super) fn note(keys: &StorageKeys, read: &[Read], now: Timestamp, sends: &mut Sends) -> u64 {
    sends.own.extend(read.iter().filter(|read| read.wants_read).map(|read| receipt(keys, read, now)));
    read.len() as u64
}

fn receipt(keys: &StorageKeys, read: &Read, now: Timestamp) -> NewRow {
    let client_id = ids::fresh();
    let reply_to = Some(read.client_id.clone());
    let content = Content { reply_to: reply_to.clone(), ..Content::default() };
    let fingerprint = keys.fingerprint(&Request {
        kind: Kind::Read.as_str(),
        from_app: None,
        to: read.sender,
        to_app: None,
        reply_to: reply_to.as_ref(),
        thread: None,
        priority: Priority::Next,
        content_type: "",
        meta: &[],
        body: &[],
    });
    NewRow {
        wire_id: keys.wire_id(&client_id),
        kind: Kind::Read,
        wants_read: false,
        reply_to,
        fingerprint,
        lane: OutLane { priority: Priority::Next, recipient: read.sender },
        to_node: None,
        to_app: None,
        from_app: None,
        counter: 0,
        expires: now.plus(limits::TTL_MAX),
        queued_at: now,
        content: content.seal_outgoing(keys, &client_id).into(),
        client_id,
    }
}
