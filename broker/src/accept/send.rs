//! Accepting: what becomes of each item, decided in memory from what the batch has read; then stored.
//!
//! The order of the questions is the promise. Is it known? Then it is a duplicate, whatever else has changed meanwhile.
//! Can it ever be accepted? Is its lane waiting for an earlier item? Is there room? Does its sender go too fast?

use std::collections::{HashMap, HashSet};

use uuid::Uuid;
use waxwing_crypto::Timestamp;
use waxwing_crypto::membership::Standing;
use waxwing_protocol::link::{Outcome, SendItem, Sent, ToNode};
use waxwing_protocol::{MessageId, limits};

use super::batch::Batch;
use super::change::{Answer, Lane, Peer, Sends};
use crate::error::Result;
use crate::store::dedupe::{Record, WireKey};
use crate::store::queue::{Item, Mail};
use crate::store::{self, NodeKey, QueueKey, Rank};

/// What a batch knows of the items in it.
struct Known {
    /// Records, as read and as changed since.
    records: HashMap<WireKey, Record>,
    /// Those changed.
    changed: HashSet<WireKey>,
    /// Rows of the store that an item of the batch may replace, with their size.
    stored: HashMap<QueueKey, u64>,
    /// Those replaced.
    replaced: HashSet<QueueKey>,
    /// Rows that the batch itself inserts, by their index.
    fresh: HashMap<QueueKey, usize>,
}

/// Applies the sends of links that are current.
pub(super) async fn apply(batch: &mut Batch<'_>, sends: Vec<Sends>) -> Result<()> {
    let sends: Vec<_> = sends.into_iter().filter(|send| batch.is_current(&send.peer)).collect();
    let mut known = Known::read(batch, &sends).await?;
    for Sends { peer, req, rows, items, reply, budget } in sends {
        batch.show_rows(&peer, rows);
        let mut outcomes = Vec::with_capacity(items.len());
        for item in &items {
            let outcome = known.decide(batch, &peer, item);
            batch.effects.tally.item(&outcome, item.pri);
            outcomes.push(outcome);
        }
        let sent = ToNode::Sent(Sent { req, outcomes, mark: batch.mark });
        batch.effects.replies.push((reply, Box::new(Answer::Frame(sent))));
        batch.effects.budgets.push(budget);
    }
    known.write(batch).await
}

impl Known {
    /// Looks up every item of the batch, in a few statements.
    async fn read(batch: &mut Batch<'_>, sends: &[Sends]) -> Result<Self> {
        let items =
            || sends.iter().flat_map(|send| send.items.iter().map(|item| (wire_key(&send.peer, item), item)));
        let keys: Vec<_> = items().map(|(key, _)| key).collect();
        let records = store::dedupe::find(batch.db, &keys, batch.now).await?;
        let resealed: Vec<_> = items()
            .filter_map(|(key, item)| {
                let record = records.get(&key).filter(|record| item.seal > record.seal)?;
                Some(row_of(&key, record))
            })
            .collect();
        let stored = store::queue::sizes(batch.db, &resealed).await?;
        Ok(Self { records, changed: HashSet::new(), stored, replaced: HashSet::new(), fresh: HashMap::new() })
    }

    /// Decides one item, and does in memory what follows.
    fn decide(&mut self, batch: &mut Batch<'_>, peer: &Peer, item: &SendItem) -> Outcome {
        let lane = Lane { to: item.to, pri: item.pri };
        if item.first {
            peer.behind().remove(&lane);
        }
        let key = wire_key(peer, item);
        let record = self.records.get(&key).copied();
        if let Some(record) = record {
            let same = record.fingerprint == item.fp
                && record.recipient == item.to
                && record.place.rank == Rank::from(item.pri);
            if !same {
                return Outcome::IdReused;
            }
            if item.seal <= record.seal {
                return Outcome::Duplicate { message: record.message, first_seen: record.first_seen };
            }
        }
        let to = NodeKey { mesh: peer.key.mesh, node: item.to };
        if let Some(refusal) = refusal(batch, to, item) {
            return refusal;
        }
        // A higher seal takes the place of one that is queued: it overtakes nobody, and needs no room.
        let queued = record.filter(|record| self.is_queued(&row_of(&key, record)));
        if queued.is_none() && peer.behind().contains(&lane) {
            return Outcome::Behind;
        }
        if queued.is_none() && is_full(batch, to, item.env.len()) {
            peer.behind().insert(lane);
            return Outcome::QueueFull;
        }
        if let Err(after) = batch.state.limiter.send(peer.key, item.env.len()) {
            peer.behind().insert(lane);
            return Outcome::RateLimited { after: after.millis() };
        }
        if let Some(record) = queued
            && self.replace(batch, key, &record, item)
        {
            return Outcome::Accepted { message: record.message };
        }
        self.accept(batch, key, record, to, item)
    }

    /// Whether the envelope of an accepted item is still in its queue.
    fn is_queued(&self, row: &QueueKey) -> bool {
        self.fresh.contains_key(row) || self.stored.contains_key(row)
    }

    /// Puts a higher seal in the place of the envelope that is queued. False if none is.
    fn replace(&mut self, batch: &mut Batch<'_>, key: WireKey, record: &Record, item: &SendItem) -> bool {
        let row = row_of(&key, record);
        let before = if let Some(index) = self.fresh.get(&row) {
            let Some((_, queued)) = batch.rows.get_mut(*index) else {
                return false;
            };
            let before = queued.cost() as u64;
            *queued = Item::Envelope(mail(&key, item));
            before
        } else if let Some(before) = self.stored.get(&row) {
            self.replaced.insert(row);
            self.fresh.insert(row, batch.rows.len());
            batch.rows.push((row, Item::Envelope(mail(&key, item))));
            *before
        } else {
            return false;
        };
        let counters = batch.change(row.owner);
        counters.queued_bytes = (counters.queued_bytes + item.env.len() as u64).saturating_sub(before);
        batch.wake(row.owner, row.place.rank);
        self.remember(key, Record { seal: item.seal, expires: forgotten_at(batch), ..*record });
        true
    }

    /// Queues an item that has no row: a new message, or a higher seal of one that has left the queue.
    fn accept(
        &mut self,
        batch: &mut Batch<'_>,
        key: WireKey,
        record: Option<Record>,
        to: NodeKey,
        item: &SendItem,
    ) -> Outcome {
        let (message, first_seen) = record.map_or_else(
            || (MessageId::new(Uuid::now_v7()), batch.now),
            |record| (record.message, record.first_seen),
        );
        let index = batch.rows.len();
        let row = batch.push(to, item.pri.into(), Item::Envelope(mail(&key, item)));
        self.fresh.insert(row, index);
        let record = Record {
            fingerprint: item.fp,
            message,
            recipient: to.node,
            place: row.place,
            seal: item.seal,
            first_seen,
            expires: forgotten_at(batch),
        };
        self.remember(key, record);
        Outcome::Accepted { message }
    }

    fn remember(&mut self, key: WireKey, record: Record) {
        self.records.insert(key, record);
        self.changed.insert(key);
    }

    /// Stores what was decided. The rows themselves go with the batch's others.
    async fn write(self, batch: &mut Batch<'_>) -> Result<()> {
        let replaced: Vec<_> = self.replaced.into_iter().collect();
        store::queue::delete(batch.db, &replaced).await?;
        let changed: Vec<_> = self.changed.iter().map(|key| (*key, self.records[key])).collect();
        store::dedupe::put(batch.db, &changed).await
    }
}

/// Why an item can never be accepted, if so.
fn refusal(batch: &mut Batch<'_>, to: NodeKey, item: &SendItem) -> Option<Outcome> {
    let longest = batch.state.limits.told().ttl_max();
    match batch.standing(to) {
        Standing::Live => {}
        Standing::Unknown => return Some(Outcome::UnknownRecipient),
        Standing::Revoked | Standing::Left => return Some(Outcome::RevokedRecipient),
    }
    if item.env.is_empty() {
        Some(Outcome::BadItem)
    } else if item.env.len() > limits::ENVELOPE {
        Some(Outcome::TooLarge)
    } else if item.exp <= batch.now {
        Some(Outcome::Expired)
    } else if item.exp.since(batch.now) > longest {
        Some(Outcome::TtlTooLong)
    } else {
        None
    }
}

/// Whether a recipient's queue has no room for so many bytes more.
fn is_full(batch: &Batch<'_>, to: NodeKey, bytes: usize) -> bool {
    let (counters, limits) = (batch.counters(to), batch.state.limits_of(to.mesh));
    counters.queued >= limits.queue_items || counters.queued_bytes + bytes as u64 > limits.queue_bytes
}

/// When what is accepted now may be forgotten.
fn forgotten_at(batch: &Batch<'_>) -> Timestamp {
    batch.now.plus(batch.state.limits.dedupe())
}

fn wire_key(peer: &Peer, item: &SendItem) -> WireKey {
    WireKey { sender: peer.key, wire: item.id }
}

/// The row that an accepted item was given.
fn row_of(key: &WireKey, record: &Record) -> QueueKey {
    QueueKey { owner: NodeKey { mesh: key.sender.mesh, node: record.recipient }, place: record.place }
}

fn mail(key: &WireKey, item: &SendItem) -> Mail {
    Mail { from: key.sender.node, id: item.id, seal: item.seal, exp: item.exp, env: item.env.clone() }
}
