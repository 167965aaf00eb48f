//! A membership log that is not the same for everybody: who notices, whom it stops, and how it ends.

use waxwing_client::api::{Alarm, EventBody, EventQuery, InviteRequest, LinkState, MessageState};
use waxwing_crypto::membership::{LogHead, Role};
use waxwing_crypto::sealing::NackReason;
use waxwing_crypto::{Digest, NodeId};
use waxwing_lab::hostile::{Member, broker};
use waxwing_lab::{Direction, Frame, Lab, When, eventually};
use waxwing_protocol::link::{ToNode, ToNodeLogin};

use crate::metrics::{sample, shows};
use crate::support::{Pair, WITHIN, mesh};

/// A node's alarms.
pub(crate) async fn alarms(lab: &Lab, node: &str) -> Vec<Alarm> {
    let health = lab.client(node).health().await.unwrap();
    health.meshes.into_iter().flat_map(|mesh| mesh.alarms).collect()
}

/// Waits for a node's only alarm.
async fn alarm(lab: &Lab, node: &str, what: &str) -> Alarm {
    let raised = async || alarms(lab, node).await.into_iter().find(|alarm| alarm.what == what);
    let alarm = eventually(WITHIN, &format!("{node} raises {what}"), raised).await.unwrap();
    assert_eq!(alarms(lab, node).await.len(), 1);
    alarm
}

/// Waits until a node has no alarm.
async fn no_alarm(lab: &Lab, node: &str) {
    let none = async || alarms(lab, node).await.is_empty().then_some(());
    eventually(WITHIN, &format!("{node} has no alarm"), none).await.unwrap();
}

/// Waits until a node has told its apps of this, in the mesh of the lab.
pub(crate) async fn told(lab: &Lab, node: &str, wanted: &str) -> Option<NodeId> {
    let (app, mesh) = (Some("*".into()), Some("lab".parse().unwrap()));
    let query = EventQuery { after: Some(0), app, mesh, ..EventQuery::default() };
    let mut events = lab.client(node).events(&query).await.unwrap();
    loop {
        let event = tokio::time::timeout(WITHIN, events.next()).await.expect(wanted).unwrap();
        if let EventBody::Security { what, node, .. } = event.body
            && what == wanted
        {
            return node;
        }
    }
}

/// The ends of logs that an alarm names, in order.
fn ends(alarm: &Alarm) -> Vec<String> {
    let words = alarm.detail.split(['(', ')']);
    let mut ends: Vec<_> = words.filter(|word| word.len() == 8).map(str::to_owned).collect();
    ends.sort();
    ends
}

/// The last entry of the log that any node has been shown.
fn last_entry(lab: &Lab) -> u64 {
    let entries = lab.proxy().captured().into_iter().flat_map(|captured| {
        let Frame::ToNode(ToNode::Log(log)) = captured.frame else { return Vec::new() };
        log.entries
    });
    entries.map(|entry| entry.parse().unwrap().seq).max().unwrap()
}

/// How often a node has asked for the log.
fn asked_for_log(lab: &Lab, node: NodeId) -> usize {
    let captured = lab.proxy().captured();
    let asked = captured.iter().filter(|captured| {
        captured.node == Some(node)
            && captured.direction == Direction::ToBroker
            && captured.frame.name() == "log.get"
    });
    asked.count()
}

/// A member that does not keep to the rules, which every node knows.
pub(crate) async fn hostile(lab: &Lab, nodes: &[&str]) -> Member {
    let invite = lab.client(nodes[0]).invite(&InviteRequest::default()).await.unwrap();
    let member = Member::join(&lab.proxy().url(), &invite.token, "mallory").await.unwrap();
    for node in nodes {
        let knows = async || {
            let health = lab.client(node).health().await.ok()?;
            (health.meshes[0].members > nodes.len() as u64).then_some(())
        };
        eventually(WITHIN, &format!("{node} knows mallory"), knows).await.unwrap();
    }
    member
}

#[tokio::test]
async fn two_logs_are_found_out_by_the_first_message_and_a_resume_ends_it() {
    let mut lab = mesh(&["alpha"]).await;
    let admin = InviteRequest { role: Some(Role::Admin), ..InviteRequest::default() };
    lab.enrol_by("beta", &admin).await.unwrap();
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    let mut pair = Pair::on(lab);
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    assert_eq!(sample(&pair.lab, "alpha", "alarms", "what=\"log_mismatch\"").await, 0.0);
    // Each writes the next entry. Alpha's is shown to nobody, and beta's not to alpha.
    let hidden = broker::withhold_log(pair.lab.proxy(), alpha, last_entry(&pair.lab));
    let swallowed = broker::swallow_append(pair.lab.proxy(), alpha);
    pair.lab.json("alpha", &["invite"]).await.unwrap();
    swallowed.happened().await.unwrap();
    pair.lab.json("beta", &["invite"]).await.unwrap();
    pair.send(1).await;

    let (at_alpha, at_beta) =
        (alarm(&pair.lab, "alpha", "log_mismatch").await, alarm(&pair.lab, "beta", "log_mismatch").await);
    assert_eq!((at_alpha.node, at_beta.node), (Some(beta), Some(alpha)));
    assert_eq!(ends(&at_alpha), ends(&at_beta), "both name both");
    for node in ["alpha", "beta"] {
        assert_eq!(sample(&pair.lab, node, "alarms", "what=\"log_mismatch\"").await, 1.0);
        shows(&pair.lab, node, "security_events_total", "what=\"log_mismatch\"", 1.0).await;
    }
    assert_eq!(ends(&at_alpha).len(), 2);
    assert_eq!(told(&pair.lab, "alpha", "log_mismatch").await, Some(beta));
    assert_eq!(told(&pair.lab, "beta", "log_mismatch").await, Some(alpha));
    let status = pair.lab.run("alpha", &["node", "status"], b"").await.unwrap();
    assert!(status.stdout.contains("ALARM   log_mismatch since"), "{}", status.stdout);
    // The message waits.
    let state = pair.state("m-1").await;
    assert!(state.rung() < MessageState::Delivered.rung() && !state.is_end(), "{state:?}");

    // Nobody can say which is right as long as the broker pretends that there is one. Its successor asks.
    drop(hidden);
    pair.lab.lose_store().await.unwrap();
    let client = pair.lab.client("alpha");
    let branches = async || client.health().await.ok()?.meshes.pop()?.resume_wanted.filter(|b| b.len() == 2);
    eventually(WITHIN, "alpha is told of two logs", branches).await.unwrap();
    pair.lab.json("alpha", &["mesh", "resume"]).await.unwrap();
    pair.read(1).await;
    assert_eq!(pair.settled("m-1").await.state, MessageState::Delivered);
    for node in ["alpha", "beta"] {
        no_alarm(&pair.lab, node).await;
        assert_eq!(sample(&pair.lab, node, "alarms", "what=\"log_mismatch\"").await, 0.0);
    }
}

#[tokio::test]
async fn a_node_that_is_shown_only_the_beginning_of_the_log_is_found_out_at_both_ends() {
    let mut pair = Pair::start().await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    let hidden = broker::withhold_log(pair.lab.proxy(), beta, last_entry(&pair.lab));
    pair.lab.json("alpha", &["invite"]).await.unwrap();
    let before = asked_for_log(&pair.lab, beta);
    pair.send(1).await;
    assert_eq!(alarm(&pair.lab, "alpha", "log_withheld").await.node, Some(beta));
    assert_eq!(alarm(&pair.lab, "beta", "log_withheld").await.node, Some(alpha));
    assert!(asked_for_log(&pair.lab, beta) <= before + 2, "not for every seal of it");
    drop(hidden);
    pair.read(1).await;
    assert_eq!(pair.settled("m-1").await.state, MessageState::Delivered);
    no_alarm(&pair.lab, "alpha").await;
    no_alarm(&pair.lab, "beta").await;
    assert_eq!(told(&pair.lab, "alpha", "alarm_over").await, Some(beta));
    assert_eq!(told(&pair.lab, "beta", "alarm_over").await, Some(alpha));
}

#[tokio::test]
async fn a_member_who_lies_about_its_log_stops_only_its_own_mail() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let before = asked_for_log(&pair.lab, beta);

    // A log that nobody has.
    let mut letter = mallory.letter(beta);
    let id = mallory.wire_id(&letter.id).unwrap();
    let honest = letter.log;
    letter.log = LogHead { seq: honest.seq + 1_000, hash: Digest::from_bytes([9; 32]) };
    for seal in 0..10 {
        mallory.send(beta, &letter, seal).await.unwrap();
        assert_eq!(mallory.refusal(beta, id).await.unwrap(), NackReason::UnknownSender);
    }
    assert_eq!(alarm(&pair.lab, "beta", "log_withheld").await.node, Some(mallory.node()));
    assert!(asked_for_log(&pair.lab, beta) <= before + 3, "not for every envelope");

    // Another log than everybody's.
    letter.log = LogHead { seq: 2, hash: Digest::from_bytes([9; 32]) };
    for seal in 10..12 {
        mallory.send(beta, &letter, seal).await.unwrap();
        assert_eq!(mallory.refusal(beta, id).await.unwrap(), NackReason::LogMismatch);
    }
    assert_eq!(alarm(&pair.lab, "beta", "log_mismatch").await.node, Some(mallory.node()));

    // And in alpha's name: nobody but mallory can be blamed for what mallory signs.
    letter.from = alpha;
    for seal in 12..14 {
        mallory.send(beta, &letter, seal).await.unwrap();
        assert_eq!(mallory.refusal(beta, id).await.unwrap(), NackReason::BadSeal);
    }
    let blamed: Vec<_> = alarms(&pair.lab, "beta").await.into_iter().map(|alarm| alarm.node).collect();
    assert_eq!(blamed, [Some(mallory.node())]);

    // Everybody else's mail has gone on, and mallory's does when it stops lying.
    pair.send(1).await;
    pair.read(1).await;
    pair.settled("m-2").await;
    assert!(alarms(&pair.lab, "alpha").await.is_empty());
    letter.from = mallory.node();
    letter.log = honest;
    mallory.send(beta, &letter, 14).await.unwrap();
    no_alarm(&pair.lab, "beta").await;
}

#[tokio::test]
async fn a_recipient_who_lies_about_its_log_stops_only_the_mail_to_itself() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    mallory.publish(None).await.unwrap();
    let to_mallory = pair.lab.sender("alpha", &waxwing_lab::Recorder::default());
    to_mallory.send("mallory", "lost", WITHIN).await.unwrap();
    let made_up = LogHead { seq: 2, hash: Digest::from_bytes([9; 32]) };
    for seal in 0..3 {
        let envelope = mallory.envelope().await.unwrap();
        assert_eq!(envelope.seal, seal, "sealed anew after each refusal");
        mallory.refuse(&envelope, NackReason::LogMismatch, Some(made_up)).await.unwrap();
    }
    assert_eq!(alarm(&pair.lab, "alpha", "log_mismatch").await.node, Some(mallory.node()));
    assert!(alarms(&pair.lab, "beta").await.is_empty());
    assert!(!pair.state("lost").await.is_end(), "it waits");
    pair.send(1).await;
    pair.read(1).await;
    pair.settled("m-2").await;
    // Whoever is thrown out is no cause for an alarm any more.
    pair.lab.json("alpha", &["revoke", "mallory", "--yes"]).await.unwrap();
    no_alarm(&pair.lab, "alpha").await;
}

#[tokio::test]
async fn a_broker_that_shows_another_log_than_before_stops_that_mesh_alone_and_it_shows() {
    let lab = mesh(&["alpha", "beta"]).await;
    let create = ["mesh", "create", "second", "--broker", &lab.proxy().url(), "--node", "beta-2"];
    lab.json("beta", &create).await.unwrap();
    let beta = lab.id("beta");
    let shown = lab.proxy().rewrite_next(When::named(beta, "welcome"), |mut frame| {
        if let Frame::Login(ToNodeLogin::Welcome(welcome)) = &mut frame {
            welcome.head.as_mut().unwrap().hash = Digest::from_bytes([9; 32]);
        }
        vec![frame]
    });
    lab.proxy().cut_links();
    shown.happened().await.unwrap();
    let alarm = alarm(&lab, "beta", "log_rollback").await;
    assert_eq!(alarm.node, None);
    assert_eq!(told(&lab, "beta", "log_rollback").await, None);
    let health = lab.client("beta").health().await.unwrap();
    let state = |name: &str| {
        let mesh = health.meshes.iter().find(|mesh| mesh.mesh.as_str() == name).unwrap();
        (mesh.link.state, mesh.alarms.len())
    };
    assert_eq!(state("lab"), (LinkState::Stopped, 1));
    assert_eq!(state("second").1, 0, "the other goes on");
    let status = lab.run("beta", &["node", "status"], b"").await.unwrap();
    assert!(status.stdout.contains("ALARM   log_rollback since"), "{}", status.stdout);
}
