//! How far one lane has come.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::link::backoff::Backoff;

/// How far one lane has come on this link.
#[derive(Debug)]
pub(super) struct Lane {
    /// The last row handed over.
    pub(super) cursor: i64,
    pub(super) flying: BTreeSet<i64>,
    /// Nothing is pending after the cursor, as far as is known.
    pub(super) dry: bool,
    /// It was dry until just now: what follows the cursor is new, and little.
    pub(super) fresh: bool,
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
    pub(super) const fn new() -> Self {
        Self {
            cursor: 0,
            flying: BTreeSet::new(),
            dry: false,
            fresh: false,
            refused: None,
            blocked: None,
            limited: None,
            nacks: 0,
            resend: Backoff::RESEND,
            prekey: Backoff::PREKEY,
        }
    }

    /// It has something to send.
    pub(super) fn wake(&mut self) {
        self.fresh = std::mem::take(&mut self.dry);
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
}
