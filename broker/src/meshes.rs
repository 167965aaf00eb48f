//! The roster of every mesh, in memory: replayed from the log at start, replaced by the writer after each commit that
//! appends to it. Links watch theirs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::sqlite::SqlitePool;
use tokio::sync::watch;
use waxwing_crypto::MeshId;
use waxwing_crypto::membership::{Roster, SignedEntry};
use waxwing_protocol::limits;

use crate::error::{Error, Result};
use crate::store;

/// All meshes of this broker.
pub(crate) struct Meshes(RwLock<HashMap<MeshId, watch::Sender<Arc<Roster>>>>);

impl Meshes {
    /// Replays every log.
    ///
    /// # Errors
    /// If the store fails, or holds a log that its own rules forbid.
    pub(crate) async fn load(db: &SqlitePool) -> Result<Self> {
        let mut meshes = HashMap::new();
        for mesh in store::mesh::all(db).await? {
            meshes.insert(mesh, watch::Sender::new(Arc::new(replay(db, mesh).await?)));
        }
        Ok(Self(RwLock::new(meshes)))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A mesh's roster, or none if this broker does not hold it.
    pub(crate) fn roster(&self, mesh: MeshId) -> Option<Arc<Roster>> {
        self.watch(mesh).map(|roster| Arc::clone(&roster.borrow()))
    }

    /// A mesh's roster, now and whenever it changes.
    pub(crate) fn watch(&self, mesh: MeshId) -> Option<watch::Receiver<Arc<Roster>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&mesh).map(watch::Sender::subscribe)
    }

    /// The one mesh of a test.
    #[cfg(test)]
    pub(crate) fn only(&self) -> Arc<Roster> {
        let meshes = self.0.read().unwrap();
        let only: Vec<_> = meshes.values().collect();
        assert_eq!(only.len(), 1);
        Arc::clone(&only[0].borrow())
    }

    /// Puts a committed roster in the place of the one before.
    pub(crate) fn publish(&self, roster: Arc<Roster>) {
        let mut meshes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match meshes.get(&roster.mesh()) {
            Some(known) => drop(known.send_replace(roster)),
            None => drop(meshes.insert(roster.mesh(), watch::Sender::new(roster))),
        }
    }
}

async fn replay(db: &SqlitePool, mesh: MeshId) -> Result<Roster> {
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

fn extend(roster: &mut Option<Roster>, entry: &SignedEntry) -> Result<(), waxwing_crypto::Error> {
    match roster {
        Some(roster) => roster.apply(entry),
        None => Roster::genesis(entry).map(|genesis| *roster = Some(genesis)),
    }
}
