//! Delays between attempts: full jitter, from small to large (Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use rand_core::Rng as _;

/// A delay that doubles up to a limit, each one a random part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    /// Reconnecting: 250 ms, doubling to 30 s.
    pub(crate) const RECONNECT: Self = Self::new(Duration::from_millis(250), Duration::from_secs(30));
    /// Offering a message again: 500 ms, doubling to 30 s.
    pub(crate) const RESEND: Self = Self::new(Duration::from_millis(500), Duration::from_secs(30));
    /// Asking again for the prekey of a peer that has not published any: a newcomer will soon.
    pub(crate) const PREKEY: Self = Self::new(Duration::from_millis(250), Duration::from_secs(4));

    /// Asking again for state keys, or making an epoch: 1 s, doubling to 60 s.
    pub(crate) const EPOCHS: Self = Self::new(Duration::from_secs(1), Duration::from_secs(60));

    /// Asking again for what a space has: 250 ms, doubling to 30 s.
    pub(crate) const SPACES: Self = Self::new(Duration::from_millis(250), Duration::from_secs(30));

    const fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, attempts: 0 }
    }

    /// Starts from small again.
    pub(crate) const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// From now on the delays are as long as they get.
    pub(crate) const fn exhaust(&mut self) {
        self.attempts = u32::MAX;
    }

    /// Makes the next delay no smaller than that after so many attempts.
    pub(crate) const fn at_least(&mut self, attempts: u32) {
        if self.attempts < attempts {
            self.attempts = attempts;
        }
    }

    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.least.saturating_mul(1 << self.attempts.min(16)).min(self.most);
        self.attempts = self.attempts.saturating_add(1);
        between(Duration::ZERO, ceiling)
    }
}

/// A random moment of a span.
pub(crate) fn between(first: Duration, last: Duration) -> Duration {
    let span = u64::try_from(last.saturating_sub(first).as_micros()).unwrap_or(u64::MAX);
    first + Duration::from_micros(if span == 0 { 0 } else { crate::rng().next_u64() % (span + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_in_their_bounds_and_grow() {
        let mut backoff = Backoff::RECONNECT;
        for attempt in 0..40 {
            let ceiling = Duration::from_millis(250 << attempt.min(7)).min(Duration::from_secs(30));
            assert!(backoff.next() <= ceiling, "attempt {attempt}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(250));
        let span = between(Duration::from_secs(1), Duration::from_secs(2));
        assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&span));
    }
}
