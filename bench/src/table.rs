//! What it came to, as a document has it.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::contender::{Contender, Round};
use crate::measure::{Figures, SIZE, WINDOW};

/// Where a document has the table.
const BEGINS: &str = "<!-- compare: written by bench/compare -->\n";
const ENDS: &str = "<!-- end of compare -->\n";

/// A figure over all rounds.
struct Range {
    median: f64,
    least: f64,
    most: f64,
}

impl Range {
    fn over(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        // Of an even number it is between the two in the middle.
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }

    fn whole(&self) -> String {
        format!("{:.0} ({:.0} to {:.0})", self.median, self.least, self.most)
    }

    fn fine(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.least, self.most)
    }
}

/// The tables, and on what they were measured.
pub(crate) fn markdown(
    contenders: &[Contender],
    rounds: &[Vec<Round>],
    floor: &[f64],
    versions: &[String],
    seconds: u64,
) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sync = Range::over(floor.iter().copied());
    let mut text = format!(
        "{} rounds of all, in turns; {seconds} s each; bodies of {SIZE} bytes; {cores} cores; one `fdatasync` of a page {} ms.\n\
         Versions: {}.\n\n\
         | | messages a second, {WINDOW} under way | of the model's | processor time each, µs | processors busy, % | one at a time: p50, ms | p99, ms | p50, of the model's |\n\
         |---|---|---|---|---|---|---|---|\n",
        floor.len(),
        sync.fine(),
        versions.join("; "),
    );
    let model = rounds.first().map(Vec::as_slice).unwrap_or_default();
    for (contender, rounds) in contenders.iter().zip(rounds) {
        row(&mut text, *contender, rounds, model, cores);
    }
    text.push_str("\n| | what is on the disk when it has answered | what a message goes through before the next takes its place |\n|---|---|---|\n");
    for contender in contenders {
        let _ = writeln!(text, "| {} | {} | {} |", contender.name(), contender.synced(), contender.path());
    }
    text
}

fn row(text: &mut String, contender: Contender, rounds: &[Round], model: &[Round], cores: usize) {
    let alone = |of: fn(&Figures) -> f64| {
        let figures: Vec<_> = rounds.iter().filter_map(|round| round.alone.as_ref().map(of)).collect();
        if figures.is_empty() { "as above".to_owned() } else { Range::over(figures.into_iter()).fine() }
    };
    let full = |of: &dyn Fn(&Figures) -> f64| Range::over(rounds.iter().map(|round| of(&round.full)));
    let busy = |full: &Figures| full.per_second * full.processor / 1e6 / cores as f64 * 100.0;
    // In each round beside the model's of that round, which had the same machine.
    let of_model = |of: fn(&Round) -> Option<f64>| {
        let pairs = rounds.iter().zip(model);
        let ratios: Option<Vec<_>> = pairs.map(|(round, model)| Some(of(round)? / of(model)?)).collect();
        ratios.map_or_else(|| "as above".to_owned(), |ratios| Range::over(ratios.into_iter()).fine())
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {} | {} |",
        contender.name(),
        full(&|figures| figures.per_second).whole(),
        of_model(|round| Some(round.full.per_second)),
        full(&|figures| figures.processor).whole(),
        full(&busy).whole(),
        alone(|figures| figures.p50),
        alone(|figures| figures.p99),
        of_model(|round| round.alone.map(|alone| alone.p50)),
    );
}

/// The document with the table in the place of the one before.
pub(crate) fn into(document: &str, table: &str) -> Result<String> {
    let marks = || format!("the document has no line {:?} with {:?} behind it", BEGINS.trim(), ENDS.trim());
    let (before, rest) = document.split_once(BEGINS).with_context(marks)?;
    let (_, after) = rest.split_once(ENDS).with_context(marks)?;
    Ok(format!("{before}{BEGINS}\n{table}\n{ENDS}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_nothing_else() {
        let document = format!("one\n{BEGINS}old\n{ENDS}two\n");
        let once = into(&document, "| new |\n").unwrap();
        assert_eq!(once, format!("one\n{BEGINS}\n| new |\n\n{ENDS}two\n"));
        assert_eq!(into(&once, "| new |\n").unwrap(), once);
        assert!(into("one\n", "| new |\n").is_err());
    }

    #[test]
    fn ratios_are_of_the_same_round_and_the_processors_are_all_of_them() {
        let figures = |per_second| Figures { per_second, p50: 2.0, p99: 3.0, processor: 2_000.0 };
        let round = |rate| Round { full: figures(rate), alone: Some(figures(1.0)) };
        let (model, redis) = ([round(100.0), round(10.0)], [round(50.0), round(10.0)]);
        let mut text = String::new();
        row(&mut text, Contender::Redis, &redis, &model, 2);
        let rates = "| 30 (10 to 50) | 0.75 (0.50 to 1.00) | 2000 (2000 to 2000) | 3 (1 to 5) |";
        assert!(text.contains(rates), "{text}");
        assert!(
            text.ends_with("| 2.00 (2.00 to 2.00) | 3.00 (3.00 to 3.00) | 1.00 (1.00 to 1.00) |\n"),
            "{text}"
        );
    }

    #[test]
    fn every_row_has_a_cell_for_each_of_its_columns() {
        let figures = Figures { per_second: 1.0, p50: 2.0, p99: 3.0, processor: 4.0 };
        let contenders = Contender::all();
        let rounds = contenders.map(|_| vec![Round { full: figures, alone: None }]);
        let text = markdown(&contenders, &rounds, &[0.2], &["a 1".to_owned()], 5);
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let cells: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
            assert_eq!(cells, vec![cells[0]; contenders.len() + 2], "{table}");
        }
    }
}
