//! Waiting and watching: `send --wait`, `inbox --wait` and `--follow`, `events`, `trace`, each through restarts.

use serde_json::Value;
use waxwing_client::api::{AckRequest, AppsQuery, InboxQuery, MessageState};
use waxwing_lab::{Lab, eventually};

use crate::commands::{fails, json, run};
use crate::support::{Pair, WITHIN, mesh};
use crate::terminal::Running;

/// Waits until a message has come this far, by its node.
async fn comes_to(lab: &Lab, node: &str, id: &str, state: MessageState) {
    let client = lab.client(node);
    let is = async || {
        let status =
            client.status(&id.parse().unwrap(), &waxwing_client::api::MeshQuery::default()).await.ok()?;
        (status.state == state).then_some(())
    };
    eventually(WITHIN, &format!("{id} is {}", state.as_str()), is).await.unwrap();
}

/// M-06, M-07, S-12.
#[tokio::test]
async fn a_send_waits_for_each_state() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    let accepted = json(&lab, "alpha", &["send", "beta", "one", "--id", "m-1", "--wait", "accepted"]).await;
    assert_eq!((&accepted["state"], &accepted["reached"]), (&"accepted".into(), &true.into()));

    let state = lab.state("alpha");
    let delivered =
        Running::start(&state, &["--json", "send", "beta", "two", "--id", "m-2", "--wait", "delivered"]);
    let read = Running::start(&state, &["send", "beta", "three", "--id", "m-3", "--wait", "read"]);
    comes_to(&lab, "alpha", "m-2", MessageState::Accepted).await;
    comes_to(&lab, "alpha", "m-3", MessageState::Accepted).await;
    // Both go on waiting while their own node restarts.
    lab.restart("alpha").await.unwrap();
    lab.restart("beta").await.unwrap();
    let delivered = delivered.end().await.json().unwrap();
    assert_eq!((&delivered["state"], &delivered["waited_for"]), (&"delivered".into(), &"delivered".into()));
    assert!(delivered["delivered_at"].is_u64() && delivered["broker_message_id"].is_string(), "{delivered}");
    comes_to(&lab, "alpha", "m-3", MessageState::Delivered).await;
    let all = AckRequest { through: Some(1_000), ..AckRequest::default() };
    lab.client("beta").ack(&all).await.unwrap();
    let read = read.end().await;
    assert_eq!((read.code, read.stdout.trim()), (Some(0), "m-3 read"), "{read:?}");
    // What is there already is not waited for.
    let again = json(&lab, "alpha", &["send", "beta", "three", "--id", "m-3", "--wait", "accepted"]).await;
    assert_eq!((&again["state"], &again["duplicate"]), (&"read".into(), &true.into()));
}

#[tokio::test]
async fn a_wait_that_comes_to_nothing_says_what_is() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    let send = ["send", "beta", "text", "--wait", "delivered"];
    json(&lab, "alpha", &["send", "beta", "text", "--wait", "accepted", "--id", "late"]).await;
    let late = run(&lab, "alpha", &[&send[..], &["--id", "late", "--timeout", "1s"]].concat()).await;
    assert_eq!((late.code, late.stdout.trim()), (Some(1), "late accepted (accepted before)"), "{late:?}");
    assert!(late.stderr.contains("late is accepted after 1s, not delivered"), "{late:?}");
    assert!(late.stderr.contains("waxwing --state") && late.stderr.contains("trace late"), "{late:?}");
    let late =
        run(&lab, "alpha", &[&["--json"], &send[..], &["--id", "late-2", "--timeout", "1ms"]].concat()).await;
    let document: Value = serde_json::from_str(&late.stdout).unwrap();
    assert_eq!((late.code, &document["reached"]), (Some(1), &false.into()), "{late:?}");
    assert!(late.stderr.contains("\"not_reached\""), "{late:?}");

    let given_up =
        Running::start(&lab.state("alpha"), &[&send[..], &["--id", "gone", "--timeout", "10m"]].concat());
    comes_to(&lab, "alpha", "gone", MessageState::Accepted).await;
    json(&lab, "alpha", &["node", "outbox", "abort", "gone"]).await;
    let given_up = given_up.end().await;
    assert_eq!((given_up.code, given_up.stdout.trim()), (Some(1), "gone aborted"), "{given_up:?}");
    lab.kill(Lab::BROKER).await.unwrap();
    let expired = [&send[..], &["--id", "short", "--ttl", "1s", "--timeout", "10m"]].concat();
    let expired = run(&lab, "alpha", &expired).await;
    assert_eq!((expired.code, expired.stdout.trim()), (Some(1), "short expired"), "{expired:?}");
    assert!(expired.stderr.contains("outbox requeue short"), "{expired:?}");
}

#[tokio::test]
async fn an_inbox_waits_for_the_next_message() {
    let lab = mesh(&["alpha", "beta"]).await;
    let empty = run(&lab, "beta", &["inbox", "--wait", "100ms"]).await;
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.trim()), (Some(0), "", "nothing here"));
    let waiting = Running::start(&lab.state("beta"), &["--json", "inbox", "--wait", "10m"]);
    json(&lab, "alpha", &["send", "beta", "at last"]).await;
    assert_eq!(waiting.end().await.json().unwrap()["items"][0]["body"], "at last");
}

#[tokio::test]
async fn followers_lose_and_repeat_nothing_when_their_node_is_killed() {
    let mut pair = Pair::start().await;
    let state = pair.lab.state("beta");
    pair.send(1).await;
    pair.read(1).await;
    let mut follow = Running::start(&state, &["--json", "inbox", "--follow"]);
    let mut events = Running::start(&state, &["--json", "events", "--after", "0", "--kind", "message"]);
    let mut seen = 0;
    for round in 0..3 {
        pair.send(5).await;
        // Some have been shown when it dies, and some have not.
        for _ in 0..3 {
            let (followed, event) = (follow.document().await, events.document().await);
            seen += 1;
            assert_eq!(followed["client_message_id"], format!("m-{seen}"), "round {round}");
            assert_eq!((&event["kind"], &event["message"]["id"]), (&"message".into(), &followed["id"]));
            assert_eq!(event["cursor"], followed["id"]);
        }
        pair.lab.kill("beta").await.unwrap();
        pair.lab.restart("beta").await.unwrap();
    }
    pair.conclude().await;
    while seen < pair.sent.len() {
        let (followed, event) = (follow.document().await, events.document().await);
        assert_eq!(followed["client_message_id"].as_str(), Some(&pair.sent[seen][..]));
        assert_eq!(event["message"]["client_message_id"].as_str(), Some(&pair.sent[seen][..]));
        seen += 1;
    }
    follow.stop().await;
    events.stop().await;
}

#[tokio::test]
async fn events_from_now_on_miss_nothing_though_the_node_dies_before_the_first() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    json(&lab, "alpha", &["send", "beta", "before", "--wait", "delivered"]).await;
    let mut events = Running::start(
        &lab.state("beta"),
        &["--json", "events", "--app", "watcher", "--register", "--kind", "message"],
    );
    registered(&lab, &["watcher"]).await;
    lab.kill("beta").await.unwrap();
    json(&lab, "alpha", &["send", "watcher@beta", "while it is away", "--wait", "accepted"]).await;
    lab.restart("beta").await.unwrap();
    assert_eq!(events.document().await["message"]["body"], "while it is away");
    registered(&lab, &["watcher"]).await;
    events.stop().await;
}

#[tokio::test]
async fn what_peers_write_is_escaped_wherever_it_is_shown() {
    let lab = mesh(&["alpha", "beta"]).await;
    let state = lab.state("beta");
    let mut follow = Running::start(&state, &["inbox", "--follow"]);
    let mut events = Running::start(&state, &["events", "--after", "0", "--kind", "message"]);
    json(&lab, "alpha", &["send", "beta", "red\x1b[31m\r\n#9 boss\u{202e}"]).await;
    assert!(follow.line().await.starts_with("#"));
    assert_eq!(follow.line().await, "    red\\u{1b}[31m\\u{d}");
    assert_eq!(follow.line().await, "    #9 boss\\u{202e}");
    let line = events.line().await;
    assert!(line.contains("alpha: red\\u{1b}[31m\\u{d} ..."), "{line}");
    follow.stop().await;
    events.stop().await;
}

/// M-10.
#[tokio::test]
async fn a_trace_tells_a_messages_life_and_what_the_broker_has_of_it() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    json(
        &lab,
        "alpha",
        &["send", "audit@beta", "quiet words", "--id", "t-1", "--wait", "accepted", "--receipt", "read"],
    )
    .await;
    let held = json(&lab, "alpha", &["trace", "t-1", "--as-broker"]).await;
    assert_eq!((&held["to"], &held["priority"]), (&lab.id("beta").to_string().into(), &"next".into()));
    assert!(held["queued_bytes"].as_u64().unwrap() > 0, "{held}");
    let people = run(&lab, "alpha", &["trace", "t-1", "--as-broker"]).await;
    assert!(people.stdout.contains("All that the broker has of it:"), "{people:?}");
    for secret in ["t-1", "audit", "quiet"] {
        assert!(!people.stdout.contains(secret) && !held.to_string().contains(secret), "{secret}: {held}");
    }

    lab.restart("beta").await.unwrap();
    let inbox = InboxQuery { app: Some("*".into()), wait: Some("60s".into()), ..InboxQuery::default() };
    let items = lab.client("beta").inbox(&inbox).await.unwrap().items;
    json(&lab, "beta", &["ack", &items[0].id.to_string()]).await;
    comes_to(&lab, "alpha", "t-1", MessageState::Read).await;
    let life = json(&lab, "alpha", &["trace", "t-1"]).await;
    let told: Vec<_> =
        life["history"].as_array().unwrap().iter().map(|change| (&change["state"], &change["by"])).collect();
    let states =
        [("queued", "node"), ("accepted", "broker"), ("delivered", "recipient"), ("read", "recipient")];
    assert_eq!(
        told.iter().map(|(state, by)| (state.as_str().unwrap(), by.as_str().unwrap())).collect::<Vec<_>>(),
        states
    );
    let people = run(&lab, "alpha", &["trace", "t-1"]).await;
    for expected in ["t-1 to audit@beta", "so the broker says", "the recipient has proved it", "now read"] {
        assert!(people.stdout.contains(expected), "{expected}: {people:?}");
    }
    let held = run(&lab, "alpha", &["trace", "t-1", "--as-broker"]).await;
    assert!(held.stdout.contains("no longer has it"), "{held:?}");

    assert_eq!(fails(&lab, "alpha", &["trace", "t-2"], 7).await, "unknown_message");
    lab.kill(Lab::BROKER).await.unwrap();
    assert_eq!(fails(&lab, "alpha", &["trace", "t-1", "--as-broker"], 6).await, "offline");
}

#[tokio::test]
async fn an_app_is_registered_while_it_watches() {
    let lab = mesh(&["beta"]).await;
    let watch = ["events", "--app", "deploy", "--register"];
    let events = Running::start(&lab.state("beta"), &watch);
    registered(&lab, &["deploy"]).await;
    assert_eq!(fails(&lab, "beta", &watch, 8).await, "app_registered");
    let people = run(&lab, "beta", &["apps"]).await;
    assert!(people.stdout.contains("deploy") && people.stdout.contains("its stream ends"), "{people:?}");
    events.stop().await;
    registered(&lab, &[]).await;
    assert_eq!(fails(&lab, "beta", &["events", "--kind", "gossip"], 2).await, "malformed");
}

/// Waits until just these apps are registered with beta.
async fn registered(lab: &Lab, names: &[&str]) {
    let client = lab.client("beta");
    let is = async || {
        let apps = client.apps(&AppsQuery::default()).await.ok()?.apps;
        apps.iter().map(|app| app.name.as_str()).eq(names.iter().copied()).then_some(())
    };
    eventually(WITHIN, &format!("{names:?} are registered"), is).await.unwrap();
}
