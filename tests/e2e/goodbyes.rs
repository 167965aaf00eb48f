//! Nodes that go in the middle of everything: a goodbye is the last that is said on a link, and nothing is lost by it.

use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;
use waxwing_client::api::ProfileRequest;
use waxwing_client::{Client, NodeId};
use waxwing_lab::{Captured, Direction, Lab, Recorder, When, eventually};

use crate::storm::{chance, seed};
use crate::support::{Pair, WITHIN, mesh};

/// What a broker logs of a node that does what it must not.
const BUG: &str = "the node has a bug";

/// What a node has said on its links behind a goodbye.
fn behind_goodbyes(lab: &Lab, node: NodeId) -> Vec<&'static str> {
    let (mut said, mut behind) = (false, Vec::new());
    let is_its = |one: &Captured| one.node == Some(node) && one.direction == Direction::ToBroker;
    for captured in lab.proxy().captured().into_iter().filter(is_its) {
        match captured.frame.name() {
            "hello" => said = false,
            "bye" => said = true,
            name if said => behind.push(name),
            _ => {}
        }
    }
    behind
}

/// How many frames of this name a node was sent.
fn shown(lab: &Lab, node: NodeId, name: &str) -> usize {
    let is = |one: &Captured| {
        one.node == Some(node) && one.direction == Direction::ToNode && one.frame.name() == name
    };
    lab.proxy().captured().into_iter().filter(is).count()
}

/// Asks a node to stop, and does not wait for it.
fn ask_to_stop(lab: &mut Lab, node: &str) {
    let pid = Pid::from_raw(lab.process(node).pid().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

async fn says(client: &Client, summary: String) {
    let request = ProfileRequest { summary: Some(summary), ..ProfileRequest::default() };
    // A node that is away says nothing.
    let _ = client.set_profile(&request).await;
}

#[tokio::test]
async fn what_comes_while_a_goodbye_is_under_way_is_answered_on_the_next_link() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let beta = pair.lab.id("beta");
    let hold = pair.lab.proxy().hold(When::named(beta, "bye"));
    ask_to_stop(&mut pair.lab, "beta");
    let held = hold.held().await.unwrap();
    // A message, which beta stores and owes a receipt for, and a change of a space that it follows, to be asked on behind.
    let pages = shown(&pair.lab, beta, "space.changes");
    pair.send(1).await;
    says(&pair.lab.client("alpha"), "elsewhere".into()).await;
    pair.read(1).await;
    let told = async || (shown(&pair.lab, beta, "space.changes") > pages).then_some(());
    eventually(WITHIN, "beta is shown what has changed", told).await.unwrap();
    held.release();
    let ended = pair.lab.process("beta").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    pair.lab.restart("beta").await.unwrap();
    pair.conclude().await;
    assert_eq!(behind_goodbyes(&pair.lab, beta), [""; 0]);
    let log = pair.lab.process(Lab::BROKER).log();
    assert!(!log.contains(BUG), "{log}");
}

/// How often a node goes.
const GOODBYES: usize = 8;
/// Messages each way in the meantime.
const MESSAGES: usize = 20 * GOODBYES;

#[tokio::test]
async fn a_node_that_goes_while_everything_is_under_way_says_nothing_behind_its_goodbye() {
    let mut seed = seed();
    let mut lab = mesh(&["alpha", "beta"]).await;
    let record = Recorder::default();
    let (mut to_alpha, mut to_beta) = (lab.reader("alpha", &record), lab.reader("beta", &record));
    let (alpha, beta) = (lab.sender("alpha", &record), lab.sender("beta", &record));
    let speaker = lab.client("beta");
    let over = CancellationToken::new();
    let mail = async {
        for n in 0..MESSAGES {
            alpha.send("beta", &format!("to-beta-{n}"), WITHIN).await.unwrap();
            beta.send("alpha", &format!("to-alpha-{n}"), WITHIN).await.unwrap();
        }
    };
    let profiles = async {
        for n in 0.. {
            if over.is_cancelled() {
                break;
            }
            says(&speaker, format!("the {n}th")).await;
            tokio::task::yield_now().await;
        }
    };
    let goodbyes = async {
        for goodbye in 1..=GOODBYES {
            let due = 2 * MESSAGES * goodbye / (GOODBYES + 2) + (chance(&mut seed) % 16) as usize;
            let goes_on = async || (record.shown() >= due).then_some(());
            eventually(WITHIN, "messages arrive", goes_on).await.unwrap();
            assert_eq!(lab.stop("beta").await.unwrap(), Some(0));
            lab.restart("beta").await.unwrap();
        }
        over.cancel();
    };
    let reads =
        async { tokio::join!(to_alpha.read(MESSAGES, 2 * WITHIN), to_beta.read(MESSAGES, 2 * WITHIN)) };
    let (_, _, _, (at_alpha, at_beta)) = tokio::join!(mail, profiles, goodbyes, reads);
    assert_eq!((at_alpha.unwrap().len(), at_beta.unwrap().len()), (MESSAGES, MESSAGES));
    record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(behind_goodbyes(&lab, lab.id("beta")), [""; 0]);
    let log = lab.process(Lab::BROKER).log();
    assert!(!log.contains(BUG), "{log}");
}
