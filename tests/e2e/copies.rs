//! A copied, cloned or rolled-back node is refused and its mesh is told; an honest one never is; and what a person does about
//! it loses no mail.

use std::path::{Path, PathBuf};

use serde_json::Value;
use waxwing_client::api::{EventBody, EventQuery, MessageState};
use waxwing_lab::{Host, Lab, When, eventually};

use crate::metrics::sample;
use crate::support::{PROGRAM, Pair, WITHIN, private_folder};

/// Copies a state folder, without what only a running node has.
pub(crate) fn copy(from: &Path, to: &Path) {
    private_folder(to);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// A node's state as it is now, kept elsewhere. The node may be running, if it has nothing to do.
pub(crate) fn snapshot(lab: &Lab, node: &str, name: &str) -> PathBuf {
    let kept = lab.folder().join(name);
    copy(&lab.state(node), &kept);
    kept
}

/// Puts a snapshot in the place of a node's state. The state as it was is kept, and can be put back the same way.
pub(crate) fn put_back(lab: &Lab, node: &str, snapshot: &Path) -> PathBuf {
    let now =
        (0..).map(|n| lab.folder().join(format!("{node}-before-{n}"))).find(|path| !path.exists()).unwrap();
    std::fs::rename(lab.state(node), &now).unwrap();
    copy(snapshot, &lab.state(node));
    now
}

/// Runs a node that must be refused. Says by which code, and what is advised.
async fn refused(lab: &Lab, node: &str) -> (String, String) {
    let output = lab.run(node, &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!(output.code, Some(4), "{output:?}");
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    (text("code"), text("hint"))
}

/// The alarms that a node has told its apps of, until it shows this message.
async fn alarms_before(lab: &Lab, node: &str, message: &str) -> Vec<String> {
    let query = EventQuery { after: Some(0), app: Some("*".into()), ..EventQuery::default() };
    let mut events = lab.client(node).events(&query).await.unwrap();
    let mut alarms = Vec::new();
    loop {
        match tokio::time::timeout(WITHIN, events.next()).await.expect("the message is shown").unwrap().body {
            EventBody::Security { what, .. } => alarms.push(what),
            EventBody::Message { message: shown } if shown.client_message_id.as_str() == message => {
                return alarms;
            }
            EventBody::Message { .. }
            | EventBody::Receipt { .. }
            | EventBody::Request { .. }
            | EventBody::Cancel { .. }
            | EventBody::PeerJoin { .. }
            | EventBody::PeerLeave { .. }
            | EventBody::AppJoin { .. }
            | EventBody::AppLeave { .. }
            | EventBody::State { .. }
            | EventBody::Claim { .. }
            | EventBody::BrokerStatus { .. }
            | EventBody::Outbox { .. }
            | EventBody::Lease { .. }
            | EventBody::Lagged
            | EventBody::System { .. } => {}
        }
    }
}

/// Has alpha, which must be stopped, accepted where it is as where it belongs.
async fn accept_host(lab: &Lab) -> Value {
    lab.json("alpha", &["node", "accept-host", "--yes"]).await.unwrap()
}

/// Waits until a node's new keys are in the log.
async fn moved(lab: &Lab, node: &str) {
    lab.linked(node).await.unwrap();
}

#[tokio::test]
async fn a_copied_folder_on_the_same_machine_is_refused_and_the_mesh_is_told() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let copied = snapshot(&pair.lab, "alpha", "copied");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.settled("m-2").await;
    pair.lab.stop("alpha").await.unwrap();

    let original = put_back(&pair.lab, "alpha", &copied);
    let (code, hint) = refused(&pair.lab, "alpha").await;
    assert_eq!((code.as_str(), hint.contains("accept-host")), ("stale_state", true), "{hint}");
    put_back(&pair.lab, "alpha", &original);
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
    assert_eq!(alarms_before(&pair.lab, "beta", "m-3").await, ["node_duplicated"]);
    let counted = sample(&pair.lab, "beta", "security_events_total", "what=\"node_duplicated\"").await;
    assert_eq!(counted, 1.0);
}

#[tokio::test]
async fn a_snapshot_reverted_after_one_long_connection_is_refused_whether_it_sent_or_received() {
    for sends in [true, false] {
        let mut pair = Pair::start().await;
        pair.warm_up().await;
        let victim = if sends { "alpha" } else { "beta" };
        let earlier = snapshot(&pair.lab, victim, "earlier");
        pair.send(3).await;
        pair.read(3).await;
        pair.settled("m-4").await;
        pair.lab.kill(victim).await.unwrap();
        put_back(&pair.lab, victim, &earlier);
        assert_eq!(refused(&pair.lab, victim).await.0, "stale_state", "{victim}");
    }
}

#[tokio::test]
async fn a_rolled_back_database_under_a_newer_identity_is_refused() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let earlier = snapshot(&pair.lab, "alpha", "earlier");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(2).await;
    pair.settled("m-3").await;
    pair.lab.stop("alpha").await.unwrap();
    for file in ["node.db", "node.db-wal", "node.db-shm"] {
        let _ = std::fs::remove_file(pair.lab.state("alpha").join("meshes/lab").join(file));
    }
    std::fs::copy(earlier.join("meshes/lab/node.db"), pair.lab.state("alpha").join("meshes/lab/node.db"))
        .unwrap();
    assert_eq!(refused(&pair.lab, "alpha").await.0, "stale_state");
}

#[tokio::test]
async fn of_two_live_copies_one_goes_on_and_the_other_is_refused() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    copy(&pair.lab.state("alpha"), &pair.lab.state("twin"));
    let up = |node: &'static str| pair.lab.run(node, &["node", "up"], b"");
    let (first, second) = tokio::join!(up("alpha"), up("twin"));
    // Both may have been let in, the second in the place of the first, which is refused as soon as it comes back.
    let codes = [first.unwrap().code, second.unwrap().code];
    assert!(
        codes.contains(&Some(0)) && codes.iter().all(|code| [Some(0), Some(4)].contains(code)),
        "{codes:?}"
    );
    let is_up = async |node: &str| pair.lab.client(node).health().await.is_ok();
    let one_left = async || (is_up("alpha").await != is_up("twin").await).then_some(());
    eventually(WITHIN, "one of the copies is left", one_left).await.unwrap();
    let (left, gone) = if is_up("alpha").await { ("alpha", "twin") } else { ("twin", "alpha") };
    pair.lab.linked(left).await.unwrap();
    assert_eq!(refused(&pair.lab, gone).await.0, "stale_state");
    let sent = pair.lab.json(left, &["send", "beta", "still here", "--wait", "delivered"]).await.unwrap();
    assert_eq!(sent["state"], "delivered");
    pair.lab.json(left, &["node", "down"]).await.unwrap();
}

#[tokio::test]
async fn accepting_a_host_loses_no_mail_keeps_its_order_and_kills_the_copy() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    // In every state there is: at the broker for one who is away, and queued since there is no broker.
    pair.lab.stop("beta").await.unwrap();
    pair.send(10).await;
    pair.accepted("m-11").await;
    pair.lab.stop("alpha").await.unwrap();
    let earlier = snapshot(&pair.lab, "alpha", "earlier");
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    pair.lab.stop("alpha").await.unwrap();
    let original = put_back(&pair.lab, "alpha", &earlier);
    assert_eq!(refused(&pair.lab, "alpha").await.0, "stale_state");
    let accepted = accept_host(&pair.lab).await;
    assert_eq!(accepted["accepted"][0]["mesh"], "lab");
    assert_eq!(
        accept_host(&pair.lab).await["accepted"],
        Value::Array(Vec::new()),
        "nothing refuses any more"
    );
    pair.lab.kill(Lab::BROKER).await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    pair.send(10).await;
    pair.lab.restart(Lab::BROKER).await.unwrap();
    moved(&pair.lab, "alpha").await;
    let identity = pair.lab.state("alpha").join("meshes/lab/identity.json");
    let secrets = async || {
        let kept = std::fs::read_to_string(&identity).unwrap();
        (!kept.contains("giving_up") && !kept.contains("former_sealing")).then_some(())
    };
    eventually(WITHIN, "the old secrets are destroyed", secrets).await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    pair.conclude().await;
    let alarms = alarms_before(&pair.lab, "beta", "m-21").await;
    assert!(alarms.iter().all(|what| what == "node_duplicated"), "{alarms:?}");

    pair.lab.stop("alpha").await.unwrap();
    let moved_on = put_back(&pair.lab, "alpha", &original);
    assert_eq!(refused(&pair.lab, "alpha").await.0, "superseded", "the original is the copy now");
    put_back(&pair.lab, "alpha", &moved_on);
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.settled("m-22").await;
}

#[tokio::test]
async fn accepting_a_host_without_a_broker_is_finished_when_there_is_one() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    let home = Host::new(lab.folder(), "0123456789abcdef0123456789abcdef").unwrap();
    let abroad = Host::new(lab.folder(), "fedcba9876543210fedcba9876543210").unwrap();
    lab.set_host("alpha", Some(home));
    lab.add("alpha").await.unwrap();
    lab.add("beta").await.unwrap();
    let mut pair = Pair::on(lab);
    pair.warm_up().await;
    pair.lab.kill(Lab::BROKER).await.unwrap();
    pair.lab.stop("alpha").await.unwrap();
    pair.lab.set_host("alpha", Some(abroad));
    accept_host(&pair.lab).await;
    pair.lab.restart("alpha").await.unwrap();
    pair.send(3).await;
    pair.lab.restart(Lab::BROKER).await.unwrap();
    moved(&pair.lab, "alpha").await;
    pair.conclude().await;
}

#[tokio::test]
async fn new_keys_are_in_the_log_once_whatever_answer_is_lost() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    for (round, cut) in ["log.append", "log", "welcome"].into_iter().enumerate() {
        let lost = pair.lab.proxy().cut_at(When::entering(cut));
        let rotated = pair.lab.json("alpha", &["rotate-keys"]).await.unwrap();
        assert_eq!(rotated["in_log"], true, "{cut}");
        lost.happened().await.unwrap();
        pair.send(1).await;
        assert_eq!(pair.settled(&format!("m-{}", round + 2)).await.state, MessageState::Delivered, "{cut}");
    }
    pair.conclude().await;
    assert_eq!(alarms_before(&pair.lab, "beta", "m-4").await, [""; 0]);
}

#[tokio::test]
async fn what_was_delivered_under_the_old_key_leaves_no_gap_under_the_new_one() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    // Stored by beta, and alpha does not know yet.
    let held = pair.lab.proxy().hold(When::notice(pair.lab.id("alpha")));
    pair.send(3).await;
    pair.read(3).await;
    let held = held.held().await.unwrap();
    pair.lab.json("alpha", &["rotate-keys"]).await.unwrap();
    held.release();
    pair.send(3).await;
    pair.conclude().await;
    assert_eq!(alarms_before(&pair.lab, "beta", "m-7").await, [""; 0]);
}

#[tokio::test]
async fn a_node_killed_while_its_keys_change_goes_on_with_the_new_ones() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    for step in ["challenge", "log", "log.append"] {
        let held = pair.lab.proxy().hold(When::entering(step));
        pair.lab.stop("alpha").await.unwrap();
        pair.lab.json("alpha", &["rotate-keys"]).await.unwrap();
        pair.lab.restart("alpha").await.unwrap();
        drop(held.held().await.unwrap());
        pair.lab.kill("alpha").await.unwrap();
        pair.lab.restart("alpha").await.unwrap();
        moved(&pair.lab, "alpha").await;
        pair.send(1).await;
    }
    pair.conclude().await;
}

#[tokio::test]
async fn a_hundred_restarts_kills_and_cut_links_refuse_nobody() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    for round in 0..100 {
        pair.send(1).await;
        match round % 5 {
            0 => {
                pair.lab.kill("alpha").await.unwrap();
                pair.lab.restart("alpha").await.unwrap();
            }
            1 => {
                pair.lab.kill("beta").await.unwrap();
                pair.lab.restart("beta").await.unwrap();
            }
            2 => {
                pair.lab.stop("alpha").await.unwrap();
                pair.lab.restart("alpha").await.unwrap();
            }
            3 if round % 4 == 3 => {
                pair.lab.kill(Lab::BROKER).await.unwrap();
                pair.lab.restart(Lab::BROKER).await.unwrap();
            }
            _ => pair.lab.proxy().cut_links(),
        }
    }
    pair.conclude().await;
    assert_eq!(alarms_before(&pair.lab, "beta", "m-101").await, [""; 0]);
}
