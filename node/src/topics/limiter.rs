//! How fast an app may publish to a topic: a token bucket for each, so that one that runs wild is told before it fills the
//! broker. A bucket is forgotten when it is full again.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use waxwing_crypto::Name;
use waxwing_protocol::{TopicName, limits};

/// Buckets from which on full ones are looked for.
const MANY: usize = 4_096;

/// The buckets of a mesh.
pub(super) struct Limiter {
    buckets: DefaultKeyedRateLimiter<(Name, TopicName)>,
    clock: DefaultClock,
}

impl Default for Limiter {
    fn default() -> Self {
        let whole = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(whole(limits::PUBLISH_RATE)).allow_burst(whole(limits::PUBLISH_BURST));
        Self { buckets: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }
}

impl Limiter {
    /// Takes a message off an app's allowance for a topic, or says how long to wait.
    pub(super) fn take(&self, app: &Name, topic: &TopicName) -> Result<(), Duration> {
        if self.buckets.len() > MANY {
            self.buckets.retain_recent();
        }
        let taken = self.buckets.check_key(&(app.clone(), topic.clone()));
        taken.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limiter({} buckets)", self.buckets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn st_25_sb_18_a_burst_is_allowed_and_who_goes_on_is_told_when_to_come_again() {
        let limiter = Limiter::default();
        let (ci, ann): (Name, Name) = ("ci".parse().unwrap(), "ann".parse().unwrap());
        let (build, task): (TopicName, TopicName) = ("build".parse().unwrap(), "task:x".parse().unwrap());
        let taken = (0..2 * limits::PUBLISH_BURST).take_while(|_| limiter.take(&ci, &build).is_ok()).count();
        assert!(taken >= limits::PUBLISH_BURST as usize, "{taken}");
        let wait = limiter.take(&ci, &build).unwrap_err();
        assert!(wait > Duration::ZERO && wait < Duration::from_secs(1), "{wait:?}");
        // Others, and other topics, have allowances of their own.
        limiter.take(&ann, &build).unwrap();
        limiter.take(&ci, &task).unwrap();
    }
}
