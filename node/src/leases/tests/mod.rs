//! Leases, on nodes that share a broker in memory.

mod ends;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use waxwing_crypto::space::KeyName;
use waxwing_protocol::RegistrationId;
use waxwing_protocol::api::{EventBody, LeaseEnd, LeaseMode, LeaseNews, OnDisconnect, TokenState};
use waxwing_protocol::link::EndedBy;

use super::*;
use crate::apps::{Claim, Holder};
use crate::spaces::tests::{Broker, Node, PATIENCE};
use crate::store::events;

const LONG: Duration = Duration::from_secs(60);
const NOT: Duration = Duration::ZERO;

/// Members whose nodes have a link, and keep up what they hold.
struct Mates {
    nodes: Vec<Node>,
    broker: Broker,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Mates {
    async fn of(count: usize) -> Self {
        let (nodes, broker) = (Node::members_in_space(SPACE, count).await, Broker::new());
        let mut mates = Self { nodes, broker, running: Vec::new() };
        for n in 0..count {
            mates.nodes[n].link(&mates.broker);
            mates.run(n);
            mates.nodes[n].complete(0).await;
        }
        mates
    }

    fn run(&mut self, n: usize) {
        let mesh = Arc::clone(&self.nodes[n].mesh);
        self.running.push(tokio::spawn(async move {
            run(&mesh, &mesh.leases).await.unwrap();
        }));
    }

    fn leases(&self, n: usize) -> &Arc<Leases> {
        &self.nodes[n].mesh.leases
    }

    async fn asks(&self, n: usize, want: Want) -> Result<Acquired, Denied> {
        timeout(PATIENCE, self.leases(n).acquire(&self.nodes[n].mesh, want)).await.expect("an answer")
    }

    /// Its token, for an app that gets it.
    async fn gets(&self, n: usize, want: Want) -> u64 {
        let got = self.asks(n, want).await.unwrap().got;
        let Got::Acquired { token, remaining } = got else { panic!("{got:?}") };
        assert!(!remaining.is_zero());
        token
    }

    async fn releases(&self, n: usize, app: &str, token: u64) -> Result<(), Denied> {
        self.leases(n).release(&self.nodes[n].mesh, &holder(app), &key(), token).await
    }

    async fn renews(&self, n: usize, app: &str, token: u64) -> Result<Duration, Denied> {
        self.leases(n).renew(&self.nodes[n].mesh, &holder(app), &key(), token, None).await
    }

    async fn check(&self, n: usize, token: u64) -> TokenState {
        self.leases(n).check(&self.nodes[n].mesh, &key(), token).await.unwrap().state
    }

    /// Waits until a node says this of a token.
    async fn becomes(&self, n: usize, token: u64, state: TokenState) {
        let mut freshness = self.nodes[n].space.freshness();
        let mut moved = self.leases(n).moved.subscribe();
        let reached = async {
            while self.check(n, token).await != state {
                tokio::select! {
                    _ = freshness.changed() => {}
                    _ = moved.changed() => {}
                }
            }
        };
        timeout(PATIENCE, reached).await.expect("it becomes that");
    }

    /// What apps of a node were told, in words.
    async fn told(&self, n: usize) -> Vec<(LeaseNews, u64, Option<LeaseEnd>)> {
        let events = events::list(&self.nodes[n].mesh.db, 0, None, 1_000).await.unwrap();
        let lease = |event: events::Event| {
            let EventBody::Lease { what, token, reason, .. } = event.body else { return None };
            Some((what, token, reason))
        };
        events.into_iter().filter_map(lease).collect()
    }

    /// Waits until an app of a node is told this.
    async fn tells(&self, n: usize, what: LeaseNews, token: u64, reason: Option<LeaseEnd>) {
        let mut shown = self.nodes[n].mesh.signals.shown();
        let told = async {
            loop {
                shown.mark_unchanged();
                if self.told(n).await.contains(&(what, token, reason)) {
                    return;
                }
                shown.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, told).await.expect("it is told");
    }

    /// Registers an app at a node.
    fn registers(&self, n: usize, app: &str) -> (Holder, RegistrationId) {
        let claim = Claim { which: holder(app).which, registration: None, takeover: false };
        let apps = &self.nodes[n].mesh.apps;
        let (id, _) = apps.register(&claim, Some(LONG), &Default::default()).unwrap();
        (apps.acting(holder(app).which, Some(&id)).unwrap(), id)
    }

    /// So many changes of the space have been committed.
    fn commits(&self) -> u64 {
        self.broker.space().last
    }

    /// A node is restarted.
    async fn restarts(mut self, n: usize) -> Self {
        for task in self.running.drain(..) {
            task.abort();
            let _ = task.await;
        }
        let mut nodes = Vec::new();
        for (at, node) in self.nodes.into_iter().enumerate() {
            nodes.push(if at == n { node.restarted().await } else { node });
        }
        let mut mates = Self { nodes, broker: self.broker, running: Vec::new() };
        mates.nodes[n].link(&mates.broker);
        for n in 0..mates.nodes.len() {
            mates.run(n);
        }
        mates.nodes[n].complete(0).await;
        mates
    }
}

fn key() -> KeyName {
    "deploy".parse().unwrap()
}

fn holder(app: &str) -> Holder {
    Holder { which: Which { name: app.parse().unwrap(), instance: None }, registered: false }
}

fn want(app: &str, wait: Duration) -> Want {
    Want {
        key: key(),
        holder: holder(app),
        ttl: LONG,
        mode: LeaseMode::Exclusive,
        on_disconnect: OnDisconnect::Grace,
        purpose: Some("to deploy".into()),
        wait,
        within: wait,
    }
}

/// M-25.
#[tokio::test]
async fn mt_25_mt_27_mt_28_free_is_acquired_again_is_extended_and_held_is_locked() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    let again = mates.asks(0, want("ann", NOT)).await.unwrap().got;
    assert!(matches!(again, Got::Extended { token: same, .. } if same == token), "{again:?}");
    mates.becomes(1, token, TokenState::Held).await;
    let locked = mates.asks(1, want("bob", NOT)).await.unwrap();
    assert_eq!(locked.got, Got::Locked);
    let (held, says) = (&locked.holders[0], locked.holders[0].says.clone().unwrap());
    assert_eq!((held.seq, says.app.as_str(), says.purpose.as_deref()), (token, "ann", Some("to deploy")));
    assert!(held.expires.is_some());
    let mb_18 = mates.asks(0, want("bob", NOT)).await.unwrap().got;
    assert_eq!(mb_18, Got::Locked, "another app of the same node is another holder");
}

#[tokio::test]
async fn uncontended_acquire_and_release_are_one_commit_of_the_broker_each() {
    let mates = Mates::of(2).await;
    for n in [0, 1, 0] {
        let before = mates.commits();
        let token = mates.gets(n, want("ann", LONG)).await;
        assert_eq!(mates.commits(), before + 1, "acquire");
        mates.releases(n, "ann", token).await.unwrap();
        assert_eq!(mates.commits(), before + 2, "release");
        for other in 0..2 {
            mates.nodes[other].complete(before + 2).await;
        }
    }
}

#[tokio::test]
async fn what_was_released_is_free_at_once_for_who_does_not_wait() {
    let mates = Mates::of(1).await;
    for turn in 0..50 {
        let app = ["ci", "deploy"][turn % 2];
        let token = mates.gets(0, want(app, NOT)).await;
        mates.releases(0, app, token).await.unwrap();
    }
}

/// SB-05.
#[tokio::test]
async fn mb_21_who_waits_is_served_in_order_with_rising_tokens_and_nobody_asks_twice() {
    let mates = Arc::new(Mates::of(3).await);
    let first = mates.gets(0, want("app-0", NOT)).await;
    let mut waiting = Vec::new();
    for n in 1..7 {
        let its = Arc::clone(&mates);
        let before = mates.commits();
        waiting.push(tokio::spawn(async move {
            let token = its.gets(n % 3, want(&format!("app-{n}"), LONG)).await;
            (n, token)
        }));
        timeout(PATIENCE, async {
            while mates.commits() == before {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it stands in line");
    }
    let (mut last, mut order) = (first, Vec::new());
    mates.releases(0, "app-0", first).await.unwrap();
    for next in waiting {
        let (n, token) = timeout(PATIENCE, next).await.unwrap().unwrap();
        assert!(token > last, "tokens rise");
        (last, order) = (token, [order, vec![n]].concat());
        assert_eq!(mates.check(n % 3, token).await, TokenState::Held);
        mates.releases(n % 3, &format!("app-{n}"), token).await.unwrap();
    }
    assert_eq!(order, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn st_03_who_has_waited_for_as_long_as_he_wanted_is_told_so_and_stands_in_line_no_more() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    let locked = mates.asks(1, want("bob", Duration::from_millis(200))).await.unwrap();
    assert!(locked.got == Got::Locked && locked.holders[0].seq == token);
    // Whoever does not want to wait for the answer is told when it is his turn.
    let queued = mates.asks(1, Want { within: NOT, ..want("cid", LONG) }).await.unwrap().got;
    let Got::Queued { token: next, .. } = queued else { panic!("{queued:?}") };
    mates.releases(0, "ann", token).await.unwrap();
    mates.tells(1, LeaseNews::Granted, next, None).await;
    assert_eq!(mates.check(1, next).await, TokenState::Held, "nobody stands before it any more");
}

/// M-26.
#[tokio::test]
async fn mb_20_mt_34_cb_07_sb_02_what_is_anothers_is_neither_renewed_nor_released() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    mates.becomes(1, token, TokenState::Held).await;
    for (n, app) in [(0, "bob"), (1, "bob"), (1, "ann")] {
        assert_eq!(mates.releases(n, app, token).await, Err(Denied::NotHolder), "{app} at {n}");
        assert_eq!(mates.renews(n, app, token).await, Err(Denied::NotHolder), "{app} at {n}");
    }
    for unknown in [0, token + 1_000_000] {
        assert_eq!(mates.releases(0, "ann", unknown).await, Err(Denied::NotHolder));
    }
    mates.releases(0, "ann", token).await.unwrap();
    mates.nodes[0].complete(mates.commits()).await;
    assert_eq!(mates.releases(0, "ann", token).await, Err(Denied::Expired), "it has been released");
}

/// MB-15.
#[tokio::test]
async fn mb_17_mt_33_mt_35_who_stalls_past_his_time_is_told_and_his_token_counts_no_more() {
    let mates = Mates::of(2).await;
    let short = Want { ttl: Duration::from_secs(1), ..want("ann", NOT) };
    let token = mates.gets(0, short).await;
    mates.tells(0, LeaseNews::Expiring, token, None).await;
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Expired)).await;
    assert_eq!(mates.renews(0, "ann", token).await, Err(Denied::Expired));
    mates.broker.does(|space| space.pass(2_000));
    let next = mates.gets(1, want("bob", LONG)).await;
    assert!(next > token);
    mates.nodes[0].complete(next).await;
    assert_eq!(mates.renews(0, "ann", token).await, Err(Denied::Stale));
    assert_eq!(mates.releases(0, "ann", token).await, Err(Denied::Stale));
    assert_eq!(mates.check(0, token).await, TokenState::Ended);
    assert_eq!(mates.check(0, next).await, TokenState::Held);
}
