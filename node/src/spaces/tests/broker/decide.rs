//! What it does with changes.

use bytes::Bytes;
use waxwing_crypto::space::{Condition, Stands};
use waxwing_crypto::{ChangeId, KeyId, NodeId, Timestamp};
use waxwing_protocol::link::{
    Append, Change, ChangeOutcome, Changed, Delete, Deleted, EndedBy, Offered, Put, Record, Touch, What,
};

use super::{Made, Space};

/// The bytes of a change that has some.
const fn sealed(change: &Change) -> Option<&Bytes> {
    match change {
        Change::Put(put) => Some(&put.sealed),
        Change::Append(append) => Some(&append.sealed),
        Change::Delete(delete) => Some(&delete.sealed),
        Change::Touch(_) => None,
    }
}

impl Space {
    /// One `space.write`. What stands in it before something that was made already was refused then.
    pub(crate) fn write(&mut self, node: NodeId, changes: Vec<Change>) -> Vec<ChangeOutcome> {
        let was_made = |change| id(change).is_some_and(|id| self.answers.contains_key(&(node, id)));
        let again = changes.iter().rposition(was_made).map_or(0, |last| last + 1);
        let outcomes = changes.into_iter().enumerate();
        outcomes.map(|(at, change)| self.change(node, change, at < again)).collect()
    }

    fn change(&mut self, node: NodeId, change: Change, again: bool) -> ChangeOutcome {
        if let Change::Touch(touch) = &change {
            return self.touch(node, touch);
        }
        let id = id(&change).unwrap();
        if let Some(answer) = self.answers.get(&(node, id)) {
            let same = sealed(&change)
                .is_some_and(|sealed| self.made.iter().any(|made| made.record.sealed == sealed));
            return if same { answer.clone() } else { ChangeOutcome::IdReused };
        }
        if again {
            return ChangeOutcome::Conflict { seq: None };
        }
        self.lapse();
        let outcome = self.make(node, change);
        if let ChangeOutcome::Applied { .. } = outcome {
            self.answers.insert((node, id), outcome.clone());
        }
        outcome
    }

    fn make(&mut self, node: NodeId, change: Change) -> ChangeOutcome {
        match change {
            Change::Put(put) => {
                let stands = if put.own { Stands::Own } else { Stands::Shared };
                let there = self.there(put.key, stands, node);
                if !self.lawless && !holds(put.when, there) {
                    return ChangeOutcome::Conflict { seq: there };
                }
                if there.is_some_and(|seq| !self.may_take(node, seq)) {
                    return ChangeOutcome::NotYours;
                }
                self.forget_slot(put.key, stands, node);
                self.record(node, put.key, stands, (put.ttl, put.bound), put.sealed)
            }
            Change::Append(append) => {
                let there = self
                    .records()
                    .find(|r| r.key == append.key && r.stands == Stands::Appended)
                    .map(|r| r.seq);
                if !self.lawless && append.if_empty && there.is_some() {
                    return ChangeOutcome::Conflict { seq: there };
                }
                self.record(node, append.key, Stands::Appended, (append.ttl, append.bound), append.sealed)
            }
            Change::Delete(delete) => {
                let stood = match delete.seq {
                    Some(_) => Stands::Appended,
                    None if delete.own => Stands::Own,
                    None => Stands::Shared,
                };
                let appended = |r: &&Record| Some(r.seq) == delete.seq && r.key == delete.key;
                let there = match stood {
                    Stands::Appended => self.records().find(appended).map(|record| record.seq),
                    Stands::Shared | Stands::Own => self.there(delete.key, stood, node),
                };
                let Some(seq) = there else { return ChangeOutcome::NotFound };
                if !holds(delete.when, there) {
                    return ChangeOutcome::Conflict { seq: there };
                }
                if !self.may_take(node, seq) {
                    return ChangeOutcome::NotYours;
                }
                self.forget_slot(delete.key, stood, node);
                self.forget_record(seq);
                self.remember(node, delete.key, stood, true, delete.sealed.clone());
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

    /// Whether a node may take a record away; none of these is an admin's.
    fn may_take(&self, node: NodeId, seq: u64) -> bool {
        let may = |r: &Record| r.writer == node || r.stands == Stands::Shared && r.bound.is_none();
        self.records().find(|record| record.seq == seq).is_none_or(may)
    }

    fn touch(&mut self, node: NodeId, touch: &Touch) -> ChangeOutcome {
        self.lapse();
        if self.records().any(|record| touch.seqs.contains(&record.seq) && record.writer != node) {
            return ChangeOutcome::NotYours;
        }
        let mut gone = Vec::new();
        let ends = Timestamp::from_millis(self.clock + touch.ttl);
        for seq in &touch.seqs {
            let lasting = self.changes.iter_mut().find_map(|change| match &mut change.what {
                What::Record(record) if record.seq == *seq => record.expires.as_mut(),
                What::Record(_) | What::Deleted(_) | What::Ended(_) | What::Touched { .. } => None,
            });
            let Some(expires) = lasting else {
                gone.push(*seq);
                continue;
            };
            *expires = ends;
            self.last += 1;
            self.touches.retain(|_, touched| touched != seq);
            self.touches.insert(self.last, *seq);
        }
        ChangeOutcome::Touched { gone }
    }

    fn remember(&mut self, writer: NodeId, key: KeyId, stands: Stands, tombstone: bool, sealed: Bytes) {
        let seq = self.last + 1;
        let record = Record { seq, key, writer, stands, expires: None, bound: None, offered: false, sealed };
        self.made.push(Made { store: self.store, record, tombstone, ended: false });
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.clock += millis;
        self.lapse();
    }

    /// Ends what is past its end.
    fn lapse(&mut self) {
        let now = Timestamp::from_millis(self.clock);
        let over = |record: &&Record| record.expires.is_some_and(|expires| expires <= now);
        let over: Vec<_> = self.records().filter(over).map(|record| record.seq).collect();
        over.into_iter().for_each(|seq| self.end(seq, EndedBy::Lifetime, 0));
    }

    /// Ends what is bound to a node's lease.
    pub(crate) fn unbind(&mut self, node: NodeId, why: EndedBy) {
        let its = |record: &&Record| record.writer == node && record.bound.is_some();
        let its: Vec<_> = self.records().filter(its).map(|record| record.seq).collect();
        its.into_iter().for_each(|seq| self.end(seq, why, 0));
    }

    /// Forgets tombstones and ends.
    pub(crate) fn forget(&mut self) {
        let is_record = |change: &Changed| matches!(change.what, What::Record(_));
        let newest = self.changes.iter().rev().find(|change| !is_record(change));
        self.horizon = newest.map_or(self.horizon, |change| change.n);
        self.changes.retain(is_record);
    }

    pub(crate) fn offer(&mut self, offered: Offered) -> ChangeOutcome {
        let Offered { key, writer, stands, tombstone, when, expires, sealed } = offered;
        let there = self.last_in(key, stands, writer);
        if let Some(seq) = self.offers.get(&sealed) {
            return ChangeOutcome::Applied { seq: *seq };
        }
        if stands != Stands::Appended && (self.is_written(key, stands, writer) || !holds(when, there)) {
            return ChangeOutcome::Conflict { seq: there };
        }
        if !tombstone && expires.is_some_and(|expires| expires.as_millis() <= self.clock) {
            return ChangeOutcome::Conflict { seq: there };
        }
        self.forget_slot(key, stands, writer);
        self.offers.insert(sealed.clone(), self.last + 1);
        if tombstone {
            let deleted = Deleted { key, writer, stood: stands, seq: 0, offered: true, sealed };
            return ChangeOutcome::Applied { seq: self.push(What::Deleted(deleted)) };
        }
        let seq = self.last + 1;
        let record = Record { seq, key, writer, stands, expires, bound: None, offered: true, sealed };
        ChangeOutcome::Applied { seq: self.push(What::Record(record)) }
    }

    /// The place of the record in a slot, or of what is left of it.
    fn last_in(&self, key: KeyId, stands: Stands, writer: NodeId) -> Option<u64> {
        let is = |its, stood, by| its == key && stood == stands && (stands == Stands::Shared || by == writer);
        let its = |change: &&Changed| match &change.what {
            What::Record(record) => is(record.key, record.stands, record.writer),
            What::Deleted(deleted) => is(deleted.key, deleted.stood, deleted.writer),
            What::Ended(_) | What::Touched { .. } => false,
        };
        self.changes.iter().find(its).map(|change| change.n)
    }

    /// Whether something was written in a slot in this life of the store.
    fn is_written(&self, key: KeyId, stands: Stands, writer: NodeId) -> bool {
        self.made.iter().any(|Made { store, record, .. }| {
            let its_own = stands == Stands::Shared || record.writer == writer;
            *store == self.store && (record.key, record.stands) == (key, stands) && its_own
        })
    }

    fn record(
        &mut self,
        writer: NodeId,
        key: KeyId,
        stands: Stands,
        (ttl, bound): (Option<u64>, Option<u64>),
        sealed: Bytes,
    ) -> ChangeOutcome {
        self.remember(writer, key, stands, false, sealed.clone());
        let offered = false;
        let expires = ttl.map(|ttl| Timestamp::from_millis(self.clock + ttl));
        let seq = self.last + 1;
        self.push(What::Record(Record { seq, key, writer, stands, expires, bound, offered, sealed }));
        ChangeOutcome::Applied { seq }
    }
}

fn id(change: &Change) -> Option<ChangeId> {
    match change {
        Change::Put(Put { id, .. })
        | Change::Append(Append { id, .. })
        | Change::Delete(Delete { id, .. }) => Some(*id),
        Change::Touch(_) => None,
    }
}

fn holds(when: Condition, there: Option<u64>) -> bool {
    match when {
        Condition::Any => true,
        Condition::Absent => there.is_none(),
        Condition::Seq(seq) => there == Some(seq),
    }
}
