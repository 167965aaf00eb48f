//! How far one lane has come.

use std::collections::{BTreeSet, VecDeque};

use tokio::time::Instant;

use crate::link::backoff::Backoff;
use crate::signals::Woken;
use crate::store::outbox::Pending;

/// What is known of the rows after a lane's cursor.
#[derive(Debug, Default)]
pub(super) enum Fresh {
    /// They are to be read.
    #[default]
    Unknown,
    /// They are few: there was none just now.
    Few,
    /// These are all of them.
    Rows {
        rows: VecDeque<Pending>,
        /// How often messages had ended when they were taken.
        ends: u64,
    },
}

/// How far one lane has come on this link.
#[derive(Debug)]
pub(super) struct Lane {
    /// The last row handed over.
    pub(super) cursor: i64,
    pub(super) flying: BTreeSet<i64>,
    /// Nothing is pending after the cursor, as far as is known.
    pub(super) dry: bool,
    /// What is known of the rows after the cursor.
    fresh: Fresh,
    /// The oldest row refused for now. Nothing more is sent until it has been.
    pub(super) refused: Option<i64>,
    /// Not before.
    pub(super) blocked: Option<Instant>,
    /// What the broker has said of that.
    limited: Option<Instant>,
    /// How often the recipient has refused what is to be sent again.
    nacks: u32,
    pub(super) resend: Backoff,
    pub(super) prekey: Backoff,
}

impl Lane {
    /// One of which nothing was pending so far.
    pub(super) fn empty() -> Self {
        Self { dry: true, ..Self::new() }
    }

    /// One that has pending rows.
    pub(super) const fn new() -> Self {
        Self {
            cursor: 0,
            flying: BTreeSet::new(),
            dry: false,
            fresh: Fresh::Unknown,
            refused: None,
            blocked: None,
            limited: None,
            nacks: 0,
            resend: Backoff::RESEND,
            prekey: Backoff::PREKEY,
        }
    }

    /// It has something to send; of rows that are new, it holds so many bytes at most. `ends`: how often messages had ended by then.
    pub(super) fn wake(&mut self, woken: Woken, ends: u64, most: usize) {
        let was_dry = std::mem::take(&mut self.dry);
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh = match (fresh, woken) {
            (Fresh::Unknown, Woken::New(mut rows)) if was_dry => {
                // The last page that was read may have had them.
                rows.retain(|row| row.row > self.cursor);
                if rows.is_empty() {
                    return self.dry = true;
                }
                Fresh::Rows { rows: rows.into(), ends }
            }
            (Fresh::Rows { mut rows, ends }, Woken::New(more)) => {
                rows.extend(more);
                Fresh::Rows { rows, ends }
            }
            (_, Woken::Table(_)) if was_dry => Fresh::Few,
            (_, Woken::Table(_)) | (Fresh::Unknown | Fresh::Few, Woken::New(_)) => Fresh::Unknown,
        };
        if self.held() > most {
            // Too many to wait for room here.
            self.fresh = Fresh::Unknown;
        }
    }

    /// Bytes of rows that are held.
    pub(super) fn held(&self) -> usize {
        match &self.fresh {
            Fresh::Rows { rows, .. } => rows.iter().map(Pending::bytes).sum(),
            Fresh::Unknown | Fresh::Few => 0,
        }
    }

    /// What is known of the rows after the cursor, if no message has ended meanwhile.
    pub(super) fn take_fresh(&mut self, now: u64) -> Fresh {
        let fresh = std::mem::take(&mut self.fresh);
        let is_old = matches!(fresh, Fresh::Rows { ends, .. } if ends != now);
        if is_old { Fresh::Unknown } else { fresh }
    }

    /// Keeps what follows the rows that were handed over last: all that there is.
    pub(super) fn keep(&mut self, rows: VecDeque<Pending>, ends: u64) {
        self.dry = rows.is_empty();
        self.fresh = if self.dry { Fresh::Unknown } else { Fresh::Rows { rows, ends } };
    }

    /// The broker wants nothing more of this lane before a moment.
    pub(super) fn not_before(&mut self, moment: Option<Instant>) {
        self.limited = self.limited.max(moment);
    }

    /// The recipient has refused so many seals of a message. That the broker accepts each of them is no reason to hurry.
    pub(super) fn refused_before(&mut self, nacks: u32) {
        self.nacks = self.nacks.max(nacks);
    }

    /// Goes back to a row that has to be sent again, after a while.
    pub(super) fn back_to(&mut self, row: i64) {
        self.refused = Some(self.refused.map_or(row, |refused| refused.min(row)));
        self.settle();
    }

    /// Once nothing of the lane is in flight, what was refused decides where it goes on, and when.
    pub(super) fn settle(&mut self) {
        if self.flying.is_empty()
            && let Some(refused) = self.refused.take()
        {
            self.cursor = self.cursor.min(refused - 1);
            self.dry = false;
            self.fresh = Fresh::Unknown;
            self.resend.at_least(std::mem::take(&mut self.nacks).saturating_sub(1));
            let again = Instant::now() + self.resend.next();
            self.blocked = Some(again).max(self.limited.take());
        }
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.dry && self.refused.is_none() && self.blocked.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::writer::tests::send;

    #[test]
    fn a_lane_waits_at_least_as_long_as_the_broker_says() {
        let mut lane = Lane::new();
        lane.flying.extend([3, 4]);
        let moment = Instant::now() + Duration::from_secs(20);
        lane.flying.remove(&3);
        lane.not_before(Some(moment));
        lane.back_to(3);
        assert!(!lane.is_ready(moment), "something of it is in flight");
        lane.flying.remove(&4);
        lane.not_before(None); // It was only `behind`.
        lane.back_to(4);
        assert!(!lane.is_ready(moment - Duration::from_millis(1)));
        assert!(lane.is_ready(moment));
        assert_eq!(lane.cursor, 0, "from the row refused on");
        lane.flying.insert(5);
        lane.flying.remove(&5);
        lane.back_to(5);
        assert!(lane.is_ready(Instant::now() + Duration::from_secs(2)), "what it said then counts no more");
    }

    #[test]
    fn a_message_that_is_refused_again_and_again_is_sent_less_and_less_often_though_the_broker_accepts_it() {
        let waits = |nacks| {
            let mut longest = Duration::ZERO;
            for _ in 0..64 {
                let mut lane = Lane::new();
                // Its last seal was accepted.
                lane.resend.reset();
                lane.refused_before(nacks);
                lane.back_to(1);
                longest = longest.max(lane.blocked.unwrap().saturating_duration_since(Instant::now()));
            }
            longest
        };
        assert!(waits(1) <= Duration::from_millis(500));
        assert!(waits(40) > Duration::from_secs(10), "64 random parts of 30 s");
        assert!(waits(u32::MAX) <= Duration::from_secs(30));
    }

    fn new_rows(rows: std::ops::RangeInclusive<i64>) -> Woken {
        Woken::New(rows.map(|row| Pending::stored(row, send(&format!("m-{row}"), 1))).collect())
    }

    fn held(fresh: Fresh) -> Option<Vec<i64>> {
        match fresh {
            Fresh::Rows { rows, .. } => Some(rows.iter().map(|row| row.row).collect()),
            Fresh::Unknown | Fresh::Few => None,
        }
    }

    #[test]
    fn what_is_new_is_not_read_if_it_follows_all_that_was_and_no_message_has_ended_meanwhile() {
        let mut lane = Lane::empty();
        lane.wake(new_rows(1..=2), 0, usize::MAX);
        lane.wake(new_rows(3..=3), 0, usize::MAX);
        assert!(lane.is_ready(Instant::now()));
        assert_eq!(held(lane.take_fresh(0)), Some(vec![1, 2, 3]));
        (lane.cursor, lane.dry) = (5, true);
        lane.wake(new_rows(4..=6), 0, usize::MAX);
        assert_eq!(held(lane.take_fresh(0)), Some(vec![6]), "the page that was read last had the others");
        (lane.cursor, lane.dry) = (7, true);
        lane.wake(new_rows(6..=7), 0, usize::MAX);
        assert!(lane.dry, "it had them all");
        lane.wake(new_rows(8..=8), 0, usize::MAX);
        assert_eq!(held(lane.take_fresh(1)), None, "it may be the one that has ended");

        let mut backlog = Lane::new();
        backlog.wake(new_rows(9..=9), 0, usize::MAX);
        assert_eq!(held(backlog.take_fresh(0)), None, "others are before it");
        let mut back = Lane::empty();
        back.wake(new_rows(9..=9), 0, usize::MAX);
        back.wake(Woken::Table(None), 0, usize::MAX);
        assert_eq!(held(back.take_fresh(0)), None, "an old one is pending again");
        let mut refused = Lane::empty();
        refused.wake(new_rows(9..=9), 0, usize::MAX);
        refused.back_to(4);
        assert_eq!(held(refused.take_fresh(0)), None, "it goes on from the one refused");
        let mut full = Lane::empty();
        full.wake(new_rows(1..=9), 0, 500);
        assert_eq!((full.held(), full.dry), (0, false), "too many to be held are read");
    }
}
