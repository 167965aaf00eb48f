//! A node's spaces, against a broker in memory. What is made of spaces is tested with the same.

pub(crate) mod broker;
mod drafts;
mod following;
mod histories;
mod hostile;
mod losses;
mod members;
mod people;
mod script;
mod speed;
mod tricks;
mod world;

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waxwing_crypto::ChangeId;
use waxwing_crypto::space::Condition;
use waxwing_protocol::api::EventBody;

pub(crate) use self::broker::Broker;
use super::*;
use crate::config::Config;
use crate::home::{self, Home};
use crate::host;
use crate::mesh::Admitted;
use crate::mesh::tests::{HOST, alone, folder_of_one};
use crate::store::events::{self, Event};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node with a space that it follows.
pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) space: Arc<Space>,
    link: Option<(tokio::task::JoinHandle<Ended>, Calls)>,
}

impl Node {
    async fn new() -> Self {
        Self::in_space("things").await
    }

    /// One, alone in its mesh, that uses the space of this name.
    pub(crate) async fn in_space(name: &str) -> Self {
        let (folder, mesh) = alone().await;
        let space = mesh.space(&name.parse().unwrap());
        Self { folder, mesh, space, link: None }
    }

    async fn several(count: usize) -> Vec<Self> {
        Self::several_in_space("things", count).await
    }

    /// So many with the same keys, each on a disk of its own, and of this space.
    pub(crate) async fn several_in_space(space: &str, count: usize) -> Vec<Self> {
        let (first, name) = (tempfile::tempdir().unwrap(), "home".parse().unwrap());
        let config = |folder: &tempfile::TempDir| Config::resolve(Some(folder.path().to_path_buf())).unwrap();
        folder_of_one(&config(&first), &name, "ws://127.0.0.1:1").await;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let folder = tempfile::tempdir().unwrap();
            let homes = [&first, &folder].map(|folder| Home::new(config(folder).state).mesh(&name));
            home::private_folder(&homes[1]).unwrap();
            for file in std::fs::read_dir(&homes[0]).unwrap().map(Result::unwrap) {
                std::fs::copy(file.path(), homes[1].join(file.file_name())).unwrap();
            }
            let home = Home::new(config(&folder).state);
            let admitted = Admitted::check(&home, &name, &host::evidence(Some(HOST))).unwrap();
            let opened =
                Mesh::open(admitted, &config(&folder), Arc::default(), CancellationToken::new()).await;
            let mesh = opened.unwrap();
            let space = mesh.space(&space.parse().unwrap());
            nodes.push(Self { folder, mesh, space, link: None });
        }
        nodes
    }

    /// Gives it a link.
    pub(crate) fn link(&mut self, broker: &Broker) {
        let (calls, store, _served) = broker.link(self.mesh.identity.node);
        self.mesh.set_calls(Some(calls.clone()));
        let (mesh, its) = (Arc::clone(&self.mesh), calls.clone());
        self.link = Some((tokio::spawn(async move { run(&mesh, &its, store).await }), calls));
    }

    /// Takes it away.
    pub(crate) async fn unlink(&mut self) {
        let (task, calls) = self.link.take().unwrap();
        self.mesh.set_calls(None);
        calls.close();
        task.abort();
        let _ = task.await;
    }

    /// Waits until the copy is complete, up to that place at least.
    pub(crate) async fn complete(&self, place: u64) {
        let mut freshness = self.space.freshness();
        let complete = freshness.wait_for(|freshness| freshness.complete && freshness.place >= place);
        timeout(PATIENCE, complete).await.expect("the copy becomes complete").unwrap();
    }

    /// Makes one change.
    pub(crate) async fn change(&self, change: DraftChange) -> Result<ChangeOutcome, NotWritten> {
        let outcomes = self.space.write(&self.mesh, vec![Draft { id: None, app: None, change }]).await?;
        Ok(outcomes.into_iter().next().unwrap())
    }

    /// Makes one that must be applied, and waits until the copy has it.
    pub(crate) async fn applied(&self, change: DraftChange) -> u64 {
        let ChangeOutcome::Applied { seq } = self.change(change).await.unwrap() else {
            panic!("not applied")
        };
        timeout(PATIENCE, self.space.reached(seq)).await.expect("it comes back");
        seq
    }

    /// What the copy has: key, value.
    pub(crate) async fn has(&self) -> Vec<(String, String)> {
        let entries = self.space.entries(&self.mesh).await.unwrap();
        let text =
            |entry: Entry| (entry.key.as_str().to_owned(), String::from_utf8(entry.value.to_vec()).unwrap());
        entries.into_iter().map(text).collect()
    }

    /// Security events that apps were told of.
    pub(crate) async fn alarms(&self) -> Vec<String> {
        let events = events::list(&self.mesh.db, 0, None, 100).await.unwrap();
        let what =
            |event: Event| if let EventBody::Security { what, .. } = event.body { Some(what) } else { None };
        events.into_iter().filter_map(what).collect()
    }

    /// Waits until apps were told of such security events.
    pub(crate) async fn alarmed(&self, such: impl Fn(&[String]) -> bool) {
        let mut shown = self.mesh.signals.shown();
        loop {
            shown.mark_unchanged();
            if such(&self.alarms().await) {
                return;
            }
            shown.changed().await.expect("the mesh is open");
        }
    }
}

fn key(name: &str) -> KeyName {
    name.parse().unwrap()
}

fn put(name: &str, value: &str) -> DraftChange {
    put_if(name, value, Condition::Any)
}

fn put_if(name: &str, value: &str, when: Condition) -> DraftChange {
    let value = Bytes::copy_from_slice(value.as_bytes());
    DraftChange::Put { key: key(name), own: false, when, ttl: None, bound: None, value }
}

fn append(name: &str, value: &str) -> DraftChange {
    let value = Bytes::copy_from_slice(value.as_bytes());
    DraftChange::Append { key: key(name), if_empty: false, ttl: None, bound: None, value }
}

fn delete(name: &str, seq: Option<u64>) -> DraftChange {
    DraftChange::Delete { key: key(name), own: false, seq, when: Condition::Any }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
