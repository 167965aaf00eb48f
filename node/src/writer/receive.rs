//! Storing what came in: once, with its place in order.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use tokio::time::Instant;
use tracing::warn;
use waxwing_crypto::sealing::CounterRange;
use waxwing_crypto::{ClientMessageId, NodeId, Receipt, Timestamp};

use super::Effects;
use super::answers::{self, News};
use crate::lane::{Arrival, Lane};
use crate::store::inbox::{self, NewItem};
use crate::store::lanes::{self, InLane};
use crate::store::meta;
use crate::store::quarantine::{self, Quarantined};
use crate::store::sessions::{self, NewSession};

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
    /// Counters of its lane that will never come.
    pub(crate) void: Vec<CounterRange>,
    /// Its time has passed: it is refused, unless it is stored already.
    pub(crate) expired: bool,
}

/// What to answer the sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stored {
    /// It is in the inbox, now or since before.
    Received(Receipt),
    /// Its time had passed.
    Expired,
}

/// Every incoming lane, and the last place given in the inbox.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<InLane, Lane>,
    cursor: u64,
}

impl Lanes {
    pub(super) async fn read(db: &mut SqliteConnection) -> sqlx::Result<Self> {
        let lanes = lanes::seen(&mut *db, Instant::now()).await?.into_iter().collect();
        Ok(Self { lanes, cursor: meta::number(db, meta::CURSOR).await? })
    }

    /// Whether any lane holds messages back.
    pub(super) fn gapped(&self) -> bool {
        self.lanes.values().any(Lane::holds)
    }

    fn next_cursor(&mut self) -> u64 {
        self.cursor += 1;
        self.cursor
    }
}

pub(super) async fn apply(
    db: &mut SqliteConnection,
    lanes: &mut Lanes,
    delivered: Delivered,
    now: Timestamp,
    effects: &mut Effects,
) -> sqlx::Result<Vec<Stored>> {
    for session in &delivered.sessions {
        sessions::insert(&mut *db, session).await?;
    }
    quarantine::insert(&mut *db, &delivered.quarantined, now).await?;
    answers::note(db, &delivered.news, now, effects).await?;
    store(db, lanes, delivered.items).await
}

/// Authenticated first, duplicate second: only what has opened gets here.
async fn store(
    db: &mut SqliteConnection,
    lanes: &mut Lanes,
    items: Vec<ReceivedItem>,
) -> sqlx::Result<Vec<Stored>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<(NodeId, ClientMessageId)> =
        items.iter().map(|item| (item.new.lane.sender, item.new.client_id.clone())).collect();
    let mut receipts = inbox::receipts(db, &ids).await?;
    let mut touched = HashSet::new();
    let mut new = Vec::with_capacity(items.len());
    let mut stored = Vec::with_capacity(items.len());
    for (mut item, id) in items.into_iter().zip(ids) {
        stored.push(match receipts.get(&id) {
            Some(receipt) => Stored::Received(*receipt),
            None if item.expired => Stored::Expired,
            None => {
                lanes.admit(&mut item);
                touched.insert(item.new.lane);
                receipts.insert(id, item.new.receipt);
                let receipt = item.new.receipt;
                new.push(item.new);
                Stored::Received(receipt)
            }
        });
    }
    inbox::insert(db, &new).await?;
    release(db, lanes, &touched).await?;
    Ok(stored)
}

impl Lanes {
    /// Gives a message its place, if it may have one now.
    fn admit(&mut self, item: &mut ReceivedItem) {
        let lane = self.lanes.entry(item.new.lane).or_default();
        let arrival = lane.arrive(item.new.counter, &item.void, Instant::now());
        match arrival {
            Arrival::Held => return,
            Arrival::Next => {}
            Arrival::Late => item.new.late = true,
            Arrival::Repeated => {
                warn!(sender = %item.new.lane.sender, counter = item.new.counter, "sequence_replay");
                item.new.late = true;
            }
        }
        item.new.cursor = Some(self.next_cursor());
    }
}

/// Gives places to what no longer waits, and keeps the lanes' state.
async fn release(
    db: &mut SqliteConnection,
    lanes: &mut Lanes,
    touched: &HashSet<InLane>,
) -> sqlx::Result<()> {
    for key in touched {
        let Some(lane) = lanes.lanes.get_mut(key).filter(|lane| lane.holds()) else {
            continue;
        };
        let placed = inbox::place(db, key, lane.ready_below(), lanes.cursor + 1).await?;
        lane.placed(placed);
        lanes.cursor += placed;
    }
    let states: Vec<(InLane, &Lane)> =
        touched.iter().filter_map(|key| lanes.lanes.get(key).map(|lane| (*key, lane))).collect();
    lanes::see(db, &states).await?;
    meta::set_number(db, meta::CURSOR, lanes.cursor).await
}

/// Shows what waits for messages that are overdue.
pub(super) async fn pass_over(
    db: &mut SqliteConnection,
    lanes: &mut Lanes,
    noticed_before: Instant,
) -> sqlx::Result<()> {
    let mut touched = HashSet::new();
    for (key, lane) in &mut lanes.lanes {
        for (first, last) in lane.pass_over(noticed_before) {
            warn!(sender = %key.sender, priority = %key.priority, first, last, "sequence_gap");
            touched.insert(*key);
        }
    }
    if touched.is_empty() { Ok(()) } else { release(db, lanes, &touched).await }
}
