//! docs/reliability.md is what its table and the figures of the last full runs make of it.
//!
//! `just reliability` writes it anew. The figures are files of docs/reliability/, each written by `.ci/record`; a run that has no
//! file has not been made, and is not listed.

mod promises;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use self::promises::{PROMISES, Promise};

const BEGINNING: &str = "\
<!-- Written by `just reliability` from tests/e2e/reliability/promises.rs and docs/reliability/*.json: not by hand. -->

# Reliability

What is promised, which tests try to break it, and what the last full runs came to. That the tests exist is tested too
(`tests/e2e/documents.rs: every_test_that_the_reliability_document_names_exists`). What each of broker, network, member and thief
cannot do has its tests in [security.md](security.md). To try it on a machine of yours: `waxwing prove`.

What apps saw is written down as it happens and judged by one checker (`lab/src/history`) in every test that moves mail: nothing
accepted is lost, shown twice or out of its order, and no state is shown before it is true. A test that goes by chance prints the seed that
repeats it.

## The promises
";

const RUNS: &str = "
## The last full runs

What takes too long for every change is run by hand, and its figures are kept by the command that ran it (`.ci/record`). What is not here
was not measured.
";

/// What a full run came to, as `.ci/record` keeps it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    /// What was done, in a sentence or less.
    what: String,
    /// Each with its name: a number, or a few words.
    figures: Vec<(String, Value)>,
    command: String,
    date: String,
    commit: String,
    cores: u64,
    seconds: u64,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All runs whose figures are kept, by their files' names.
fn runs() -> Vec<Run> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("docs/reliability"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |file: &PathBuf| {
        serde_json::from_slice(&std::fs::read(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files.iter().filter(|file| file.extension().is_some_and(|end| end == "json")).map(read).collect()
}

fn promise(page: &mut String, number: usize, promise: &Promise) {
    write!(page, "\n### {number}. {}\n\n{}\n\n| tried | tests |\n|---|---|\n", promise.title, promise.text)
        .unwrap();
    for (tried, file, tests) in promise.tests {
        // Without a name the whole file is meant.
        let first = tests.first().map(|test| format!(": {test}")).unwrap_or_default();
        let rest: String = tests.iter().skip(1).map(|test| format!(", `{test}`")).collect();
        writeln!(page, "| {tried} | `{file}{first}`{rest} |").unwrap();
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn figure(value: &Value) -> String {
    match (value.as_u64(), value.as_str()) {
        (Some(number), _) => grouped(number),
        (_, Some(text)) => text.to_owned(),
        (None, None) => panic!("{value} is no figure: a number without a fraction, or text"),
    }
}

fn run(page: &mut String, run: &Run) {
    let Run { what, command, date, commit, cores, seconds, figures } = run;
    let took = grouped(*seconds);
    write!(page, "\n### {what}\n\n`{command}`: {took} s on {cores} cores, {date}, commit {commit}.\n\n")
        .unwrap();
    page.push_str("| | |\n|---|---|\n");
    for (name, value) in figures {
        writeln!(page, "| {name} | {} |", figure(value)).unwrap();
    }
}

/// The whole document.
fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for (number, kept) in (1..).zip(&PROMISES) {
        promise(&mut page, number, kept);
    }
    page.push_str(RUNS);
    for kept in runs() {
        run(&mut page, &kept);
    }
    page
}

#[test]
fn the_reliability_document_is_what_its_table_and_the_last_full_runs_make_of_it() {
    let (made, path) = (page(), root().join("docs/reliability.md"));
    if std::env::var_os("WAXWING_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == made, "docs/reliability.md is not what is known: `just reliability` writes it");
}
