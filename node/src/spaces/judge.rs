//! What is believed of a page, on what is held.
//!
//! The broker cannot make records, but it chooses which it shows, when, and in which order. Believed is
//!
//! - a record that its writer has signed for this place and this life of the broker's store, with a number above all that were
//!   seen of it, or known: the very bytes were held before the copy was begun anew, have not come back yet, and nothing else
//!   stands there since;
//! - one that was *offered* after a loss: signed for another life, not bound, with a number above what was seen when the loss was
//!   found, or known; and where nothing stands that was written in this life, or that has its version;
//! - a tombstone likewise;
//! - an end, of a record that has a lifetime or is bound, and whose time has come;
//! - where no place is missing between what was held in full and a change: its condition must hold.
//!
//! Everything else is refused and told. A refused change leaves the copy as it is.

use std::collections::HashSet;

use waxwing_crypto::space::{Condition, Operation, Stands, Statement, digest};
use waxwing_crypto::{KeyId, NodeId, Timestamp, VerifyingKey};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{Deleted, EndedBy, EndedRecord, Record};

use super::check::{Change, Checked, Page, Said};
use super::copy;
use super::held::Held;
use super::suspicion::{Suspected, Suspicion};
use super::{Fact, Gone};
use crate::store::records::{Row, Slot};
use crate::store::spaces::{Reached, Writers};

/// What a page does to the copy.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Records and tombstones to store, each in the place of what stands in its slot.
    pub(super) put: Vec<Row>,
    /// Places to forget, also of what is stored by this page.
    pub(super) remove: Vec<u64>,
    /// Records that end at another moment.
    pub(super) touch: Vec<(u64, Timestamp)>,
    /// How far writers have come now.
    pub(super) writers: Writers,
    pub(super) facts: Vec<Fact>,
    pub(super) suspicions: Vec<Suspicion>,
    /// Old records that have come back, or are deleted.
    pub(super) back: HashSet<(NodeId, u64)>,
    /// What was held in full before the page is so after it: no place is missing.
    pub(super) gapless: bool,
}

/// Judges a page of a life of the store. `exact`: what is held is all that stood at the place that was asked for. It need not be:
/// what was replaced by something that comes later is not shown.
pub(super) fn judge(page: Page, held: Held, writers: &Writers, life: StoreId, exact: bool) -> Verdict {
    let upto = page.answer.upto;
    let mut judge = Judge {
        held,
        writers,
        life,
        next: page.after + 1,
        gapless: exact && page.after > 0,
        verdict: Verdict::default(),
    };
    for change in page.changes {
        judge.gapless &= change.n == judge.next;
        judge.next = change.n + 1;
        let (n, writer) = (change.n, writer(&change.what));
        if let Err(what) = judge.change(change) {
            judge.verdict.suspicions.push(Suspicion { what, writer, at: n });
        }
    }
    let gapless = judge.gapless && judge.next == upto + 1;
    Verdict { gapless, ..judge.verdict }
}

const fn writer(what: &Checked) -> Option<NodeId> {
    match what {
        Checked::Record(record, _) => Some(record.writer),
        Checked::Deleted(deleted, _) => Some(deleted.writer),
        Checked::Ended(_) | Checked::Touched { .. } => None,
    }
}

struct Judge<'a> {
    held: Held,
    writers: &'a Writers,
    /// The life of the broker's store.
    life: StoreId,
    /// The place after the last change.
    next: u64,
    /// No place is missing between what was held and this change: what stands there is known exactly.
    gapless: bool,
    verdict: Verdict,
}

impl Judge<'_> {
    fn change(&mut self, change: Change) -> Result<(), Suspected> {
        let Change { n, at, what } = change;
        match what {
            Checked::Record(record, said) => {
                let (offered, said) = (record.offered, said.ok_or(Suspected::Forged)?);
                let slot = Slot::of(record.stands, record.writer, record.seq);
                self.lives(&said.statement, offered, (record.key, slot))?;
                unless_outdated(self.record(n, at, record, said), offered)
            }
            Checked::Deleted(deleted, said) => {
                let (offered, said) = (deleted.offered, said.ok_or(Suspected::Forged)?);
                let slot = Slot::of(deleted.stood, deleted.writer, deleted.seq);
                self.lives(&said.statement, offered, (deleted.key, slot))?;
                unless_outdated(self.deleted(n, at, deleted, said), offered)
            }
            Checked::Ended(ended) => self.ended(at, ended),
            Checked::Touched { seq, expires } => self.touched(seq, expires),
        }
    }

    fn record(&mut self, n: u64, at: Timestamp, record: Record, said: Said) -> Result<(), Suspected> {
        let Said { statement, signer } = said;
        let slot = Slot::of(record.stands, record.writer, record.seq);
        let as_said = statement.ttl.is_some() == record.expires.is_some() && statement.bound == record.bound;
        if !as_said {
            return Err(Suspected::Forged);
        }
        if record.seq != n {
            return Err(Suspected::Replay); // It is told at the place that it has got, and its renewals apart.
        }
        if self.is_held(record.key, slot, &statement, &record.sealed)? {
            return Ok(());
        }
        self.in_order(&statement, signer, (record.key, slot), record.offered, &record.sealed)?;
        if !record.offered {
            self.holds(&statement, record.key, slot)?;
        } else if self.has(&statement, record.key, slot) {
            return Err(Suspected::Replay);
        }
        self.reach(signer, statement.counter);
        let row =
            row(record.seq, record.key, slot, at, &statement, (record.expires, record.bound), record.sealed);
        self.verdict.facts.push(Fact::Set(copy::shown(&row, statement)));
        self.put(row);
        Ok(())
    }

    fn deleted(&mut self, n: u64, at: Timestamp, deleted: Deleted, said: Said) -> Result<(), Suspected> {
        let Said { statement, signer } = said;
        let slot = Slot::of(deleted.stood, deleted.writer, deleted.seq);
        if self.is_held(deleted.key, slot, &statement, &deleted.sealed)? {
            return Ok(());
        }
        let target = self.held.in_slot(deleted.key, slot);
        // Places are the broker's, so a tombstone names its record by what its writer calls it.
        if let (Some(of), Some(target)) = (statement.of, target)
            && (of.writer, of.counter) != (target.writer, target.counter)
        {
            return Err(Suspected::Forged);
        }
        self.in_order(&statement, signer, (deleted.key, slot), deleted.offered, &deleted.sealed)?;
        if !deleted.offered {
            self.holds(&statement, deleted.key, slot)?;
        } else if self.has(&statement, deleted.key, slot) {
            return Err(Suspected::Replay);
        }
        self.reach(signer, statement.counter);
        // What was deleted after it had come back does not come back again.
        let of = statement.of.map(|of| (of.writer, of.counter));
        self.verdict.back.extend(of.filter(|of| self.held.old.contains_key(of)));
        if let Some(target) = self.held.in_slot(deleted.key, slot).filter(|target| !target.tombstone) {
            self.verdict.facts.push(Fact::Gone { seq: target.seq, why: Gone::Deleted, at });
        }
        let row = row(n, deleted.key, slot, at, &statement, (None, None), deleted.sealed);
        self.put(row);
        Ok(())
    }

    /// The end of a record. A copy that was away may hold one that the ended one took the place of: that goes with it.
    fn ended(&mut self, at: Timestamp, ended: EndedRecord) -> Result<(), Suspected> {
        let slot = Slot::of(ended.stood, ended.writer, ended.seq);
        let missed = self.held.in_slot(ended.key, slot).filter(|row| row.seq < ended.seq && !self.gapless);
        // Of a record that was not held, nothing is to be forgotten.
        let there = missed.or_else(|| self.held.rows.get(&ended.seq)).filter(|row| !row.tombstone);
        let Some(row) = there else { return Ok(()) };
        let may = match ended.why {
            _ if row.seq < ended.seq => true,
            EndedBy::Lifetime => row.expires.is_some_and(|expires| expires <= at),
            EndedBy::Lease | EndedBy::Goodbye => row.bound.is_some(),
        };
        if !may || (row.key, row.slot) != (ended.key, slot) {
            return Err(Suspected::Ended);
        }
        let seq = row.seq;
        self.verdict.remove.push(seq);
        self.verdict.facts.push(Fact::Gone { seq, why: Gone::Ended(ended.why), at });
        self.held.remove(seq);
        Ok(())
    }

    fn touched(&mut self, seq: u64, expires: Timestamp) -> Result<(), Suspected> {
        let Some(row) = self.held.rows.get_mut(&seq).filter(|row| !row.tombstone) else { return Ok(()) };
        if row.expires.is_none() {
            return Err(Suspected::Forged);
        }
        row.expires = Some(expires);
        self.verdict.touch.push((seq, expires));
        self.verdict.facts.push(Fact::Touched { seq, expires });
        Ok(())
    }

    /// Whether a change may come in this life of the store: what was written in it cannot be handed back in it, and what was not
    /// must be, and never in the place of what was. What was bound to a lease of another life is not handed back.
    fn lives(
        &self,
        statement: &Statement,
        offered: bool,
        (key, slot): (KeyId, Slot),
    ) -> Result<(), Suspected> {
        let is_of_this = |life: StoreId| life == self.life;
        let may = if is_of_this(StoreId::from_bytes(statement.life)) {
            !offered
        } else {
            let there = self.held.in_slot(key, slot);
            offered && statement.bound.is_none() && !there.is_some_and(|there| is_of_this(there.life))
        };
        if may { Ok(()) } else { Err(Suspected::Replay) }
    }

    /// Whether what is handed back has its place taken: by its version or a higher one; of an appended one, by itself.
    fn has(&self, statement: &Statement, key: KeyId, slot: Slot) -> bool {
        if statement.stands == Stands::Appended {
            return self.held.is_appended(key, statement.writer, statement.counter);
        }
        self.held.in_slot(key, slot).is_some_and(|there| there.version >= statement.version)
    }

    /// Whether this very change is held already. Another of the same number is none that one writer would make; one that a
    /// later of the same writer has taken the place of is an old one.
    fn is_held(
        &self,
        key: KeyId,
        slot: Slot,
        statement: &Statement,
        sealed: &[u8],
    ) -> Result<bool, Suspected> {
        let Some(row) = self.held.in_slot(key, slot).filter(|row| row.writer == statement.writer) else {
            return Ok(false);
        };
        if row.counter == statement.counter {
            return if row.sealed == sealed { Ok(true) } else { Err(Suspected::Forged) };
        }
        Ok(false)
    }

    /// Whether a change comes in its writer's order, or may come out of it.
    fn in_order(
        &mut self,
        statement: &Statement,
        signer: [u8; VerifyingKey::SIZE],
        (key, slot): (KeyId, Slot),
        offered: bool,
        sealed: &[u8],
    ) -> Result<(), Suspected> {
        let reached = self.reached(&signer);
        let passed = if offered { reached.lost } else { reached.counter };
        let number = (statement.writer, statement.counter);
        let known = self.held.old.get(&number);
        if known == Some(&None) || self.verdict.back.contains(&number) {
            return Err(Suspected::Replay);
        }
        if known == Some(&Some(digest(sealed))) && self.held.in_slot(key, slot).is_none() {
            self.verdict.back.insert(number);
            return Ok(());
        }
        if statement.counter > passed { Ok(()) } else { Err(Suspected::Replay) }
    }

    /// Whether what a change rests on stands there, where that is known.
    fn holds(&self, statement: &Statement, key: KeyId, slot: Slot) -> Result<(), Suspected> {
        if !self.gapless {
            return Ok(());
        }
        let there = self.held.in_slot(key, slot).filter(|row| !row.tombstone);
        let holds = match (statement.when, statement.operation) {
            (Condition::Any, _) => true,
            (Condition::Absent, Operation::Append) => {
                self.held.appended.get(&key).is_none_or(HashSet::is_empty)
            }
            (Condition::Absent, Operation::Put | Operation::Delete) => there.is_none(),
            (Condition::Seq(seq), _) => there.is_some_and(|row| row.seq == seq),
        };
        if holds { Ok(()) } else { Err(Suspected::Condition) }
    }

    fn reached(&self, signer: &[u8; VerifyingKey::SIZE]) -> Reached {
        let now = self.verdict.writers.get(signer).or_else(|| self.writers.get(signer));
        now.copied().unwrap_or_default()
    }

    fn reach(&mut self, signer: [u8; VerifyingKey::SIZE], counter: u64) {
        let mut reached = self.reached(&signer);
        reached.counter = reached.counter.max(counter);
        self.verdict.writers.insert(signer, reached);
    }

    fn put(&mut self, row: Row) {
        self.held.put(row.clone());
        self.verdict.put.push(row);
    }
}

/// What is handed back may be outdated: whoever was behind when the store was lost knows no better. It is refused, and nobody
/// is accused.
const fn unless_outdated(judged: Result<(), Suspected>, offered: bool) -> Result<(), Suspected> {
    match judged {
        Err(Suspected::Replay) if offered => Ok(()),
        judged => judged,
    }
}

fn row(
    seq: u64,
    key: KeyId,
    slot: Slot,
    at: Timestamp,
    statement: &Statement,
    (expires, bound): (Option<Timestamp>, Option<u64>),
    sealed: bytes::Bytes,
) -> Row {
    Row {
        seq,
        key,
        slot,
        tombstone: statement.operation == Operation::Delete,
        writer: statement.writer,
        version: statement.version,
        counter: statement.counter,
        at,
        expires,
        bound,
        life: StoreId::from_bytes(statement.life),
        sealed,
    }
}
