//! Time: this host's clock, and how far the broker's is from it.
//!
//! Somebody may set the wall clock. Lifetimes of messages go by one that nobody sets, which is what the wall's would be if it
//! had been left alone since the mesh was opened. It goes on while the machine sleeps.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use waxwing_crypto::Timestamp;

/// A wall clock that is off by this much is not trusted to say what is old.
const STEP: Duration = Duration::from_secs(5 * 60);

/// This host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Time since the machine was started, also that in which it slept.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RUNNING: ClockId = ClockId::Boottime;
/// Time since the machine was started.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RUNNING: ClockId = ClockId::Monotonic;

fn running() -> Duration {
    let time = clock_gettime(RUNNING);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A moment since this host was started, on a clock that runs while it is suspended.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Boot(Duration);

impl Boot {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(running())
    }

    /// Some time after this.
    pub(crate) const fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How long it is until this, if it is not past.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// In milliseconds.
    pub(crate) fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// As [`Boot::as_millis`] gave it.
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

/// This host's time as if nobody had set its clock since the start, and the broker's.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Duration,
    start: Timestamp,
    measured: Mutex<Measured>,
}

/// What the last login has told, at first nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// That time minus the broker's, in milliseconds.
    ahead: i64,
    by_login: bool,
}

fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Clock {
    /// Assumes no difference until a login says otherwise.
    pub(crate) fn start() -> Self {
        Self { began: running(), start: now(), measured: Mutex::default() }
    }

    /// What this host's clock would say, had nobody set it.
    pub(crate) fn steady(&self) -> Timestamp {
        self.start.plus(running().saturating_sub(self.began))
    }

    /// Notes the broker's time, just received.
    pub(crate) fn login(&self, broker: Timestamp) {
        let ahead = signed(self.steady()).saturating_sub(signed(broker));
        *self.lock() = Measured { ahead, by_login: true };
    }

    /// The broker's time.
    pub(crate) fn broker_now(&self) -> Timestamp {
        self.to_broker(self.steady())
    }

    /// A moment of the time that nobody sets, on the broker's clock.
    pub(crate) fn to_broker(&self, here: Timestamp) -> Timestamp {
        let millis = signed(here).saturating_sub(self.lock().ahead);
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// This host's clock as it is now, minus the broker's, in milliseconds.
    pub(crate) fn offset_millis(&self) -> i64 {
        signed(now()).saturating_sub(signed(self.broker_now()))
    }

    /// Whether this host's clock is right, by the broker's word at the last login: only then is what is old by it forgotten.
    pub(crate) fn is_right(&self) -> bool {
        self.lock().by_login && u128::from(self.offset_millis().unsigned_abs()) < STEP.as_millis()
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_converted_with_the_measured_offset() {
        let clock = Clock::start();
        let ahead = now().plus(Duration::from_secs(3_600));
        clock.login(ahead);
        assert!((-3_600_100..=-3_599_900).contains(&clock.offset_millis()));
        let here = clock.steady();
        let there = clock.to_broker(here);
        assert!(there.since(here) >= Duration::from_secs(3_599), "the broker's clock is an hour ahead");
        assert!(clock.broker_now().since(ahead) < Duration::from_secs(5));
    }

    #[test]
    fn a_clock_is_right_once_a_login_has_said_so_and_no_longer_than_it_does() {
        let clock = Clock::start();
        assert!(!clock.is_right(), "nobody has said so");
        clock.login(now());
        assert!(clock.is_right());
        clock.login(now().plus(2 * STEP));
        assert!(!clock.is_right(), "it is behind the broker's");
    }
}
