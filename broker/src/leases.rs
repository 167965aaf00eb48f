//! Leases: how long a node is taken for present that has not been heard of. What it has bound to its lease ends after that.
//!
//! ```text
//! links    note that they have heard of their node: an atomic number, no lock
//! writer   says which nodes have bound records, and what ends when; decides in its transaction what has ended
//! timer    sleeps until the first end there is, or until there is an earlier one, and has the writer look
//! ```
//!
//! All in memory: a broker that starts, or that finds that it has not been running, gives everybody a new lease. So whoever is
//! said to have gone was silent while somebody listened.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tracing::warn;
use waxwing_crypto::{MeshId, Timestamp};

use crate::accept::Change;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::state::State;
use crate::store::NodeKey;

/// A broker that comes to look so much of a lease later than it meant to has not been running, or not fast enough: it may
/// have missed what nodes said.
const AWAY: u32 = 3;
/// It looks so often in that much of a lease, whatever is due: clocks are set, machines sleep, and while it sleeps it does not
/// see that it was not running.
const LOOKS: u32 = 3;
/// What it does not do more often for that.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The leases of all nodes that are connected or have bound records.
pub(crate) struct Leases {
    clock: Clock,
    lasts: Duration,
    /// When everybody was last given a new lease, in milliseconds of the steady clock.
    renewed: AtomicU64,
    /// By when the broker means to have looked again, in milliseconds of the steady clock.
    look_by: AtomicU64,
    nodes: Mutex<HashMap<NodeKey, Lease>>,
    /// When the first lifetime of a record is over, in milliseconds of the wall's clock; the largest number for never.
    lifetime: AtomicU64,
    /// There may be an earlier end than the one that is waited for.
    sooner: Notify,
}

/// When something was last heard of a node.
#[derive(Debug)]
pub(crate) struct Heard(AtomicU64);

struct Lease {
    heard: Arc<Heard>,
    /// How long after the lease the first of its bound records ends, in milliseconds; none if it has none.
    least: Option<u64>,
}

/// A link's hold on its node's lease.
pub(crate) struct Hold {
    heard: Arc<Heard>,
    clock: Clock,
}

impl Hold {
    /// Notes that something has come from the node.
    pub(crate) fn renew(&self) {
        self.heard.at(self.clock.steady());
    }
}

impl Heard {
    fn at(&self, steady: Duration) {
        self.0.fetch_max(millis(steady), Ordering::Relaxed);
    }
}

impl Leases {
    /// A new lease for every node that has bound records, from when they have had the time to come back, which
    /// not all do at once.
    pub(crate) fn new(config: &Config, bound: Vec<(NodeKey, u64)>, lifetime: Option<Timestamp>) -> Self {
        let (clock, lasts) = (config.clock.clone(), config.limits.lease());
        let per_second = config.reconnects_per_second.max(1);
        let look_by = AtomicU64::new(millis(clock.steady() + LOOK_EVERY));
        let spread = Duration::from_secs(bound.len() as u64 / u64::from(per_second));
        let renewed = AtomicU64::new(millis(clock.steady() + spread));
        let lease = |least| Lease { heard: Arc::new(Heard(AtomicU64::new(0))), least: Some(least) };
        let nodes = bound.into_iter().map(|(node, least)| (node, lease(least))).collect();
        let lifetime = AtomicU64::new(lifetime.map_or(u64::MAX, Timestamp::as_millis));
        Self { clock, lasts, renewed, look_by, nodes: Mutex::new(nodes), lifetime, sooner: Notify::new() }
    }

    /// A link of a node that has logged in.
    pub(crate) fn hold(&self, node: NodeKey) -> Hold {
        let heard = Arc::clone(&self.lease(&mut self.lock(), node).heard);
        let hold = Hold { heard, clock: self.clock.clone() };
        hold.renew();
        hold
    }

    /// How many nodes have records that end with their lease.
    pub(crate) fn count(&self) -> usize {
        self.lock().values().filter(|lease| lease.least.is_some()).count()
    }

    /// Those nodes of a mesh.
    pub(crate) fn of(&self, mesh: MeshId) -> Vec<NodeKey> {
        let nodes = self.lock();
        nodes
            .iter()
            .filter(|(node, lease)| node.mesh == mesh && lease.least.is_some())
            .map(|(node, _)| *node)
            .collect()
    }

    /// Nodes of which records have ended, and how long ago each lease has, in milliseconds. Nobody's, as long as it is not
    /// known that the broker has been listening.
    pub(crate) fn due(&self) -> Vec<(NodeKey, u64)> {
        let now = millis(self.clock.steady());
        let look_by = self.look_by.load(Ordering::Relaxed);
        if now.saturating_sub(look_by) > millis(self.lasts / AWAY) {
            return Vec::new();
        }
        let nodes = self.lock();
        nodes
            .iter()
            .filter_map(|(node, lease)| {
                let over = now.checked_sub(self.end(lease))?;
                lease.least.is_some_and(|least| least <= over).then_some((*node, over))
            })
            .collect()
    }

    /// Notes that a node has records of which the first ends so many milliseconds after its lease, or none.
    pub(crate) fn bound(&self, node: NodeKey, least: Option<u64>) {
        let mut nodes = self.lock();
        match least {
            Some(first) => {
                let lease = self.lease(&mut nodes, node);
                let is_sooner = lease.least.is_none_or(|least| first < least);
                lease.least = least;
                self.hasten(is_sooner);
            }
            // Kept as long as a link holds it.
            None => drop(nodes.get_mut(&node).map(|lease| lease.least = None)),
        }
    }

    /// Notes a record that ends so many milliseconds after its writer's lease.
    pub(crate) fn bound_more(&self, node: NodeKey, grace: u64) {
        let mut nodes = self.lock();
        let lease = self.lease(&mut nodes, node);
        let is_sooner = lease.least.is_none_or(|least| grace < least);
        lease.least = Some(lease.least.map_or(grace, |least| least.min(grace)));
        self.hasten(is_sooner);
    }

    /// Notes when the first lifetime is over that there is.
    pub(crate) fn lifetime(&self, first: Option<Timestamp>) {
        let first = first.map_or(u64::MAX, Timestamp::as_millis);
        self.hasten(first < self.lifetime.swap(first, Ordering::AcqRel));
    }

    /// Notes a lifetime.
    pub(crate) fn lifetime_more(&self, ends: Timestamp) {
        let first = self.lifetime.fetch_min(ends.as_millis(), Ordering::AcqRel);
        self.hasten(ends.as_millis() < first);
    }

    /// Has whoever waits for the first end see whether it is another now.
    fn hasten(&self, is_sooner: bool) {
        if is_sooner {
            self.sooner.notify_one();
        }
    }

    /// Whether the broker comes so late to what was to be done then that it may have missed what nodes said. If so, everybody
    /// has a new lease.
    pub(crate) fn was_away(&self, then: Duration) -> bool {
        let now = self.clock.steady();
        let late = now.saturating_sub(then);
        let away = late > self.lasts / AWAY;
        self.look_by.store(millis(now + LOOK_EVERY), Ordering::Relaxed);
        if away {
            warn!(seconds = late.as_secs(), "the broker has not been running: every node has a new lease");
            self.renewed.store(millis(now), Ordering::Relaxed);
        }
        away
    }

    /// Forgets the nodes of which there is neither a link nor a bound record.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, lease| lease.least.is_some() || Arc::strong_count(&lease.heard) > 1);
    }

    /// Waits for the first end, if `now` is the time by which lifetimes are measured; or until there is an earlier one, or for as
    /// long as the broker may sleep.
    async fn wait(&self, now: Timestamp) {
        let longest = (self.lasts / AWAY / LOOKS).max(LOOK_EVERY);
        let wait = self.until(now).min(longest);
        let look_by = self.clock.steady().saturating_add(wait);
        self.look_by.store(millis(look_by), Ordering::Relaxed);
        tokio::select! {
            () = sleep(wait) => {}
            () = self.sooner.notified() => {}
        }
        self.was_away(look_by);
    }

    /// How long until something ends, if `now` is the time by which lifetimes are measured.
    fn until(&self, now: Timestamp) -> Duration {
        let lifetime = self.lifetime.load(Ordering::Acquire).saturating_sub(now.as_millis());
        let steady = millis(self.clock.steady());
        let nodes = self.lock();
        let ends = nodes.values().filter_map(|lease| Some(self.end(lease).saturating_add(lease.least?)));
        let first = ends.min().map_or(u64::MAX, |end| end.saturating_sub(steady));
        Duration::from_millis(first.min(lifetime))
    }

    /// When a lease ends, in milliseconds of the steady clock.
    fn end(&self, lease: &Lease) -> u64 {
        let heard = lease.heard.0.load(Ordering::Relaxed).max(self.renewed.load(Ordering::Relaxed));
        heard.saturating_add(millis(self.lasts))
    }

    fn lease<'a>(&self, nodes: &'a mut HashMap<NodeKey, Lease>, node: NodeKey) -> &'a mut Lease {
        // A node that nothing is known of has just been heard of, or a record of it could not be new.
        let now = millis(self.clock.steady());
        nodes
            .entry(node)
            .or_insert_with(|| Lease { heard: Arc::new(Heard(AtomicU64::new(now))), least: None })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeKey, Lease>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Has the writer end what ends, when it does, until the broker stops.
///
/// # Errors
/// If the store fails.
pub(crate) async fn run(state: &State) -> Result<()> {
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return Ok(()),
            () = state.leases.wait(state.even.now()) => {}
        }
        while state.leases.until(state.even.now()).is_zero() && step(state).await? {}
    }
}

/// One look by the writer. Says whether there is more to end.
async fn step(state: &State) -> Result<bool> {
    let (answer, answered) = oneshot::channel();
    let asked = state.clock.steady();
    state.writer.submit(Change::End(crate::accept::EndDue { asked, answer })).await?;
    // No answer: the store was away, or the writer has ended, which others see to.
    Ok(answered.await.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};
    use waxwing_crypto::NodeId;

    use super::*;

    fn node(n: u8) -> NodeKey {
        NodeKey { mesh: MeshId::from_bytes([1; 16]), node: NodeId::from_bytes([n; 16]) }
    }

    /// The leases of a broker that starts, whose clocks are tokio's.
    fn leases() -> Leases {
        let begin = Instant::now();
        let clock = Clock::new(move || Timestamp::from_millis(millis(begin.elapsed())));
        let config = Config { clock, ..Config::new("/nowhere") };
        Leases::new(&config, Vec::new(), None)
    }

    fn now(leases: &Leases) -> Timestamp {
        leases.clock.now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_with_nothing_to_end_looks_six_times_a_minute() {
        let leases = leases();
        let _held = leases.hold(node(1));
        leases.bound_more(node(1), 45_000);
        leases.wait(now(&leases)).await; // It was told of a record.
        let (begin, mut looks) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(60) {
            leases.hold(node(1)).renew();
            leases.wait(now(&leases)).await;
            looks += 1;
        }
        assert_eq!(looks, 6);
        assert!(leases.due().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_comes_earlier_than_the_one_waited_for_is_not_slept_past() {
        let leases = leases();
        let waits = leases.wait(now(&leases));
        tokio::pin!(waits);
        assert!(timeout(Duration::from_secs(1), &mut waits).await.is_err());
        leases.lifetime_more(Timestamp::from_millis(1_700));
        waits.await;
        leases.wait(now(&leases)).await;
        assert_eq!(now(&leases), Timestamp::from_millis(1_700));
        assert!(leases.until(now(&leases)).is_zero());
        leases.lifetime(None);
        let waits = leases.wait(now(&leases));
        leases.bound(node(2), Some(0));
        waits.await;
        assert_eq!(now(&leases), Timestamp::from_millis(1_700), "it looks again at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_lease_is_come_to_in_steps_and_on_time() {
        let leases = leases();
        let _held = leases.hold(node(1));
        leases.bound_more(node(1), 5_000);
        while leases.due().is_empty() {
            leases.wait(now(&leases)).await;
        }
        assert_eq!(now(&leases), Timestamp::from_millis(95_000));
    }
}
