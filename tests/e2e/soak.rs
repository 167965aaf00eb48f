//! Ten thousand links that do nothing, and a day's mail in minutes beside them: what broker and nodes take of memory and descriptors
//! does not grow with what they have done.

use std::collections::BTreeMap;

use waxwing_client::api::MessageState;
use waxwing_lab::bench::{Usage, links, raise_descriptors};
use waxwing_lab::{Lab, Recorder};

use crate::prove::{Unseen, figures};
use crate::support::{PROGRAM, WITHIN};

/// Links, unless `WAXWING_LINKS` says how many.
const LINKS: usize = 10_000;
/// A message a second for a day, unless `WAXWING_MESSAGES` says how many.
const MESSAGES: usize = 24 * 60 * 60;
/// Messages in a request.
const BATCH: usize = 500;
/// Connections of the broker for others, and descriptors that a process needs beside its links.
const SPARE: usize = 512;
/// Parts after each of which it is measured. By the end of the third, caches are full.
const PARTS: usize = 10;
const FULL: usize = 3;
/// What the allocator may keep more than it did then.
const MORE_BYTES: u64 = 16 * 1024 * 1024;
/// Connections that happen to be open at one moment and not at another.
const MORE_DESCRIPTORS: usize = 8;

const PROCESSES: [&str; 3] = [Lab::BROKER, "alpha", "beta"];

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn usage(lab: &mut Lab) -> BTreeMap<&'static str, Usage> {
    PROCESSES.map(|name| (name, Usage::of(lab.process(name).pid().unwrap()).unwrap())).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes; `just soak` runs it, and keeps its figures"]
async fn ten_thousand_idle_links_and_a_days_mail_leave_memory_and_descriptors_flat() {
    raise_descriptors();
    let (count, messages) = (number("WAXWING_LINKS", LINKS), number("WAXWING_MESSAGES", MESSAGES));
    let settings = format!("[limits]\nconnections = {}\n", count + SPARE);
    let mut lab = Lab::direct_by(PROGRAM, &settings).await.unwrap();
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    let broker = lab.url().strip_prefix("ws://").unwrap().parse().unwrap();
    let mut idle = links::hold(broker, count, &Unseen).await.unwrap();
    let record = Recorder::default();
    let (sender, mut reader) = (lab.sender("alpha", &record), lab.reader("beta", &record));
    let mut seen = Vec::new();
    for part in 0..PARTS {
        let ids = (messages * part / PARTS)..(messages * (part + 1) / PARTS);
        for first in ids.clone().step_by(BATCH) {
            let batch = first..ids.end.min(first + BATCH);
            let count = batch.len();
            let items = batch.map(|n| waxwing_lab::apps::request("beta", &format!("m-{n}")).unwrap());
            sender.hand_over_batch(items.collect(), WITHIN).await.unwrap();
            reader.read(count, 2 * WITHIN).await.unwrap();
        }
        let last = sender.settled(&format!("m-{}", ids.end - 1), WITHIN).await.unwrap();
        assert_eq!(last.state, MessageState::Delivered);
        seen.push(usage(&mut lab));
    }
    assert!(idle.try_join_next().is_none(), "a link that did nothing was ended");
    let summary = record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(summary.shown, messages);
    let (full, last) = (&seen[FULL - 1], &seen[PARTS - 1]);
    for name in PROCESSES {
        let (before, after) = (full[name], last[name]);
        assert!(after.resident <= before.resident + MORE_BYTES, "{name}: {seen:#?}");
        assert!(after.descriptors <= before.descriptors + MORE_DESCRIPTORS, "{name}: {seen:#?}");
    }
    tell(count, messages, full, last);
}

fn tell(links: usize, messages: usize, full: &BTreeMap<&str, Usage>, last: &BTreeMap<&str, Usage>) {
    let of =
        |usage: &Usage| format!("{} MiB, {} descriptors", usage.resident / 1024 / 1024, usage.descriptors);
    let both = |name| format!("{}; {}", of(&full[name]), of(&last[name])).into();
    figures(
        "Idle links, and a day's mail beside them in minutes: resident memory and descriptors after three tenths, and at the end",
        &[
            ("links", &links.into()),
            ("messages accepted, shown once in order", &messages.into()),
            ("broker", &both(Lab::BROKER)),
            ("sender's node", &both("alpha")),
            ("recipient's node", &both("beta")),
        ],
    );
}
