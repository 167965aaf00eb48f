//! What one batch did, counted when it is on the disk and not before.

use std::collections::HashMap;

use waxwing_crypto::Priority;
use waxwing_protocol::link::{Change, ChangeOutcome, EndedBy, NoticeKind, Outcome, Settlement};

use super::Metrics;
use super::labels::{self, ByChange, ByKind, ByOutcome, ByReason};
use crate::store::node::Counters;

/// What one batch did.
#[derive(Default)]
pub(crate) struct Tally {
    items: HashMap<ByOutcome, u64>,
    settles: HashMap<ByKind, u64>,
    notices: HashMap<ByKind, u64>,
    swept: HashMap<ByReason, u64>,
    changes: HashMap<ByChange, u64>,
    ended: HashMap<ByReason, u64>,
    queued: i64,
    queued_bytes: i64,
}

impl Tally {
    /// An item was decided.
    pub(crate) fn item(&mut self, outcome: &Outcome, priority: Priority) {
        let label = ByOutcome { outcome: labels::outcome(outcome), priority: priority.as_str() };
        *self.items.entry(label).or_default() += 1;
    }

    /// A delivery was settled.
    pub(crate) fn settle(&mut self, settlement: &Settlement) {
        *self.settles.entry(ByKind { kind: labels::settlement(settlement) }).or_default() += 1;
    }

    /// A notice was queued.
    pub(crate) fn notice(&mut self, kind: &NoticeKind) {
        *self.notices.entry(ByKind { kind: labels::notice(kind) }).or_default() += 1;
    }

    /// Housekeeping took rows out.
    pub(crate) fn swept(&mut self, reason: &'static str, rows: usize) {
        *self.swept.entry(ByReason { reason }).or_default() += rows as u64;
    }

    /// A change of a space was decided.
    pub(crate) fn change(&mut self, change: &Change, outcome: &ChangeOutcome) {
        self.decided(labels::change(change), outcome);
    }

    /// A record that was handed back was taken or not.
    pub(crate) fn offered(&mut self, outcome: &ChangeOutcome) {
        self.decided("offer", outcome);
    }

    fn decided(&mut self, kind: &'static str, outcome: &ChangeOutcome) {
        let label = ByChange { kind, outcome: labels::change_outcome(outcome) };
        *self.changes.entry(label).or_default() += 1;
    }

    /// Records have ended.
    pub(crate) fn ended(&mut self, why: EndedBy, records: u64) {
        *self.ended.entry(ByReason { reason: labels::ended_by(why) }).or_default() += records;
    }

    /// A node's queue went from one size to another.
    pub(crate) const fn queue(&mut self, before: &Counters, after: &Counters) {
        self.queued += after.queued.cast_signed() - before.queued.cast_signed();
        self.queued_bytes += after.queued_bytes.cast_signed() - before.queued_bytes.cast_signed();
    }

    /// Adds it to what is counted.
    pub(super) fn count(&self, metrics: &Metrics) {
        for (label, count) in &self.items {
            metrics.items.get_or_create(label).inc_by(*count);
        }
        for (label, count) in &self.settles {
            metrics.settles.get_or_create(label).inc_by(*count);
        }
        for (label, count) in &self.notices {
            metrics.notices.get_or_create(label).inc_by(*count);
        }
        for (label, count) in &self.swept {
            metrics.swept.get_or_create(label).inc_by(*count);
        }
        for (label, count) in &self.changes {
            metrics.changes.get_or_create(label).inc_by(*count);
        }
        for (label, count) in &self.ended {
            metrics.ended.get_or_create(label).inc_by(*count);
        }
        metrics.queue_envelopes.inc_by(self.queued);
        metrics.queue_bytes.inc_by(self.queued_bytes);
    }
}
