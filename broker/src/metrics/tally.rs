//! What one batch did, counted when it is on the disk and not before.

use std::collections::HashMap;

use waxwing_crypto::Priority;
use waxwing_protocol::link::{NoticeKind, Outcome, Settlement};

use super::Metrics;
use super::labels::{self, ByKind, ByOutcome, ByReason};
use crate::store::node::Counters;

/// What one batch did.
#[derive(Default)]
pub(crate) struct Tally {
    items: HashMap<ByOutcome, u64>,
    settles: HashMap<ByKind, u64>,
    notices: HashMap<ByKind, u64>,
    swept: HashMap<ByReason, u64>,
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
        metrics.queue_envelopes.inc_by(self.queued);
        metrics.queue_bytes.inc_by(self.queued_bytes);
    }
}
