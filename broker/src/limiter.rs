//! How fast nodes and addresses may go: a token bucket for each, filled by the second up to its burst.
//!
//! A bucket is kept while it is not full, and swept when it is: nodes that are quiet cost nothing. Buckets belong to nodes,
//! not to links, so that a new link is no new allowance. They are in memory only: a restart fills them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;
use waxwing_crypto::MeshId;
use waxwing_protocol::limits;

use crate::config::{Config, Limits};
use crate::store::NodeKey;
use crate::strangers::network;

/// Bytes are counted in these: the least that an envelope takes of its sender's allowance.
const KIB: usize = 1024;
/// Addresses that have a bucket of their own. More than that share one until some are swept.
const ADDRESSES: usize = 65_536;

/// The buckets of all nodes and addresses.
pub(crate) struct Limiter {
    common: PerNode,
    /// Meshes with settings of their own.
    meshes: HashMap<MeshId, PerNode>,
    logins: Bucket<IpAddr>,
}

/// The buckets of the nodes of some meshes.
struct PerNode {
    items: Bucket<NodeKey>,
    kibs: Bucket<NodeKey>,
    requests: Bucket<NodeKey>,
}

/// How long to wait before asking again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct After(pub(crate) Duration);

impl After {
    /// In milliseconds, rounded up, as the wire has it.
    pub(crate) fn millis(self) -> u64 {
        let millis = self.0.min(limits::AFTER_MAX).as_micros().div_ceil(1_000);
        u64::try_from(millis).unwrap_or(u64::MAX).max(1)
    }
}

impl Limiter {
    /// Full buckets, of the size configured.
    pub(crate) fn new(config: &Config) -> Self {
        let clock = TokioClock(Instant::now());
        let meshes = config.mesh.keys().map(|mesh| (*mesh, PerNode::new(&config.limits_of(mesh), clock)));
        Self {
            common: PerNode::new(&config.limits, clock),
            meshes: meshes.collect(),
            logins: Bucket::new(config.limits.logins, config.limits.logins_burst, clock),
        }
    }

    /// Whether a node may send an item of this size now. Takes it off its allowance if so.
    pub(crate) fn send(&self, node: NodeKey, bytes: usize) -> Result<(), After> {
        let buckets = self.of(node.mesh);
        buckets.items.take(&node, 1)?;
        buckets.kibs.take(&node, bytes.div_ceil(KIB))
    }

    /// Whether a node may change so many records of a space now, with sealed bytes of these sizes. As many count as a full
    /// bucket holds, so that a frame of any size can be told when to come again.
    pub(crate) fn write(&self, node: NodeKey, records: usize, sizes: &[usize]) -> Result<(), After> {
        let buckets = self.of(node.mesh);
        let kibs = sizes.iter().map(|bytes| bytes.div_ceil(KIB)).sum::<usize>();
        buckets.items.take_most(&node, records)?;
        buckets.kibs.take_most(&node, kibs)
    }

    /// Whether a node may make a request now that is worth so many.
    pub(crate) fn request(&self, node: NodeKey, worth: usize) -> Result<(), After> {
        self.of(node.mesh).requests.take(&node, worth)
    }

    /// Whether somebody at this address may begin a login now. This machine's own may always: behind a proxy on it,
    /// everybody has its address.
    pub(crate) fn login(&self, address: IpAddr) -> Result<(), After> {
        if address.to_canonical().is_loopback() {
            return Ok(());
        }
        let crowded = self.logins.len() >= ADDRESSES;
        let address = if crowded { ALL_OTHERS } else { network(address) };
        self.logins.take(&address, 1)
    }

    /// Forgets the buckets that are full.
    pub(crate) fn sweep(&self) {
        for buckets in self.meshes.values().chain([&self.common]) {
            buckets.items.sweep();
            buckets.kibs.sweep();
            buckets.requests.sweep();
        }
        self.logins.sweep();
    }

    fn of(&self, mesh: MeshId) -> &PerNode {
        self.meshes.get(&mesh).unwrap_or(&self.common)
    }
}

/// The address that those share who come when too many have one of their own.
const ALL_OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl PerNode {
    fn new(limits: &Limits, clock: TokioClock) -> Self {
        let kibs = |bytes: u64| u32::try_from(bytes / KIB as u64).unwrap_or(u32::MAX);
        Self {
            items: Bucket::new(limits.send_items, limits.send_items_burst, clock),
            kibs: Bucket::new(kibs(limits.send_bytes), kibs(limits.send_bytes_burst), clock),
            requests: Bucket::new(limits.requests, limits.requests_burst, clock),
        }
    }
}

/// The buckets of one kind, by whose they are.
struct Bucket<K: Hash + Eq + Clone> {
    holds: u32,
    limiter: RateLimiter<K, HashMapStateStore<K>, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
}

impl<K: Hash + Eq + Clone> Bucket<K> {
    fn new(per_second: u32, burst: u32, clock: TokioClock) -> Self {
        let whole = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(whole(per_second)).allow_burst(whole(burst));
        Self { holds: burst, limiter: RateLimiter::hashmap_with_clock(quota, clock), clock }
    }

    fn take(&self, key: &K, count: usize) -> Result<(), After> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match self.limiter.check_key_n(key, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.earliest_possible().duration_since(self.clock.now());
                Err(After(wait.into()))
            }
            // More than a full bucket holds. The configuration is checked, so that it holds all that may be asked for.
            Err(_) => Err(After(limits::AFTER_MAX)),
        }
    }

    /// As [`Self::take`], but never more than a full bucket holds.
    fn take_most(&self, key: &K, count: usize) -> Result<(), After> {
        self.take(key, count.min(usize::try_from(self.holds).unwrap_or(usize::MAX)))
    }

    fn len(&self) -> usize {
        self.limiter.len()
    }

    fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// The runtime's clock, which tests can pause.
#[derive(Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use waxwing_crypto::NodeId;

    use super::*;
    use crate::config::{MeshLimits, MeshSettings};
    use crate::store::testing::node;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(change: impl FnOnce(&mut Config)) -> Limiter {
        let mut config = Config::new("x");
        config.limits = Limits { send_items: 10, send_items_burst: 20, ..config.limits };
        config.limits = Limits { send_bytes: 1 << 20, send_bytes_burst: 1 << 20, ..config.limits };
        change(&mut config);
        Limiter::new(&config)
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_then_its_rate_and_says_when() {
        let limiter = limiter(|_| {});
        for _ in 0..20 {
            limiter.send(node(1), 10).unwrap();
        }
        let After(wait) = limiter.send(node(1), 10).unwrap_err();
        assert_eq!(wait, SECOND / 10);
        limiter.send(node(2), 10).unwrap();
        advance(wait).await;
        limiter.send(node(1), 10).unwrap();
        limiter.send(node(1), 10).unwrap_err();
        advance(100 * SECOND).await;
        let given = (0..100).filter(|_| limiter.send(node(1), 10).is_ok()).count();
        assert_eq!(given, 20, "never more than the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_too() {
        let limiter = limiter(|_| {});
        for _ in 0..3 {
            limiter.send(node(1), 320 * KIB).unwrap();
        }
        let after = limiter.send(node(1), 320 * KIB).unwrap_err();
        assert!(after.0 > SECOND / 5 && after.0 < SECOND / 2, "{after:?}");
        limiter.send(node(1), 64 * KIB).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_mesh_may_have_settings_of_its_own() {
        let limiter = limiter(|config| {
            let limits = MeshLimits { send_items_burst: Some(2), ..MeshLimits::default() };
            config.mesh.insert(node(1).mesh, MeshSettings { limits });
        });
        let other = NodeKey { mesh: MeshId::from_bytes([99; 16]), node: node(1).node };
        let given = |node| (0..100).filter(|_| limiter.send(node, 10).is_ok()).count();
        assert_eq!((given(node(1)), given(other)), (2, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_that_are_full_are_forgotten() {
        let limiter = limiter(|_| {});
        for n in 0..1_000 {
            let key = NodeKey { mesh: node(1).mesh, node: NodeId::from_bytes(u128::to_be_bytes(n)) };
            limiter.send(key, 10).unwrap();
        }
        limiter.sweep();
        assert_eq!(limiter.common.items.len(), 1_000, "they are not full");
        advance(10 * SECOND).await;
        limiter.sweep();
        assert_eq!((limiter.common.items.len(), limiter.common.kibs.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_may_begin_so_many_logins_and_this_machine_any_number() {
        let limiter = limiter(|config| (config.limits.logins, config.limits.logins_burst) = (1, 3));
        let given = |address: &str| {
            let address = address.parse().unwrap();
            (0..50).filter(|_| limiter.login(address).is_ok()).count()
        };
        assert_eq!(given("192.0.2.1"), 3);
        assert_eq!(given("::ffff:192.0.2.1"), 0, "the same address");
        assert_eq!(given("2001:db8::1"), 3);
        assert_eq!(given("2001:db8::2"), 0, "the same site");
        assert_eq!(given("2001:db8:0:1::1"), 3);
        assert_eq!((given("127.0.0.1"), given("::1"), given("127.9.9.9")), (50, 50, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_so_many_addresses() {
        let limiter = limiter(|config| (config.limits.logins, config.limits.logins_burst) = (1, 3));
        let address = |n: usize| IpAddr::V6(Ipv6Addr::from_bits((n as u128 + 1) << 64));
        let refused = (0..2 * ADDRESSES).filter(|n| limiter.login(address(*n)).is_err()).count();
        assert!(limiter.logins.len() <= ADDRESSES + 1);
        assert_eq!(refused, ADDRESSES - 3, "they share one bucket");
        advance(5 * SECOND).await;
        limiter.sweep();
        assert_eq!(limiter.logins.len(), 0);
        limiter.login(address(1)).unwrap();
    }

    #[test]
    fn waits_are_told_in_whole_milliseconds_and_no_longer_than_a_node_heeds() {
        let told = |wait| After(wait).millis();
        assert_eq!(told(Duration::ZERO), 1);
        assert_eq!(told(Duration::from_micros(1_001)), 2);
        assert_eq!(told(Duration::from_secs(3_600)), 60_000);
    }
}
