//! The Waxwing node: the process on each host that apps talk to, and that keeps one link per mesh to a broker.
//!
//! A message's way through this crate:
//!
//! ```text
//! app --POST /v1/send--> ipc::send -> outbox (validate, fingerprint, encrypt) -> writer (accept table, one commit) -> 202
//!                        link::drain (lane by lane: seal, send) <-> broker -> writer (outcomes)
//! broker --deliver--> link::receive (open, verify) -> writer (inbox, dedupe, order, one commit) -> settle
//! app <--GET /v1/inbox-- ipc::inbox <- store::inbox
//! ```
//!
//! | module | duty |
//! |---|---|
//! | [`config`](Config), `home`, `identity`, `host` | where state is, who this node is, and whether this is its host |
//! | `mesh` | everything of one mesh: keys, roster, database, link |
//! | `store` | the database: one file per table, the only place with SQL |
//! | `writer` | the one task that writes it |
//! | `outbox`, `draft`, `lane` | the delivery contract: accepting a send; order at the recipient |
//! | `link` | the connection to the broker |
//! | `ipc`, `apps` | the local API; who has registered with it |
//! | `enroll`, `accept_host`, `move_broker` | founding and joining a mesh; saying that a host is the right one, and where a broker is |
//! | `upkeep` | what time brings: expiry, overdue messages, prekeys |

pub mod accept_host;
mod apps;
mod clock;
mod config;
mod content;
mod draft;
pub mod enroll;
mod error;
mod home;
mod host;
mod identity;
mod ids;
mod ipc;
mod lane;
mod link;
mod mesh;
pub mod move_broker;
mod outbox;
mod signals;
mod store;
mod upkeep;
mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use config::{Config, Origin, SETTINGS, Setting, Value, reference};
pub use error::{Error, Result, Untrusted};

use crate::home::Home;
use crate::mesh::Mesh;

/// Version of this node.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the node until `shutdown` is ready, or until nothing is left that it could do.
///
/// In this order: lock the state folder, check the host, open the databases, serve apps, connect. `ready` is called once
/// apps can connect.
///
/// # Errors
/// What stopped it; see [`Error::exit_code`].
pub async fn run(
    config: Config,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock_for_node()?;
    let names = home.meshes()?;
    if names.is_empty() {
        return Err(Error::NotFound(
            "this node is in no mesh yet: found one with `waxwing mesh create`, or join one with `waxwing join`".into(),
        ));
    }
    let evidence = host::evidence(config.host_id.as_deref());
    let admitted =
        names.iter().map(|name| mesh::Admitted::check(&home, name, &evidence)).collect::<Result<Vec<_>>>()?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut meshes = Vec::new();
    for admitted in admitted {
        meshes.push(Mesh::open(admitted, &config, &tasks).await?);
    }
    let meshes: Arc<[Arc<Mesh>]> = meshes.into();
    let socket = ipc::bind(config.socket())?;
    tasks.spawn(ipc::serve(socket, Arc::clone(&meshes), stop.clone()));
    info!(socket = %config.socket().display(), "ready");
    ready();
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        ended = serve_meshes(&meshes, &tasks, &stop) => ended,
    };
    stop.cancel();
    drop(meshes);
    tasks.close();
    if tokio::time::timeout(config::GRACE, tasks.wait()).await.is_err() {
        warn!("stopped before everything was closed; nothing durable is lost");
    }
    ipc::unbind(config.socket());
    outcome
}

/// The process id of the node that runs on a state folder, if one does.
///
/// # Errors
/// `Conflict` while a command other than a node holds the folder.
pub fn running(config: &Config) -> Result<Option<u32>> {
    Home::new(config.state.clone()).running()
}

/// The meshes that a state folder is in, by name.
///
/// # Errors
/// If the folder cannot be read.
pub fn meshes(config: &Config) -> Result<Vec<waxwing_crypto::Name>> {
    Home::new(config.state.clone()).meshes()
}

/// Keeps every mesh connected. Ends only when none is left, or a database fails.
async fn serve_meshes(meshes: &[Arc<Mesh>], tasks: &TaskTracker, stop: &CancellationToken) -> Result<()> {
    let (ended_tx, mut ended) = tokio::sync::mpsc::channel(meshes.len());
    for mesh in meshes {
        let (mesh, stop, ended_tx) = (Arc::clone(mesh), stop.clone(), ended_tx.clone());
        tasks.spawn(async move {
            let outcome = mesh.run(&stop).await;
            // The receiver is gone only when the node stops anyway.
            let _ = ended_tx.send(outcome).await;
        });
    }
    drop(ended_tx);
    let mut last = Ok(());
    while let Some(outcome) = ended.recv().await {
        match outcome {
            Err(error @ Error::Database(_)) => return Err(error),
            outcome => last = outcome,
        }
    }
    last
}

/// The operating system's random source.
pub(crate) fn rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}
