//! A process that is stopped for longer than its lease, as a machine is that sleeps, and goes on.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use waxwing_client::api::{EventQuery, MessageState};
use waxwing_lab::Lab;

use crate::presence::settings;
use crate::support::{PROGRAM, Pair, WITHIN};

/// A lease that a busy machine keeps while its node is awake.
const LEASE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_node_that_sleeps_for_longer_than_its_lease_leaves_once_joins_once_and_all_mail_arrives() {
    let mut lab = Lab::direct_by(PROGRAM, &settings(LEASE)).await.unwrap();
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    let mut pair = Pair::on(lab);
    pair.warm_up().await;
    let kind = Some("peer_join,peer_leave".to_owned());
    let query = EventQuery { after: Some(0), kind, ..EventQuery::default() };
    let mut events = pair.lab.client("alpha").events(&query).await.unwrap();
    let mut told = async || {
        let event = tokio::time::timeout(WITHIN, events.next()).await.expect("alpha tells something");
        event.unwrap().body.kind().as_str()
    };
    assert_eq!(told().await, "peer_join");
    let beta = Pid::from_raw(pair.lab.process("beta").pid().unwrap().cast_signed()).unwrap();
    kill_process(beta, Signal::STOP).unwrap();
    pair.send(5).await;
    assert_eq!(told().await, "peer_leave");
    pair.send(5).await;
    pair.accepted("m-11").await;
    assert_eq!(pair.state("m-2").await, MessageState::Accepted, "it waits at the broker, and has time");
    kill_process(beta, Signal::CONT).unwrap();
    assert_eq!(told().await, "peer_join");
    pair.conclude().await;
    pair.lab.stop("beta").await.unwrap();
    assert_eq!(told().await, "peer_leave", "and nothing else was told");
}
