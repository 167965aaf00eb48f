//! What the fuzzer starts from, and what it has found worth keeping, run again: of what a broker or a node alone reads. What is read
//! by both is run by protocol/tests/corpus.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/programs.rs"]
#[expect(unreachable_pub, reason = "the targets are the fuzzer's")]
mod programs;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap())).collect()
}

/// Every input of a target.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    fs::read_dir(folder("corpus").join(target))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn no_configuration_and_no_record_that_the_fuzzer_knows_makes_a_panic_or_changes_its_meaning() {
    for (name, target) in programs::TARGETS {
        for input in inputs(name) {
            target(&input);
            target(&input[..input.len() / 2]);
        }
    }
}

#[test]
fn the_fuzzer_starts_from_what_is_read_and_from_every_kind_of_record() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_default();
    assert!(inputs("broker_config").into_iter().any(|input| {
        waxwing_broker::Config::parse(&text(input)).is_ok_and(|config| config.check().is_ok())
    }));
    assert!(inputs("node_config").into_iter().any(|input| {
        let text = text(input);
        waxwing_node::Config::parse(Path::new("/state"), &text).is_ok_and(|config| config.hooks.len() > 1)
    }));
    let mut kinds = BTreeSet::new();
    for input in inputs("node_record") {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { continue };
        let Ok(Ok(key)) = std::str::from_utf8(&input[..end]).map(str::parse) else { continue };
        let read = waxwing_node::records::readings(&key, &input[end + 1..]);
        kinds.extend(read.into_iter().map(|(kind, _)| kind));
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

#[test]
fn every_target_of_the_fuzzer_has_its_corpus_which_is_run() {
    let targets = names(&folder("fuzz_targets"));
    assert_eq!(targets, names(&folder("corpus")));
    let others = fs::read_to_string(folder("src/targets/mod.rs")).unwrap();
    for name in targets {
        let is_run = programs::TARGETS.iter().any(|(own, _)| *own == name);
        assert!(
            is_run || others.contains(&format!("(\"{name}\", {name})")),
            "nobody runs the corpus of {name}"
        );
    }
}
