//! The Waxwing broker: stores and routes sealed envelopes, and can read none of them.
//!
//! ```text
//! http      accepts connections, upgrades them to links
//! link      one WebSocket: login, a reader, a writer with the pump that delivers
//! handlers  what each frame asks for: checks, then a change for the writer
//! accept    the writer: the one task that changes the store, in batches, and answers after the commit
//! strangers who has not logged in: a bounded number
//! store     SQLite: one file per table, the only place with SQL
//! hub       who is connected; meshes: who is a member; sweep: what has ended
//! admin     what operators ask; metrics: what is counted
//! ```
//!
//! What is durable is the table; a wake-up carries nothing that matters. Being slow, being offline and reconnecting are
//! the same to the broker: a link reads its node's queue from where it is.

mod accept;
pub mod admin;
mod backup;
mod clock;
mod config;
pub mod doctor;
mod drain;
mod error;
mod folder;
mod handlers;
mod http;
mod hub;
mod link;
mod meshes;
mod meter;
mod metrics;
mod refusal;
mod sparing;
mod state;
mod store;
mod strangers;
mod sweep;
#[cfg(test)]
mod testing;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use waxwing_protocol::StoreId;

pub use backup::backup;
pub use clock::Clock;
pub use config::{Config, Limits, SETTINGS, Setting, reference};
pub use error::{BoxError, Error, Result};
pub use folder::{Holder, holder};

use accept::Writer;
use folder::Folder;
use meshes::Meshes;
use metrics::Kind;
use state::State;
use store::Store;

/// Runs a broker until `shutdown` completes or its store fails. `ready` is called once nodes can connect.
///
/// On shutdown every link is told to come back (`restarting`), what they have handed over is stored and answered, and
/// the store is closed.
///
/// # Errors
/// `Config` for a configuration or listen address that cannot be; `InUse` if another broker runs on the data folder;
/// `NewerSchema` if a newer one has; `Internal` if the store or the listener fails.
pub async fn run(
    config: Config,
    listener: TcpListener,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    config.check()?;
    let addr = listener.local_addr()?;
    Config::check_listen(addr)?;
    let mut folder = Folder::open(&config.data)?;
    let admin = config.admin.bind(&config.data).await?;
    folder.announce(addr, admin.addr)?;
    let broker = Broker::start(&config, addr).await?;
    info!(%addr, admin = %admin.addr, urls = ?broker.state.urls, "broker running");
    ready();
    let served = broker.work(listener, admin, shutdown).await;
    let written = broker.stop(config.grace()).await;
    info!("broker stopped");
    written.and(served)
}

/// A broker that runs.
struct Broker {
    state: Arc<State>,
    writer: JoinHandle<Result<()>>,
    /// Ends the writer, once nobody has anything to write.
    stop_writer: CancellationToken,
    /// Cancelled when the writer has ended, for whatever reason.
    writer_ended: CancellationToken,
}

impl Broker {
    /// Opens the store, and starts the task that writes to it.
    async fn start(config: &Config, addr: SocketAddr) -> Result<Self> {
        let mut store = Store::open(&Folder::database(&config.data)).await?;
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh).map_err(|err| Error::Internal(err.into()))?;
        let now = config.clock.now();
        let id = store::meta::store_id(&mut store.writer, StoreId::from_bytes(fresh), now).await?;
        let meshes = Meshes::load(&store.readers).await?;
        let (envelopes, bytes) = store::node::totals(&store.readers).await?;
        let (changes, inbox) = Writer::new();
        let state = Arc::new(State::new(config, addr, id, store.readers, meshes, changes));
        state.metrics.queued(envelopes, bytes);
        let (stop_writer, writer_ended) = (CancellationToken::new(), CancellationToken::new());
        let writer = tokio::spawn({
            let (state, stop, ended) =
                (Arc::clone(&state), stop_writer.clone(), writer_ended.clone().drop_guard());
            async move {
                let _ended = ended;
                accept::run(store.writer, inbox, &state, &stop).await
            }
        });
        Ok(Self { state, writer, stop_writer, writer_ended })
    }

    /// Works until `shutdown`, or until a part of it fails.
    async fn work(
        &self,
        listener: TcpListener,
        admin: admin::Bound,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        let (operators, router) = admin.router(Arc::clone(&self.state));
        let places = Arc::new(Semaphore::new(admin::CONNECTIONS));
        tokio::select! {
            served = http::serve(listener, http::links(&self.state), &self.state.places, &self.state, shutdown) => served,
            served = http::serve(operators, router, &places, &self.state, pending()) => served,
            swept = sweep::run(&self.state) => swept,
            () = self.writer_ended.cancelled() => Ok(()), // Its own result says why.
        }
    }

    /// Ends the links, then the writer, then the store: each has what it needs until it has ended.
    async fn stop(self, grace: Duration) -> Result<()> {
        let Self { state, writer, stop_writer, writer_ended: _ } = self;
        state.drain.begin(state.metrics.link_count(Kind::Member));
        state.stop.cancel();
        state.tasks.close();
        if timeout(grace, state.tasks.wait()).await.is_err() {
            warn!(links = state.tasks.len(), "some links did not end in time");
        }
        // The last connection to close folds the log into the database file, and that should be the writer's.
        let _ = timeout(grace, state.readers.close()).await;
        stop_writer.cancel();
        writer.await.unwrap_or_else(|err| Err(Error::Internal(err.into())))
    }
}
