//! Slow, stalled and hostile nodes by the hundred: they cost memory that is bounded, and delay nobody. In a process of its
//! own, since it measures what that has in memory: the broker, and both ends of every link.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks the frames it is about")]
#![allow(unreachable_pub, missing_docs, missing_debug_implementations, reason = "modules of one binary")]
#![allow(dead_code, unused_imports, reason = "the harness serves another binary too")]

#[path = "broker/harness/mod.rs"]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use waxwing_broker::Config;
use waxwing_crypto::sealing::Prekey;
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    LogGet, PrekeyGet, PrekeyPut, Reason, Send, SendItem, Settlement, ToBroker, ToNode, encode,
};

use harness::{Broker, Keys, Link, Mesh, item, receipt, rng};

/// Twenty of each kind.
const HOSTILE: usize = 100;
/// Envelopes that wait for each of them, of the largest size.
const BACKLOG: u32 = 2;
/// The same for those that read nothing: a full window, more than the system takes for them.
const LARGE_BACKLOG: u32 = 26;
/// What a write that takes longer is waiting for: its end reads no more.
const BLOCKED: Duration = Duration::from_millis(500);
/// Most memory that a hostile link may cost, both of its ends together.
const PER_LINK: usize = 2560 * 1024;

/// What a hostile node does.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Reads nothing.
    NotRead,
    /// Reads a byte at a time.
    Sip,
    /// Reads everything, and settles nothing.
    NotSettle,
    /// Settles what was not delivered, and comes back to do it again.
    SettleWrongly,
    /// Sends and asks as fast as it can, and reads no answer.
    Flood,
}

const KINDS: [Does; 5] = [Does::NotRead, Does::Sip, Does::NotSettle, Does::SettleWrongly, Does::Flood];

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A pair of nodes that behave, and how long a message takes between them.
struct Pair {
    from: Link,
    to: Link,
    target: Keys,
    next: u32,
}

impl Pair {
    /// The middle of so many round trips: sent, delivered, settled, and its sender told.
    async fn latency(&mut self, broker: &Broker, count: usize) -> Duration {
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            self.next += 1;
            let begun = Instant::now();
            self.from.send_one(item(&broker.clock, &self.target, self.next)).await;
            let got = self.to.envelope().await;
            self.to.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
            let notice = self.from.notice().await;
            self.from.settle(notice.n, vec![]).await;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        took[count / 2]
    }
}

/// Counts those that have done their worst.
type Arrived = Arc<AtomicUsize>;

/// Does one kind of harm until it is aborted.
async fn harm(does: Does, broker: Arc<Broker>, mesh: Arc<Mesh>, keys: Arc<Keys>, arrived: Arrived) {
    let mut link = mesh.login(&broker, &keys).await;
    match does {
        Does::NotRead => {
            arrived.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Does::Sip => {
            arrived.fetch_add(1, Ordering::SeqCst);
            let mut byte = [0];
            while link.socket.get_mut().read(&mut byte).await.is_ok_and(|read| read > 0) {
                sleep(Duration::from_millis(20)).await;
            }
        }
        Does::NotSettle => {
            link.until_envelopes(BACKLOG as usize).await;
            arrived.fetch_add(1, Ordering::SeqCst);
            while let Some(Ok(_)) = link.socket.next().await {}
        }
        Does::SettleWrongly => {
            for round in 0.. {
                link.deliver().await;
                link.try_settle(u64::MAX, vec![]).await;
                assert_eq!(link.goaway().await.reason, Reason::ProtocolViolation);
                arrived.fetch_add(usize::from(round == 0), Ordering::SeqCst);
                sleep(Duration::from_millis(200)).await; // Sooner than any node comes back.
                link = mesh.login(&broker, &keys).await;
            }
        }
        Does::Flood => {
            let (prekey, _) =
                Prekey::mint(&mut rng(), &keys.signing, keys.id(), None, broker.clock.now()).unwrap();
            link.transmit(&ToBroker::PrekeyPut(PrekeyPut { req: 0, prekey })).await;
            link.wait_for(|frame| matches!(frame, ToNode::Done(_)).then_some(())).await;
            flood(&mut link, &broker, &keys).await;
            arrived.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    }
}

/// Writes until the broker reads no more: sends of many items, and whatever has a large answer.
async fn flood(link: &mut Link, broker: &Broker, keys: &Keys) {
    for n in 0.. {
        let items = (0..limits::WINDOW_ITEMS as u32)
            .map(|m| SendItem {
                exp: broker.clock.now(),
                ..item(&broker.clock, keys, 1_000_000 + n * 1_024 + m)
            })
            .collect();
        let nodes = vec![keys.id(); limits::PREKEY_PAGE];
        for frame in [
            ToBroker::Send(Send { req: 1, rows: 1, items }),
            ToBroker::PrekeyGet(PrekeyGet { req: 2, nodes }),
            ToBroker::LogGet(LogGet { req: 3, after: 0 }),
        ] {
            let written = link.socket.send(Message::Binary(encode(&frame).unwrap()));
            if timeout(BLOCKED, written).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_hostile_links_cost_bounded_memory_and_delay_nobody() {
    // Not rate limits are to bound the memory, but the links themselves.
    let without =
        |config: &mut Config| (config.limits.requests, config.limits.requests_burst) = (1_000_000, 1_000_000);
    let broker = Broker::with(without).await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut hostile = Vec::new();
    for n in 0..HOSTILE {
        let name = Box::leak(format!("hostile-{n}").into_boxed_str()); // Names of the harness are literals.
        hostile.push(Arc::new(mesh.join(&broker, name).await));
    }
    let (from, to) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let mut pair = Pair { from, to, target: beta, next: 0 };
    let mut filler = mesh.login(&broker, &mesh.founder).await;
    for (n, keys) in hostile.iter().enumerate() {
        let count = if matches!(KINDS[n % KINDS.len()], Does::NotRead) { LARGE_BACKLOG } else { BACKLOG };
        let large = |n| SendItem { env: vec![7; limits::ENVELOPE].into(), ..item(&broker.clock, keys, n) };
        let base = u32::from_be_bytes(keys.id().as_bytes()[..4].try_into().unwrap());
        for pair in 0..count / 2 {
            let items = [2 * pair, 2 * pair + 1].map(|n| large(base.wrapping_add(n))).to_vec();
            let outcomes = filler.send(items).await;
            assert!(outcomes.iter().all(|outcome| !outcome.is_transient()), "{outcomes:?}");
        }
    }
    let baseline = pair.latency(&broker, 100).await;
    let before = resident();

    let (broker, mesh, arrived) = (Arc::new(broker), Arc::new(mesh), Arrived::default());
    let mut harming = JoinSet::new();
    for (n, keys) in hostile.iter().enumerate() {
        let does = KINDS[n % KINDS.len()];
        harming.spawn(harm(
            does,
            Arc::clone(&broker),
            Arc::clone(&mesh),
            Arc::clone(keys),
            Arc::clone(&arrived),
        ));
    }
    let during = pair.latency(&broker, 100).await;
    let worst = timeout(Duration::from_secs(60), async {
        let mut worst = resident();
        while arrived.load(Ordering::SeqCst) < HOSTILE {
            pair.latency(&broker, 10).await;
            worst = worst.max(resident());
            if let Some(ended) = harming.try_join_next() {
                panic!("a hostile link has ended: {ended:?}");
            }
        }
        worst
    });
    let worst = worst.await.expect("they do their worst");
    let after = pair.latency(&broker, 100).await;
    let worst = worst.max(resident());
    let cost = worst.saturating_sub(before);
    println!(
        "memory {} KiB more for {HOSTILE} links; a message took {baseline:?} before, {during:?} as they came, {after:?} with them all",
        cost / 1024
    );
    assert!(cost < HOSTILE * PER_LINK, "{} KiB for each of them", cost / HOSTILE / 1024);
    assert!(after < 20 * baseline + Duration::from_millis(20), "{baseline:?} before, {after:?} with them");
    harming.shutdown().await;
}
