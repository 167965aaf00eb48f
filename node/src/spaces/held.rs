//! What is held of what a page is about.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use waxwing_crypto::space::{Condition, Operation, Stands};
use waxwing_crypto::{KeyId, NodeId};

use super::check::{Checked, Page, Said};
use crate::store::records::{Row, Slot};
use crate::store::spaces::Writers;

/// The slots, places and keys that must be known to judge a page.
pub(super) struct Needed {
    pub(super) slots: Vec<(KeyId, Slot)>,
    pub(super) seqs: Vec<u64>,
    pub(super) appended: Vec<KeyId>,
}

impl Needed {
    /// Those of a page. `exact` as for [`judge`](super::judge::judge). Where a writer goes on, what stands there need not be known, unless his condition
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

/// What is held, as far as a page needs it.
#[derive(Default)]
pub(super) struct Held {
    /// What stands in the slots that the page names, by place.
    pub(super) rows: HashMap<u64, Row>,
    slots: HashMap<(KeyId, Slot), u64>,
    /// What is appended under the keys for which the page depends on it.
    pub(super) appended: HashMap<KeyId, HashSet<u64>>,
    /// Records from before the copy was begun anew.
    pub(super) old: Arc<Old>,
}

/// Digests of records by writer and number; none of those that have come back, or are deleted.
pub(super) type Old = HashMap<(NodeId, u64), Option<[u8; 16]>>;

impl Held {
    pub(super) fn of(rows: Vec<Row>, old: Arc<Old>) -> Self {
        let mut held = Self { old, ..Self::default() };
        rows.into_iter().for_each(|row| held.put(row));
        held
    }

    pub(super) fn put(&mut self, row: Row) {
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

    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(row) = self.rows.remove(&seq) {
            self.slots.remove(&(row.key, row.slot));
            if let (Slot::Appended(seq), Some(appended)) = (row.slot, self.appended.get_mut(&row.key)) {
                appended.remove(&seq);
            }
        }
    }

    /// Whether a record of this number is appended under a key.
    pub(super) fn is_appended(&self, key: KeyId, writer: NodeId, counter: u64) -> bool {
        let mut appended = self.appended.get(&key).into_iter().flatten();
        appended
            .any(|seq| self.rows.get(seq).is_some_and(|row| (row.writer, row.counter) == (writer, counter)))
    }

    pub(super) fn in_slot(&self, key: KeyId, slot: Slot) -> Option<&Row> {
        self.rows.get(self.slots.get(&(key, slot))?)
    }
}
