//! Every mesh, in memory: replayed from the store at start, replaced by the writer after each commit that changes one.
//! Links watch theirs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use waxwing_crypto::membership::{LogHead, Roster, SignedEntry, Standing};
use waxwing_crypto::{Digest, MeshId, NodeId, VerifyingKey};
use waxwing_protocol::limits;

use crate::error::{Error, Result};
use crate::store::{self, Pool};

/// One mesh.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    /// As its log has it.
    pub(crate) roster: Arc<Roster>,
    /// Since a loss of the store, until an admin's `resume`: the logs that nodes have shown and that part from ours. A
    /// right is then one held in every one of them.
    pub(crate) waiting: Option<Arc<[Arc<Roster>]>>,
}

impl Mesh {
    /// A mesh that waits for nothing.
    pub(crate) const fn settled(roster: Arc<Roster>) -> Self {
        Self { roster, waiting: None }
    }

    /// A mesh that waits for a `resume`.
    pub(crate) fn waiting(roster: Arc<Roster>, branches: Vec<Arc<Roster>>) -> Self {
        Self { roster, waiting: Some(branches.into()) }
    }

    /// Its logs, ours first.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Arc<Roster>> {
        std::iter::once(&self.roster).chain(self.waiting.iter().flat_map(|branches| branches.iter()))
    }

    /// What a node is: a member if every log says so of the same key, and otherwise what the first says that does not.
    pub(crate) fn standing(&self, node: &NodeId) -> Standing {
        let key = self.roster.member(node).map(|member| member.signing);
        let standing_in = |log: &Arc<Roster>| match log.standing(node) {
            Standing::Live if log.member(node).map(|member| member.signing) != key => Standing::Unknown,
            standing @ (Standing::Live | Standing::Revoked | Standing::Left | Standing::Unknown) => standing,
        };
        self.logs().map(standing_in).find(|standing| *standing != Standing::Live).unwrap_or(Standing::Live)
    }

    /// Whether this is a place in one of its logs.
    pub(crate) fn holds(&self, head: LogHead) -> bool {
        self.logs().any(|log| log.holds(head))
    }

    /// The log that ends there.
    pub(crate) fn ending_at(&self, head: &Digest) -> Option<&Arc<Roster>> {
        self.logs().find(|log| log.head().hash == *head)
    }

    /// Whether a key acts for the mesh in every log.
    pub(crate) fn is_admin_key(&self, key: &VerifyingKey) -> bool {
        self.logs().all(|log| log.is_admin_key(key))
    }

    /// The ends of its logs, ours first.
    pub(crate) fn heads(&self) -> Vec<LogHead> {
        self.logs().map(|log| log.head()).collect()
    }
}

/// All meshes of this broker.
pub(crate) struct Meshes(RwLock<HashMap<MeshId, watch::Sender<Mesh>>>);

impl Meshes {
    /// Replays every log.
    ///
    /// # Errors
    /// If the store fails, or holds a log that its own rules forbid.
    pub(crate) async fn load(db: &Pool) -> Result<Self> {
        let mut meshes = HashMap::new();
        for (id, waits) in store::mesh::all(db).await? {
            let roster = Arc::new(replay(db, id).await?);
            let mesh = if waits {
                let branches = branches(db, &roster).await?;
                Mesh::waiting(roster, branches)
            } else {
                Mesh::settled(roster)
            };
            meshes.insert(id, watch::Sender::new(mesh));
        }
        Ok(Self(RwLock::new(meshes)))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many wait for a `resume`.
    pub(crate) fn waiting(&self) -> usize {
        let meshes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        meshes.values().filter(|mesh| mesh.borrow().waiting.is_some()).count()
    }

    /// A mesh, or none if this broker does not hold it.
    pub(crate) fn get(&self, mesh: MeshId) -> Option<Mesh> {
        self.watch(mesh).map(|mesh| mesh.borrow().clone())
    }

    /// A mesh, now and whenever it changes.
    pub(crate) fn watch(&self, mesh: MeshId) -> Option<watch::Receiver<Mesh>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&mesh).map(watch::Sender::subscribe)
    }

    /// The ids of all.
    pub(crate) fn ids(&self) -> Vec<MeshId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The one mesh of a test.
    #[cfg(test)]
    pub(crate) fn only(&self) -> Arc<Roster> {
        let meshes = self.0.read().unwrap();
        let only: Vec<_> = meshes.values().collect();
        assert_eq!(only.len(), 1);
        Arc::clone(&only[0].borrow().roster)
    }

    /// Puts a committed mesh in the place of what it was before.
    pub(crate) fn publish(&self, mesh: Mesh) {
        let mut meshes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let id = mesh.roster.mesh();
        match meshes.get(&id) {
            Some(known) => drop(known.send_replace(mesh)),
            None => drop(meshes.insert(id, watch::Sender::new(mesh))),
        }
    }
}

async fn replay(db: &Pool, mesh: MeshId) -> Result<Roster> {
    let mut roster = None;
    let mut after = 0;
    loop {
        let page = store::log::page(db, mesh, after, limits::LOG_PAGE).await?;
        if page.is_empty() {
            return roster.ok_or_else(|| Error::damaged("a mesh has no log"));
        }
        after += page.len() as u64;
        for entry in &page {
            extend(&mut roster, entry).map_err(|err| Error::Internal(err.into()))?;
        }
    }
}

/// The branches of a mesh: each is the log as far as both have it, and then its own entries.
async fn branches(db: &Pool, main: &Roster) -> Result<Vec<Arc<Roster>>> {
    let mut branches = Vec::new();
    for head in store::branch::heads(db, main.mesh()).await? {
        let entries = store::branch::entries(db, main.mesh(), &head).await?;
        let first = entries.first().and_then(|entry| entry.parse().ok()).map_or(1, |entry| entry.seq);
        let mut roster = None;
        let mut after = 0;
        while after + 1 < first {
            let limit = limits::LOG_PAGE.min(usize::try_from(first - 1 - after).unwrap_or(usize::MAX));
            let page = store::log::page(db, main.mesh(), after, limit).await?;
            if page.is_empty() {
                return Err(Error::damaged("a branch begins behind the end of its log"));
            }
            after += page.len() as u64;
            for entry in &page {
                extend(&mut roster, entry).map_err(|err| Error::Internal(err.into()))?;
            }
        }
        for entry in &entries {
            extend(&mut roster, entry).map_err(|err| Error::Internal(err.into()))?;
        }
        branches.push(Arc::new(roster.ok_or_else(|| Error::damaged("a branch has no entries"))?));
    }
    Ok(branches)
}

fn extend(roster: &mut Option<Roster>, entry: &SignedEntry) -> Result<(), waxwing_crypto::Error> {
    match roster {
        Some(roster) => roster.apply(entry),
        None => Roster::genesis(entry).map(|genesis| *roster = Some(genesis)),
    }
}
