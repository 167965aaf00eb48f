//! How a run looks to people.

use waxwing_lab::history::Summary;

use super::{Judged, Proved};
use crate::output::table;

pub(super) fn proved(proved: &Proved<'_>) -> String {
    let measured = &proved.measured;
    let report = measured.report;
    let faults: usize = report.faults.values().sum();
    let mut text = format!(
        "{} processes killed, {faults} faults in all, on a broker and {} nodes, in {:.0} s\n\
         seed {}; {} cores; waxwing {}\nevery commit: {}\n\n",
        report.kills,
        report.nodes,
        report.seconds,
        report.seed,
        measured.cores,
        measured.version,
        report.durability,
    );
    let mut rows = vec![["FAULT", "TIMES"].map(String::from).to_vec()];
    rows.extend(report.faults.iter().map(|(kind, times)| vec![(*kind).to_owned(), times.to_string()]));
    text.push_str(&table(&rows));
    text.push_str("\n\n");
    match &proved.broken {
        None => {
            text.push_str(&summary(&report.summary));
            text.push_str(&format!(
                "\nhanded over twice {:>7}   under one id: one message\n\nlost 0, twice 0, out of order 0, told early 0",
                report.repeated
            ));
        }
        Some(story) => text.push_str(&format!(
            "lost {}, twice {}, out of order {}, told early {}, otherwise wrong {}\n\n{}",
            report.lost, report.twice, report.out_of_order, report.early, report.otherwise, story.text
        )),
    }
    text.push_str(&format!("\n\nthe same faults again: {}", proved.again));
    text
}

pub(super) fn judged(judged: &Judged) -> String {
    match (&judged.broken, &judged.summary) {
        (Some(story), _) => story.clone(),
        (None, Some(kept)) => summary(kept),
        (None, None) => String::new(),
    }
}

fn summary(summary: &Summary) -> String {
    format!(
        "accepted          {:>7}\nshown             {:>7}   once, and in the order of their lanes\n\
         delivered         {:>7}   by the recipient's proof, none before it was true\ngiven up          {:>7}",
        summary.accepted, summary.shown, summary.delivered, summary.ended
    )
}
