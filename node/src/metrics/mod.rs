//! What a node counts, for `GET /v1/metrics`: the one place where a metric is named.
//!
//! What happens in a mesh is gathered by its writer in a [`Tally`], and counted in the mesh's [`Counts`] once it is committed.
//! Everything else is looked up, as health looks it up. A page is made anew from both whenever somebody asks, so that it
//! shows a mesh for exactly as long as the node is in it.
//!
//! Labels are the names of this node's meshes and words of the program, so that their number is bounded: never another
//! node, an app or a message.

mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use waxwing_crypto::Name;
use waxwing_protocol::api::{EventBody, EventKind, Health, MessageState};

use crate::home::Home;

/// Everything that is counted, by mesh. It outlives what closes a mesh and opens it again.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: SystemTime,
    meshes: Mutex<BTreeMap<Name, Arc<Counts>>>,
}

/// What is used of the disk, and what is left.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Of each mesh: the size of its database, and of what is not in it yet.
    stores: Vec<(Name, [u64; 2])>,
    /// Room on the file system of the state folder, if that can be told.
    free: Option<u64>,
}

impl Disk {
    /// Looks at the databases of a state folder.
    pub(crate) fn look(home: &Home, meshes: impl Iterator<Item = Name>) -> Self {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let sizes = |name: Name| {
            let folder = home.mesh(&name);
            (name, ["node.db", "node.db-wal"].map(|file| size(&folder.join(file))))
        };
        let disk = rustix::fs::statvfs(home.path());
        let free = disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)).ok();
        Self { stores: meshes.map(sizes).collect(), free }
    }
}

/// What has happened in one mesh since this process began.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Tally>);

/// What has happened in one mesh: of a batch, or in all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    commits: u64,
    accepted: u64,
    received: u64,
    delivered: u64,
    security: BTreeMap<String, u64>,
    hooks: BTreeMap<(EventKind, &'static str), u64>,
    requests: BTreeMap<&'static str, u64>,
    late_replies: u64,
}

impl Metrics {
    /// Nothing yet, by a process that starts now.
    pub(crate) fn new() -> Self {
        Self { started: SystemTime::now(), meshes: Mutex::default() }
    }

    /// Where what happens in a mesh is counted.
    pub(crate) fn counts(&self, mesh: &Name) -> Arc<Counts> {
        Arc::clone(lock(&self.meshes).entry(mesh.clone()).or_default())
    }

    /// The node is not in this mesh any more.
    pub(crate) fn forget(&self, mesh: &Name) {
        lock(&self.meshes).remove(mesh);
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self, health: &Health, disk: &Disk) -> String {
        page::render(self, health, disk)
    }
}

impl Counts {
    /// A batch is on the disk.
    pub(crate) fn add(&self, batch: &Tally) {
        let mut all = lock(&self.0);
        all.commits += 1;
        all.accepted += batch.accepted;
        all.received += batch.received;
        all.delivered += batch.delivered;
        for (what, times) in &batch.security {
            *all.security.entry(what.clone()).or_default() += times;
        }
    }

    /// A hook was run after an event of this kind, or was not; and how that went, in a word.
    pub(crate) fn hook(&self, kind: EventKind, outcome: &'static str) {
        *lock(&self.0).hooks.entry((kind, outcome)).or_default() += 1;
    }

    /// A request of an app here has ended, and this is how: `answered`, or the code of the problem.
    pub(crate) fn request(&self, outcome: &'static str) {
        *lock(&self.0).requests.entry(outcome).or_default() += 1;
    }

    /// Something came for a request that nobody waits for any more.
    pub(crate) fn late_reply(&self) {
        lock(&self.0).late_replies += 1;
    }

    /// So far.
    pub(crate) fn all(&self) -> Tally {
        lock(&self.0).clone()
    }
}

impl Tally {
    /// The same, whatever number of transactions it took.
    #[cfg(test)]
    pub(crate) fn in_any_commits(self) -> Self {
        Self { commits: 0, ..self }
    }

    /// How many transactions it took.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// How requests have ended, and how many answers came too late.
    #[cfg(test)]
    pub(crate) fn requests(self) -> (BTreeMap<&'static str, u64>, u64) {
        (self.requests, self.late_replies)
    }

    /// Messages are in the outbox.
    pub(crate) const fn accepted(&mut self, messages: usize) {
        self.accepted += messages as u64;
    }

    /// Messages are in the inbox.
    pub(crate) const fn received(&mut self, messages: usize) {
        self.received += messages as u64;
    }

    /// Apps are told of this.
    pub(crate) fn told(&mut self, event: &EventBody) {
        match event {
            EventBody::Receipt { state: MessageState::Delivered, .. } => self.delivered += 1,
            EventBody::Security { what, .. } => *self.security.entry(what.clone()).or_default() += 1,
            EventBody::Message { .. }
            | EventBody::Request { .. }
            | EventBody::Cancel { .. }
            | EventBody::Receipt { .. }
            | EventBody::BrokerStatus { .. }
            | EventBody::Outbox { .. }
            | EventBody::PeerJoin { .. }
            | EventBody::PeerLeave { .. }
            | EventBody::AppJoin { .. }
            | EventBody::AppLeave { .. }
            | EventBody::State { .. }
            | EventBody::Lease { .. }
            | EventBody::Claim { .. }
            | EventBody::Lagged
            | EventBody::System { .. } => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
