//! What is believed of a page, on what is held.
//!
//! The broker cannot make records, but it chooses which it shows, when, and in which order. Believed is
//!
//! - a record that its writer has signed for this place, with a number above all that were seen of it. One that comes out of its
//!   writer's order has to be so for a reason: *offered* after a loss (above what was seen when the loss was found), or known: the
//!   very bytes were held before the copy was begun anew, have not come back yet, and nothing else stands there since;
//! - a tombstone likewise;
//! - an end, of a record that has a lifetime or is bound, and whose time has come;
//! - where no place is missing between what was held in full and a change: its condition must hold.
//!
//! Everything else is refused and told. A refused change leaves the copy as it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use waxwing_crypto::space::{Condition, Operation, Stands, Statement, digest};
use waxwing_crypto::{KeyId, NodeId, Timestamp, VerifyingKey};
use waxwing_protocol::link::{Deleted, EndedBy, EndedRecord, Record};

use super::check::{Change, Checked, Page, Said};
use super::copy;
use super::suspicion::{Suspected, Suspicion};
use super::{Fact, Gone};
use crate::store::records::{Row, Slot};
use crate::store::spaces::{Reached, Writers};

/// What is held, as far as a page needs it.
#[derive(Default)]
pub(super) struct Held {
    /// What stands in the slots that the page names, by place.
    rows: HashMap<u64, Row>,
    slots: HashMap<(KeyId, Slot), u64>,
    /// What is appended under the keys for which the page depends on it.
    appended: HashMap<KeyId, HashSet<u64>>,
    /// Records from before the copy was begun anew.
    old: Arc<Old>,
}

/// Digests of records by writer and number; none of those that have come back.
pub(super) type Old = HashMap<(NodeId, u64), Option<[u8; 16]>>;

impl Held {
    pub(super) fn of(rows: Vec<Row>, old: Arc<Old>) -> Self {
        let mut held = Self { old, ..Self::default() };
        rows.into_iter().for_each(|row| held.put(row));
        held
    }

    fn put(&mut self, row: Row) {
        let slot = (row.key, row.slot);
        if let Some(before) = self.slots.insert(slot, row.seq) {
            self.rows.remove(&before);
        }
        if let Slot::Appended(seq) = row.slot {
            let appended = self.appended.entry(row.key).or_default();
            if row.tombstone {
                appended.remove(&seq)
            } else {
                appended.insert(seq)
            };
        }
        self.rows.insert(row.seq, row);
    }

    fn remove(&mut self, seq: u64) {
        if let Some(row) = self.rows.remove(&seq) {
            self.slots.remove(&(row.key, row.slot));
            if let (Slot::Appended(seq), Some(appended)) = (row.slot, self.appended.get_mut(&row.key)) {
                appended.remove(&seq);
            }
        }
    }

    /// Whether a record of this number is appended under a key.
    fn is_appended(&self, key: KeyId, writer: NodeId, counter: u64) -> bool {
        let mut appended = self.appended.get(&key).into_iter().flatten();
        appended
            .any(|seq| self.rows.get(seq).is_some_and(|row| (row.writer, row.counter) == (writer, counter)))
    }

    fn in_slot(&self, key: KeyId, slot: Slot) -> Option<&Row> {
        self.rows.get(self.slots.get(&(key, slot))?)
    }
}

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
    /// Old records that have come back.
    pub(super) back: HashSet<(NodeId, u64)>,
    /// What was held in full before the page is so after it: no place is missing.
    pub(super) gapless: bool,
}

/// Judges a page. `exact`: what is held is all that stood at the place that was asked for. It need not be: what was replaced by
/// something that comes later is not shown.
pub(super) fn judge(page: Page, held: Held, writers: &Writers, exact: bool) -> Verdict {
    let upto = page.answer.upto;
    let mut judge = Judge {
        held,
        writers,
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
                let offered = record.offered;
                unless_outdated(self.record(n, at, record, said.ok_or(Suspected::Forged)?), offered)
            }
            Checked::Deleted(deleted, said) => {
                let offered = deleted.offered;
                unless_outdated(self.deleted(n, at, deleted, said.ok_or(Suspected::Forged)?), offered)
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
        // It is handed back where nothing stands, or something of a lower version, and no appended one twice.
        let there =
            self.held.in_slot(record.key, slot).is_some_and(|there| there.version >= statement.version);
        let is_there = there || self.held.is_appended(record.key, record.writer, statement.counter);
        if record.offered && is_there {
            return Err(Suspected::Replay);
        }
        if !record.offered {
            self.holds(&statement, record.key, slot)?;
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
        }
        self.reach(signer, statement.counter);
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
        let is_back = |back: &HashSet<_>| back.contains(&number);
        let known = self.held.old.get(&number).is_some_and(|old| *old == Some(digest(sealed)));
        if known && self.held.in_slot(key, slot).is_none() && !is_back(&self.verdict.back) {
            self.verdict.back.insert(number);
            return Ok(());
        }
        if statement.counter > passed && !is_back(&self.verdict.back) {
            Ok(())
        } else {
            Err(Suspected::Replay)
        }
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
        sealed,
    }
}

/// The slots, places and keys that must be known to judge a page.
pub(super) struct Needed {
    pub(super) slots: Vec<(KeyId, Slot)>,
    pub(super) seqs: Vec<u64>,
    pub(super) appended: Vec<KeyId>,
}

impl Needed {
    /// Those of a page. `exact` as for [`judge`]. Where a writer goes on, what stands there need not be known, unless his condition
    /// is looked at, or something may come back: he replaces it, whatever it is. So a copy that catches up reads little.
    pub(super) fn by(page: &Page, writers: &Writers, exact: bool, any_old: bool) -> Self {
        let mut needed = Self { slots: Vec::new(), seqs: Vec::new(), appended: Vec::new() };
        for change in &page.changes {
            match &change.what {
                Checked::Record(record, said) => {
                    let Some(Said { statement, signer }) = said else { continue };
                    let goes_on =
                        writers.get(signer).is_none_or(|reached| statement.counter > reached.counter);
                    let is_looked_at = exact && statement.when != Condition::Any;
                    // At a place that is new no appended one stands yet.
                    let is_new = record.stands == Stands::Appended && record.seq > page.after;
                    if !is_new && (any_old || record.offered || !goes_on || is_looked_at) {
                        let slot = Slot::of(record.stands, record.writer, record.seq);
                        needed.slots.push((record.key, slot));
                    }
                    let if_empty =
                        statement.operation == Operation::Append && statement.when == Condition::Absent;
                    let again = record.offered && record.stands == Stands::Appended;
                    if again || if_empty {
                        needed.appended.push(record.key);
                    }
                }
                Checked::Deleted(deleted, _) => {
                    needed.slots.push((deleted.key, Slot::of(deleted.stood, deleted.writer, deleted.seq)));
                }
                Checked::Ended(ended) => {
                    needed.seqs.push(ended.seq);
                    needed.slots.push((ended.key, Slot::of(ended.stood, ended.writer, ended.seq)));
                }
                Checked::Touched { seq, .. } => needed.seqs.push(*seq),
            }
        }
        needed.seqs.retain(|seq| *seq <= page.after);
        needed
    }
}
