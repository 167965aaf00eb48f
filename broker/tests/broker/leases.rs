use std::time::Duration;

use tokio::time::Instant;
use waxwing_crypto::space::Condition;
use waxwing_protocol::link::{
    Append, Change, ChangeOutcome, EndedBy, Put, Reason, SpaceFollow, ToBroker, What,
};

use crate::harness::space::{after, append, key, own, put, seq, touch, words};
use crate::harness::{Broker, Keys, Link, Mesh};

/// A second and the broker's way to notice: what took longer was not the lease.
const LEASE: Duration = Duration::from_secs(1);

async fn short() -> (Broker, Mesh, Keys, Keys) {
    let broker = Broker::with(|config| config.limits.lease_seconds = LEASE.as_secs() as u32).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    (broker, mesh, alpha, beta)
}

fn bound(n: u32, at: u8, grace: u64) -> Change {
    Change::Put(Put { bound: Some(grace), ..own(n, at) })
}

impl Link {
    /// The next changes, whenever they come.
    async fn next(&mut self, from: u64) -> Vec<waxwing_protocol::link::Changed> {
        self.follow(SpaceFollow { wait: true, ..after(from, from) }).await.changes
    }
}

#[tokio::test]
async fn what_is_bound_ends_once_after_the_lease_and_its_grace() {
    let (broker, mesh, alpha, beta) = short().await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    assert_eq!(a.welcome.limits.lease, 1_000);
    let outcomes = a.write(vec![bound(1, 1, 0), bound(2, 2, 700), Change::Put(own(3, 3))]).await;
    let (one, last) = (seq(&outcomes[0]), seq(&outcomes[2]));
    let begin = Instant::now();
    drop(a.socket);
    let first = b.next(last).await;
    let took = begin.elapsed();
    assert!(took > LEASE - Duration::from_millis(50), "{took:?}");
    assert_eq!(words(&first), ["ended Lease"]);
    let What::Ended(ended) = &first[0].what else { panic!("{first:?}") };
    assert_eq!((ended.key, ended.writer, ended.seq, ended.why), (key(1), alpha.id(), one, EndedBy::Lease));
    let second = b.next(last + 1).await;
    let took = begin.elapsed();
    assert!(took > LEASE + Duration::from_millis(650), "{took:?}");
    assert_eq!(words(&second), ["ended Lease"]);
    assert_eq!(words(&b.all().await), ["sealed 3", "ended Lease", "ended Lease"]);
}

#[tokio::test]
async fn a_link_that_says_nothing_keeps_its_lease_by_its_pongs_and_reconnects_are_silent() {
    let (broker, mesh, alpha, beta) = short().await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let place = seq(&a.change(bound(1, 1, 0)).await);
    let req = b.ask(SpaceFollow { wait: true, ..after(place, place) }).await;
    let begin = Instant::now();
    while begin.elapsed() < 3 * LEASE {
        // Nothing but what the socket does by itself: it answers pings while it reads.
        let quiet = tokio::time::timeout(Duration::from_millis(400), a.error()).await;
        assert!(quiet.is_err());
        if begin.elapsed() > LEASE {
            a = mesh.login(&broker, &alpha).await;
        }
        b.round_trip().await;
        assert!(!b.has_changes());
    }
    a.bye().await;
    assert_eq!(words(&b.changes(req).await.changes), ["ended Goodbye"]);
}

#[tokio::test]
async fn goodbye_ends_all_that_is_bound_at_once_until_the_next_login() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let changes = (0..600).map(|n| Change::Append(Append { bound: Some(60_000), ..append(n, 1) })).collect();
    a.write(changes).await;
    let last = a.put_one(Put { ttl: Some(60_000), ..put(700, 1) }).await;
    b.write(vec![bound(1, 2, 0)]).await;
    a.bye().await;
    let ended = b.next(last + 1).await;
    assert_eq!(ended.len(), 600);
    assert!(ended.iter().all(|one| matches!(&one.what, What::Ended(end) if end.why == EndedBy::Goodbye)));
    a.try_transmit(&ToBroker::SpaceFollow(after(0, 0))).await;
    assert_eq!(a.goaway().await.reason, Reason::ProtocolViolation, "nothing may follow");
    let mut a = mesh.login(&broker, &alpha).await;
    a.change(bound(800, 3, 0)).await;
    assert_eq!(words(&a.all().await).iter().filter(|word| word.starts_with("sealed")).count(), 3);
}

#[tokio::test]
async fn who_is_revoked_or_leaves_is_gone_at_once() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let one = seq(&a.change(bound(1, 1, 86_400_000)).await);
    let two = seq(&b.change(bound(2, 1, 86_400_000)).await);
    let revoke = mesh.revoke_entry(&alpha);
    mesh.commit(&broker, revoke).await;
    let ended = b.next(two).await;
    let What::Ended(end) = &ended[0].what else { panic!("{ended:?}") };
    assert_eq!((end.seq, end.why, ended.len()), (one, EndedBy::Goodbye, 1));
    // Not by its own link: that ends with it, perhaps before the answer.
    mesh.commit(&broker, mesh.leave_entry(&beta)).await;
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(words(&founder.all().await), ["ended Goodbye", "ended Goodbye"]);
}

#[tokio::test]
async fn a_restart_ends_nothing_before_a_new_lease_is_over() {
    let (broker, mesh, alpha, beta) = short().await;
    let mut a = mesh.login(&broker, &alpha).await;
    let place = seq(&a.change(bound(1, 1, 0)).await);
    let begin = Instant::now();
    let broker = broker.restart().await;
    let mut b = mesh.login(&broker, &beta).await;
    let restarted = Instant::now();
    // Its places go on above what a lost future may have given.
    let req = b.ask(after(place, place)).await;
    let upto = b.changes(req).await.upto;
    let req = b.ask(SpaceFollow { wait: true, ..after(upto, place) }).await;
    b.round_trip().await;
    assert!(!b.has_changes());
    assert_eq!(words(&b.changes(req).await.changes), ["ended Lease"]);
    assert!(begin.elapsed() > LEASE && restarted.elapsed() > LEASE / 2);
}

#[tokio::test]
async fn a_lifetime_ends_by_itself_and_for_who_looks_before() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let lives = |n, at, ttl| Change::Put(Put { ttl: Some(ttl), ..put(n, at) });
    let outcomes = a.write(vec![lives(1, 1, 1_000), lives(2, 2, 50_000), lives(3, 3, 3_600_000)]).await;
    let (one, last) = (seq(&outcomes[0]), seq(&outcomes[2]));
    let begin = Instant::now();
    let ended = b.next(last).await;
    let took = begin.elapsed();
    assert_eq!(words(&ended), ["ended Lifetime"]);
    assert!(took > Duration::from_millis(950), "{took:?}");
    let What::Ended(end) = &ended[0].what else { panic!("{ended:?}") };
    assert_eq!((end.seq, end.why), (one, EndedBy::Lifetime));
    // Who looks finds it ended, whether or not anybody has come to end it: the end has its place before.
    let renewed = a.change(touch(&[seq(&outcomes[1])], 80_000)).await;
    assert_eq!(renewed, ChangeOutcome::Touched { gone: Vec::new() });
    broker.clock.advance(Duration::from_secs(60));
    assert_eq!(
        a.change(Change::Put(Put { when: Condition::Absent, ..put(4, 2) })).await,
        ChangeOutcome::Conflict { seq: Some(seq(&outcomes[1])) }
    );
    broker.clock.advance(Duration::from_secs(30));
    seq(&a.change(Change::Put(Put { when: Condition::Absent, ..put(5, 2) })).await);
    let late = a.change(touch(&[one], 80_000)).await;
    assert_eq!(late, ChangeOutcome::Touched { gone: vec![one] });
    assert_eq!(words(&b.all().await), ["sealed 3", "ended Lifetime", "sealed 5"]);
}

#[tokio::test]
async fn a_clock_that_is_set_ends_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let place = a.put_one(Put { ttl: Some(3_600_000), bound: Some(0), ..put(1, 1) }).await;
    broker.clock.set(Duration::from_secs(100 * 24 * 60 * 60));
    let absent = Change::Put(Put { when: Condition::Absent, ..put(2, 1) });
    assert_eq!(a.change(absent).await, ChangeOutcome::Conflict { seq: Some(place) });
    assert_eq!(words(&b.all().await), ["sealed 1"]);
    broker.clock.advance(Duration::from_secs(3_601));
    assert_eq!(words(&b.next(place).await), ["ended Lifetime"]);
}

#[tokio::test]
async fn many_links_that_come_and_go_are_no_leave() {
    let broker = Broker::with(|config| config.limits.lease_seconds = 5).await;
    let mut mesh = Mesh::found(&broker).await;
    let watcher = mesh.join(&broker, "watcher").await;
    let mut nodes = Vec::new();
    for n in 0..20 {
        let name: &'static str = Box::leak(format!("flaps-{n}").into_boxed_str());
        nodes.push(mesh.join(&broker, name).await);
    }
    let mut last = 0;
    for (n, node) in nodes.iter().enumerate() {
        let mut link = mesh.login(&broker, node).await;
        last = seq(&link.change(bound(u32::try_from(n).unwrap(), 1, 0)).await);
    }
    let mut watch = mesh.login(&broker, &watcher).await;
    let req = watch.ask(SpaceFollow { wait: true, ..after(last, last) }).await;
    // 1,000 links, of which most are cut without a word.
    for round in 0..50 {
        for node in &nodes {
            let mut link = mesh.login(&broker, node).await;
            if round % 7 == 0 {
                link.round_trip().await;
            }
        }
        watch.round_trip().await;
        assert!(!watch.has_changes(), "round {round}");
    }
    // And when they are gone, each is gone once.
    let (mut page, mut gone) = (watch.changes(req).await, Vec::new());
    loop {
        for changed in &page.changes {
            let What::Ended(ended) = &changed.what else { panic!("{changed:?}") };
            assert_eq!(ended.why, EndedBy::Lease);
            gone.push(ended.writer);
        }
        if gone.len() == nodes.len() {
            break;
        }
        page = watch.follow(SpaceFollow { wait: true, ..after(page.upto, page.begun) }).await;
    }
    gone.sort_unstable();
    gone.dedup();
    assert_eq!(gone.len(), nodes.len());
}
