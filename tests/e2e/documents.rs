//! What docs/security.md, docs/coverage.md and docs/reliability.md name is there: a claim is worth no more than the test beside it.

use std::path::{Path, PathBuf};

/// What is written in code spans, whatever lines it is on.
fn spans(text: &str) -> impl Iterator<Item = String> {
    let words = |span: &str| span.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split('`').skip(1).step_by(2).map(words).collect::<Vec<_>>().into_iter()
}

/// A name by itself counts as a test's if it is as long as a sentence: codes and events have names too.
fn is_test(name: &str) -> bool {
    name.matches('_').count() > 2
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether this names a file with tests in it.
fn is_source(name: &str) -> bool {
    name.ends_with(".rs") || name.ends_with(".py")
}

/// The file that a span names, or the one named before it: a bare name is a file beside that one.
fn file(root: &Path, named: &str, before: &Path) -> PathBuf {
    if named.contains('/') { root.join(named) } else { before.with_file_name(named) }
}

/// How many tests a document names, each of which is where it says.
fn named(document: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    let (mut current, mut tests) = (PathBuf::new(), 0);
    for span in spans(&text) {
        let (named, test) = match span.split_once(": ") {
            Some((named, test)) => (Some(named), Some(test)),
            None if is_source(&span) => (Some(&*span), None),
            None => (None, Some(&*span)),
        };
        let named = named.filter(|named| is_source(named));
        if let Some(named) = named {
            current = file(root, named, &current);
            assert!(current.is_file(), "`{span}`: there is no {}", current.display());
        }
        if let Some(test) = test.filter(|test| named.is_some() || is_test(test)) {
            let source = std::fs::read_to_string(&current).unwrap();
            let defined = if current.extension().is_some_and(|end| end == "py") { "def" } else { "fn" };
            assert!(source.contains(&format!("{defined} {test}(")), "`{span}`: not in {}", current.display());
            tests += 1;
        }
    }
    tests
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let tests = named("docs/security.md");
    assert!(tests > 80, "{tests} found: the document is not read as it is written");
}

#[test]
fn every_test_that_the_reliability_document_names_exists() {
    let tests = named("docs/reliability.md");
    assert!(tests > 50, "{tests} found: the document is not read as it is written");
}

#[test]
fn every_promise_of_before_has_a_test_that_exists_or_says_why_it_is_not_kept() {
    let tests = named("docs/coverage.md");
    assert!(tests > 100, "{tests} found: the document is not read as it is written");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/coverage.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| item "));
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        // Without a test there is nothing to show.
        let left_out = ["not: ", "not ", "not, "].iter().any(|word| cells[1].starts_with(word));
        assert!(left_out != cells[2].contains(".rs: "), "{row}");
    }
}

/// What a row is about, by the ids of before: `MB-08`, `CT-19`.
fn ids(cell: &str) -> impl Iterator<Item = &str> {
    const KINDS: [&str; 9] = ["M", "MB", "MT", "C", "CB", "CT", "S", "SB", "ST"];
    let words = cell.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| {
        word.split_once('-').is_some_and(|(kind, number)| {
            KINDS.contains(&kind) && number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit())
        })
    })
}

/// The source of a test, with its attributes and what is said above it.
fn source(text: &str, test: &str) -> String {
    let at = text.find(&format!("fn {test}(")).unwrap();
    let begin = text[..at].rfind("\n\n").unwrap_or(0);
    let end = text[at..].find("\n}\n").map_or(text.len(), |end| at + end);
    text[begin..end].to_ascii_lowercase().replace('_', "-")
}

#[test]
fn a_test_that_shows_what_became_of_something_carries_its_id() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/coverage.md")).unwrap();
    let (_, coordination) = text.split_once("## Coordination").unwrap();
    let mut carried = 0;
    for row in coordination.lines().filter(|line| line.contains(".rs: ")) {
        let about = row.split(" | ").next().unwrap();
        let tests: String = spans(row)
            .filter_map(|span| {
                let (file, test) = span.split_once(".rs: ")?;
                let text = std::fs::read_to_string(root.join(format!("{file}.rs"))).unwrap();
                Some(source(&text, test))
            })
            .collect();
        for id in ids(about) {
            assert!(tests.contains(&id.to_ascii_lowercase()), "{id} is in none of its tests: {row}");
            carried += 1;
        }
    }
    assert!(carried > 30, "{carried} found: the document is not read as it is written");
}
