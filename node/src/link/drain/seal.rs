//! From a row to a sealed item, with the counters that its recipient should not wait for.

use waxwing_crypto::sealing::{CounterRange, Header, MAX_VOID_RANGES, Plaintext};
use waxwing_protocol::link::SendItem;

use crate::content::Content;
use crate::link::Ended;
use crate::link::connection::Context;
use crate::store::OutLane;
use crate::store::outbox::{self, Pending, Written};
use crate::writer::ranges;

/// Void counters looked at per turn. They make at most so many ranges, and usually far fewer.
const VOID_LOOK: usize = 4 * MAX_VOID_RANGES;

/// Seals one row. None if the session has just ended.
pub(super) fn seal_row(
    context: &Context,
    lane: OutLane,
    row: Pending,
    void: Vec<CounterRange>,
    first: bool,
) -> Result<Option<SendItem>, Ended> {
    let mesh = &context.mesh;
    let damaged = |error: waxwing_crypto::Error| Ended::Database(format!("outbox row {}: {error}", row.row));
    let content = match row.content {
        Written::Open(content) => content,
        Written::Sealed(sealed) => {
            Content::open_outgoing(&mesh.keys, &row.client_id, &sealed).map_err(damaged)?
        }
    };
    let header = Header {
        mesh: mesh.identity.mesh,
        from: mesh.identity.node,
        to: lane.recipient,
        id: row.wire_id,
        priority: lane.priority,
        expires: mesh.clock.to_broker(row.expires),
    };
    let plaintext = Plaintext {
        receipt_secret: mesh.keys.receipt_secret(&lane.recipient, &row.client_id, &row.fingerprint),
        id: row.client_id,
        counter: row.counter,
        void,
        from_app: row.from_app,
        to_app: row.to_app,
        kind: row.kind,
        content_type: content.content_type,
        body: content.body,
        meta: content.meta,
        reply_to: content.reply_to,
        thread: content.thread,
        wants_read: row.wants_read,
        sent_at: row.queued_at,
    };
    let sealed = context.peers.seal(&header, &plaintext);
    let Some(env) = sealed.map_err(|error| Ended::Lost(error.to_string()))? else {
        return Ok(None);
    };
    Ok(Some(SendItem {
        to: header.to,
        id: header.id,
        fp: mesh.keys.broker_fingerprint(&plaintext.id, &row.fingerprint),
        pri: header.priority,
        exp: header.expires,
        seal: row.seal,
        first,
        env,
    }))
}

/// Counters of a lane that will never come and whose recipient has not been told.
pub(super) struct Voids(Vec<u64>);

impl Voids {
    pub(super) async fn read(context: &Context, lane: OutLane, below: u64) -> Result<Self, Ended> {
        let counters = outbox::untold(context.mesh.db.brief(), lane, below, VOID_LOOK).await;
        counters.map(Self).map_err(|error| Ended::Database(error.to_string()))
    }

    /// The ranges below a counter, nearest first, as many as a message carries.
    pub(super) fn below(&self, counter: u64) -> Vec<CounterRange> {
        let from = self.0.partition_point(|void| *void >= counter);
        let mut ranges = ranges(&self.0[from..]);
        ranges.truncate(MAX_VOID_RANGES);
        ranges
    }
}
