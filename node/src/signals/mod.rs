//! What the writer tells the link and the upkeep, in memory only: which lanes have something to send, which rows the link
//! holds, and that something is due earlier than it was.
//!
//! A wake-up carries nothing that matters. What is durable is the table; a link that starts reads it.

mod waiting;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use waxwing_crypto::{ClientMessageId, Timestamp};

use self::waiting::Waiting;
pub(crate) use self::waiting::{Back, HELD, Woken};
use crate::requests::Live;
use crate::store::OutLane;
use crate::tail::{Place, Tail};

/// Something that is live has come, or has not come to its recipient.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It was opened, and not seen before.
    Arrived(Box<Live>),
    /// A request of this node has ended on the way.
    Undeliverable { request: ClientMessageId, reason: String },
}

/// Rows handed to the broker that it has not answered: it may have them.
#[derive(Debug, Default)]
struct Handed {
    /// By the link that is up.
    held: HashSet<i64>,
    /// By one that has ended, and it is not written down yet.
    lost: HashSet<i64>,
}

/// Shared by a mesh's writer, link and API.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Lanes to look at.
    lanes: Mutex<Waiting>,
    wake: Notify,
    /// Rows handed to the broker and not answered.
    handed: Mutex<Handed>,
    /// Something may be due earlier than the upkeep thinks.
    sooner: Notify,
    /// When the first of the messages that wait to be sent has had its time, in milliseconds; `u64::MAX` if none is known to.
    first_expiry: AtomicU64,
    /// Since when incoming lanes that hold messages back miss what they wait for: the earliest.
    gapped: Mutex<Option<Instant>>,
    /// Whether the outbox may be filling up: by an estimate that is never too low.
    crowded: AtomicBool,
    /// Whether apps were told last that it is.
    high: AtomicBool,
    /// Whether a change has failed for want of room, and none since was written to see whether there is some.
    disk_full: AtomicBool,
    /// The last place given to a message or event.
    shown: watch::Sender<u64>,
    /// What is there for whom, of the last ones.
    tail: Tail,
    /// Rises whenever a message of this node may have come to another state.
    moved: watch::Sender<u64>,
    /// What is live and nobody has looked at yet: at most what a link's window holds.
    live: Mutex<Vec<Happened>>,
    live_wake: Notify,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            lanes: Mutex::default(),
            wake: Notify::new(),
            handed: Mutex::default(),
            sooner: Notify::new(),
            first_expiry: AtomicU64::new(u64::MAX),
            gapped: Mutex::default(),
            crowded: AtomicBool::new(false),
            high: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            shown: watch::Sender::default(),
            tail: Tail::default(),
            moved: watch::Sender::default(),
            live: Mutex::default(),
            live_wake: Notify::new(),
        }
    }
}

impl Signals {
    /// Says that these lanes have something to send.
    pub(crate) fn wake(&self, lanes: Vec<(OutLane, Woken)>) {
        if lanes.is_empty() {
            return;
        }
        // An old row has the lifetime that it had.
        if lanes.iter().any(|(_, woken)| matches!(woken, Woken::Table(Some(_)))) {
            self.look();
        }
        let mut waiting = lock(&self.lanes);
        for (lane, woken) in lanes {
            waiting.add(lane, woken);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until some lane has something to send, and takes what is known of it; with it, how often messages have ended until then.
    pub(crate) async fn woken(&self) -> (BTreeMap<OutLane, Woken>, u64) {
        loop {
            let (lanes, ends) = lock(&self.lanes).take();
            if !lanes.is_empty() {
                return (lanes, ends);
            }
            self.wake.notified().await;
        }
    }

    /// Notes whether a link sends what is new. What was held before is read.
    pub(crate) fn set_draining(&self, draining: bool) {
        lock(&self.lanes).set_draining(draining);
    }

    /// Notes that a message has ended that may not have been sent: a row that was held may be its.
    pub(crate) fn note_end(&self) {
        lock(&self.lanes).note_end();
    }

    /// How often messages have ended that may not have been sent.
    pub(crate) fn ends(&self) -> u64 {
        lock(&self.lanes).ends()
    }

    /// Notes rows that the link is about to hand over.
    pub(crate) fn launched(&self, rows: impl Iterator<Item = i64>) {
        lock(&self.handed).held.extend(rows);
        self.moved();
    }

    /// Notes rows that the broker has answered, once that is on disk; or that were not handed over after all.
    pub(crate) fn landed(&self, rows: &[i64]) {
        let mut handed = lock(&self.handed);
        for row in rows {
            handed.held.remove(row);
            handed.lost.remove(row);
        }
    }

    /// The link is gone, and with it every answer that has not come.
    pub(crate) fn link_lost(&self) {
        let mut handed = lock(&self.handed);
        let held = std::mem::take(&mut handed.held);
        handed.lost.extend(held);
    }

    /// Whether the link holds this row.
    pub(crate) fn is_inflight(&self, row: i64) -> bool {
        lock(&self.handed).held.contains(&row)
    }

    /// Rows that the broker may have without an answer to tell so, whichever link they went by.
    pub(crate) fn unanswered(&self) -> Vec<i64> {
        let handed = lock(&self.handed);
        handed.held.union(&handed.lost).copied().collect()
    }

    /// It is on disk which rows a link that has ended held.
    pub(crate) fn noted_lost(&self, rows: &[i64]) {
        let mut handed = lock(&self.handed);
        for row in rows {
            handed.lost.remove(row);
        }
    }

    /// Begins the stream of messages and events at a place.
    pub(crate) fn begin(&self, cursor: u64) {
        self.tail.begin(cursor);
        self.shown.send_replace(cursor);
    }

    /// Notes how far the stream of messages and events goes, and what was put into it.
    pub(crate) fn show(&self, cursor: u64, mut places: Vec<Place>) {
        // What nobody waits for is read when somebody does.
        if self.shown.receiver_count() == 0 {
            places.iter_mut().for_each(|place| _ = place.shed());
        }
        self.tail.push(cursor, places);
        self.shown.send_if_modified(|shown| std::mem::replace(shown, cursor) != cursor);
    }

    /// The end of that stream.
    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
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

    /// Has the upkeep look what is due.
    pub(crate) fn look(&self) {
        self.sooner.notify_one();
    }

    /// Waits until something may be due earlier than it was.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Notes that a message which waits to be sent has its time until then.
    pub(crate) fn expires(&self, at: Timestamp) {
        let at = at.as_millis();
        if at < self.first_expiry.fetch_min(at, Ordering::SeqCst) {
            self.look();
        }
    }

    /// Forgets when the first message has had its time, before that is read anew: what is accepted meanwhile is noted again.
    pub(crate) fn forget_expiries(&self) {
        self.first_expiry.store(u64::MAX, Ordering::SeqCst);
    }

    /// Notes when the first of the messages that were read has had its time. Says which of all known is the first.
    pub(crate) fn first_expiry(&self, read: Option<Timestamp>) -> Option<Timestamp> {
        let read = read.map_or(u64::MAX, Timestamp::as_millis);
        let first = self.first_expiry.fetch_min(read, Ordering::SeqCst).min(read);
        (first < u64::MAX).then(|| Timestamp::from_millis(first))
    }

    /// Notes since when incoming lanes miss what they wait for.
    pub(crate) fn set_gapped(&self, since: Option<Instant>) {
        if std::mem::replace(&mut *lock(&self.gapped), since) != since {
            self.look();
        }
    }

    /// Notes what has happened to live mail, once that is on disk.
    pub(crate) fn happened(&self, what: Vec<Happened>) {
        if !what.is_empty() {
            lock(&self.live).extend(what);
            self.live_wake.notify_one();
        }
    }

    /// Waits until something has happened to live mail, and takes it.
    pub(crate) async fn live(&self) -> Vec<Happened> {
        loop {
            let happened = std::mem::take(&mut *lock(&self.live));
            if !happened.is_empty() {
                return happened;
            }
            self.live_wake.notified().await;
        }
    }

    pub(crate) fn set_crowded(&self, crowded: bool) {
        if !self.crowded.swap(crowded, Ordering::Relaxed) && crowded {
            self.look();
        }
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
        let was = self.disk_full.swap(full, Ordering::Relaxed);
        if full && !was {
            self.look();
        }
        was
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Since when incoming lanes miss what they wait for, the earliest; none if none holds anything back.
    pub(crate) fn gapped(&self) -> Option<Instant> {
        *lock(&self.gapped)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::outbox::Pending;
    use crate::writer::tests::send;

    fn new(row: i64, bytes: usize) -> (OutLane, Woken) {
        let mut new = send(&format!("m-{row}"), 1);
        new.content = vec![0; bytes].into();
        (new.lane, Woken::New(vec![Pending::stored(row, new)]))
    }

    /// The rows that a link is given, or none if it has to read them.
    async fn given(signals: &Signals) -> Option<Vec<i64>> {
        let (lanes, _) = signals.woken().await;
        match lanes.into_values().next() {
            Some(Woken::New(rows)) => Some(rows.iter().map(|row| row.row).collect()),
            Some(Woken::Table(_)) | None => None,
        }
    }

    #[tokio::test]
    async fn new_rows_are_held_for_a_link_that_is_there_and_while_none_may_have_ended_and_within_bounds() {
        let signals = Signals::default();
        signals.wake(vec![new(1, 10)]);
        assert_eq!(given(&signals).await, None, "there is no link");
        signals.set_draining(true);
        signals.wake(vec![new(2, 10)]);
        signals.wake(vec![new(3, 10)]);
        assert_eq!(given(&signals).await, Some(vec![2, 3]));
        signals.wake(vec![new(4, 10)]);
        signals.note_end();
        assert_eq!(given(&signals).await, None, "4 may have ended");
        signals.wake(vec![new(5, HELD)]);
        assert_eq!(given(&signals).await, None, "too much");
        signals.wake(vec![new(6, 10)]);
        signals.set_draining(false);
        assert_eq!(given(&signals).await, None, "the link is gone");
    }
}
