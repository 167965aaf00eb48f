//! The meshes that a running node serves: opened, closed, and opened again, each by itself, while the others go on.
//!
//! ```text
//! request --find--> a mesh that is open, or why there is none
//! change  --one at a time--> close (link, streams, writer end) -> work on its folder -> open
//! a mesh that was refused, or whose database failed --> the process, if nothing is left that it could do
//! ```
//!
//! A change goes on when whoever asked for it has gone, and ends with the process. What it does to a folder must hold at
//! every step: a process can be killed.

mod changing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use waxwing_crypto::Name;

pub(crate) use self::changing::Changing;
use crate::apps::Apps;
use crate::config::{Config, GRACE};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::hooks::Hooks;
use crate::mesh::{Admitted, Mesh};
use crate::metrics::{Disk, Metrics};
use crate::{host, leave};

/// Every mesh of this node. A handle: clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Meshes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    home: Home,
    /// Of the whole node.
    stop: CancellationToken,
    places: RwLock<BTreeMap<Name, Place>>,
    /// Held by the change under way.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// What is waited for at the node's end, changes among it.
    tasks: TaskTracker,
    metrics: Metrics,
    hooks: Hooks,
    /// Registered apps, by mesh. They outlive what closes a mesh and opens it again.
    apps: Mutex<BTreeMap<Name, Arc<Apps>>>,
    /// Why the process cannot go on.
    failed: mpsc::Sender<Error>,
}

/// A mesh that this node is in.
#[derive(Debug)]
enum Place {
    /// `running` until its link was refused for good.
    Open { mesh: Arc<Mesh>, running: bool },
    /// Not served, and why; `passing` if somebody is at work on it who opens it again; `ending` if something of it goes
    /// on although it was told to end.
    Closed { why: String, passing: bool, ending: Option<TaskTracker> },
}

/// Why a request has no mesh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NoMesh {
    /// The node is in none.
    None,
    /// It is in none of this name, but in these.
    Unknown(String),
    /// It is in these, and the request names none.
    Several(String),
    /// It is closed.
    Closed {
        /// Which.
        name: Name,
        /// Why.
        why: String,
    },
}

impl Meshes {
    /// None yet, and where it is told why the process cannot go on.
    pub(crate) fn new(
        config: Config,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> (Self, mpsc::Receiver<Error>) {
        // One is enough: the process ends with the first.
        let (failed, why) = mpsc::channel(1);
        let home = Home::new(config.state.clone());
        let hooks = Hooks::start(&config, &stop, &tasks);
        let inner = Inner {
            config,
            home,
            stop,
            places: RwLock::default(),
            changing: Arc::default(),
            tasks,
            metrics: Metrics::new(),
            hooks,
            apps: Mutex::default(),
            failed,
        };
        (Self(Arc::new(inner)), why)
    }

    /// Those that a test has opened.
    #[cfg(test)]
    pub(crate) fn holding<'a>(open: impl IntoIterator<Item = &'a Arc<Mesh>>) -> Self {
        let config = Config::resolve(Some("/nonexistent".into())).unwrap();
        let meshes = Self::new(config, CancellationToken::new(), TaskTracker::new()).0;
        for mesh in open {
            let place = Place::Open { mesh: Arc::clone(mesh), running: true };
            meshes.places_mut().insert(mesh.name.clone(), place);
        }
        meshes
    }

    /// Opens every mesh of the state folder: none, if this is not the host of all of them. One whose state is damaged stays
    /// closed, and the others go on.
    ///
    /// # Errors
    /// What is wrong with the first, if none can be opened.
    pub(crate) async fn open_all(&self) -> Result<()> {
        let evidence = host::evidence(self.0.config.host_id.as_deref());
        let names = self.0.home.meshes()?;
        let mut admitted = Vec::with_capacity(names.len());
        for name in &names {
            match Admitted::check(&self.0.home, name, &evidence) {
                Err(error) if !error.is_of_one_mesh() => return Err(error),
                checked => admitted.push(checked),
            }
        }
        self.0.home.clean();
        // All are there before the first runs: one that is refused at once must not be taken for the last.
        for name in &names {
            let opening = Place::Closed { why: "it is being opened".into(), passing: true, ending: None };
            self.places_mut().insert(name.clone(), opening);
        }
        let mut unfit = None;
        for (name, admitted) in names.iter().zip(admitted) {
            let opened = match admitted {
                Ok(admitted) => self.start(admitted).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(()) => {}
                Err(error) if error.is_of_one_mesh() => {
                    error!(mesh = %name, %error, "this mesh is not opened");
                    let closed = Place::Closed { why: error.to_string(), passing: false, ending: None };
                    self.places_mut().insert(name.clone(), closed);
                    unfit.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match unfit {
            Some(error) if self.open().is_empty() => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// The mesh of this name, or the only one.
    pub(crate) fn find(&self, name: Option<&Name>) -> Result<Arc<Mesh>, NoMesh> {
        let places = self.places();
        let (name, place) = pick(&places, name)?;
        match place {
            Place::Open { mesh, .. } => Ok(Arc::clone(mesh)),
            Place::Closed { why, .. } => Err(NoMesh::Closed { name: name.clone(), why: why.clone() }),
        }
    }

    /// Its name, whether it is open or not.
    pub(crate) fn name(&self, name: Option<&Name>) -> Result<Name, NoMesh> {
        pick(&self.places(), name).map(|(name, _)| name.clone())
    }

    /// Those that are open, by name.
    pub(crate) fn open(&self) -> Vec<Arc<Mesh>> {
        let open = |place: &Place| match place {
            Place::Open { mesh, .. } => Some(Arc::clone(mesh)),
            Place::Closed { .. } => None,
        };
        self.places().values().filter_map(open).collect()
    }

    /// Those that are closed, and why, by name.
    pub(crate) fn closed(&self) -> Vec<(Name, String)> {
        let closed = |(name, place): (&Name, &Place)| match place {
            Place::Open { .. } => None,
            Place::Closed { why, .. } => Some((name.clone(), why.clone())),
        };
        self.places().iter().filter_map(closed).collect()
    }

    /// Registered apps, by mesh.
    pub(crate) fn registries(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Apps>>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they take of the disk.
    pub(crate) fn disk(&self) -> Disk {
        let names: Vec<Name> = self.places().keys().cloned().collect();
        Disk::look(&self.0.home, names.into_iter())
    }

    /// What is counted in them.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Does `work` while nobody else changes which meshes are open. It goes on when the caller is dropped, and is dropped
    /// itself when the node stops.
    ///
    /// # Errors
    /// Its own; `Conflict` if the node stops.
    pub(crate) async fn change<T, W>(&self, work: impl FnOnce(Changing) -> W + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let stopping = || Error::Conflict("the node is stopping".into());
        let meshes = self.clone();
        let task = self.0.tasks.spawn(async move {
            let change = async {
                let alone = Arc::clone(&meshes.0.changing).lock_owned().await;
                work(Changing { meshes: meshes.clone(), _alone: alone }).await
            };
            tokio::select! {
                // A node that stops begins nothing.
                biased;
                () = meshes.0.stop.cancelled() => Err(stopping()),
                done = change => done,
            }
        });
        task.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Says goodbye in each, all at once.
    pub(crate) async fn say_goodbye(&self) {
        let open = self.open();
        join_all(open.iter().map(|mesh| mesh.say_goodbye())).await;
    }

    /// Closes everything, the node's stop token being cancelled. Returns when everything is closed, or the time for it is over.
    pub(crate) async fn end(&self) {
        let mut ending = vec![self.0.tasks.clone()];
        for (_, place) in self.places_mut().iter_mut() {
            let stopping = Place::Closed { why: "the node is stopping".into(), passing: true, ending: None };
            if let Place::Open { mesh, .. } = std::mem::replace(place, stopping) {
                ending.push(mesh.tasks.clone());
            }
        }
        let ended = async {
            for tasks in ending {
                tasks.close();
                tasks.wait().await;
            }
        };
        if timeout(GRACE, ended).await.is_err() {
            warn!("stopped before everything was closed; nothing durable is lost");
        }
    }

    /// Opens a mesh whose host was checked, and keeps it going until it is told to stop, or refused for good.
    async fn start(&self, admitted: Admitted) -> Result<()> {
        let counts = self.0.metrics.counts(admitted.name());
        let apps = Arc::clone(self.registries().entry(admitted.name().clone()).or_default());
        let admitted = admitted.with_apps(apps);
        let stop = self.0.stop.child_token();
        let mesh = Mesh::open(admitted, &self.0.config, Arc::clone(&counts), stop).await?;
        // Before it runs: its first event is that it has started.
        self.0.hooks.follow(&mesh, &counts);
        let name = mesh.name.clone();
        let tasks = mesh.tasks.clone();
        self.places_mut().insert(name.clone(), Place::Open { mesh: Arc::clone(&mesh), running: true });
        if leave::is_marked(&self.0.home.mesh(&name)) {
            self.watch_leaving(&mesh);
        }
        let meshes = self.clone();
        tasks.spawn(async move {
            let outcome = mesh.run().await;
            drop(mesh);
            match outcome {
                // Whoever watches the leave takes it from here.
                Err(Error::Revoked(_)) if leave::is_marked(&meshes.0.home.mesh(&name)) => {}
                Err(error) => meshes.ended(&name, error),
                Ok(()) => {}
            }
        });
        Ok(())
    }

    /// Sees to a leave that is marked and not known to have come about.
    pub(crate) fn watch_leaving(&self, mesh: &Arc<Mesh>) {
        self.0.tasks.spawn(leave::find_out(self.clone(), Arc::clone(mesh)));
    }

    /// A mesh has ended by itself. A failed database ends the process, a refusal does if it was the last mesh to go on.
    fn ended(&self, name: &Name, error: Error) {
        let goes_on = {
            let mut places = self.places_mut();
            if let Some(Place::Open { running, .. }) = places.get_mut(name) {
                *running = false;
            }
            let goes_on = |place: &Place| match place {
                Place::Open { running, .. } => *running,
                Place::Closed { passing, .. } => *passing,
            };
            places.values().any(goes_on)
        };
        if !goes_on || matches!(error, Error::Database(_) | Error::NotStored(_)) {
            // Full: another has ended the process already.
            let _ = self.0.failed.try_send(error);
        }
    }

    fn places(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Place>> {
        self.0.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn places_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Name, Place>> {
        self.0.places.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick<'a>(places: &'a BTreeMap<Name, Place>, name: Option<&Name>) -> Result<(&'a Name, &'a Place), NoMesh> {
    let names = || places.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
    match name {
        _ if places.is_empty() => Err(NoMesh::None),
        Some(name) => places.get_key_value(name).ok_or_else(|| NoMesh::Unknown(names())),
        None if places.len() > 1 => Err(NoMesh::Several(names())),
        None => places.first_key_value().ok_or(NoMesh::None),
    }
}

#[cfg(test)]
mod tests;
