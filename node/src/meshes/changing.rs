//! Changes of which meshes are open, one at a time.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use tracing::{info, warn};
use waxwing_crypto::Name;

use super::{Meshes, NoMesh, Place};
use crate::config::{Config, GRACE};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::host;
use crate::mesh::{Admitted, Mesh};

/// The right to change which meshes are open: whoever holds it is the only one.
#[derive(Debug)]
pub(crate) struct Changing {
    pub(super) meshes: Meshes,
    pub(super) _alone: OwnedMutexGuard<()>,
}

fn not_in(name: &Name) -> Error {
    Error::UnknownMesh(format!("this node is in no mesh called {name}"))
}

impl Changing {
    /// Where this node's meshes are.
    pub(crate) fn home(&self) -> &Home {
        &self.meshes.0.home
    }

    /// All of them.
    pub(crate) fn meshes(&self) -> &Meshes {
        &self.meshes
    }

    /// One that is open.
    ///
    /// # Errors
    /// `UnknownMesh`; `Conflict` if it is closed.
    pub(crate) fn mesh(&self, name: &Name) -> Result<Arc<Mesh>> {
        self.meshes.find(Some(name)).map_err(|none| match none {
            NoMesh::Closed { why, .. } => Error::Conflict(format!("mesh {name} is closed: {why}")),
            NoMesh::None | NoMesh::Unknown(_) | NoMesh::Several(_) => not_in(name),
        })
    }

    /// How this node is configured.
    pub(crate) fn config(&self) -> &Config {
        &self.meshes.0.config
    }

    /// Serves a mesh whose folder is there and whose keys nobody uses.
    ///
    /// # Errors
    /// `WrongHost`, `Database`, or whatever else is wrong with it. Then it stays closed, and that is why.
    pub(crate) async fn open(&self, name: &Name) -> Result<()> {
        let evidence = host::evidence(self.config().host_id.as_deref());
        let opened = match Admitted::check(self.home(), name, &evidence) {
            Ok(admitted) => self.meshes.start(admitted).await,
            Err(error) => Err(error),
        };
        match &opened {
            Ok(()) => info!(mesh = %name, "opened"),
            Err(error) => {
                warn!(mesh = %name, %error, "cannot be opened");
                self.put(name, Place::Closed { why: error.to_string(), passing: false, ending: None });
            }
        }
        opened
    }

    /// Stops serving a mesh: its link ends, then its streams and waiting requests, then its writer. When this returns,
    /// nobody uses its folder.
    ///
    /// # Errors
    /// `UnknownMesh`; `Conflict` if it does not end in time, and then it stays closed.
    pub(crate) async fn close(&self, name: &Name, why: &str) -> Result<()> {
        let tasks = {
            let mut places = self.meshes.places_mut();
            let place = places.get_mut(name);
            let place = place.ok_or_else(|| not_in(name))?;
            let closed = Place::Closed { why: why.to_owned(), passing: true, ending: None };
            match std::mem::replace(place, closed) {
                Place::Open { mesh, .. } => {
                    mesh.stop.cancel();
                    mesh.tasks.clone()
                }
                Place::Closed { ending: Some(tasks), .. } => tasks,
                Place::Closed { ending: None, .. } => return Ok(()),
            }
        };
        tasks.close();
        if timeout(GRACE, tasks.wait()).await.is_err() {
            let why = format!(
                "mesh {name} did not close within {} s: try again, or restart the node",
                GRACE.as_secs()
            );
            self.put(name, Place::Closed { why: why.clone(), passing: false, ending: Some(tasks) });
            return Err(Error::Conflict(why));
        }
        info!(mesh = %name, %why, "closed");
        Ok(())
    }

    /// Closes a mesh, does `work` on its folder, and opens it again, whatever came of the work: it must leave behind a
    /// folder that can be opened.
    ///
    /// # Errors
    /// As [`Changing::close`] and [`Changing::open`]; the work's own.
    pub(crate) async fn reopen_with<T, W>(
        &self,
        name: &Name,
        why: &str,
        work: impl FnOnce(PathBuf) -> W,
    ) -> Result<T>
    where
        W: Future<Output = Result<T>>,
    {
        self.close(name, why).await?;
        let worked = work(self.home().mesh(name)).await;
        match self.open(name).await {
            Ok(()) => worked,
            Err(error) => {
                let why = format!("mesh {name} is closed: {error}");
                self.meshes.ended(name, error);
                worked.and(Err(Error::Damaged(why)))
            }
        }
    }

    /// Forgets a mesh that is closed, and removes its folder.
    ///
    /// # Errors
    /// `File`, if the folder cannot be taken out of its place: then the mesh stays closed, and that is why.
    pub(crate) fn remove(&self, name: &Name) -> Result<()> {
        match self.home().remove_mesh(name) {
            Ok(()) => {
                self.meshes.places_mut().remove(name);
                self.meshes.metrics().forget(name);
                self.meshes.registries().remove(name);
                Ok(())
            }
            Err(error) => {
                self.put(name, Place::Closed { why: error.to_string(), passing: false, ending: None });
                Err(error)
            }
        }
    }

    fn put(&self, name: &Name, place: Place) {
        self.meshes.places_mut().insert(name.clone(), place);
    }
}
