//! How much each mesh has in its spaces: read at start, and from then on said by each batch of the writer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use waxwing_crypto::MeshId;

use crate::store::space::Usage;

/// By mesh.
#[derive(Default)]
pub(crate) struct Totals(Mutex<HashMap<MeshId, Usage>>);

impl Totals {
    /// What the store has.
    pub(crate) const fn new(usage: HashMap<MeshId, Usage>) -> Self {
        Self(Mutex::new(usage))
    }

    /// How much a mesh has.
    pub(crate) fn of(&self, mesh: MeshId) -> Usage {
        self.lock().get(&mesh).copied().unwrap_or_default()
    }

    /// How much there is in all.
    pub(crate) fn all(&self) -> Usage {
        let meshes = self.lock();
        meshes.values().fold(Usage::default(), |all, one| Usage {
            records: all.records + one.records,
            bytes: all.bytes + one.bytes,
        })
    }

    /// Takes what a batch has left.
    pub(crate) fn set(&self, usage: HashMap<MeshId, Usage>) {
        self.lock().extend(usage);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MeshId, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
