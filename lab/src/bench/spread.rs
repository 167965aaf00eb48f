//! How long something took, over many times; and a figure over several rounds.

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
    /// All but a thousandth.
    #[serde(rename = "p99.9")]
    pub p999: f64,
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
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// A figure that was measured in several rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range {
    /// The one in the middle; of an even number, the higher of the two there.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Range {
    /// Over these; zero if there are none.
    pub(super) fn over(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or_default();
        Self { median: at(figures.len() / 2), least: at(0), most: at(figures.len().saturating_sub(1)) }
    }
}

/// A [`Spread`] of each round, and how far the rounds are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spreads {
    /// Of the medians.
    pub p50: Range,
    /// Of what nine tenths took at most.
    pub p90: Range,
    /// Of what all but a hundredth took at most.
    pub p99: Range,
    /// Of what all but a thousandth took at most.
    #[serde(rename = "p99.9")]
    pub p999: Range,
    /// Of the longest.
    pub max: Range,
}

impl Spreads {
    /// Over these rounds.
    pub(super) fn over(rounds: &[Spread]) -> Self {
        let over = |share: fn(&Spread) -> f64| Range::over(rounds.iter().map(share));
        Self {
            p50: over(|round| round.p50),
            p90: over(|round| round.p90),
            p99: over(|round| round.p99),
            p999: over(|round| round.p999),
            max: over(|round| round.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = (1..=2_000).rev().map(Duration::from_millis).collect();
        let spread = Spread { p50: 1_000.0, p90: 1_800.0, p99: 1_980.0, p999: 1_998.0, max: 2_000.0 };
        assert_eq!(Spread::of(times), spread);
        let one = Spread::of(vec![Duration::from_millis(7)]);
        assert_eq!(one, Spread { p50: 7.0, p90: 7.0, p99: 7.0, p999: 7.0, max: 7.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }

    #[test]
    fn rounds_are_told_by_the_one_in_the_middle_and_both_ends() {
        assert_eq!(Range::over([9.0, 2.0, 5.0]), Range { median: 5.0, least: 2.0, most: 9.0 });
        assert_eq!(Range::over([]), Range::default());
        let rounds = [3, 1, 2].map(|time| Spread::of(vec![Duration::from_millis(time)]));
        let range = Range { median: 2.0, least: 1.0, most: 3.0 };
        let spreads = Spreads::over(&rounds);
        assert_eq!((spreads.p50, spreads.p999, spreads.max), (range, range, range));
    }
}
