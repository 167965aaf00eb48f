//! Processor time, as Linux tells it in /proc.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// What this process has used since it began, and a server.
pub(crate) fn used(server: Option<u32>) -> Result<Duration> {
    let mut used = of("self")?;
    if let Some(server) = server {
        used += of(&server.to_string())?;
    }
    Ok(used)
}

fn of(process: &str) -> Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1_000 / clock_ticks_per_second()))
        .with_context(|| format!("{file} is not as on Linux"))
}

/// User and system time, and those of children that have ended, as Redis has one to rewrite its log: fields 14 to 17, counted behind the
/// name in brackets.
fn ticks(stat: &str) -> Option<u64> {
    let times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let times: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>().ok()?;
    (times.len() == 4).then(|| times.iter().sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn user_and_system_time_and_childrens_are_found_behind_any_name() {
        let stat = "12 (a b) c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 3 1 20 0 4 0 5 6 7";
        assert_eq!(ticks(stat), Some(304));
        assert_eq!(ticks("12 (name"), None);
        assert!(used(None).unwrap() <= used(Some(std::process::id())).unwrap());
        assert!(used(Some(u32::MAX)).is_err());
    }
}
