//! Read receipts: mail that tells a sender that its message has been acknowledged, if it asked. Stored in the same
//! transaction that marks the message read.

use waxwing_crypto::sealing::Kind;
use waxwing_crypto::storage::StorageKeys;
use waxwing_crypto::{Priority, Timestamp};
use waxwing_protocol::limits;

use super::Sends;
use crate::content::Content;
use crate::draft::Draft;
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
    let draft = Draft {
        kind: Kind::Read,
        lane: OutLane { priority: Priority::Next, recipient: read.sender },
        to_node: None,
        to_app: None,
        from_app: None,
        wants_read: false,
        content: Content { reply_to: Some(read.client_id.clone()), ..Content::default() },
        ttl: limits::TTL_MAX,
    };
    draft.into_row(keys, ids::fresh(), now)
}
