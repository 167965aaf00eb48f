//! A broker of one space, in memory, at the other end of a link's requests. Honest, until a test changes what it holds.

mod decide;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, mpsc, watch};
use waxwing_crypto::space::Stands;
use waxwing_crypto::{ChangeId, KeyId, NodeId, Timestamp};
use waxwing_protocol::link::{
    ChangeOutcome, Changed, EndedBy, EndedRecord, Log, Mark, Record, SpaceChanges, SpaceFollow, SpaceOffered,
    SpaceWritten, ToBroker, ToNode, What,
};
use waxwing_protocol::{RunId, StoreId};

use crate::clock;
use crate::link::Calls;

/// The broker. All links share it.
#[derive(Clone)]
pub(crate) struct Broker(Arc<(Mutex<Space>, Notify)>);

/// What it holds.
pub(crate) struct Space {
    pub(crate) store: StoreId,
    pub(crate) last: u64,
    /// By the place of the last change.
    pub(crate) changes: Vec<Changed>,
    /// Renewals: at which place, of which record.
    touches: BTreeMap<u64, u64>,
    answers: HashMap<(NodeId, ChangeId), ChangeOutcome>,
    /// What was handed back, by its bytes.
    offers: HashMap<bytes::Bytes, u64>,
    /// Every record and tombstone that a writer has had made, in all lives of the store.
    pub(crate) made: Vec<Made>,
    /// Below it, something was forgotten.
    pub(crate) horizon: u64,
    /// Most changes in one answer.
    pub(crate) page: usize,
    /// Behind what followers have asked for: what was told up to there has come.
    pub(crate) asked: watch::Sender<u64>,
    /// Frames to ignore: their answers are lost.
    pub(crate) deaf: usize,
    /// It does not keep to conditions.
    pub(crate) lawless: bool,
    clock: u64,
}

/// A change that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) store: StoreId,
    /// The record, or one of the tombstone's bytes.
    pub(crate) record: Record,
    pub(crate) tombstone: bool,
    pub(crate) ended: bool,
}

impl Broker {
    pub(crate) fn new() -> Self {
        let space = Space {
            store: StoreId::from_bytes([1; 16]),
            last: 1_000,
            changes: Vec::new(),
            touches: BTreeMap::new(),
            answers: HashMap::new(),
            offers: HashMap::new(),
            made: Vec::new(),
            horizon: 0,
            page: 1_000,
            asked: watch::Sender::new(0),
            deaf: 0,
            lawless: false,
            clock: clock::now().as_millis(),
        };
        Self(Arc::new((Mutex::new(space), Notify::new())))
    }

    pub(crate) fn space(&self) -> MutexGuard<'_, Space> {
        self.0.0.lock().unwrap()
    }

    /// Changes what it holds, and lets followers know.
    pub(crate) fn does<T>(&self, change: impl FnOnce(&mut Space) -> T) -> T {
        let done = change(&mut self.space());
        self.0.1.notify_waiters();
        done
    }

    /// Loses its store.
    pub(crate) fn loses_all(&self) {
        self.does(|space| {
            let last = space.last + 1_000_000;
            let store = StoreId::from_bytes([space.store.as_bytes()[0] + 1; 16]);
            (space.store, space.last, space.horizon) = (store, last, 0);
            space.changes.clear();
            space.touches.clear();
            space.answers.clear();
            space.offers.clear();
        });
    }

    /// Its store is set back to what it held once.
    pub(crate) fn is_set_back(&self, copy: Vec<Changed>) {
        self.loses_all();
        let handed_back = |mut changed: Changed| {
            match &mut changed.what {
                What::Record(record) => record.offered = true,
                What::Deleted(deleted) => deleted.offered = true,
                What::Ended(_) | What::Touched { .. } => {}
            }
            changed
        };
        let is_bound =
            |change: &Changed| matches!(&change.what, What::Record(record) if record.bound.is_some());
        let copy = copy.into_iter().filter(|change| !is_bound(change));
        self.does(|space| space.changes = copy.map(handed_back).collect());
    }

    /// A link of a node's: requests go to this broker until the handle is dropped.
    pub(crate) fn link(&self, node: NodeId) -> (Calls, StoreId, tokio::task::JoinHandle<()>) {
        let (out, mut frames) = mpsc::channel(16);
        let (calls, broker) = (Calls::new(out), self.clone());
        let answering = calls.clone();
        let served = tokio::spawn(async move {
            let mut followed: Option<SpaceFollow> = None;
            loop {
                let changed = broker.0.1.notified();
                if let Some(follow) = followed
                    && let Some(answer) = broker.space().follow(&follow)
                {
                    followed = None;
                    answering.answer(follow.req, ToNode::SpaceChanges(answer));
                }
                tokio::select! {
                    frame = frames.recv() => match frame {
                        Some(ToBroker::SpaceFollow(follow)) => {
                            broker.space().asked.send_modify(|asked| *asked = follow.after.max(*asked));
                            followed = Some(follow);
                        }
                        Some(frame) => broker.answer(&answering, node, frame),
                        None => return,
                    },
                    () = changed => {}
                }
            }
        });
        (calls, self.space().store, served)
    }

    fn answer(&self, calls: &Calls, node: NodeId, frame: ToBroker) {
        let (req, answer) = self.does(|space| match frame {
            ToBroker::SpaceWrite(write) => {
                let outcomes = space.write(node, write.changes);
                (
                    write.req,
                    ToNode::SpaceWritten(SpaceWritten { req: write.req, outcomes, mark: space.mark() }),
                )
            }
            ToBroker::SpaceOffer(offer) => {
                let outcomes = offer.records.into_iter().map(|record| space.offer(record)).collect();
                (
                    offer.req,
                    ToNode::SpaceOffered(SpaceOffered { req: offer.req, outcomes, mark: space.mark() }),
                )
            }
            // Asked for because of an epoch that is not in the log: there is no more of it.
            ToBroker::LogGet(get) => {
                let log = Log { req: Some(get.req), entries: Vec::new(), head: None, mark: None };
                (get.req, ToNode::Log(log))
            }
            ToBroker::Send(_)
            | ToBroker::Settle(_)
            | ToBroker::PrekeyPut(_)
            | ToBroker::PrekeyGet(_)
            | ToBroker::LogAppend(_)
            | ToBroker::KeysPut(_)
            | ToBroker::KeysGet(_)
            | ToBroker::QueueShow(_)
            | ToBroker::SpaceFollow(_)
            | ToBroker::Bye(_) => panic!("that was not expected"),
        });
        let heard = self.does(|space| space.deaf.checked_sub(1).map(|deaf| space.deaf = deaf).is_none());
        if heard {
            calls.answer(req, answer);
        }
    }
}

impl Space {
    fn mark(&self) -> Mark {
        Mark { store: self.store, run: RunId::from_bytes([2; 16]), m: self.last, code: [0; 32] }
    }

    fn follow(&self, follow: &SpaceFollow) -> Option<SpaceChanges> {
        let reset = follow.after > 0 && follow.after.max(follow.begun) < self.horizon;
        let after = if reset { 0 } else { follow.after };
        let first = self.changes.partition_point(|change| change.n <= after);
        let renewed = self.touches.range(after + 1..).filter(|(_, seq)| **seq <= after);
        let mut changes: Vec<_> = renewed.filter_map(|(n, seq)| self.renewal(*n, *seq)).collect();
        changes.extend(self.changes[first..].iter().take(self.page + 1).cloned());
        changes.sort_unstable_by_key(|change| change.n);
        if changes.is_empty() && follow.wait && !reset && self.last == after {
            return None;
        }
        let more = changes.len() > self.page;
        changes.truncate(self.page);
        let upto = if more { changes.last()?.n } else { self.last };
        let begun = if after == 0 { self.last } else { follow.begun };
        Some(SpaceChanges {
            req: follow.req,
            changes,
            upto,
            head: self.last,
            begun,
            reset,
            mark: self.mark(),
        })
    }

    fn renewal(&self, n: u64, seq: u64) -> Option<Changed> {
        let expires = self.records().find(|record| record.seq == seq)?.expires?;
        Some(Changed { n, at: Timestamp::from_millis(self.clock), what: What::Touched { seq, expires } })
    }

    /// The live record in a slot.
    pub(crate) fn there(&self, key: KeyId, stands: Stands, writer: NodeId) -> Option<u64> {
        self.records()
            .find(|record| {
                record.key == key
                    && record.stands == stands
                    && (stands == Stands::Shared || record.writer == writer)
            })
            .map(|record| record.seq)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.changes.iter().filter_map(|change| match &change.what {
            What::Record(record) => Some(record),
            What::Deleted(_) | What::Ended(_) | What::Touched { .. } => None,
        })
    }

    /// Adds a change at the end, whatever it is.
    pub(crate) fn push(&mut self, what: What) -> u64 {
        self.last += 1;
        self.clock += 1;
        self.changes.push(Changed { n: self.last, at: Timestamp::from_millis(self.clock), what });
        self.last
    }

    fn forget_slot(&mut self, key: KeyId, stands: Stands, writer: NodeId) {
        if stands == Stands::Appended {
            return;
        }
        let owner = |by: NodeId| stands == Stands::Shared || by == writer;
        self.changes.retain(|change| match &change.what {
            What::Record(r) => !(r.key == key && r.stands == stands && owner(r.writer)),
            What::Deleted(d) => !(d.key == key && d.stood == stands && owner(d.writer)),
            What::Ended(e) => !(e.key == key && e.stood == stands && owner(e.writer)),
            What::Touched { .. } => true,
        });
    }

    pub(crate) fn forget_record(&mut self, seq: u64) {
        self.changes.retain(|change| !matches!(&change.what, What::Record(record) if record.seq == seq));
    }

    /// Ends a record.
    pub(crate) fn end(&mut self, seq: u64, why: EndedBy, wait: u64) {
        let Some(record) = self.records().find(|record| record.seq == seq).cloned() else { return };
        self.forget_record(seq);
        self.clock += wait;
        let made = self.made.iter_mut().filter(|made| made.record.sealed == record.sealed);
        made.for_each(|made| made.ended = true);
        let Record { key, writer, stands: stood, .. } = record;
        self.push(What::Ended(EndedRecord { key, writer, stood, seq, why }));
    }
}
