//! The page: what was counted and what health says, under their names.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use waxwing_crypto::Name;
use waxwing_protocol::api::{Health, LinkState, MeshHealth, SECURITY};

use super::{Disk, Metrics, Tally};
use crate::alarms::Wrong;

/// What the names of the node's own metrics begin with.
const PREFIX: &str = "waxwing_node_";

/// In which mesh.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByMesh {
    mesh: String,
}

/// In which mesh, and what.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByWhat {
    mesh: String,
    what: String,
}

/// In which mesh, after which kind of event, and how it went.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByHook {
    mesh: String,
    kind: &'static str,
    outcome: &'static str,
}

/// In which mesh, and how it ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByOutcome {
    mesh: String,
    outcome: &'static str,
}

/// In which mesh, and which of its files.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByFile {
    mesh: String,
    file: &'static str,
}

/// Which version.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByVersion {
    version: &'static str,
}

/// What is looked up in a mesh that is open: under which name, what it says, and where it is.
type Looked = (&'static str, &'static str, fn(&MeshHealth) -> u64);

const LOOKED: [Looked; 19] = [
    ("link_stopped", "1 once the link was refused for good", |mesh| {
        (mesh.link.state == LinkState::Stopped).into()
    }),
    ("outbox_pending", "Messages accepted from apps and not yet at the broker", |mesh| mesh.outbox_pending),
    ("outbox_oldest_seconds", "How long the first of them has waited", |mesh| mesh.outbox_oldest_seconds),
    ("outbox_unreceipted", "Messages at the broker without a receipt yet", |mesh| mesh.outbox_unreceipted),
    ("outbox_bytes", "Bytes of both", |mesh| mesh.outbox_bytes),
    ("outbox_used_percent", "How full the outbox is by its caps", |mesh| mesh.outbox_used),
    ("disk_full", "1 while nothing can be stored", |mesh| mesh.disk_full.into()),
    ("inbox_unread", "Messages shown to apps and not acknowledged", |mesh| mesh.inbox_unread),
    ("inbox_held", "Messages that wait for earlier ones of their lane", |mesh| mesh.inbox_held),
    ("quarantined", "Boxes that did not open", |mesh| mesh.quarantined),
    ("leases_held", "Leases that apps of this node have", |mesh| mesh.leases_held),
    ("leases_waiting", "Leases that apps of this node wait for", |mesh| mesh.leases_waiting),
    ("claims_held", "Claims that apps of this node have", |mesh| mesh.claims_held),
    ("state_keys", "Keys of shared state that are known", |mesh| mesh.state_keys),
    ("topic_backlog", "Messages of topics that some app here has not acknowledged", |mesh| {
        mesh.topic_backlog
    }),
    ("members", "Members of the mesh", |mesh| mesh.members),
    ("epoch", "The epoch of its state key", |mesh| mesh.epoch),
    ("state_key_held", "1 while the newest state key is held", |mesh| mesh.state_key.held.into()),
    ("resume_wanted", "1 while the mesh waits for an admin's resume", |mesh| {
        mesh.resume_wanted.is_some().into()
    }),
];

/// What is counted: under which name, what it says, and where it is.
type Counted = (&'static str, &'static str, fn(&Tally) -> u64);

const COUNTED: [Counted; 5] = [
    ("commits", "Transactions that are on the disk", |tally| tally.commits),
    ("messages_accepted", "Messages stored in the outbox", |tally| tally.accepted),
    ("messages_delivered", "Messages whose receipt has come", |tally| tally.delivered),
    ("messages_received", "Messages stored in the inbox", |tally| tally.received),
    ("late_replies", "Answers to requests that nobody waited for any more", |tally| tally.late_replies),
];

pub(super) fn render(metrics: &Metrics, health: &Health, disk: &Disk) -> String {
    let mut page = Page(Registry::default());
    page.process(metrics);
    page.looked(health);
    page.disk(disk);
    let names = health.meshes.iter().map(|mesh| &mesh.mesh);
    let names = names.chain(health.closed.iter().map(|closed| &closed.mesh));
    let counted: Vec<(&Name, Tally)> = names.map(|name| (name, metrics.counts(name).all())).collect();
    page.counted(&counted);
    page.text()
}

/// A page that is being written.
struct Page(Registry);

impl Page {
    fn process(&mut self, metrics: &Metrics) {
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(metrics.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        self.0.register("process_start_time_seconds", "When it started, since 1970", started);
        // A gauge, since textfile collectors take no `info`.
        self.gauge("build_info", "What is running", [(ByVersion { version: crate::VERSION }, 1)]);
    }

    fn looked(&mut self, health: &Health) {
        let open = || health.meshes.iter();
        let up = open().map(|mesh| (by(&mesh.mesh), (mesh.link.state == LinkState::Up).into()));
        let closed = health.closed.iter().map(|closed| (by(&closed.mesh), 0));
        self.gauge("link_up", "1 while logged in at the broker", up.chain(closed));
        for (name, help, look) in LOOKED {
            self.gauge(name, help, open().map(|mesh| (by(&mesh.mesh), look(mesh))));
        }
        let alarms = open().flat_map(|mesh| {
            Wrong::ALL.map(Wrong::as_str).map(|what| {
                let on = mesh.alarms.iter().filter(|alarm| alarm.what == what).count();
                (by_what(&mesh.mesh, what), on as u64)
            })
        });
        self.gauge("alarms", "Alarms that are on", alarms);
        let offsets: Family<ByMesh, Gauge<f64, AtomicU64>> = Family::default();
        for mesh in open() {
            offsets.get_or_create(&by(&mesh.mesh)).set(mesh.clock_offset_ms as f64 / 1_000.0);
        }
        let help = "This node's clock minus the broker's, known from the last login";
        self.0.register(format!("{PREFIX}clock_offset_seconds"), help, offsets);
    }

    fn disk(&mut self, disk: &Disk) {
        let files = disk.stores.iter().flat_map(|(mesh, sizes)| {
            ["database", "log"]
                .into_iter()
                .zip(*sizes)
                .map(|(file, size)| (ByFile { mesh: mesh.to_string(), file }, size))
        });
        self.gauge("store_bytes", "Size of a mesh's database and its log", files);
        let free: Gauge = Gauge::default();
        if let Some(bytes) = disk.free {
            free.set(bytes.cast_signed());
            self.0.register(format!("{PREFIX}disk_free_bytes"), "Room left for the state folder", free);
        }
    }

    fn counted(&mut self, meshes: &[(&Name, Tally)]) {
        for (name, help, count) in COUNTED {
            self.counter(name, help, meshes.iter().map(|(mesh, tally)| (by(mesh), count(tally))));
        }
        let security = meshes.iter().flat_map(|(mesh, tally)| {
            let never = SECURITY.iter().filter(|what| !tally.security.contains_key(**what));
            let never = never.map(|what| (by_what(mesh, what), 0));
            tally.security.iter().map(|(what, times)| (by_what(mesh, what), *times)).chain(never)
        });
        self.counter("security_events", "Security events that apps were told of", security);
        let hooks = meshes.iter().flat_map(|(mesh, tally)| {
            tally.hooks.iter().map(|(&(kind, outcome), &times)| {
                (ByHook { mesh: mesh.to_string(), kind: kind.as_str(), outcome }, times)
            })
        });
        let requests = meshes.iter().flat_map(|(mesh, tally)| {
            let outcome = |(&outcome, &times)| (ByOutcome { mesh: mesh.to_string(), outcome }, times);
            tally.requests.iter().map(outcome)
        });
        self.counter("requests", "Requests of apps here that have ended", requests);
        self.counter("hooks", "Hooks run after events, or not run", hooks);
    }

    fn gauge<S: Labels>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (S, u64)>) {
        let family: Family<S, Gauge> = Family::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value.cast_signed());
        }
        self.0.register(format!("{PREFIX}{name}"), help, family);
    }

    fn counter<S: Labels>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (S, u64)>) {
        let family: Family<S, Counter> = Family::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(format!("{PREFIX}{name}"), help, family);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.0);
        text
    }
}

/// What labels must be.
trait Labels: EncodeLabelSet + Clone + fmt::Debug + Eq + Hash + Send + Sync + 'static {}

impl Labels for ByMesh {}
impl Labels for ByWhat {}
impl Labels for ByHook {}
impl Labels for ByOutcome {}
impl Labels for ByFile {}
impl Labels for ByVersion {}

fn by(mesh: &Name) -> ByMesh {
    ByMesh { mesh: mesh.to_string() }
}

fn by_what(mesh: &Name, what: &str) -> ByWhat {
    ByWhat { mesh: mesh.to_string(), what: what.to_owned() }
}
