//! Order at the recipient: which messages of a lane may be shown, and which wait for earlier ones.
//!
//! A lane is one sender's (signing key's) messages of one priority, numbered 1, 2, ... inside the seal. Messages are
//! stored and receipted as they come, but get their place in the inbox in counter order: when all lower counters are
//! stored, declared void by the sender, or passed over because they are overdue.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use waxwing_crypto::sealing::CounterRange;

/// Most missing ranges kept per lane; beyond it the oldest are passed over.
const MAX_MISSING: usize = 1_024;

/// A message is overdue this long after its absence was noticed, while the node is caught up.
pub(crate) const OVERDUE: Duration = Duration::from_secs(60);

/// What is known of one incoming lane.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lane {
    highest: u64,
    /// Rising, not touching.
    missing: Vec<Missing>,
    /// Messages stored without a place.
    held: u64,
}

/// Counters below the highest that have not been seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Missing {
    first: u64,
    last: u64,
    /// Later messages have been shown without these.
    passed: bool,
    noticed: Instant,
}

/// The stored form: highest, held, and (first, last, passed) of each missing range.
#[derive(Deserialize, Serialize)]
struct Stored(u64, u64, Vec<(u64, u64, bool)>);

/// Where an arriving message belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// Next in order: it gets its place now.
    Next,
    /// Earlier ones are missing: it waits.
    Held,
    /// It was passed over before: it gets its place now, marked late.
    Late,
    /// Its counter was seen under another id, or declared void. It is mail all the same, and is marked late.
    Repeated,
}

impl Lane {
    /// Notes a message that is being stored, with the counters it declares void.
    pub(crate) fn arrive(&mut self, counter: u64, void: &[CounterRange], now: Instant) -> Arrival {
        for range in void {
            self.remove(range.first(), range.last().min(self.highest));
        }
        if counter <= self.highest {
            return match self.remove(counter, counter) {
                None => Arrival::Repeated,
                Some(true) => Arrival::Late,
                Some(false) => self.place(),
            };
        }
        if counter - self.highest > 1 {
            self.missing.push(Missing {
                first: self.highest + 1,
                last: counter - 1,
                passed: false,
                noticed: now,
            });
        }
        self.highest = counter;
        for range in void {
            // Of what has just become missing, too.
            self.remove(range.first(), range.last());
        }
        self.bound();
        self.place()
    }

    /// Notes that a counter will bring nothing more: what it counts is there already, from another lane. Says whether that
    /// is news.
    pub(crate) fn skip(&mut self, counter: u64, now: Instant) -> bool {
        if counter <= self.highest {
            return self.remove(counter, counter).is_some();
        }
        if counter - self.highest > 1 {
            let (first, last) = (self.highest + 1, counter - 1);
            self.missing.push(Missing { first, last, passed: false, noticed: now });
        }
        self.highest = counter;
        self.bound();
        true
    }

    /// Counters below this have their place, or may have it now.
    pub(crate) fn ready_below(&self) -> u64 {
        self.missing.iter().find(|missing| !missing.passed).map_or(self.highest + 1, |missing| missing.first)
    }

    /// Since when the first of those is missing that others wait for.
    pub(crate) fn missing_since(&self) -> Option<Instant> {
        self.missing.iter().filter(|missing| !missing.passed).map(|missing| missing.noticed).min()
    }

    /// Whether stored messages wait for a place.
    pub(crate) const fn holds(&self) -> bool {
        self.held > 0
    }

    /// Notes that this many waiting messages got their place.
    pub(crate) const fn placed(&mut self, count: u64) {
        self.held = self.held.saturating_sub(count);
    }

    /// Passes over what has been missing since before `noticed_before`. Gives the first and last counter of each range.
    pub(crate) fn pass_over(&mut self, noticed_before: Instant) -> Vec<(u64, u64)> {
        let mut passed = Vec::new();
        for missing in self.missing.iter_mut().filter(|m| !m.passed && m.noticed <= noticed_before) {
            missing.passed = true;
            passed.push((missing.first, missing.last));
        }
        passed
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let missing = self.missing.iter().map(|m| (m.first, m.last, m.passed)).collect();
        serde_json::to_vec(&Stored(self.highest, self.held, missing)).unwrap_or_default()
    }

    /// Reads the stored form; what is missing counts as noticed now. None if it is damaged.
    pub(crate) fn decode(bytes: &[u8], now: Instant) -> Option<Self> {
        let Stored(highest, held, missing) = serde_json::from_slice(bytes).ok()?;
        let missing = missing
            .into_iter()
            .map(|(first, last, passed)| Missing { first, last, passed, noticed: now })
            .collect();
        Some(Self { highest, missing, held })
    }

    /// Whether the message just noted, which is not missing any more, may be shown.
    fn place(&mut self) -> Arrival {
        let waiting = self.missing.iter().any(|missing| !missing.passed);
        if waiting || self.held > 0 {
            self.held += 1;
            return Arrival::Held;
        }
        Arrival::Next
    }

    /// Takes counters out of what is missing. None if none of them was; else whether the range had been passed over.
    fn remove(&mut self, first: u64, last: u64) -> Option<bool> {
        let mut found = None;
        let mut kept = Vec::with_capacity(self.missing.len() + 1);
        for missing in self.missing.drain(..) {
            if last < missing.first || missing.last < first {
                kept.push(missing);
                continue;
            }
            found = Some(missing.passed);
            if missing.first < first {
                kept.push(Missing { last: first - 1, ..missing });
            }
            if last < missing.last {
                kept.push(Missing { first: last + 1, ..missing });
            }
        }
        self.missing = kept;
        found
    }

    /// Keeps the list bounded: the oldest ranges are passed over first, and forgotten when there are too many.
    fn bound(&mut self) {
        let excess = self.missing.len().saturating_sub(MAX_MISSING);
        self.missing.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(first: u64, last: u64) -> CounterRange {
        CounterRange::new(first, last).unwrap()
    }

    fn arrivals(lane: &mut Lane, counters: &[u64]) -> Vec<Arrival> {
        counters.iter().map(|counter| lane.arrive(*counter, &[], Instant::now())).collect()
    }

    #[tokio::test]
    async fn messages_in_order_are_shown_at_once() {
        let mut lane = Lane::default();
        assert_eq!(arrivals(&mut lane, &[1, 2, 3]), [Arrival::Next; 3]);
        assert_eq!((lane.ready_below(), lane.holds()), (4, false));
    }

    #[tokio::test]
    async fn a_message_waits_for_the_ones_before_it() {
        let mut lane = Lane::default();
        assert_eq!(arrivals(&mut lane, &[3, 2]), [Arrival::Held, Arrival::Held]);
        assert_eq!(lane.ready_below(), 1, "1 is missing");
        // The first is next, but others wait behind it, and the caller places them all in order.
        assert_eq!(arrivals(&mut lane, &[1]), [Arrival::Held]);
        assert_eq!(lane.ready_below(), 4);
        lane.placed(3);
        assert_eq!(arrivals(&mut lane, &[4]), [Arrival::Next]);
    }

    #[tokio::test]
    async fn a_counter_that_brings_nothing_is_not_waited_for_whenever_it_is_skipped() {
        let mut lane = Lane::default();
        let now = Instant::now();
        assert_eq!(arrivals(&mut lane, &[1, 3]), [Arrival::Next, Arrival::Held]);
        assert!(lane.skip(2, now));
        assert_eq!(lane.ready_below(), 4);
        assert!(!lane.skip(2, now) && !lane.skip(1, now), "known already");
        assert!(lane.skip(6, now), "before those below it");
        assert_eq!((lane.ready_below(), arrivals(&mut lane, &[4])), (4, vec![Arrival::Held]));
        lane.placed(1);
        assert_eq!(lane.ready_below(), 5);
        assert_eq!((arrivals(&mut lane, &[5]), lane.ready_below()), (vec![Arrival::Held], 7));
        lane.placed(2);
        assert!(lane.skip(7, now), "the next");
        assert_eq!((lane.ready_below(), lane.missing_since()), (8, None));
        assert_eq!(arrivals(&mut lane, &[8]), [Arrival::Next]);
    }

    #[tokio::test]
    async fn void_counters_are_not_waited_for() {
        let mut lane = Lane::default();
        assert_eq!(lane.arrive(5, &[void(1, 2), void(3, 4)], Instant::now()), Arrival::Next);
        assert_eq!(arrivals(&mut lane, &[8]), [Arrival::Held]);
        assert_eq!(lane.arrive(9, &[void(6, 7)], Instant::now()), Arrival::Held);
        assert_eq!(lane.ready_below(), 10, "8 and 9 may be placed");
    }

    #[tokio::test]
    async fn an_overdue_message_is_passed_over_and_shown_late() {
        let mut lane = Lane::default();
        assert_eq!(arrivals(&mut lane, &[1, 3]), [Arrival::Next, Arrival::Held]);
        let noticed = lane.missing_since().unwrap();
        assert_eq!(lane.pass_over(noticed.checked_sub(Duration::from_nanos(1)).unwrap()), [], "not overdue");
        assert_eq!(lane.pass_over(noticed), [(2, 2)]);
        assert_eq!(lane.pass_over(noticed), [], "again");
        assert_eq!(lane.ready_below(), 4);
        lane.placed(1);
        assert_eq!(arrivals(&mut lane, &[2, 4]), [Arrival::Late, Arrival::Next]);
    }

    #[tokio::test]
    async fn a_counter_seen_before_is_a_repeat() {
        let mut lane = Lane::default();
        assert_eq!(arrivals(&mut lane, &[1, 1]), [Arrival::Next, Arrival::Repeated]);
    }

    #[tokio::test]
    async fn a_lane_survives_its_stored_form() {
        let mut lane = Lane::default();
        let now = Instant::now();
        for counter in [1, 4, 9] {
            lane.arrive(counter, &[], now);
        }
        lane.pass_over(now);
        lane.arrive(20, &[], now);
        assert_eq!(Lane::decode(&lane.encode(), now).unwrap(), lane);
        assert_eq!(Lane::decode(b"x", now), None);
    }

    #[tokio::test]
    async fn any_order_of_arrival_ends_with_everything_placed() {
        // Every permutation of five counters, the third one void.
        let mut counters = [1, 2, 4, 5];
        permute(&mut counters, 0, &mut |order| {
            let mut lane = Lane::default();
            let mut placed = 0;
            for counter in order {
                let gone = if *counter > 3 { vec![void(3, 3)] } else { vec![] };
                if lane.arrive(*counter, &gone, Instant::now()) == Arrival::Next {
                    placed += 1;
                }
            }
            assert_eq!(lane.ready_below(), 6, "{order:?}");
            assert_eq!(placed + lane.held, 4, "{order:?}");
        });
    }

    fn permute(items: &mut [u64; 4], at: usize, each: &mut impl FnMut(&[u64; 4])) {
        if at == items.len() {
            return each(items);
        }
        for i in at..items.len() {
            items.swap(at, i);
            permute(items, at + 1, each);
            items.swap(at, i);
        }
    }

    #[tokio::test]
    async fn missing_ranges_are_bounded() {
        let mut lane = Lane::default();
        for i in 1..3_000 {
            lane.arrive(i * 2, &[], Instant::now());
        }
        assert!(lane.missing.len() <= MAX_MISSING);
    }
}
