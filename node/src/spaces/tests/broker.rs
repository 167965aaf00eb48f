//! A broker of one space, in memory, at the other end of a link's requests. Honest, until a test changes what it holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, mpsc};
use waxwing_crypto::space::{Condition, Stands};
use waxwing_crypto::{ChangeId, KeyId, NodeId, Timestamp};
use waxwing_protocol::link::{
    Append, Change, ChangeOutcome, Changed, Delete, Deleted, EndedBy, EndedRecord, Mark, Offered, Put,
    Record, SpaceChanges, SpaceFollow, SpaceOffered, SpaceWritten, ToBroker, ToNode, Touch, What,
};
use waxwing_protocol::{RunId, StoreId};

use crate::link::Calls;

/// The broker. All links share it.
#[derive(Clone)]
pub(super) struct Broker(Arc<(Mutex<Space>, Notify)>);

/// What it holds.
pub(super) struct Space {
    pub(super) store: StoreId,
    pub(super) last: u64,
    /// By the place of the last change.
    pub(super) changes: Vec<Changed>,
    answers: HashMap<(NodeId, ChangeId), ChangeOutcome>,
    /// Below it, something was forgotten.
    pub(super) horizon: u64,
    /// Most changes in one answer.
    pub(super) page: usize,
    /// Frames to ignore: their answers are lost.
    pub(super) deaf: usize,
    /// It does not keep to conditions.
    pub(super) lawless: bool,
    clock: u64,
}

impl Broker {
    pub(super) fn new() -> Self {
        let space = Space {
            store: StoreId::from_bytes([1; 16]),
            last: 1_000,
            changes: Vec::new(),
            answers: HashMap::new(),
            horizon: 0,
            page: 1_000,
            deaf: 0,
            lawless: false,
            clock: 1_000_000,
        };
        Self(Arc::new((Mutex::new(space), Notify::new())))
    }

    pub(super) fn space(&self) -> MutexGuard<'_, Space> {
        self.0.0.lock().unwrap()
    }

    /// Changes what it holds, and lets followers know.
    pub(super) fn does<T>(&self, change: impl FnOnce(&mut Space) -> T) -> T {
        let done = change(&mut self.space());
        self.0.1.notify_waiters();
        done
    }

    /// Loses its store.
    pub(super) fn loses_all(&self) {
        self.does(|space| {
            let last = space.last + 1_000_000;
            let store = StoreId::from_bytes([space.store.as_bytes()[0] + 1; 16]);
            *space =
                Space { store, last, changes: Vec::new(), answers: HashMap::new(), horizon: 0, ..*space };
        });
    }

    /// A link of a node's: requests go to this broker until the handle is dropped.
    pub(super) fn link(&self, node: NodeId) -> (Calls, StoreId, tokio::task::JoinHandle<()>) {
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
                        Some(ToBroker::SpaceFollow(follow)) => followed = Some(follow),
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
                let outcomes = write.changes.into_iter().map(|change| space.change(node, change)).collect();
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
            ToBroker::Send(_)
            | ToBroker::Settle(_)
            | ToBroker::PrekeyPut(_)
            | ToBroker::PrekeyGet(_)
            | ToBroker::LogGet(_)
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
        let mut changes: Vec<_> = self.changes[first..].iter().take(self.page + 1).cloned().collect();
        if changes.is_empty() && follow.wait && !reset && self.last == after {
            return None;
        }
        for change in &mut changes {
            if let What::Record(Record { seq, expires: Some(expires), .. }) = change.what
                && seq <= after
            {
                change.what = What::Touched { seq, expires };
            }
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

    /// The live record in a slot.
    fn there(&self, key: KeyId, stands: Stands, writer: NodeId) -> Option<u64> {
        self.records()
            .find(|record| {
                record.key == key
                    && record.stands == stands
                    && (stands == Stands::Shared || record.writer == writer)
            })
            .map(|record| record.seq)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.changes.iter().filter_map(|change| match &change.what {
            What::Record(record) => Some(record),
            What::Deleted(_) | What::Ended(_) | What::Touched { .. } => None,
        })
    }

    fn change(&mut self, node: NodeId, change: Change) -> ChangeOutcome {
        let id = match &change {
            Change::Put(Put { id, .. })
            | Change::Append(Append { id, .. })
            | Change::Delete(Delete { id, .. }) => *id,
            Change::Touch(touch) => return self.touch(touch),
        };
        if let Some(answer) = self.answers.get(&(node, id)) {
            return answer.clone();
        }
        let outcome = self.made(node, change);
        self.answers.insert((node, id), outcome.clone());
        outcome
    }

    fn made(&mut self, node: NodeId, change: Change) -> ChangeOutcome {
        match change {
            Change::Put(put) => {
                let stands = if put.own { Stands::Own } else { Stands::Shared };
                let there = self.there(put.key, stands, node);
                if !self.lawless && !holds(put.when, there) {
                    return ChangeOutcome::Conflict { seq: there };
                }
                self.forget_slot(put.key, stands, node);
                self.record(node, put.key, stands, (put.ttl, put.bound), false, put.sealed)
            }
            Change::Append(append) => {
                let there = self
                    .records()
                    .find(|r| r.key == append.key && r.stands == Stands::Appended)
                    .map(|r| r.seq);
                if !self.lawless && append.if_empty && there.is_some() {
                    return ChangeOutcome::Conflict { seq: there };
                }
                self.record(
                    node,
                    append.key,
                    Stands::Appended,
                    (append.ttl, append.bound),
                    false,
                    append.sealed,
                )
            }
            Change::Delete(delete) => {
                let stood = match delete.seq {
                    Some(_) => Stands::Appended,
                    None if delete.own => Stands::Own,
                    None => Stands::Shared,
                };
                let there = delete.seq.or_else(|| self.there(delete.key, stood, node));
                let Some(seq) = there else { return ChangeOutcome::NotFound };
                if !holds(delete.when, there) {
                    return ChangeOutcome::Conflict { seq: there };
                }
                self.forget_record(seq);
                let deleted = Deleted {
                    key: delete.key,
                    writer: node,
                    stood,
                    seq,
                    offered: false,
                    sealed: delete.sealed,
                };
                ChangeOutcome::Applied { seq: self.push(What::Deleted(deleted)) }
            }
            Change::Touch(_) => unreachable!("has no id"),
        }
    }

    fn touch(&mut self, touch: &Touch) -> ChangeOutcome {
        for seq in &touch.seqs {
            let at = self
                .changes
                .iter()
                .position(|c| matches!(&c.what, What::Record(r) if r.seq == *seq))
                .unwrap();
            let mut change = self.changes.remove(at);
            let What::Record(record) = &mut change.what else { unreachable!() };
            record.expires = Some(Timestamp::from_millis(self.clock + touch.ttl));
            self.push(change.what);
        }
        ChangeOutcome::Touched { gone: Vec::new() }
    }

    fn offer(&mut self, offered: Offered) -> ChangeOutcome {
        let Offered { key, writer, stands, tombstone, when, sealed, .. } = offered;
        let there = self.there(key, stands, writer);
        let known = self.changes.iter().any(|change| match &change.what {
            What::Record(record) => record.sealed == sealed,
            What::Deleted(deleted) => deleted.sealed == sealed,
            What::Ended(_) | What::Touched { .. } => false,
        });
        if known {
            return ChangeOutcome::Applied { seq: 0 };
        }
        if stands != Stands::Appended && !holds(when, there) {
            return ChangeOutcome::Conflict { seq: there };
        }
        self.forget_slot(key, stands, writer);
        if tombstone {
            let deleted =
                Deleted { key, writer, stood: stands, seq: there.unwrap_or(0), offered: true, sealed };
            return ChangeOutcome::Applied { seq: self.push(What::Deleted(deleted)) };
        }
        self.record(writer, key, stands, (None, None), true, sealed)
    }

    fn record(
        &mut self,
        writer: NodeId,
        key: KeyId,
        stands: Stands,
        (ttl, bound): (Option<u64>, Option<u64>),
        offered: bool,
        sealed: bytes::Bytes,
    ) -> ChangeOutcome {
        let expires = ttl.map(|ttl| Timestamp::from_millis(self.clock + ttl));
        let seq = self.last + 1;
        self.push(What::Record(Record { seq, key, writer, stands, expires, bound, offered, sealed }));
        ChangeOutcome::Applied { seq }
    }

    /// Adds a change at the end, whatever it is.
    pub(super) fn push(&mut self, what: What) -> u64 {
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

    pub(super) fn forget_record(&mut self, seq: u64) {
        self.changes.retain(|change| !matches!(&change.what, What::Record(record) if record.seq == seq));
    }

    /// Ends a record.
    pub(super) fn end(&mut self, seq: u64, why: EndedBy, wait: u64) {
        let record = self.records().find(|record| record.seq == seq).unwrap().clone();
        self.forget_record(seq);
        self.clock += wait;
        let Record { key, writer, stands: stood, .. } = record;
        self.push(What::Ended(EndedRecord { key, writer, stood, seq, why }));
    }
}

fn holds(when: Condition, there: Option<u64>) -> bool {
    match when {
        Condition::Any => true,
        Condition::Absent => there.is_none(),
        Condition::Seq(seq) => there == Some(seq),
    }
}
