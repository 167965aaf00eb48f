//! What the writer tells the link, in memory only: which lanes have something to send, and which rows the link holds.
//!
//! A wake-up carries nothing that matters. What is durable is the table; a link that starts reads it.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::store::OutLane;

/// An old row that is pending again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Back {
    pub(crate) row: i64,
    /// How often its recipient has refused it.
    pub(crate) nacks: u32,
}

/// Shared by a mesh's writer, link and API.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Lanes to look at; with the row to go back to, if an old one is pending again.
    lanes: Mutex<BTreeMap<OutLane, Option<Back>>>,
    wake: Notify,
    /// Rows handed to the broker and not answered.
    inflight: Mutex<HashSet<i64>>,
    /// Whether any incoming lane holds messages back.
    gapped: AtomicBool,
    /// Whether the outbox may be filling up: by an estimate that is never too low.
    crowded: AtomicBool,
    /// Whether apps were told last that it is.
    high: AtomicBool,
    /// Whether a change has failed for want of room, and none since was written to see whether there is some.
    disk_full: AtomicBool,
    /// The last place given to a message or event.
    shown: watch::Sender<u64>,
    /// Rises whenever a message of this node may have come to another state.
    moved: watch::Sender<u64>,
}

impl Signals {
    /// Says that these lanes have something to send.
    pub(crate) fn wake(&self, lanes: Vec<(OutLane, Option<Back>)>) {
        if lanes.is_empty() {
            return;
        }
        let mut waiting = lock(&self.lanes);
        for (lane, back_to) in lanes {
            let entry = waiting.entry(lane).or_insert(back_to);
            *entry = match (*entry, back_to) {
                (Some(a), Some(b)) => Some(Back { row: a.row.min(b.row), nacks: a.nacks.max(b.nacks) }),
                (a, b) => a.or(b),
            };
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until some lane has something to send, and takes what is known of it.
    pub(crate) async fn woken(&self) -> BTreeMap<OutLane, Option<Back>> {
        loop {
            let lanes = std::mem::take(&mut *lock(&self.lanes));
            if !lanes.is_empty() {
                return lanes;
            }
            self.wake.notified().await;
        }
    }

    /// Notes rows that the link has handed over.
    pub(crate) fn launched(&self, rows: impl Iterator<Item = i64>) {
        lock(&self.inflight).extend(rows);
        self.moved();
    }

    /// Notes rows that the broker has answered, once that is on disk.
    pub(crate) fn landed(&self, rows: &[i64]) {
        let mut inflight = lock(&self.inflight);
        for row in rows {
            inflight.remove(row);
        }
    }

    /// Forgets what a link held that is gone.
    pub(crate) fn link_lost(&self) {
        lock(&self.inflight).clear();
    }

    /// Whether the link holds this row.
    pub(crate) fn is_inflight(&self, row: i64) -> bool {
        lock(&self.inflight).contains(&row)
    }

    /// Notes how far the stream of messages and events goes.
    pub(crate) fn show(&self, cursor: u64) {
        self.shown.send_if_modified(|shown| std::mem::replace(shown, cursor) != cursor);
    }

    /// How far the stream of messages and events goes, as it grows.
    pub(crate) fn shown(&self) -> watch::Receiver<u64> {
        self.shown.subscribe()
    }

    /// Notes that messages of this node may have come to other states.
    pub(crate) fn moved(&self) {
        self.moved.send_modify(|moves| *moves += 1);
    }

    /// Changes when a message of this node may have come to another state.
    pub(crate) fn moves(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    pub(crate) fn set_gapped(&self, gapped: bool) {
        self.gapped.store(gapped, Ordering::Relaxed);
    }

    pub(crate) fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Relaxed);
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_high(&self, high: bool) {
        self.high.store(high, Ordering::Relaxed);
    }

    pub(crate) fn is_high(&self) -> bool {
        self.high.load(Ordering::Relaxed)
    }

    /// Says what it was before.
    pub(crate) fn set_disk_full(&self, full: bool) -> bool {
        self.disk_full.swap(full, Ordering::Relaxed)
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    pub(crate) fn is_gapped(&self) -> bool {
        self.gapped.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
