//! Time: this host's clock, and how far the broker's is from it.
//!
//! Between logins the broker's time runs on the monotonic clock, so that somebody who sets the wall clock does not
//! expire mail.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use waxwing_crypto::Timestamp;

/// A wall clock that has moved by this much against the monotonic one is not trusted to end messages.
const STEP: Duration = Duration::from_secs(5 * 60);

/// This host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What was measured at the last login, or at the start.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Measured>);

#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    here: Timestamp,
    broker: Timestamp,
    /// By a login.
    by_login: bool,
}

impl Clock {
    /// Assumes no difference until a login says otherwise.
    pub(crate) fn start() -> Self {
        let here = now();
        Self(Mutex::new(Measured { at: Instant::now(), here, broker: here, by_login: false }))
    }

    /// Notes the broker's time, just received.
    pub(crate) fn login(&self, broker: Timestamp) {
        *self.lock() = Measured { at: Instant::now(), here: now(), broker, by_login: true };
    }

    /// The broker's time.
    pub(crate) fn broker_now(&self) -> Timestamp {
        let measured = *self.lock();
        measured.broker.plus(measured.at.elapsed())
    }

    /// A moment of this host's clock, on the broker's.
    pub(crate) fn to_broker(&self, here: Timestamp) -> Timestamp {
        let millis = i64::try_from(here.as_millis()).unwrap_or(i64::MAX).saturating_sub(self.offset_millis());
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// This host's clock minus the broker's, in milliseconds.
    pub(crate) fn offset_millis(&self) -> i64 {
        let measured = *self.lock();
        let signed = |t: Timestamp| i64::try_from(t.as_millis()).unwrap_or(i64::MAX);
        signed(measured.here).saturating_sub(signed(measured.broker))
    }

    /// Whether the wall clock has kept step with the monotonic one since the last login: only then do messages expire.
    pub(crate) fn is_steady(&self) -> bool {
        let measured = *self.lock();
        let expected = measured.here.plus(measured.at.elapsed());
        let now = now();
        now.since(expected).max(expected.since(now)) < STEP
    }

    /// Whether the wall clock is right, by the broker's word at the last login, and has kept step since: only then is what is
    /// old by it forgotten.
    pub(crate) fn is_right(&self) -> bool {
        let agrees = u128::from(self.offset_millis().unsigned_abs()) < STEP.as_millis();
        self.lock().by_login && agrees && self.is_steady()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        let here = now();
        let there = clock.to_broker(here);
        assert!(there.since(here) >= Duration::from_secs(3_599), "the broker's clock is an hour ahead");
        assert!(clock.broker_now().since(ahead) < Duration::from_secs(5));
        assert!(clock.is_steady());
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
