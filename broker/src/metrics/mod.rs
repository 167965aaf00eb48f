//! What the broker counts, for `/metrics`: the one place where a metric is named.
//!
//! A thing is counted where it happens, by a verb of [`Metrics`] or on one of its counters: an atomic addition. What a
//! batch did is gathered in a [`Tally`] and counted once it is committed. What can be looked up (sizes, memory, how much
//! waits) is looked up when somebody asks, in `scrape.rs`.
//!
//! Labels are words of the program, so that their number is bounded: never a node, a mesh or an address.

mod labels;
mod scrape;
mod tally;

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

pub(crate) use labels::Kind;
use labels::{ByChange, ByDirection, ByKind, ByOutcome, ByPriority, ByReason};
pub(crate) use scrape::render;
pub(crate) use tally::Tally;

use crate::link::End;
use crate::store::Rank;
use scrape::Looked;

/// What the names of the broker's own metrics begin with.
const PREFIX: &str = "waxwing_broker";

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    /// Bytes on the connections that nodes have made, in and out.
    pub(crate) traffic: Traffic,
    /// Connections that were accepted.
    pub(crate) connections: Counter,
    connections_refused: Family<ByReason, Counter>,
    /// Certificates loaded from changed files.
    pub(crate) certificates_loaded: Counter,
    /// 1 while the certificate in use is an older one than its files hold.
    pub(crate) certificate_stale: Gauge,
    links: Family<ByKind, Gauge>,
    logins: Family<ByKind, Counter>,
    logins_refused: Family<ByReason, Counter>,
    link_ends: Family<ByReason, Counter>,
    items: Family<ByOutcome, Counter>,
    /// Requests other than sends that were refused as `rate_limited`.
    pub(crate) requests_limited: Counter,
    deliveries: Family<ByPriority, Counter>,
    notices_delivered: Counter,
    settles: Family<ByKind, Counter>,
    notices: Family<ByKind, Counter>,
    swept: Family<ByReason, Counter>,
    changes: Family<ByChange, Counter>,
    ended: Family<ByReason, Counter>,
    queue_envelopes: Gauge,
    queue_bytes: Gauge,
    batch_changes: Histogram,
    commit_seconds: Histogram,
    looked: Looked,
}

/// Bytes of the connections to nodes, both ways.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// Read.
    pub(crate) read: Counter,
    /// Written.
    pub(crate) written: Counter,
}

impl Traffic {
    fn new(own: &mut Own<'_>) -> Self {
        let directions = ["in", "out"].map(|direction| ByDirection { direction });
        let [read, written] = &directions;
        let bytes: Family<_, Counter> =
            own.family("bytes", "Bytes on the connections of nodes", directions.clone());
        Self { read: bytes.get_or_create_owned(read), written: bytes.get_or_create_owned(written) }
    }
}

/// A link that counts as one. Dropping it takes it off.
pub(crate) struct CountedLink(Gauge);

impl Drop for CountedLink {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All of them, at zero.
    pub(crate) fn new() -> Self {
        let mut root = Registry::default();
        let process = scrape::Process::new(&mut root);
        let mut own = Own(root.sub_registry_with_prefix(PREFIX));
        let batches = Histogram::new(exponential_buckets(1.0, 2.0, 11));
        let commits = Histogram::new(exponential_buckets(0.000_25, 2.0, 15));
        Self {
            traffic: Traffic::new(&mut own),
            connections: own.counter("connections", "Connections accepted"),
            connections_refused: own.family(
                "connections_refused",
                "Connections that were ended before they were a link",
                labels::connection_refusals(),
            ),
            certificates_loaded: own
                .counter("certificates_loaded", "New certificates taken from changed files"),
            certificate_stale: own
                .gauge("certificate_stale", "1 while an older one than its files hold is used"),
            links: own.family("links", "Links that are logged in", labels::links()),
            logins: own.family("logins", "Logins that were admitted", labels::links()),
            logins_refused: own.family("logins_refused", "Logins that were not admitted", labels::ends()),
            link_ends: own.family("link_ends", "Links that ended after they were logged in", labels::ends()),
            items: own.family("items", "Items that nodes handed over", labels::outcomes()),
            requests_limited: own.counter("requests_limited", "Requests other than sends told to come later"),
            deliveries: own.family("deliveries", "Envelopes written to links", labels::priorities()),
            notices_delivered: own.counter("notices_delivered", "Notices written to links"),
            settles: own.family("settles", "Deliveries settled by recipients", labels::settles()),
            notices: own.family("notices", "Notices put into senders' queues", labels::notices()),
            swept: own.family("swept", "Rows that housekeeping took out", labels::sweeps()),
            changes: own.family("space_changes", "Changes of spaces that nodes asked for", labels::changes()),
            ended: own.family("space_ends", "Records of spaces that have ended", labels::record_ends()),
            queue_envelopes: own.gauge("queue_envelopes", "Envelopes in all queues"),
            queue_bytes: own.gauge("queue_bytes", "Their bytes"),
            batch_changes: own.metric("batch_changes", "Items in one transaction", batches),
            commit_seconds: own.metric("commit_seconds", "From a transaction's begin to its end", commits),
            looked: Looked::new(&mut own, process),
            registry: root,
        }
    }

    /// A connection was ended before it was a link.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&ByReason { reason }).inc();
    }

    /// A login was admitted. The link counts until the value is dropped.
    pub(crate) fn login(&self, kind: Kind) -> CountedLink {
        let kind = ByKind { kind: kind.as_str() };
        self.logins.get_or_create(&kind).inc();
        let links = self.links.get_or_create_owned(&kind);
        links.inc();
        CountedLink(links)
    }

    /// A login was not admitted.
    pub(crate) fn login_refused(&self, end: &End) {
        self.logins_refused.get_or_create(&ByReason { reason: end.reason() }).inc();
    }

    /// A link that was logged in has ended.
    pub(crate) fn link_ended(&self, end: &End) {
        self.link_ends.get_or_create(&ByReason { reason: end.reason() }).inc();
    }

    /// Rows of a queue went out on a link.
    pub(crate) fn delivered(&self, ranks: impl Iterator<Item = Rank>) {
        for rank in ranks {
            match rank.priority() {
                Some(priority) => {
                    self.deliveries.get_or_create(&ByPriority { priority: priority.as_str() }).inc()
                }
                None => self.notices_delivered.inc(),
            };
        }
    }

    /// What is in all queues at start. From then on, each batch says how it changed that.
    pub(crate) fn queued(&self, envelopes: u64, bytes: u64) {
        self.queue_envelopes.set(envelopes.cast_signed());
        self.queue_bytes.set(bytes.cast_signed());
    }

    /// A batch is on the disk.
    pub(crate) fn committed(&self, tally: &Tally, changes: usize, took: Duration) {
        self.batch_changes.observe(changes as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        tally.count(self);
    }

    /// How many links there are, by kind.
    pub(crate) fn link_count(&self, kind: Kind) -> u64 {
        let kind = ByKind { kind: kind.as_str() };
        self.links.get_or_create(&kind).get().try_into().unwrap_or(0)
    }

    /// What is in all queues: envelopes, and their bytes.
    pub(crate) fn queue_totals(&self) -> (u64, u64) {
        let total = |gauge: &Gauge| gauge.get().try_into().unwrap_or(0);
        (total(&self.queue_envelopes), total(&self.queue_bytes))
    }
}

/// Where a program's own metrics get their names.
struct Own<'a>(&'a mut Registry);

impl Own<'_> {
    fn metric<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.metric(name, help, Counter::default())
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.metric(name, help, Gauge::default())
    }

    /// A family with these labels: each is there from the first look, at zero.
    fn family<S, M>(&mut self, name: &str, help: &str, labels: impl IntoIterator<Item = S>) -> Family<S, M>
    where
        S: EncodeLabelSet + Clone + fmt::Debug + Eq + Hash + Send + Sync + 'static,
        M: Default + Clone + Send + Sync + 'static,
        Family<S, M>: Metric,
    {
        let family = Family::<S, M>::default();
        for label in labels {
            drop(family.get_or_create_owned(&label));
        }
        self.metric(name, help, family)
    }
}
