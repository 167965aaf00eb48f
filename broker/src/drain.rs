//! A broker that stops sends its nodes away all at once. When they come back is spread by how many they are, so that the
//! next one is not met by all of them in its first second.

use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest span: a broker takes about that long to be there again.
const SHORTEST: u64 = 2_000;
/// The longest: nobody should be kept away for longer than this by a restart.
const LONGEST: u64 = 300_000;

/// Over how long the nodes of a stopping broker come back.
#[derive(Debug)]
pub(crate) struct Drain {
    per_second: u64,
    millis: AtomicU64,
}

impl Drain {
    /// For a broker that takes so many logins in a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: u64::from(per_second).max(1), millis: AtomicU64::new(SHORTEST) }
    }

    /// Fixes the span: the broker stops, with so many links.
    pub(crate) fn begin(&self, links: u64) {
        let millis = links.saturating_mul(1_000) / self.per_second;
        self.millis.store(millis.clamp(SHORTEST, LONGEST), Ordering::Relaxed);
    }

    /// The span, in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_grows_with_the_links_between_its_ends() {
        let drain = Drain::new(1_000);
        for (links, millis) in [(0, 2_000), (2_000, 2_000), (16_384, 16_384), (u64::MAX, 300_000)] {
            drain.begin(links);
            assert_eq!(drain.millis(), millis, "{links}");
        }
    }
}
