//! A thousand nodes that come and go: who is back within its lease has never been away, and who goes leaves once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use waxwing_client::api::{EventBody, EventQuery, LeaveReason, MeshQuery};
use waxwing_client::{Events, NodeId};
use waxwing_lab::bench::raise_descriptors;
use waxwing_lab::crowd::{Crowd, Present};
use waxwing_lab::{Lab, eventually};

use crate::storm::{chance, seed};
use crate::support::{PROGRAM, WITHIN};

/// How many.
const CROWD: usize = 1_000;
/// So many of them say goodbye in the end, and as many are not heard of any more.
const LEAVERS: usize = 50;
/// How long a node is taken for online.
const LEASE: Duration = Duration::from_secs(15);
/// How often each is cut at least before anybody goes.
const CUTS: usize = 3;
/// How long a link lasts at most before its node would be cut, and how long it is away.
const LASTS: Duration = Duration::from_secs(4);
const AWAY: Duration = Duration::from_millis(1_500);
/// So many are away at once, or arrive: whoever waits for its turn is linked meanwhile, so that a busy machine makes nobody stay
/// away for longer.
const TURNS: usize = 150;

/// What all of them share.
struct Schedule {
    turns: tokio::sync::Semaphore,
    cuts: Vec<AtomicUsize>,
    /// Those that leave do so now.
    leave: CancellationToken,
    /// The others stay, and listen.
    over: CancellationToken,
}

/// What is told of the crowd, until it is told that so many have left.
#[derive(Debug, Default)]
struct Told {
    joined: BTreeSet<NodeId>,
    left: BTreeMap<NodeId, Option<LeaveReason>>,
}

impl Told {
    async fn until_left(&mut self, events: &mut Events, count: usize) {
        while self.left.len() < count {
            let event = timeout(WITHIN, events.next()).await.expect("it is told who leaves").unwrap();
            if let EventBody::PeerLeave { id, reason, .. } = event.body {
                assert!(
                    self.joined.contains(&id) && self.left.insert(id, reason).is_none(),
                    "{id} left twice"
                );
            } else if let EventBody::PeerJoin { id, .. } = event.body {
                assert!(self.joined.insert(id), "{id} has joined twice");
            }
        }
    }
}

/// M-46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_nodes_that_flap_within_their_lease_join_once_and_only_who_goes_leaves_once() {
    raise_descriptors();
    let seed = seed();
    let settings = format!("[limits]\nlease_seconds = {}\n", LEASE.as_secs());
    let mut lab = Lab::direct_by(PROGRAM, &settings).await.unwrap();
    let crowd = Crowd::found(&lab.url(), CROWD).await.unwrap();
    lab.enrol_with("alpha", &crowd.token().unwrap()).await.unwrap();
    lab.restart("alpha").await.unwrap();
    lab.linked("alpha").await.unwrap();
    let schedule = Arc::new(Schedule {
        turns: tokio::sync::Semaphore::new(TURNS),
        cuts: (0..CROWD).map(|_| AtomicUsize::new(0)).collect(),
        leave: CancellationToken::new(),
        over: CancellationToken::new(),
    });
    let mut flapping = JoinSet::new();
    for n in 0..CROWD {
        flapping.spawn(flaps(Arc::clone(&crowd), n, seed, Arc::clone(&schedule)));
    }
    let client = lab.client("alpha");
    let all = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        (peers.iter().filter(|peer| peer.online && !peer.this).count() == CROWD).then_some(())
    };
    eventually(WITHIN, "alpha sees all of them", all).await.unwrap();
    let begun = Instant::now();
    let flapped = async || {
        let often = schedule.cuts.iter().all(|cuts| cuts.load(Ordering::Relaxed) >= CUTS);
        (often && begun.elapsed() > LEASE).then_some(())
    };
    eventually(WITHIN, "all have flapped, for longer than a lease", flapped).await.unwrap();

    let kind = Some("peer_join,peer_leave".to_owned());
    let query = EventQuery { after: Some(0), kind, ..EventQuery::default() };
    let (mut events, mut told) = (client.events(&query).await.unwrap(), Told::default());
    schedule.leave.cancel();
    told.until_left(&mut events, 2 * LEAVERS).await;
    schedule.over.cancel();
    let mut stayed: Vec<Present> = flapping.join_all().await.into_iter().flatten().collect();
    assert_eq!(stayed.len(), CROWD - 2 * LEAVERS);
    // What is told before this is all that there was to tell.
    let last = stayed.remove(0);
    let fence = last.node();
    last.says_goodbye().await.unwrap();
    told.until_left(&mut events, 2 * LEAVERS + 1).await;
    assert_eq!(told.joined.len(), CROWD);
    let said = |reason| told.left.values().filter(|why| **why == Some(reason)).count();
    assert!(told.left.contains_key(&fence), "{:?}", told.left);
    assert_eq!((said(LeaveReason::Goodbye), said(LeaveReason::Silent)), (LEAVERS + 1, LEAVERS));
}

/// Comes, and is cut and back again and again. None if it has left in the end.
async fn flaps(crowd: Arc<Crowd>, n: usize, seed: u64, schedule: Arc<Schedule>) -> Option<Present> {
    let mut seed = seed.wrapping_add(n as u64);
    let turn = schedule.turns.acquire().await.unwrap();
    let mut present = crowd.arrive(n).await.unwrap();
    drop(turn);
    loop {
        let _ = timeout(part(&mut seed, LASTS), present.listens()).await;
        if n < 2 * LEAVERS && schedule.leave.is_cancelled() {
            if n < LEAVERS {
                present.says_goodbye().await.unwrap();
            }
            return None;
        }
        if schedule.over.is_cancelled() {
            return Some(present);
        }
        let _turn = tokio::select! {
            turn = schedule.turns.acquire() => turn.unwrap(),
            () = present.listens() => panic!("a link has ended that nobody has cut"),
        };
        let away = present.cut();
        schedule.cuts[n].fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(part(&mut seed, AWAY)).await;
        present = away.back().await.unwrap();
    }
}

/// A random part of a time.
fn part(seed: &mut u64, of: Duration) -> Duration {
    Duration::from_millis(chance(seed) % of.as_millis() as u64)
}
