//! Times as ratios: each path in turns with the calibration, by the processor time of this thread, so that what others do at the same
//! moment is in neither.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::baseline::Time;
use crate::calibration::Calibration;
use crate::paths::Path;

/// Turns. The median is not moved by the few that were disturbed.
const ROUNDS: usize = 31;
/// How long each has in a turn, at least.
const TURN: Duration = Duration::from_millis(15);

/// Of each path: what one operation takes, of what one step of the calibration takes.
pub(crate) fn ratios(paths: &[Path]) -> Result<Vec<Time>> {
    let mut calibration = Calibration::new();
    let mut step = || {
        calibration.step();
        Ok(())
    };
    let steps = enough(&mut step)?;
    let mut operations = paths.iter().map(|path| path.prepare()).collect::<Result<Vec<_>>>()?;
    let counts = operations.iter_mut().map(|one| enough(one)).collect::<Result<Vec<_>>>()?;
    let mut rounds: Vec<Vec<(f64, f64)>> = vec![Vec::new(); paths.len()];
    for _ in 0..ROUNDS {
        for ((operation, count), round) in operations.iter_mut().zip(&counts).zip(&mut rounds) {
            let unit = each(&mut step, steps)?;
            let one = each(operation, *count)?;
            round.push((one / unit, one));
        }
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_unstable_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let time = |round: Vec<(f64, f64)>| {
        let (ratios, seconds) = round.into_iter().unzip();
        Time { ratio: median(ratios), micros: median(seconds) * 1e6 }
    };
    Ok(rounds.into_iter().map(time).collect())
}

/// As many as fill a turn.
fn enough(operation: &mut impl FnMut() -> Result<()>) -> Result<u64> {
    let (began, mut count) = (now(), 0_u64);
    while now() - began < TURN {
        operation()?;
        count += 1;
    }
    Ok(count)
}

/// Seconds that each of so many takes.
fn each(operation: &mut impl FnMut() -> Result<()>, count: u64) -> Result<f64> {
    let began = now();
    for _ in 0..count {
        operation()?;
    }
    let took = now() - began;
    ensure!(!took.is_zero(), "this thread's clock does not move");
    Ok(took.as_secs_f64() / count as f64)
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
