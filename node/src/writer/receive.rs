//! Storing what came in: once, with its place in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;
use waxwing_crypto::sealing::{CounterRange, NackReason};
use waxwing_crypto::{ClientMessageId, NodeId, Receipt, Timestamp};
use waxwing_protocol::api::EventBody;
use waxwing_sqlite::Connection;

use super::answers::{self, News};
use super::{Copy, Effects};
use crate::content::Content;
use crate::lane::{Arrival, Lane};
use crate::requests::Live;
use crate::signals::Happened;
use crate::store::inbox::{self, NewItem};
use crate::store::lanes::{self, InLane};
use crate::store::meta;
use crate::store::quarantine::{self, Quarantined};
use crate::store::sessions::{self, NewSession};
use crate::tail::Place;

/// Everything that one stretch of deliveries brought, stored as one.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Messages that opened, in delivery order.
    pub(crate) items: Vec<ReceivedItem>,
    /// Sessions they opened.
    pub(crate) sessions: Vec<NewSession>,
    /// Boxes that did not open.
    pub(crate) quarantined: Vec<Quarantined>,
    /// What became of messages this node sent.
    pub(crate) news: Vec<News>,
    /// The last delivery of this link among them: settled once all is stored.
    pub(crate) through: u64,
}

impl Delivered {
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.new.content.len()).sum()
    }
}

/// A message that opened.
#[derive(Debug)]
pub(crate) struct ReceivedItem {
    /// The row, its place not decided.
    pub(crate) new: NewItem,
    /// What it says: the row has it encrypted.
    pub(crate) content: Content,
    /// Counters of its lane that will never come.
    pub(crate) void: Vec<CounterRange>,
    /// Why it is refused, unless it is stored already.
    pub(crate) unwelcome: Option<NackReason>,
    /// Of a read receipt: the message that was read.
    pub(crate) reads: Option<ClientMessageId>,
    /// What is for somebody who waits: it is remembered, and nothing of it is stored.
    pub(crate) live: Option<Box<Live>>,
}

/// What to answer the sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stored {
    /// It is in the inbox, now or since before; or it was live.
    Received(Receipt),
    /// It was not wanted.
    Refused(NackReason),
}

/// Every incoming lane.
#[derive(Debug)]
pub(super) struct Lanes(HashMap<InLane, Lane>);

impl Lanes {
    pub(super) async fn read(db: &mut Connection) -> waxwing_sqlite::Result<Self> {
        Ok(Self(lanes::seen(db, Instant::now()).await?.into_iter().collect()))
    }

    /// Since when lanes that hold messages back miss what these wait for: the earliest.
    pub(super) fn gapped(&self) -> Option<Instant> {
        self.0.values().filter(|lane| lane.holds()).filter_map(Lane::missing_since).min()
    }
}

impl Copy {
    fn lane(&mut self, lane: InLane) -> &mut Lane {
        self.lanes.0.entry(lane).or_default()
    }
}

pub(super) async fn apply(
    db: &mut Connection,
    copy: &mut Copy,
    delivered: Delivered,
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<Vec<Stored>> {
    for session in &delivered.sessions {
        sessions::insert(&mut *db, session).await?;
    }
    quarantine::insert(&mut *db, &delivered.quarantined, now).await?;
    for quarantined in &delivered.quarantined {
        let detail = format!("a box that does not open, {} bytes", quarantined.size);
        effects.tell_all(security("bad_seal", quarantined.sender, detail));
    }
    answers::note(db, &delivered.news, now, effects).await?;
    meta::set_number(&mut *db, meta::THROUGH, delivered.through).await?;
    store(db, copy, delivered.items, now, effects).await
}

fn security(what: &str, node: NodeId, detail: String) -> EventBody {
    EventBody::Security { what: what.to_owned(), node: Some(node), detail }
}

/// Authenticated first, duplicate second: only what has opened gets here.
async fn store(
    db: &mut Connection,
    copy: &mut Copy,
    items: Vec<ReceivedItem>,
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<Vec<Stored>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<(NodeId, ClientMessageId)> =
        items.iter().map(|item| (item.new.lane.sender, item.new.client_id.clone())).collect();
    let mut receipts = inbox::receipts(db, &ids).await?;
    let mut touched = HashSet::new();
    let (mut messages, mut reads, mut live) = (Vec::with_capacity(items.len()), Vec::new(), Vec::new());
    let mut stored = Vec::with_capacity(items.len());
    for (mut item, id) in items.into_iter().zip(ids) {
        stored.push(match receipts.get(&id) {
            Some(receipt) => {
                // Sent again under a new signing key, it has a counter that brings nothing else.
                if item.live.is_none() && copy.lane(item.new.lane).skip(item.new.counter, Instant::now()) {
                    touched.insert(item.new.lane);
                }
                Stored::Received(*receipt)
            }
            None => match item.unwelcome {
                Some(reason) => Stored::Refused(reason),
                None => {
                    receipts.insert(id, item.new.receipt);
                    let receipt = item.new.receipt;
                    if let Some(arrived) = item.live.take() {
                        effects.live.push(Happened::Arrived(arrived));
                        live.push(item.new);
                    } else {
                        admit(copy, &mut item, effects);
                        touched.insert(item.new.lane);
                        match item.reads {
                            None => messages.push(item.new),
                            Some(read) => reads.push((read, item.new)),
                        }
                    }
                    Stored::Received(receipt)
                }
            },
        });
    }
    let new = messages.iter().chain(reads.iter().map(|(_, item)| item)).chain(&live);
    let new: Vec<&NewItem> = new.collect();
    inbox::remember(db, &new).await?;
    inbox::insert(db, &messages).await?;
    effects.tally.received(messages.len());
    release(db, copy, &touched, effects).await?;
    for (read, item) in reads {
        answers::note_read(db, &read, item.lane.sender, now, effects).await?;
    }
    Ok(stored)
}

/// Gives a message its place, if it may have one now. A read receipt has its place in the lane, and none in the inbox.
fn admit(copy: &mut Copy, item: &mut ReceivedItem, effects: &mut Effects) {
    let lane = copy.lane(item.new.lane);
    let arrival = lane.arrive(item.new.counter, &item.void, Instant::now());
    if arrival == Arrival::Repeated {
        let (sender, counter) = (item.new.lane.sender, item.new.counter);
        warn!(%sender, counter, "sequence_replay");
        let detail = format!("its message {counter} came again under another id");
        effects.tell_all(security("sequence_replay", sender, detail));
    }
    match arrival {
        Arrival::Held if item.reads.is_some() => return lane.placed(1),
        Arrival::Held => return,
        Arrival::Next => {}
        Arrival::Late | Arrival::Repeated => item.new.late = true,
    }
    if item.reads.is_none() {
        copy.cursor += 1;
        item.new.cursor = Some(copy.cursor);
        let item = item.new.opened(copy.cursor, std::mem::take(&mut item.content));
        effects.places.push(Place::Message(Arc::new(item)));
    }
}

/// Gives places to what no longer waits, and keeps the lanes' state.
async fn release(
    db: &mut Connection,
    copy: &mut Copy,
    touched: &HashSet<InLane>,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    for key in touched {
        let Some(lane) = copy.lanes.0.get_mut(key).filter(|lane| lane.holds()) else { continue };
        let placed = inbox::place(db, key, lane.ready_below(), copy.cursor + 1).await?;
        lane.placed(placed);
        copy.cursor += placed;
        effects.places.extend((0..placed).map(|_| Place::Stored { to_app: None }));
    }
    let states: Vec<(InLane, &Lane)> =
        touched.iter().filter_map(|key| copy.lanes.0.get(key).map(|lane| (*key, lane))).collect();
    lanes::see(db, &states).await
}

/// Shows what waits for messages that are overdue.
pub(super) async fn pass_over(
    db: &mut Connection,
    copy: &mut Copy,
    noticed_before: Instant,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let mut touched = HashSet::new();
    for (key, lane) in &mut copy.lanes.0 {
        for (first, last) in lane.pass_over(noticed_before) {
            warn!(sender = %key.sender, priority = %key.priority, first, last, "sequence_gap");
            let detail = format!("its messages {first} to {last} ({}) are overdue", key.priority);
            effects.tell_all(security("sequence_gap", key.sender, detail));
            touched.insert(*key);
        }
    }
    if touched.is_empty() { Ok(()) } else { release(db, copy, &touched, effects).await }
}
