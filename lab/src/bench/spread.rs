//! How long something took, over many times.

use std::time::Duration;

use serde::Serialize;

/// Half of the times it took at most `p50`, nine tenths at most `p90`, and so on; in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// Nine tenths.
    pub p90: f64,
    /// All but a hundredth.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// Of these; zero if there are none.
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(Spread::of(times), Spread { p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 });
        let one = Spread::of(vec![Duration::from_millis(7)]);
        assert_eq!(one, Spread { p50: 7.0, p90: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
