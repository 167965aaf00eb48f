//! What paths cost when the baseline was written, and what of now is beyond it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// More instructions than this many percent beyond the baseline are too many.
const INSTRUCTIONS: f64 = 5.0;
/// The same of times, which are not the same twice.
const TIMES: f64 = 25.0;

/// What paths cost.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Baseline {
    /// Where it was measured: another processor has other instructions for the same, and another ratio to the calibration.
    #[serde(rename = "where")]
    place: Place,
    paths: BTreeMap<String, Figure>,
}

#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
struct Place {
    processor: String,
    valgrind: String,
}

/// What one operation costs.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) instructions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Time>,
}

/// How long one operation takes.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Time {
    /// Of what one step of the calibration takes.
    pub(crate) ratio: f64,
    /// Processor time there and then, to be read, not to be compared.
    pub(crate) micros: f64,
}

impl Baseline {
    /// Of this machine, with nothing measured.
    pub(crate) fn here() -> Result<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let version = Command::new("valgrind").arg("--version").output();
        let version = version.context("valgrind does not start: apt-get install valgrind")?;
        let place = Place {
            processor: model
                .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned()),
            valgrind: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
        };
        Ok(Self { place, paths: BTreeMap::new() })
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            std::fs::read(file).with_context(|| format!("{}: write it with --bless", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no baseline", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }

    pub(crate) fn set(&mut self, path: &str, figure: Figure) {
        self.paths.insert(path.to_owned(), figure);
    }

    /// What was measured now takes the place of what was before; what was not measured stays, where it is of the same machine.
    pub(crate) fn take(&mut self, now: Self) {
        if self.place != now.place {
            self.paths.clear();
        }
        self.place = now.place;
        for (path, mut figure) in now.paths {
            figure.time = figure.time.or_else(|| self.paths.get(&path).and_then(|before| before.time));
            self.paths.insert(path, figure);
        }
    }

    pub(crate) fn compare(&self, now: &Self) -> Compared {
        let place = (self.place != now.place).then(|| (self.place.clone(), now.place.clone()));
        let row = |(path, now): (&String, &Figure)| Row {
            path: path.clone(),
            before: self.paths.get(path).copied(),
            now: *now,
        };
        Compared { place, rows: now.paths.iter().map(row).collect() }
    }
}

/// Now, beside the baseline.
pub(crate) struct Compared {
    place: Option<(Place, Place)>,
    rows: Vec<Row>,
}

struct Row {
    path: String,
    before: Option<Figure>,
    now: Figure,
}

impl Row {
    /// Of instructions and of times: how much more than before, in percent.
    fn changes(&self) -> [Option<f64>; 2] {
        let more = |before: f64, now: f64| (now / before - 1.0) * 100.0;
        let instructions =
            self.before.map(|before| more(before.instructions as f64, self.now.instructions as f64));
        let before = self.before.and_then(|before| before.time);
        [instructions, before.zip(self.now.time).map(|(before, now)| more(before.ratio, now.ratio))]
    }

    /// A path that the baseline does not have is not within it: it would never be held against anything.
    fn is_within(&self) -> bool {
        let [instructions, time] = self.changes();
        instructions.is_some_and(|more| more <= INSTRUCTIONS) && time.is_none_or(|more| more <= TIMES)
    }
}

impl Compared {
    /// Whether nothing costs more than it may.
    pub(crate) fn is_within(&self) -> bool {
        self.rows.iter().all(Row::is_within)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((before, now)) = &self.place {
            writeln!(
                f,
                "note: the baseline is of {}, {}; this is {}, {}. Compare with one of your own: --bless --baseline FILE\n",
                before.processor, before.valgrind, now.processor, now.valgrind
            )?;
        }
        let width = self.rows.iter().map(|row| row.path.len()).max().unwrap_or_default();
        let (a, b, c) = ("BASELINE", "NOW", "CHANGE");
        writeln!(f, "{:width$}  {a:>12} {b:>12} {c:>9}  {a:>9} {b:>9} {c:>9} {:>10}", "", "µs NOW")?;
        for row in &self.rows {
            let or_none = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
            let percent = |more: Option<f64>| or_none(more.map(|more| format!("{more:+.1} %")));
            let ratio = |figure: Option<Figure>| {
                or_none(figure.and_then(|figure| figure.time).map(|time| format!("{:.4}", time.ratio)))
            };
            let [instructions, time] = row.changes();
            writeln!(
                f,
                "{:width$}  {:>12} {:>12} {:>9}  {:>9} {:>9} {:>9} {:>10}{}",
                row.path,
                or_none(row.before.map(|before| before.instructions.to_string())),
                row.now.instructions,
                percent(instructions),
                ratio(row.before),
                ratio(Some(row.now)),
                percent(time),
                or_none(row.now.time.map(|time| format!("{:.2}", time.micros))),
                if row.is_within() { "" } else { "  <-" },
            )?;
        }
        writeln!(
            f,
            "\nFirst instructions, {INSTRUCTIONS} % more may be; then time, of a step of the calibration, {TIMES} % more may be: {}.",
            if self.is_within() { "nothing is beyond" } else { "what has an arrow is beyond" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(figures: &[(&str, u64, Option<f64>)]) -> Baseline {
        let place = Place { processor: "one".to_owned(), valgrind: "valgrind-3".to_owned() };
        let figure = |&(path, instructions, ratio): &(&str, u64, Option<f64>)| {
            let time = ratio.map(|ratio| Time { ratio, micros: 1.0 });
            (path.to_owned(), Figure { instructions, time })
        };
        Baseline { place, paths: figures.iter().map(figure).collect() }
    }

    #[test]
    fn what_costs_more_than_it_may_is_told_and_so_is_what_was_never_measured() {
        let before = baseline(&[("seal", 1_000, Some(2.0)), ("open", 1_000, None)]);
        let within = |now: &[(&str, u64, Option<f64>)]| before.compare(&baseline(now)).is_within();
        assert!(within(&[("seal", 1_049, Some(2.49)), ("open", 10, Some(99.0))]));
        assert!(!within(&[("seal", 1_051, Some(2.0))]), "instructions");
        assert!(!within(&[("seal", 1_000, Some(2.51))]), "time");
        assert!(!within(&[("receipt", 1, None)]), "it has no baseline");
        let told =
            before.compare(&baseline(&[("open", 1_000, None), ("seal", 1_100, Some(2.0))])).to_string();
        let arrows: Vec<_> = told.lines().filter(|line| line.ends_with("<-")).collect();
        assert!(
            matches!(arrows[..], [line] if line.starts_with("seal") && line.contains("+10.0 %")),
            "{told}"
        );
    }

    #[test]
    fn a_new_baseline_keeps_what_was_not_measured_unless_it_is_of_another_machine() {
        let mut kept = baseline(&[("seal", 1_000, Some(2.0)), ("open", 1_000, None)]);
        kept.take(baseline(&[("seal", 900, None)]));
        let figure = |kept: &Baseline, path: &str| {
            kept.paths.get(path).map(|figure| (figure.instructions, figure.time.map(|time| time.ratio)))
        };
        assert_eq!(
            (figure(&kept, "seal"), figure(&kept, "open")),
            (Some((900, Some(2.0))), Some((1_000, None)))
        );
        let mut elsewhere = baseline(&[("seal", 800, None)]);
        elsewhere.place.processor = "another".to_owned();
        kept.take(elsewhere);
        assert_eq!((figure(&kept, "seal"), figure(&kept, "open")), (Some((800, None)), None));
    }
}
