//! Claims, on nodes that share a broker in memory.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use waxwing_protocol::api::LeaseEnd;
use waxwing_protocol::link::EndedBy;

use super::*;
use crate::spaces::tests::{Broker, Node, PATIENCE};
use crate::store::events;

/// Members with a link, who keep up what their apps have claimed.
struct Mates {
    nodes: Vec<Node>,
    broker: Broker,
    running: Vec<JoinHandle<()>>,
}

impl Mates {
    async fn of(count: usize) -> Self {
        let (nodes, broker) = (Node::members_in_space(SPACE, count).await, Broker::new());
        let mut mates = Self { nodes, broker, running: Vec::new() };
        for node in &mut mates.nodes {
            node.link(&mates.broker);
            let mesh = Arc::clone(&node.mesh);
            mates.running.push(tokio::spawn(async move {
                crate::leases::run(&mesh, &mesh.claims).await.unwrap();
            }));
            node.complete(0).await;
        }
        mates
    }

    fn mesh(&self, n: usize) -> &Arc<Mesh> {
        &self.nodes[n].mesh
    }

    async fn tries(&self, n: usize, ask: Ask) -> Result<Tried, Denied> {
        timeout(PATIENCE, super::ask(self.mesh(n), ask)).await.expect("an answer")
    }

    /// The token, for an app that claims it.
    async fn claims(&self, n: usize, app: &str, key: &str) -> u64 {
        let tried = self.tries(n, asks(app, key)).await.unwrap();
        let Tried::Claimed { token, remaining } = tried else { panic!("{tried:?}") };
        assert!(!remaining.is_zero());
        token
    }

    /// Who has it, as somebody is told who asks.
    async fn is_held(&self, n: usize, app: &str, key: &str) -> String {
        let tried = self.tries(n, asks(app, key)).await.unwrap();
        let Tried::Held(Some(by)) = tried else { panic!("{tried:?}") };
        by.says.unwrap().app.to_string()
    }

    async fn is_done(&self, n: usize, app: &str, key: &str) -> Done {
        let tried = self.tries(n, asks(app, key)).await.unwrap();
        let Tried::Done(done) = tried else { panic!("{tried:?}") };
        done
    }

    async fn completes(&self, n: usize, app: &str, key: &str, token: u64) -> Result<Done, Denied> {
        complete(self.mesh(n), &holder(app), &name(key), token, Some("fixed".to_owned())).await
    }

    async fn abandons(&self, n: usize, app: &str, key: &str, token: u64) -> Result<(), Denied> {
        self.mesh(n).claims.release(self.mesh(n), &holder(app), &name(key), token).await
    }

    /// Waits until a node's copy has all there is.
    async fn sees(&self, n: usize) {
        let last = self.broker.space().last;
        self.nodes[n].complete(last).await;
    }

    /// Waits until an app of a node is told of a claim.
    async fn told(&self, n: usize) -> (LeaseNews, u64, Option<LeaseEnd>) {
        let mut shown = self.mesh(n).signals.shown();
        let told = async {
            loop {
                shown.mark_unchanged();
                for event in events::list(&self.mesh(n).db, 0, None, 1_000).await.unwrap() {
                    if let EventBody::Claim { what, token, reason, .. } = event.body {
                        return (what, token, reason);
                    }
                }
                shown.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, told).await.expect("an app is told")
    }
}

fn name(key: &str) -> KeyName {
    key.parse().unwrap()
}

fn holder(app: &str) -> Holder {
    Holder { which: Which { name: app.parse().unwrap(), instance: None }, registered: false }
}

fn asks(app: &str, key: &str) -> Ask {
    Ask {
        key: name(key),
        holder: holder(app),
        ttl: Duration::from_secs(1_800),
        wait: Duration::ZERO,
        on_disconnect: OnDisconnect::Hold,
        purpose: None,
    }
}

const KEY: &str = "vercel/next.js#4521:checks_failed";

/// C-02.
#[tokio::test]
async fn ct_01_ct_02_ct_03_ct_08_ct_10_cb_03_one_has_it_others_are_told_who_and_an_end_makes_it_free() {
    let mates = Mates::of(2).await;
    let token = mates.claims(0, "ann", KEY).await;
    let again = mates.tries(0, asks("ann", KEY)).await.unwrap();
    assert!(matches!(again, Tried::Claimed { token: same, .. } if same == token), "{again:?}");
    mates.sees(1).await;
    assert_eq!(mates.is_held(1, "bob", KEY).await, "ann");
    mates.abandons(0, "ann", KEY, token).await.unwrap();
    mates.sees(1).await;
    let next = mates.claims(1, "bob", KEY).await;
    assert!(next > token, "whoever has it later has a higher token");
}

/// CB-04.
#[tokio::test]
async fn cb_01_ct_19_two_apps_of_one_node_do_not_share_a_claim() {
    let mates = Mates::of(1).await;
    mates.claims(0, "ann", KEY).await;
    assert_eq!(mates.is_held(0, "bob", KEY).await, "ann");
}

/// C-01.
#[tokio::test]
async fn ct_11_ct_12_cb_10_keys_are_compared_as_they_are() {
    let mates = Mates::of(1).await;
    for (app, key) in [("a", "a/b"), ("b", "a#b"), ("c", "a:b"), ("d", "a_b"), ("e", "A/B"), ("f", "x:a/b")] {
        mates.claims(0, app, key).await;
    }
}

#[tokio::test]
async fn ct_17_cb_14_whoever_comes_late_is_told_that_it_is_done_and_with_what_outcome() {
    let mates = Mates::of(2).await;
    let token = mates.claims(0, "ann", KEY).await;
    let done = mates.completes(0, "ann", KEY, token).await.unwrap();
    assert_eq!(mates.completes(0, "ann", KEY, token).await.unwrap(), done, "repeated, it is the same");
    mates.sees(1).await;
    for (n, app) in [(1, "bob"), (0, "ann"), (0, "carol")] {
        let told = mates.is_done(n, app, KEY).await;
        assert_eq!((told.says.outcome.as_deref(), told.says.token), (Some("fixed"), token), "{app}");
        assert_eq!((told.node, told.says.app.as_str()), (mates.mesh(0).identity.node, "ann"));
    }
    let listed = list(mates.mesh(1)).await.unwrap();
    assert!(matches!(&listed[&name(KEY)], (None, Some(done)) if done.says.token == token));
    // For a day, and then it can be claimed again.
    mates.broker.does(|space| space.pass(24 * 60 * 60 * 1_000 + 1));
    mates.sees(1).await;
    assert!(mates.claims(1, "bob", KEY).await > token);
}

/// C-04.
#[tokio::test]
async fn ct_09_cb_16_whoever_does_not_have_it_completes_and_abandons_nothing() {
    let mates = Mates::of(2).await;
    let token = mates.claims(0, "ann", KEY).await;
    mates.sees(1).await;
    for (n, app, token) in [(0, "bob", token), (1, "ann", token), (0, "ann", token + 1), (0, "ann", 0)] {
        assert_eq!(mates.abandons(n, app, KEY, token).await, Err(Denied::NotHolder), "{n} {app} {token}");
        assert_eq!(mates.completes(n, app, KEY, token).await, Err(Denied::NotHolder), "{n} {app} {token}");
    }
    assert_eq!(mates.is_held(1, "bob", KEY).await, "ann");
}

/// C-05, C-06, CB-12, CT-14.
#[tokio::test]
async fn ct_04_ct_18_cb_13_a_claim_that_is_over_is_told_and_counts_no_more() {
    let mates = Mates::of(2).await;
    let brief = Ask { ttl: Duration::from_secs(1), ..asks("ann", KEY) };
    let tried = mates.tries(0, brief).await.unwrap();
    let Tried::Claimed { token, .. } = tried else { panic!("{tried:?}") };
    let told = mates.told(0).await;
    assert_eq!((told.0, told.1), (LeaseNews::Expiring, token));
    mates.broker.does(|space| space.pass(1_001));
    mates.sees(1).await;
    let next = mates.claims(1, "bob", KEY).await;
    mates.sees(0).await;
    let late = mates.completes(0, "ann", KEY, token).await.unwrap_err();
    assert!(matches!(late, Denied::Stale | Denied::Expired), "{late:?}");
    mates.sees(0).await;
    assert_eq!(mates.is_held(0, "ann", KEY).await, "bob");
    assert!(next > token);
}

/// C-03.
#[tokio::test]
async fn ct_07_cb_15_asking_who_has_it_changes_nothing() {
    let mates = Mates::of(1).await;
    mates.claims(0, "ann", KEY).await;
    let before = mates.broker.space().last;
    for _ in 0..2 {
        let listed = list(mates.mesh(0)).await.unwrap();
        let (held, done) = &listed[&name(KEY)];
        assert_eq!(held.as_ref().unwrap().says.as_ref().unwrap().app.as_str(), "ann");
        assert!(done.is_none() && listed.len() == 1);
    }
    assert_eq!(mates.is_held(0, "bob", KEY).await, "ann");
    assert_eq!(mates.broker.space().last, before);
}

#[tokio::test]
async fn cb_18_whoever_waits_has_it_when_it_is_given_up_and_is_told_when_it_is_done() {
    let mates = Arc::new(Mates::of(2).await);
    let waits = |app: &'static str| {
        let its = Arc::clone(&mates);
        let ask = Ask { wait: Duration::from_secs(60), ..asks(app, KEY) };
        tokio::spawn(async move { its.tries(1, ask).await.unwrap() })
    };
    let token = mates.claims(0, "ann", KEY).await;
    mates.sees(1).await;
    let waiting = waits("bob");
    // It stands in line.
    let stands = async {
        while mates.broker.space().records().count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stands).await.expect("it stands in line");
    mates.abandons(0, "ann", KEY, token).await.unwrap();
    let tried = waiting.await.unwrap();
    let Tried::Claimed { token: next, .. } = tried else { panic!("{tried:?}") };
    assert!(next > token);
    let waiting = waits("carol");
    mates.completes(1, "bob", KEY, next).await.unwrap();
    let tried = waiting.await.unwrap();
    assert!(matches!(&tried, Tried::Done(done) if done.says.token == next), "{tried:?}");
    let alone = async {
        while mates.broker.space().records().count() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, alone).await.expect("nobody stands in line any more");
}

#[tokio::test]
async fn what_is_done_outlives_a_loss_of_the_store_and_a_claim_does_not() {
    let mut mates = Mates::of(1).await;
    let token = mates.claims(0, "ann", "done").await;
    mates.completes(0, "ann", "done", token).await.unwrap();
    let held = mates.claims(0, "ann", "held").await;
    mates.nodes[0].unlink().await;
    mates.broker.loses_all();
    mates.nodes[0].link(&mates.broker);
    let told = mates.told(0).await;
    assert_eq!(told, (LeaseNews::Lost, held, Some(LeaseEnd::StoreLost)));
    mates.sees(0).await;
    assert_eq!(mates.is_done(0, "bob", "done").await.says.token, token);
    assert!(mates.claims(0, "bob", "held").await > held);
}

#[tokio::test]
async fn ct_05_ct_06_with_grace_a_claim_ends_with_its_nodes_lease() {
    let mates = Mates::of(2).await;
    for (key, on_disconnect) in [("grace", OnDisconnect::Grace), ("hold", OnDisconnect::Hold)] {
        let tried = mates.tries(0, Ask { on_disconnect, ..asks("ann", key) }).await.unwrap();
        assert!(matches!(tried, Tried::Claimed { .. }), "{tried:?}");
    }
    mates.sees(1).await;
    // The broker has given the node up, and the grace is over.
    let grace = u64::try_from(limits::LEASE_GRACE.as_millis()).unwrap();
    let gone = mates.broker.space().records().find(|record| record.bound == Some(grace)).unwrap().seq;
    mates.broker.does(|space| space.end(gone, EndedBy::Lease, grace));
    mates.sees(1).await;
    let token = mates.claims(1, "bob", "grace").await;
    assert!(token > gone);
    assert_eq!(mates.is_held(1, "bob", "hold").await, "ann");
}

#[tokio::test]
async fn what_is_no_completion_is_in_nobodys_way() {
    let mates = Mates::of(1).await;
    let (value, when) = (Bytes::from_static(b"\xc1"), Condition::Any);
    let junk = DraftChange::Put { key: name(KEY), own: false, when, ttl: None, bound: None, value };
    mates.nodes[0].applied(junk).await;
    let token = mates.claims(0, "ann", KEY).await;
    mates.completes(0, "ann", KEY, token).await.unwrap();
    assert_eq!(mates.is_done(0, "bob", KEY).await.says.token, token);
}
