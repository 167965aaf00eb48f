//! A wall clock that is set by weeks while a node runs, and before it starts: no message ends for it, nothing is forgotten, and it
//! is said.

use waxwing_client::api::{AckRequest, InboxQuery, MeshQuery, MessageState, SendRequest};
use waxwing_lab::{Lab, eventually};

use super::Faults;
use crate::support::{Pair, WITHIN};

/// Longer than anything is kept.
const FORTY_DAYS: i64 = 40 * 24 * 60 * 60;

/// Sends a message that nobody can have, and waits until its time is over: by then the node has looked at what is old.
async fn until_one_expires(pair: &Pair, id: &str) {
    let client = pair.lab.client("alpha");
    let request = SendRequest {
        to: "beta".into(),
        body: Some("soon over".into()),
        client_message_id: Some(id.parse().unwrap()),
        ttl: Some("2s".into()),
        ..SendRequest::default()
    };
    client.send(&request).await.unwrap();
    let expired = async || {
        let status = client.status(&id.parse().unwrap(), &MeshQuery::default()).await.ok()?;
        (status.state == MessageState::Expired).then_some(())
    };
    eventually(WITHIN, &format!("{id} has had its time"), expired).await.unwrap();
}

/// The ids in alpha's inbox.
async fn kept(lab: &Lab) -> Vec<String> {
    let all = InboxQuery { after: Some(0), app: Some("*".into()), ..InboxQuery::default() };
    let items = lab.client("alpha").inbox(&all).await.unwrap().items;
    items.iter().map(|item| item.client_message_id.to_string()).collect()
}

/// What people are told of the clock, by both who tell it.
async fn is_said(lab: &Lab) {
    let said = async || {
        let status = lab.run("alpha", &["node", "status"], b"").await.ok()?.stdout;
        status.contains("this clock is").then_some(())
    };
    eventually(WITHIN, "the status says that the clock is off", said).await.unwrap();
    let doctor = lab.run("alpha", &["node", "doctor"], b"").await.unwrap().stdout;
    assert!(doctor.contains("clock"), "{doctor}");
    let clock = doctor.lines().find(|line| line.contains(" clock: ")).unwrap_or_default();
    assert!(clock.starts_with("WRONG"), "{doctor}");
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_message_and_has_nothing_forgotten() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let read = SendRequest {
        to: "alpha".into(),
        body: Some("read long ago, by that clock".into()),
        client_message_id: Some("read".parse().unwrap()),
        ..SendRequest::default()
    };
    pair.lab.client("beta").send(&read).await.unwrap();
    let there = async || (kept(&pair.lab).await == ["read"]).then_some(());
    eventually(WITHIN, "it is there", there).await.unwrap();
    let all = AckRequest { through: Some(u64::MAX >> 1), ..AckRequest::default() };
    pair.lab.client("alpha").ack(&all).await.unwrap();

    let faults = Faults::at(&mut pair.lab, "alpha").await;
    pair.lab.kill(Lab::BROKER).await.unwrap();
    pair.send(2).await;
    faults.set_clock(FORTY_DAYS);
    until_one_expires(&pair, "short-1").await;
    for id in ["m-2", "m-3"] {
        assert_eq!(pair.state(id).await, MessageState::Queued, "{id}");
    }
    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    is_said(&pair.lab).await;
    pair.read(2).await;
    assert_eq!(kept(&pair.lab).await, ["read"]);

    // As it is when it starts, it knows no better until the broker tells it.
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    is_said(&pair.lab).await;
    pair.send(2).await;
    pair.read(2).await;
    pair.lab.kill(Lab::BROKER).await.unwrap();
    until_one_expires(&pair, "short-2").await;
    assert_eq!(kept(&pair.lab).await, ["read"]);
    let row = pair.lab.client("alpha").outbox_row(1, &MeshQuery::default()).await.unwrap();
    assert!(!row.wiped, "{row:?}");

    // And back.
    pair.send(1).await;
    faults.set_clock(0);
    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
}
