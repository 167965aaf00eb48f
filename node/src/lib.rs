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
//! | `meshes` | those that are served: opened and closed one by one, while the others go on |
//! | `append` | entries of the log for somebody who waits, through links that are lost |
//! | `say` | a message left for the next start |
//! | `members` | who is in a mesh and who may come in, as its log has it |
//! | `mesh` | everything of one mesh: keys, roster, database, link |
//! | `rosters` | the roster between runs, so that a start need not replay the log |
//! | `store` | the database: one file per table, the only place with SQL |
//! | `writer` | the one task that writes it |
//! | `outbox`, `draft`, `lane` | the delivery contract: accepting a send; order at the recipient |
//! | `link` | the connection to the broker |
//! | `alarms` | what an honest broker and honest peers would not do, while it lasts |
//! | `spaces` | copies of spaces, kept up and written to |
//! | [`records`] | what members write in them, read |
//! | `presence` | who is there, and what he says of himself: made of a space |
//! | `claims` | what one of many acts on, once: made of leases |
//! | `state` | what a mesh shares under keys: made of a space |
//! | `requests` | an app asks another and waits: mail that is live |
//! | `leases` | what one app of the mesh has at a time: made of a space |
//! | `topics` | messages for whoever has subscribed: made of a space each |
//! | `epochs` | the mesh's state keys: fetched, kept, made anew |
//! | `metrics` | what is counted, and the page that monitors read |
//! | `ipc`, `apps`, `tokens` | the local API; who has registered with it; who may use it over TCP |
//! | `hooks` | what its owner has run after events |
//! | `supervision` | the socket that a service manager has bound, and signs of life for it |
//! | `doctor` | what is wrong with a node, and what mends it |
//! | [`backup`] | a copy of a node for whoever needs it later |
//! | [`repair`] | what can be read of a damaged database, made a database again |
//! | `list` | the meshes of a folder that no node is running on |
//! | `enroll`, `leave`, `accept_host`, `move_broker` | founding, joining and leaving a mesh; saying that a host is the right one, and where a broker is |
//! | `retention` | what is over is kept for a while, and then goes |
//! | `upkeep` | what time brings: expiry, overdue messages, prekeys |

pub mod accept_host;
mod alarms;
mod append;
mod apps;
pub mod backup;
mod claims;
mod clock;
mod config;
mod content;
pub mod doctor;
mod draft;
pub mod enroll;
mod epochs;
mod error;
mod home;
mod hooks;
mod host;
mod identity;
mod ids;
mod ipc;
mod lane;
mod leases;
pub mod leave;
mod link;
pub mod list;
pub mod members;
mod mesh;
mod meshes;
mod metrics;
#[cfg(test)]
mod models;
pub mod move_broker;
mod outbox;
mod presence;
pub mod records;
pub mod repair;
mod requests;
mod retention;
mod rosters;
pub mod say;
mod signals;
mod spaces;
mod state;
mod store;
mod supervision;
mod tail;
mod tokens;
mod topics;
mod upkeep;
mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

pub use config::{Config, Kept, Origin, SETTINGS, Setting, Value, reference};
pub use error::{Error, Result, Uninvited, Untrusted};
pub use hooks::Unfit;
pub use supervision::{Supervision, Watchdog};

use crate::home::Home;
use crate::meshes::Meshes;
use crate::tokens::Tokens;

/// Version of this node.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the node until `shutdown` is ready, or until it had something to do and nothing is left of that.
///
/// In this order: lock the state folder, check the host, open the databases, serve apps, connect. `ready` is called once
/// apps can connect. A node may be in no mesh yet: it can be told to join one.
///
/// # Errors
/// What stopped it; see [`Error::exit_code`].
pub async fn run(
    config: Config,
    supervision: Supervision,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let home = Home::new(config.state.clone());
    let mut lock = home.lock_for_node()?;
    hooks::check(&config)?;
    let tokens = Arc::new(Tokens::load(&home)?);
    let listen = config.listen;
    let (path, stop, tasks) = (config.socket().to_path_buf(), CancellationToken::new(), TaskTracker::new());
    let (meshes, mut failed) = Meshes::new(config, stop.clone(), tasks.clone());
    meshes.open_all().await?;
    let tcp = ipc::bind_tcp(listen).await?;
    let is_ours = supervision.socket.is_none();
    let socket = match supervision.socket {
        Some(socket) => supervision::adopt(socket, &path)?,
        None => ipc::bind(&path)?,
    };
    let listeners = ipc::Listeners { socket, path: is_ours.then(|| path.clone()), tcp };
    tasks.spawn(ipc::serve(listeners, meshes.clone(), tokens, stop.clone()));
    info!(socket = %path.display(), "ready");
    ready();
    if let Some(watchdog) = supervision.watchdog {
        tasks.spawn(watchdog.run(meshes.clone(), stop.clone()));
    }
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        Some(error) = failed.recv() => Err(error),
        never = lock.keep() => match never {},
    };
    // While there are links to say it on.
    meshes.say_goodbye().await;
    stop.cancel();
    meshes.end().await;
    if is_ours {
        ipc::unbind(&path);
    }
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

/// The operating system's random source.
pub(crate) fn rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}
