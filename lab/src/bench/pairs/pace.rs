//! When a message is due: as soon as there is room in a window, or at its own moment, whatever became of those before.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::super::PATIENCE;
use super::super::stand::Until;
use super::stuck;
use crate::error::{Error, Result};

/// Moments that may have come while every connection was busy: a minute of ten thousand a second.
const DUE: usize = 600_000;

/// When messages are due.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Pace {
    /// While there are fewer under way than this: sent, and their receipt not yet there.
    Window(usize),
    /// So many a second, evenly. A message that could not be handed over in time is late from the moment at which it was due, so
    /// that what is slow is not left out of what is measured.
    Rate(f64),
}

impl Pace {
    /// The share of one of several.
    pub(super) const fn share(self, of: usize) -> Self {
        match self {
            Self::Window(window) => Self::Window(if window < of { 1 } else { window / of }),
            Self::Rate(rate) => Self::Rate(rate / of as f64),
        }
    }
}

/// Messages that are due at once.
pub(super) struct Ticket {
    pub(super) numbers: Range<usize>,
    pub(super) due: Instant,
}

/// What is known of each message.
#[derive(Clone, Copy)]
struct Known {
    due: Instant,
    seen: bool,
    receipted: bool,
}

/// What the tasks of a pair share in a round.
pub(super) struct Shared {
    source: Source,
    at_once: usize,
    known: Mutex<Vec<Known>>,
}

enum Source {
    /// A batch waits for so many places at `least`.
    Window {
        places: Semaphore,
        least: u32,
        until: Until,
        began: Instant,
    },
    Moments(AsyncMutex<mpsc::Receiver<Instant>>),
}

impl Shared {
    pub(super) fn new(until: Until, pace: Pace, at_once: usize) -> Self {
        let began = Instant::now();
        let (source, at_once) = match pace {
            Pace::Window(window) => {
                let window = window.max(1);
                let at_once = at_once.clamp(1, window);
                // Whoever waits for much of the window has little under way meanwhile; whoever takes each place as it comes has no batches.
                let least = u32::try_from(at_once.min(window.div_ceil(4))).unwrap_or(u32::MAX);
                (Source::Window { places: Semaphore::new(window), least, until, began }, at_once)
            }
            Pace::Rate(rate) => (Source::Moments(AsyncMutex::new(moments(rate, until, began))), 1),
        };
        Self { source, at_once, known: Mutex::default() }
    }

    /// What is to be sent next, once it is due; nothing when the round is over.
    pub(super) async fn next(&self) -> Result<Option<Ticket>> {
        match &self.source {
            Source::Moments(moments) => {
                let due = moments.lock().await.recv().await;
                Ok(due.map(|due| self.begin(due, 1)))
            }
            Source::Window { places, least, until, began } => {
                if until.is_over(*began, self.begun()) {
                    return Ok(None);
                }
                let place = timeout(PATIENCE, places.acquire_many(*least)).await;
                let place = place.map_err(|_| stuck("receipts"))?;
                let mut place = place.map_err(|err| Error::Unreadable(err.to_string()))?;
                // As many as there is room for by now.
                while place.num_permits() < self.at_once {
                    match places.try_acquire() {
                        Ok(another) => place.merge(another),
                        Err(_) => break,
                    }
                }
                let ticket = self.begin_within(*until, *began, place.num_permits());
                if let Some(Ticket { numbers, .. }) = &ticket {
                    // What is left of the places goes to the next.
                    drop(place.split(place.num_permits() - numbers.len()));
                    place.forget();
                }
                // Otherwise they go to the next who waits, to see that it is over.
                Ok(ticket)
            }
        }
    }

    fn begin(&self, due: Instant, count: usize) -> Ticket {
        let mut known = self.known();
        let first = known.len();
        known.resize(first + count, Known { due, seen: false, receipted: false });
        Ticket { numbers: first..first + count, due }
    }

    /// The same, no more than the round has.
    fn begin_within(&self, until: Until, began: Instant, room: usize) -> Option<Ticket> {
        let mut known = self.known();
        let first = known.len();
        if until.is_over(began, first) {
            return None;
        }
        let most = match until {
            Until::Count(count) => count - first,
            Until::Elapsed(_) => usize::MAX,
        };
        let (due, count) = (Instant::now(), room.min(most));
        known.resize(first + count, Known { due, seen: false, receipted: false });
        Some(Ticket { numbers: first..first + count, due })
    }

    /// A message has been seen by its recipient: how long it was on its way, if this is the first time.
    pub(super) fn seen(&self, n: usize) -> Option<Duration> {
        let mut known = self.known();
        let message = known.get_mut(n)?;
        (!std::mem::replace(&mut message.seen, true)).then(|| message.due.elapsed())
    }

    /// The receipt of a message has come: after how long, if this is the first.
    pub(super) fn receipted(&self, n: usize) -> Option<Duration> {
        let took = {
            let mut known = self.known();
            let message = known.get_mut(n)?;
            (!std::mem::replace(&mut message.receipted, true)).then(|| message.due.elapsed())
        };
        if let (Some(_), Source::Window { places, .. }) = (took, &self.source) {
            places.add_permits(1);
        }
        took
    }

    /// How many messages have been begun.
    pub(super) fn begun(&self) -> usize {
        self.known().len()
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moments at this rate, from a thread of their own: the runtime's timer has milliseconds, which is coarser than what is measured.
fn moments(rate: f64, until: Until, began: Instant) -> mpsc::Receiver<Instant> {
    let (due, moments) = mpsc::channel(DUE);
    let pace = move || {
        let mut begun = 0;
        loop {
            let moment = began + Duration::from_secs_f64(begun as f64 / rate.max(1e-3));
            let over = match until {
                Until::Elapsed(time) => moment >= began + time,
                Until::Count(count) => begun >= count,
            };
            if over || due.is_closed() {
                return;
            }
            std::thread::sleep(moment.saturating_duration_since(Instant::now()));
            if due.blocking_send(moment).is_err() {
                return;
            }
            begun += 1;
        }
    };
    drop(tokio::task::spawn_blocking(pace));
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moments_keep_to_their_times_however_slow_whoever_takes_them_is() {
        let shared = Shared::new(Until::Count(50), Pace::Rate(1_000.0), 500);
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut due = Vec::new();
        while let Some(ticket) = shared.next().await.unwrap() {
            due.push(ticket.due);
        }
        assert_eq!((due.len(), shared.begun()), (50, 50));
        let steps = due.windows(2).map(|two| two[1] - two[0]);
        assert!(
            steps.into_iter().all(|step| step.abs_diff(Duration::from_millis(1)) < Duration::from_micros(10))
        );
        assert!(due[49] < began + Duration::from_millis(100), "its moment, not when it was taken");
    }

    #[tokio::test]
    async fn a_window_opens_by_receipts_alone_and_a_repeat_opens_nothing() {
        let shared = Shared::new(Until::Count(5), Pace::Window(2), 1);
        for _ in 0..2 {
            shared.next().await.unwrap().unwrap();
        }
        let waits = timeout(Duration::from_millis(20), shared.next());
        assert!(waits.await.is_err(), "the window is full");
        assert!(shared.seen(0).is_some() && shared.seen(0).is_none() && shared.seen(9).is_none());
        assert!(shared.receipted(0).is_some() && shared.receipted(0).is_none());
        assert_eq!(shared.next().await.unwrap().unwrap().numbers, 2..3);
        assert!(timeout(Duration::from_millis(20), shared.next()).await.is_err(), "it is full again");
    }

    #[tokio::test]
    async fn who_waits_for_a_window_when_the_round_ends_is_told() {
        let shared = Shared::new(Until::Count(2), Pace::Window(1), 1);
        shared.next().await.unwrap().unwrap();
        let waiting = [(); 3].map(|()| shared.next());
        let told = futures_util::future::try_join_all(waiting);
        let (tickets, _) = tokio::join!(timeout(Duration::from_secs(5), told), async {
            shared.receipted(0);
            while shared.begun() < 2 {
                tokio::task::yield_now().await;
            }
            shared.receipted(1)
        });
        assert_eq!(tickets.unwrap().unwrap().iter().flatten().count(), 1);
    }

    #[tokio::test]
    async fn a_batch_is_what_there_is_room_for_once_that_is_a_quarter_of_a_window() {
        let shared = Shared::new(Until::Count(100), Pace::Window(10), 500);
        let next = async || shared.next().await.unwrap().unwrap().numbers;
        let waits = async || timeout(Duration::from_millis(20), shared.next()).await.is_err();
        assert_eq!(next().await, 0..10);
        shared.receipted(0);
        shared.receipted(3);
        assert!(waits().await);
        for n in [9, 5, 4] {
            shared.receipted(n);
        }
        assert_eq!(next().await, 10..15);
        assert!(waits().await, "the window is full");
    }

    #[tokio::test]
    async fn in_a_window_of_many_batches_each_is_whole() {
        let shared = Shared::new(Until::Count(100), Pace::Window(20), 5);
        for first in [0, 5, 10, 15] {
            assert_eq!(shared.next().await.unwrap().unwrap().numbers, first..first + 5);
        }
        for n in 0..4 {
            shared.receipted(n);
        }
        assert!(timeout(Duration::from_millis(20), shared.next()).await.is_err());
    }

    #[tokio::test]
    async fn a_count_is_not_exceeded_by_a_batch() {
        let shared = Shared::new(Until::Count(5), Pace::Window(100), 3);
        let mut tickets = Vec::new();
        while let Some(ticket) = shared.next().await.unwrap() {
            tickets.push(ticket.numbers);
        }
        assert_eq!(tickets, [0..3, 3..5]);
    }
}
