//! What is looked up when somebody asks: sizes of files, memory, descriptors, and how much waits.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::Own;
use super::labels::{ByFile, ByVersion};
use crate::state::State;

/// Gauges that are set when they are read.
pub(super) struct Looked {
    connections: Gauge,
    meshes: Gauge,
    meshes_waiting: Gauge,
    space_records: Gauge,
    space_bytes: Gauge,
    followers: Gauge,
    leases: Gauge,
    writer_changes: Gauge,
    writer_bytes: Gauge,
    store_bytes: Family<ByFile, Gauge>,
    disk_free_bytes: Gauge,
    process: Process,
}

/// This process, under the names that every program uses.
pub(super) struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_descriptors: Gauge,
    most_descriptors: Gauge,
}

impl Looked {
    pub(super) fn new(own: &mut Own<'_>, process: Process) -> Self {
        let version = Info::new(ByVersion { version: env!("CARGO_PKG_VERSION") });
        own.0.register("build", "What is running", version);
        Self {
            connections: own.gauge("connections_open", "Connections open, links included"),
            meshes: own.gauge("meshes", "Meshes in the store"),
            meshes_waiting: own.gauge("meshes_waiting", "Meshes that wait for an admin's resume"),
            space_records: own
                .gauge("space_records", "Records, tombstones and ends in all spaces, and the spaces"),
            space_bytes: own.gauge("space_bytes", "Their sealed bytes"),
            followers: own.gauge("followers", "Spaces that links follow, each link counted"),
            leases: own.gauge("leases", "Nodes with records that end with their lease"),
            writer_changes: own.gauge("writer_waiting_changes", "Changes that wait for the writer"),
            writer_bytes: own.gauge("writer_waiting_bytes", "Envelope bytes that wait for the writer"),
            disk_free_bytes: own.gauge("disk_free_bytes", "Room left on the file system of the store"),
            store_bytes: own.metric("store_bytes", "Size of the store's files", Family::default()),
            process,
        }
    }

    fn look(&self, state: &State, store: &[(&'static str, u64)]) {
        let limits = state.limits;
        self.connections.set(i64::from(limits.connections) - state.places.available_permits() as i64);
        self.meshes.set(state.meshes.count() as i64);
        self.meshes_waiting.set(state.meshes.waiting() as i64);
        let spaces = state.totals.all();
        self.space_records.set(spaces.records.cast_signed());
        self.space_bytes.set(spaces.bytes.cast_signed());
        self.followers.set(state.followers.count() as i64);
        self.leases.set(state.leases.count() as i64);
        let (changes, bytes) = state.writer.waiting();
        self.writer_changes.set(changes as i64);
        self.writer_bytes.set(bytes as i64);
        for (file, bytes) in store {
            self.store_bytes.get_or_create(&ByFile { file }).set(bytes.cast_signed());
        }
        let folder = state.database.file().and_then(Path::parent);
        if let Some(free) = folder.and_then(|folder| rustix::fs::statvfs(folder).ok()) {
            self.disk_free_bytes.set((free.f_bavail * free.f_frsize).cast_signed());
        }
        self.process.look();
    }
}

impl Process {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        started.set(now.as_secs_f64());
        registry.register("process_start_time_seconds", "When it started, since 1970", started);
        let cpu_seconds = Counter::default();
        registry.register("process_cpu_seconds", "Processor time used", cpu_seconds.clone());
        let mut root = Own(registry);
        Self {
            cpu_seconds,
            resident_bytes: root.gauge("process_resident_memory_bytes", "Memory in use"),
            open_descriptors: root.gauge("process_open_fds", "File descriptors open"),
            most_descriptors: root.gauge("process_max_fds", "File descriptors it may have"),
        }
    }

    /// Memory and descriptors are known where there is `/proc`; elsewhere they stay zero.
    fn look(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu_seconds.inner().store(seconds.to_bits(), Ordering::Relaxed);
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages: Option<i64> =
            pages.as_deref().and_then(|pages| pages.split(' ').nth(1)).and_then(|pages| pages.parse().ok());
        self.resident_bytes.set(pages.unwrap_or(0) * rustix::param::page_size() as i64);
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.open_descriptors.set(open as i64);
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        self.most_descriptors.set(i64::try_from(most).unwrap_or(i64::MAX));
    }
}

/// Everything, as Prometheus reads it. Reads a few files: not for the task of a link.
/// `store`: the sizes of what the store is in, see [`inspect::bytes`](crate::store::inspect::bytes).
pub(crate) fn render(state: &State, store: &[(&'static str, u64)]) -> String {
    state.metrics.looked.look(state, store);
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut page, &state.metrics.registry);
    page
}
