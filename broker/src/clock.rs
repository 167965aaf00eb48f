//! The broker's clocks: the wall's, which expiries, dedupe and log entries are measured by, and one that nobody sets, for
//! leases.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::warn;
use waxwing_crypto::Timestamp;
use waxwing_protocol::limits;

/// Tells the time. The system's, unless a test brings its own.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let begin = Instant::now();
        Self::with_steady(now, move || begin.elapsed())
    }

    /// A clock whose steady time, which nobody sets, is told by `steady`.
    pub fn with_steady(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { wall: Arc::new(now), steady: Arc::new(steady) }
    }

    /// The system's clock.
    pub fn system() -> Self {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::default().plus(since)
        };
        Self::with_steady(now, running)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// How much time has passed since some moment, whoever has set the clock meanwhile.
    pub fn steady(&self) -> Duration {
        (self.steady)()
    }
}

/// Time since the machine was started, also that in which it slept: lifetimes go on then.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn running() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Time since the machine was started.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn running() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The wall's clock, but for its jumps: what lifetimes of records are measured by. One that is set by more than
/// [`limits::CLOCK_SKEW`] while the broker runs has not made time pass, and ends nothing; if it is set right again, all is as
/// it was.
pub(crate) struct Even {
    clock: Clock,
    seen: Mutex<Seen>,
}

struct Seen {
    wall: Timestamp,
    steady: Duration,
    /// What the wall's clock is ahead by jumps, in milliseconds.
    jumped: i64,
}

impl Even {
    /// Goes with a clock from now on.
    pub(crate) fn new(clock: Clock) -> Self {
        let seen = Seen { wall: clock.now(), steady: clock.steady(), jumped: 0 };
        Self { clock, seen: Mutex::new(seen) }
    }

    /// What time it is, but for jumps.
    pub(crate) fn now(&self) -> Timestamp {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, steady) = (self.clock.now(), self.clock.steady());
        let passed = millis(steady.saturating_sub(seen.steady));
        let ahead = millis(wall.since(seen.wall)) - millis(seen.wall.since(wall)) - passed;
        if ahead.unsigned_abs() > limits::CLOCK_SKEW.as_millis() as u64 {
            warn!(seconds = ahead / 1_000, "the clock has jumped: lifetimes of records go on without that");
            seen.jumped = seen.jumped.saturating_add(ahead);
        }
        (seen.wall, seen.steady) = (wall, steady);
        Timestamp::from_millis(wall.as_millis().saturating_add_signed(seen.jumped.saturating_neg()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_jump_makes_no_time_pass_and_jumping_back_undoes_it() {
        let times = Arc::new([AtomicU64::new(1_000_000_000), AtomicU64::new(5_000)]);
        let (wall, steady) = (Arc::clone(&times), Arc::clone(&times));
        let clock = Clock::with_steady(
            move || Timestamp::from_millis(wall[0].load(Ordering::SeqCst)),
            move || Duration::from_millis(steady[1].load(Ordering::SeqCst)),
        );
        let even = Even::new(clock);
        let at = |wall: u64, steady: u64| {
            times[0].store(wall, Ordering::SeqCst);
            times[1].store(steady, Ordering::SeqCst);
            even.now().as_millis()
        };
        assert_eq!(at(1_000_700_000, 705_000), 1_000_700_000, "time passes");
        assert_eq!(at(1_000_900_000, 705_000), 1_000_900_000, "a small step is followed");
        assert_eq!(at(9_000_900_000, 705_000), 1_000_900_000);
        assert_eq!(at(9_000_901_000, 706_000), 1_000_901_000);
        assert_eq!(at(1_000_902_000, 707_000), 1_000_902_000, "as it was");
        assert_eq!(at(902_000, 707_000), 1_000_902_000);
    }

    #[test]
    fn the_steady_clock_of_the_system_goes_on() {
        let clock = Clock::system();
        let before = clock.steady();
        assert!(!before.is_zero() && clock.steady() >= before);
    }
}
