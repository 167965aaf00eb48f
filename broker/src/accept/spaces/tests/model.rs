//! A space as it should be, in a few lines: what stands there, and what a follower has made of what it was told.

use std::collections::BTreeMap;

use waxwing_crypto::space::Condition;
use waxwing_crypto::{KeyId, NodeId};
use waxwing_protocol::link::{
    Append, Change, ChangeOutcome, Changed, Delete, Put, Record, Stands, Touch, What,
};

/// A record that stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    pub(super) key: KeyId,
    pub(super) writer: NodeId,
    pub(super) stands: Stands,
    pub(super) ends: Option<u64>,
    pub(super) bound: Option<u64>,
    pub(super) sealed: Vec<u8>,
}

/// By place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Standings(pub(super) BTreeMap<u64, Standing>);

impl Standings {
    /// What is not past its end.
    pub(super) fn at(&self, now: u64) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(_, one)| one.ends.is_none_or(|ends| ends > now))
                .map(|(n, one)| (*n, one.clone()))
                .collect(),
        )
    }

    /// The shared record under a key, or a writer's own.
    fn in_slot(&self, key: KeyId, own: Option<NodeId>) -> Option<u64> {
        let is = |one: &Standing| match own {
            None => one.stands == Stands::Shared,
            Some(writer) => one.stands == Stands::Own && one.writer == writer,
        };
        self.0.iter().find(|(_, one)| one.key == key && is(one)).map(|(seq, _)| *seq)
    }

    /// What becomes of a change. If it is made, the answer has its place, which is taken as given.
    pub(super) fn decide(
        &mut self,
        by: NodeId,
        now: u64,
        change: &Change,
        answer: &ChangeOutcome,
    ) -> ChangeOutcome {
        match change {
            Change::Put(put) => self.put(by, now, put, answer),
            Change::Append(append) => self.append(by, now, append, answer),
            Change::Touch(touch) => self.touch(by, now, touch),
            Change::Delete(delete) => self.delete(by, delete, answer),
        }
    }

    fn put(&mut self, by: NodeId, now: u64, put: &Put, answer: &ChangeOutcome) -> ChangeOutcome {
        let before = self.in_slot(put.key, put.own.then_some(by));
        if let Err(refused) = holds(put.when, before) {
            return refused;
        }
        if before.is_some_and(|seq| self.0[&seq].bound.is_some() && self.0[&seq].writer != by) {
            return ChangeOutcome::NotYours;
        }
        before.map(|seq| self.0.remove(&seq));
        let stands = if put.own { Stands::Own } else { Stands::Shared };
        let (ends, bound, sealed) = (put.ttl.map(|ttl| now + ttl), put.bound, put.sealed.to_vec());
        self.made(Standing { key: put.key, writer: by, stands, ends, bound, sealed }, answer)
    }

    fn append(&mut self, by: NodeId, now: u64, append: &Append, answer: &ChangeOutcome) -> ChangeOutcome {
        let is = |one: &Standing| one.key == append.key && one.stands == Stands::Appended;
        let first = self.0.iter().find(|(_, one)| is(one)).map(|(seq, _)| *seq);
        if append.if_empty && first.is_some() {
            return ChangeOutcome::Conflict { seq: first };
        }
        let (ends, bound) = (append.ttl.map(|ttl| now + ttl), append.bound);
        let (key, sealed) = (append.key, append.sealed.to_vec());
        self.made(Standing { key, writer: by, stands: Stands::Appended, ends, bound, sealed }, answer)
    }

    fn touch(&mut self, by: NodeId, now: u64, touch: &Touch) -> ChangeOutcome {
        if touch.seqs.iter().any(|seq| self.0.get(seq).is_some_and(|one| one.writer != by)) {
            return ChangeOutcome::NotYours;
        }
        let mut gone = Vec::new();
        for seq in &touch.seqs {
            match self.0.get_mut(seq).and_then(|one| one.ends.as_mut()) {
                Some(ends) => *ends = now + touch.ttl,
                None => gone.push(*seq),
            }
        }
        ChangeOutcome::Touched { gone }
    }

    fn delete(&mut self, by: NodeId, delete: &Delete, answer: &ChangeOutcome) -> ChangeOutcome {
        let is = |one: &Standing| one.stands == Stands::Appended && one.key == delete.key;
        let before = match delete.seq {
            Some(seq) => Some(seq).filter(|seq| self.0.get(seq).is_some_and(is)),
            None => self.in_slot(delete.key, delete.own.then_some(by)),
        };
        let Some(seq) = before else { return ChangeOutcome::NotFound };
        if let Err(refused) = holds(delete.when, before) {
            return refused;
        }
        let one = &self.0[&seq];
        let anybodys = one.stands == Stands::Shared && one.bound.is_none();
        if !anybodys && one.writer != by {
            return ChangeOutcome::NotYours;
        }
        self.0.remove(&seq);
        answer.clone()
    }

    fn made(&mut self, one: Standing, answer: &ChangeOutcome) -> ChangeOutcome {
        let ChangeOutcome::Applied { seq } = answer else { panic!("{answer:?} instead of {one:?}") };
        assert!(self.0.last_key_value().is_none_or(|(last, _)| last < seq), "a place given twice");
        self.0.insert(*seq, one);
        answer.clone()
    }

    /// Takes what a follower is told.
    pub(super) fn hear(&mut self, changed: Changed) {
        match changed.what {
            What::Record(record) => {
                assert_eq!(record.seq, changed.n);
                let Record { key, writer, stands, expires, bound, sealed, .. } = record;
                self.take_away(key, writer, stands, record.seq);
                let ends = expires.map(waxwing_crypto::Timestamp::as_millis);
                self.0.insert(
                    record.seq,
                    Standing { key, writer, stands, ends, bound, sealed: sealed.to_vec() },
                );
            }
            What::Deleted(gone) => self.take_away(gone.key, gone.writer, gone.stood, gone.seq),
            What::Ended(gone) => self.take_away(gone.key, gone.writer, gone.stood, gone.seq),
            What::Touched { seq, expires } => {
                let one = self.0.get_mut(&seq).expect("a renewal of what was never told");
                assert!(one.ends.is_some());
                one.ends = Some(expires.as_millis());
            }
        }
    }

    fn take_away(&mut self, key: KeyId, writer: NodeId, stands: Stands, seq: u64) {
        let gone = match stands {
            Stands::Shared => self.in_slot(key, None),
            Stands::Own => self.in_slot(key, Some(writer)),
            Stands::Appended => Some(seq),
        };
        gone.map(|seq| self.0.remove(&seq));
    }
}

fn holds(when: Condition, seq: Option<u64>) -> Result<(), ChangeOutcome> {
    let holds = match when {
        Condition::Any => true,
        Condition::Absent => seq.is_none(),
        Condition::Seq(wanted) => seq == Some(wanted),
    };
    if holds { Ok(()) } else { Err(ChangeOutcome::Conflict { seq }) }
}
