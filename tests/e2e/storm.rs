//! Everything at once: both nodes send and read while processes are killed and links are cut, in a random order that a
//! seed repeats.

use std::time::Duration;

use waxwing_client::api::MessageState;
use waxwing_lab::apps::Reader;
pub(crate) use waxwing_lab::chance::chance;
use waxwing_lab::{Lab, Recorder};

use crate::support::mesh;

/// Messages each way.
const MESSAGES: usize = 200;
/// Faults while they are under way.
const FAULTS: usize = 12;
/// Enough for every fault to cost a whole reconnect delay.
const WITHIN: Duration = Duration::from_secs(120);

/// MB-40.
#[tokio::test]
async fn nothing_is_lost_repeated_or_reordered_in_a_storm_of_faults() {
    let seed = seed();
    let mut lab = mesh(&["alpha", "beta"]).await;
    let record = Recorder::default();
    let readers = (lab.reader("alpha", &record), lab.reader("beta", &record));
    let sends = (send_all(&lab, &record, "alpha", "beta"), send_all(&lab, &record, "beta", "alpha"));
    tokio::join!(sends.0, sends.1, read_all(readers.0), read_all(readers.1), faults(&mut lab, &record, seed));

    for from in ["alpha", "beta"] {
        let sender = lab.sender(from, &record);
        for n in 0..MESSAGES {
            let status = sender.settled(&format!("{from}-{n}"), WITHIN).await.unwrap();
            assert_eq!(status.state, MessageState::Delivered, "{from}-{n}");
        }
    }
    let summary = record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(
        (summary.accepted, summary.shown, summary.delivered),
        (2 * MESSAGES, 2 * MESSAGES, 2 * MESSAGES)
    );
}

/// Chance for one test: another one each time, unless `WAXWING_SEED` repeats one.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("WAXWING_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    // Shown if the test fails.
    println!("repeat with WAXWING_SEED={seed}");
    seed
}

/// One app that sends in order, across restarts of its node.
fn send_all(
    lab: &Lab,
    record: &Recorder,
    from: &'static str,
    to: &'static str,
) -> impl Future<Output = ()> + use<> {
    let sender = lab.sender(from, record);
    async move {
        for n in 0..MESSAGES {
            sender.send(to, &format!("{from}-{n}"), WITHIN).await.unwrap();
        }
    }
}

/// One app that reads by cursor, and then again from the beginning.
async fn read_all(mut reader: Reader) {
    let read: Vec<u64> = reader.read(MESSAGES, WITHIN).await.unwrap().iter().map(|item| item.id).collect();
    let again = async || reader.reread().await.ok();
    let again = waxwing_lab::eventually(WITHIN, "the inbox can be read again", again).await.unwrap();
    assert_eq!(again.iter().map(|item| item.id).collect::<Vec<_>>(), read);
}

/// Kills and restarts, or cuts every link, each when messages have arrived since the last.
async fn faults(lab: &mut Lab, record: &Recorder, mut seed: u64) {
    for fault in 1..=FAULTS {
        let due = 2 * MESSAGES * fault / (FAULTS + 2);
        let goes_on = async || (record.shown() >= due).then_some(());
        waxwing_lab::eventually(WITHIN, "messages arrive again", goes_on).await.unwrap();
        match chance(&mut seed) % 4 {
            0 => strike(lab, "alpha").await,
            1 => strike(lab, "beta").await,
            2 => strike(lab, Lab::BROKER).await,
            _ => lab.proxy().cut_links(),
        }
    }
}

/// Kills a process and starts it again.
pub(crate) async fn strike(lab: &mut Lab, victim: &str) {
    lab.kill(victim).await.unwrap();
    lab.restart(victim).await.unwrap();
}
