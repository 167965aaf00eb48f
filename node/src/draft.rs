//! A message on its way into the outbox: fingerprinted and encrypted, in the one way there is.

use std::time::Duration;

use waxwing_crypto::sealing::Kind;
use waxwing_crypto::storage::{Request, StorageKeys};
use waxwing_crypto::{ClientMessageId, Name, Timestamp};

use crate::content::Content;
use crate::store::OutLane;
use crate::store::outbox::NewRow;

/// What a message is, before it has an id.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) lane: OutLane,
    /// The recipient's name. None for a read receipt, which nobody addressed.
    pub(crate) to_node: Option<Name>,
    pub(crate) to_app: Option<Name>,
    pub(crate) from_app: Option<Name>,
    pub(crate) wants_read: bool,
    pub(crate) content: Content,
    /// How long to try.
    pub(crate) ttl: Duration,
}

impl Draft {
    /// The row under this id, its place in the lane not decided. `now`: by the clock that lifetimes go by.
    pub(crate) fn into_row(self, keys: &StorageKeys, client_id: ClientMessageId, now: Timestamp) -> NewRow {
        let content = &self.content;
        let fingerprint = keys.fingerprint(&Request {
            kind: self.kind.as_str(),
            from_app: self.from_app.as_ref(),
            to: self.lane.recipient,
            to_app: self.to_app.as_ref(),
            reply_to: content.reply_to.as_ref(),
            thread: content.thread.as_deref(),
            priority: self.lane.priority,
            content_type: &content.content_type,
            meta: &content.meta,
            body: &content.body,
        });
        NewRow {
            wire_id: keys.wire_id(&client_id),
            kind: self.kind,
            wants_read: self.wants_read,
            reply_to: content.reply_to.clone(),
            fingerprint,
            lane: self.lane,
            content: content.seal_outgoing(keys, &client_id).into(),
            to_node: self.to_node,
            to_app: self.to_app,
            from_app: self.from_app,
            counter: 0,
            expires: now.plus(self.ttl),
            queued_at: now,
            client_id,
            open: Some(self.content),
        }
    }
}
