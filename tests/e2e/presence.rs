//! Who is online: one join and one leave each, told when it is so, and nothing told that is not.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;
use waxwing_client::Events;
use waxwing_client::api::{
    EventBody, EventQuery, LeaveReason, MeshQuery, Peer, Peers, Profile, Registration,
};
use waxwing_lab::{Lab, Scan, eventually};

use crate::commands::{json, run};
use crate::support::{PROGRAM, WITHIN, mesh};

/// A lease that a test can wait for.
const LEASE: Duration = Duration::from_secs(2);

/// What a node says of itself, long enough not to occur by chance.
const SUMMARY: &str = "moves the lighthouse by night";

/// A lease in which a node is back, also on a busy machine.
const LONG: Duration = Duration::from_secs(12);

/// A broker's, with such a lease.
pub(crate) fn settings(lease: Duration) -> String {
    format!("[limits]\nlease_seconds = {}\n", lease.as_secs())
}

/// A mesh whose nodes are online, each seen by alpha.
async fn online(nodes: &[&str]) -> Lab {
    online_for(LEASE, nodes).await
}

/// The same with such a lease.
async fn online_for(lease: Duration, nodes: &[&str]) -> Lab {
    let lab = Lab::mesh_by(PROGRAM, &settings(lease), nodes).await.unwrap_or_else(|error| panic!("{error}"));
    for node in nodes {
        sees(&lab, node, true).await;
    }
    lab
}

async fn peers(lab: &Lab, at: &str) -> Peers {
    lab.client(at).peers(&MeshQuery::default()).await.unwrap()
}

async fn peer(lab: &Lab, at: &str, node: &str) -> Peer {
    peers(lab, at).await.peers.into_iter().find(|peer| peer.node.as_str() == node).unwrap()
}

/// Waits until alpha sees a node as online, or not.
async fn sees(lab: &Lab, node: &str, online: bool) {
    let client = lab.client("alpha");
    let is = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?;
        let peer = peers.peers.into_iter().find(|peer| peer.node.as_str() == node)?;
        (peers.current && peer.online == online).then_some(())
    };
    eventually(WITHIN, &format!("alpha sees {node} online: {online}"), is).await.unwrap();
}

/// Waits until alpha shows such a profile of a node.
async fn shows(lab: &Lab, node: &str, such: impl Fn(&Profile) -> bool) {
    let client = lab.client("alpha");
    let shown = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        let profile = peers.into_iter().find(|peer| peer.node.as_str() == node)?.profile?;
        such(&profile).then_some(())
    };
    eventually(WITHIN, &format!("alpha shows the profile of {node}"), shown).await.unwrap();
}

/// All that alpha has told of its peers, and what it goes on to tell.
async fn told(lab: &Lab) -> Events {
    let kind = Some("peer_join,peer_leave".to_owned());
    lab.client("alpha").events(&EventQuery { after: Some(0), kind, ..EventQuery::default() }).await.unwrap()
}

/// The next of it: `+` and who has come, `-` and who has gone and why.
async fn next(events: &mut Events) -> String {
    let told =
        tokio::time::timeout(WITHIN, events.next()).await.expect("alpha tells something").unwrap().body;
    if let EventBody::PeerLeave { node, reason, .. } = told {
        format!("-{node} {}", reason.map_or("?", LeaveReason::as_str))
    } else if let EventBody::PeerJoin { node, .. } = told {
        format!("+{node}")
    } else {
        panic!("{told:?}")
    }
}

/// Everything that was told up to the goodbye of a node that says it now.
async fn until_goodbye(lab: &mut Lab, node: &str) -> Vec<String> {
    let mut events = told(lab).await;
    lab.stop(node).await.unwrap();
    let mut all = Vec::new();
    while all.last() != Some(&format!("-{node} goodbye")) {
        all.push(next(&mut events).await);
    }
    all
}

#[tokio::test]
async fn a_node_that_is_killed_leaves_with_its_lease_and_joins_when_it_is_back() {
    let mut lab = online(&["alpha", "beta"]).await;
    let mut events = told(&lab).await;
    assert_eq!(next(&mut events).await, "+beta");
    let killed = Instant::now();
    lab.kill("beta").await.unwrap();
    assert_eq!(next(&mut events).await, "-beta silent");
    let took = killed.elapsed();
    // What was last heard of it was a pong, at most a third of the lease before.
    assert!(took > LEASE / 2 && took < LEASE + Duration::from_secs(5), "{took:?}");
    let gone = peer(&lab, "alpha", "beta").await;
    assert!(!gone.online && gone.last_seen.is_some() && gone.since.is_none(), "{gone:?}");
    lab.restart("beta").await.unwrap();
    assert_eq!(next(&mut events).await, "+beta");
    let back = peer(&lab, "alpha", "beta").await;
    assert!(back.online && back.last_seen.is_none() && back.since > gone.last_seen, "{back:?}");
}

#[tokio::test]
async fn a_node_that_is_frozen_for_longer_than_its_lease_leaves_once_and_joins_once_with_its_apps() {
    let mut lab = Lab::direct_by(PROGRAM, &settings(LEASE)).await.unwrap();
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    sees(&lab, "beta", true).await;
    let ci = Registration { ttl: Some("10m".to_owned()), ..Registration::default() };
    lab.client("beta").register(&"ci".parse().unwrap(), &ci).await.unwrap();
    let kind = Some("peer_join,peer_leave,app_join,app_leave".to_owned());
    let query = EventQuery { after: Some(0), kind, ..EventQuery::default() };
    let mut events = lab.client("alpha").events(&query).await.unwrap();
    let mut kinds = async |count| {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let event = tokio::time::timeout(WITHIN, events.next()).await.expect("alpha tells something");
            kinds.push(event.unwrap().body.kind().as_str());
        }
        kinds
    };
    assert_eq!(kinds(2).await, ["peer_join", "app_join"]);
    let beta = Pid::from_raw(lab.process("beta").pid().unwrap().cast_signed()).unwrap();
    kill_process(beta, Signal::STOP).unwrap();
    assert_eq!(kinds(2).await, ["app_leave", "peer_leave"]);
    kill_process(beta, Signal::CONT).unwrap();
    assert_eq!(kinds(2).await, ["peer_join", "app_join"]);
    lab.stop("beta").await.unwrap();
    assert_eq!(kinds(2).await, ["app_leave", "peer_leave"], "and nothing else was told");
}

/// M-47.
#[tokio::test]
async fn a_goodbye_is_seen_at_once_however_long_a_lease_is() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    sees(&lab, "beta", true).await;
    let mut events = told(&lab).await;
    assert_eq!(next(&mut events).await, "+beta");
    let begun = Instant::now();
    lab.stop("beta").await.unwrap();
    assert_eq!(next(&mut events).await, "-beta goodbye");
    assert!(begun.elapsed() < Duration::from_secs(30), "the lease is 90 s: {:?}", begun.elapsed());
}

/// MB-10.
#[tokio::test]
async fn cut_links_a_broker_that_restarts_and_ones_own_restart_are_not_seen() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    for node in ["beta", "gamma"] {
        sees(&lab, node, true).await;
    }
    let since = peer(&lab, "alpha", "beta").await.since;
    for _ in 0..3 {
        lab.proxy().cut_links();
    }
    lab.kill(Lab::BROKER).await.unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
    // As killed processes, within the lease; and this node, which had told of the others before.
    for node in ["beta", "alpha"] {
        lab.kill(node).await.unwrap();
        lab.restart(node).await.unwrap();
    }
    for node in ["alpha", "beta", "gamma"] {
        lab.linked(node).await.unwrap();
    }
    sees(&lab, "beta", true).await;
    assert_eq!(peer(&lab, "alpha", "beta").await.since, since, "the same time online");
    let mut all = until_goodbye(&mut lab, "gamma").await;
    all.sort();
    assert_eq!(all, ["+beta", "+gamma", "-gamma goodbye"]);
}

#[tokio::test]
async fn without_a_link_peers_are_shown_as_they_were_with_the_age_of_that() {
    let mut lab = online(&["alpha", "beta"]).await;
    let linked = peers(&lab, "alpha").await;
    lab.kill(Lab::BROKER).await.unwrap();
    let client = lab.client("alpha");
    let alone = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?;
        (!peers.current).then_some(peers)
    };
    let alone = eventually(WITHIN, "alpha has no link", alone).await.unwrap();
    let beta = alone.peers.iter().find(|peer| peer.node.as_str() == "beta").unwrap();
    assert!(beta.online && alone.as_of >= linked.as_of && alone.as_of.is_some(), "{alone:?}");
    let people = run(&lab, "alpha", &["peers"]).await;
    assert!(people.stderr.contains("this is how it was at"), "{people:?}");
    // Longer than its lease, which a broker that is away cannot end.
    lab.kill("beta").await.unwrap();
    let dead = Instant::now();
    eventually(WITHIN, "a lease has passed", async || (dead.elapsed() > LEASE).then_some(())).await.unwrap();
    assert!(peer(&lab, "alpha", "beta").await.online, "nobody has seen it leave");
    lab.restart(Lab::BROKER).await.unwrap();
    let mut events = told(&lab).await;
    assert_eq!([next(&mut events).await, next(&mut events).await], ["+beta", "-beta silent"]);
}

#[tokio::test]
async fn after_a_loss_of_the_brokers_store_only_who_does_not_come_back_leaves() {
    let mut lab = online_for(LONG, &["alpha", "beta", "gamma"]).await;
    lab.kill("gamma").await.unwrap();
    lab.lose_store().await.unwrap();
    for node in ["alpha", "beta"] {
        lab.linked(node).await.unwrap();
    }
    sees(&lab, "gamma", false).await;
    // Until it is back beta is held, and what it has not said anew it cannot end by a goodbye.
    json(&lab, "beta", &["profile", "--summary", SUMMARY]).await;
    shows(&lab, "beta", |profile| profile.summary.as_deref() == Some(SUMMARY)).await;
    sees(&lab, "beta", true).await;
    let mut all = until_goodbye(&mut lab, "beta").await;
    all.sort();
    // Killed before the loss, it may have been seen to leave before.
    let gamma = if all.contains(&"-gamma silent".to_owned()) { "-gamma silent" } else { "-gamma ?" };
    assert_eq!(all, ["+beta", "+gamma", "-beta goodbye", gamma]);
}

#[tokio::test]
async fn who_is_thrown_out_has_left() {
    let lab = online(&["alpha", "beta"]).await;
    let mut events = told(&lab).await;
    assert_eq!(next(&mut events).await, "+beta");
    json(&lab, "alpha", &["revoke", "beta", "--yes"]).await;
    assert!(next(&mut events).await.starts_with("-beta"));
}

/// M-03.
#[tokio::test]
async fn a_profile_is_seen_by_others_outlives_a_restart_and_can_be_hidden() {
    let mut lab = online(&["alpha", "beta"]).await;
    json(&lab, "beta", &["profile", "--summary", SUMMARY, "--status", "dnd"]).await;
    json(&lab, "beta", &["profile", "--capability", "sql", "--title", "the database"]).await;
    let whole =
        |profile: &Profile| profile.capabilities == ["sql"] && profile.summary.as_deref() == Some(SUMMARY);
    let shown = async |lab: &Lab| shows(lab, "beta", whole).await;
    shown(&lab).await;
    lab.stop("beta").await.unwrap();
    sees(&lab, "beta", false).await;
    assert_eq!(peer(&lab, "alpha", "beta").await.profile, None, "of who is not there nothing is shown");
    lab.restart("beta").await.unwrap();
    shown(&lab).await;
    let people = run(&lab, "alpha", &["peers"]).await;
    assert!(people.stdout.contains(&format!("dnd: {SUMMARY}")), "{people:?}");
    json(&lab, "alpha", &["peers", "block", "beta"]).await;
    let blocked = peer(&lab, "alpha", "beta").await;
    assert!(blocked.online && blocked.profile.is_none(), "what it says is not listened to: {blocked:?}");
    json(&lab, "alpha", &["peers", "allow", "beta"]).await;
    shown(&lab).await;
    json(&lab, "beta", &["profile", "--visible", "false"]).await;
    let client = lab.client("alpha");
    let hidden = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        let beta = peers.into_iter().find(|peer| peer.node.as_str() == "beta")?;
        (beta.online && beta.profile.is_none()).then_some(())
    };
    eventually(WITHIN, "alpha sees that beta is online, and nothing else", hidden).await.unwrap();
    // Neither the broker nor a disk has it.
    let mut scan = Scan::default();
    for name in [Lab::BROKER, "alpha", "beta"] {
        scan.path(&lab.state(name), &[SUMMARY]).unwrap();
        scan.path(lab.process(name).log_path(), &[SUMMARY]).unwrap();
    }
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &[SUMMARY]);
    }
    assert!(scan.found.is_empty() && scan.files > 6 && scan.bytes > 10_000, "{scan:?}");
}
