//! The Waxwing broker: stores and routes sealed envelopes, and can read none of them.
//!
//! ```text
//! http      accepts connections, upgrades them to links
//! link      one WebSocket: login, a reader, a writer with the pump that delivers
//! handlers  what each frame asks for: checks, then a change for the writer
//! accept    the writer: it alone changes the store, in batches, and answers after the commit
//! strangers who has not logged in: a bounded number
//! store     SQLite or PostgreSQL: one file per table, the only place with SQL
//! limiter   how fast nodes and addresses may go
//! hub       who is connected; meshes: who is a member; life: the store's id and marks; sweep: what has ended
//! followers who follows which space; leases: who is present, and what ends when
//! admin     what operators ask; metrics: what is counted
//! ```
//!
//! What is durable is the table; a wake-up carries nothing that matters. Being slow, being offline and reconnecting are
//! the same to the broker: a link reads its node's queue from where it is.

mod accept;
pub mod admin;
mod alarms;
mod backup;
mod clock;
mod config;
mod creation;
pub mod doctor;
mod drain;
mod error;
mod folder;
mod followers;
mod handlers;
mod http;
mod hub;
mod leases;
mod life;
mod limiter;
mod link;
mod meshes;
mod meter;
mod metrics;
mod migrate;
mod refusal;
mod secret;
mod sparing;
mod state;
mod store;
mod strangers;
mod sweep;
#[cfg(test)]
mod testing;
mod tls;
mod totals;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};
use waxwing_crypto::CreationToken;
use waxwing_protocol::BrokerUrl;

pub use backup::backup;
pub use clock::Clock;
pub use config::{
    BadDatabase, Config, Database, Founding, Limits, MeshLimits, MeshSettings, PostgresUrl, SETTINGS,
    Setting, TlsFiles, reference,
};
pub use error::{BoxError, Error, Result};
pub use folder::{Holder, holder};
pub use migrate::{Moved, MovedTable, Step, migrate};

use accept::Writer;
use folder::Folder;
use life::Life;
use meshes::Meshes;
use metrics::Kind;
use state::{Kept, KeptSpaces, State};
use store::Store;
use store::meta::Fresh;
use tls::Tls;

/// Runs a broker until `shutdown` completes or its store fails. `ready` is called once nodes can connect.
///
/// On shutdown every link is told to come back (`restarting`), what they have handed over is stored and answered, and
/// the store is closed.
///
/// # Errors
/// `Config` for a configuration or listen address that cannot be; `InUse` if another broker runs on the data folder;
/// `NewerSchema` if a newer one has; `Unavailable` if the database server is not there at the start; `Internal` if the store or the listener fails.
pub async fn run(
    config: Config,
    listener: TcpListener,
    ready: impl FnOnce(&Ready),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    config.check()?;
    let addr = listener.local_addr()?;
    let transport = config.transport(addr)?;
    let urls = config.advertised(addr, &transport)?;
    let mut folder = Folder::open(&config.data)?;
    let tls = Tls::open(transport, &config.data, &urls)?.map(Arc::new);
    let admin = config.admin.bind(&config.data).await?;
    folder.announce(addr, admin.addr)?;
    let creation = creation::load(&config, addr, &urls)?;
    let told =
        Ready::new(addr, urls, tls.as_deref(), creation.is_some().then(|| creation::file(&config.data)))?;
    let broker = Broker::start(&config, addr, &told.urls, creation).await?;
    info!(%addr, admin = %admin.addr, urls = ?broker.state.urls, "broker running");
    ready(&told);
    let served = broker.work(listener, tls, admin, shutdown).await;
    let written = broker.stop(config.grace()).await;
    info!("broker stopped");
    written.and(served)
}

/// A broker that nodes can connect to.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub addr: SocketAddr,
    /// That as a URL, with the pin if it has one.
    pub url: BrokerUrl,
    /// What nodes dial it by, with the pin if it has one.
    pub urls: Vec<BrokerUrl>,
    /// Where the token is that founding a mesh takes; none if it takes none.
    pub creation_token: Option<PathBuf>,
}

impl Ready {
    fn new(
        addr: SocketAddr,
        urls: Vec<BrokerUrl>,
        tls: Option<&Tls>,
        creation_token: Option<PathBuf>,
    ) -> Result<Self> {
        let pin = tls.and_then(Tls::pin);
        // A plain broker has no pin, and its URLs may be those of a proxy with TLS.
        let pinned = |url: BrokerUrl| url.with_pin(pin).map_err(|err| Error::Internal(err.into()));
        let url = pinned(config::own_url(addr, tls.is_some()))?;
        Ok(Self { addr, url, urls: urls.into_iter().map(pinned).collect::<Result<_>>()?, creation_token })
    }
}

/// A broker that runs.
struct Broker {
    state: Arc<State>,
    writer: JoinHandle<Result<()>>,
    /// Ends the writer, once nobody has anything to write.
    stop_writer: DropGuard,
    /// Cancelled when the writer has ended, for whatever reason.
    writer_ended: CancellationToken,
}

impl Broker {
    /// Opens the store, and starts the writer.
    async fn start(
        config: &Config,
        addr: SocketAddr,
        urls: &[BrokerUrl],
        creation: Option<CreationToken>,
    ) -> Result<Self> {
        let mut store = Store::open(&config.store()).await?;
        let fresh = Fresh::mint()?;
        let life = Life::new(store::meta::open(&mut store.writer, &fresh, config.clock.now()).await?);
        let passes = Folder::pass_key(&config.data)?;
        let meshes = Meshes::load(&store.readers).await?;
        let (envelopes, bytes) = store::node::totals(&store.readers).await?;
        let (changes, inbox) = Writer::new();
        let spaces = KeptSpaces::read(&store.readers).await?;
        let kept = Kept { life, readers: store.readers, meshes, passes, creation, spaces };
        let state = Arc::new(State::new(config, addr, urls, kept, changes));
        state.metrics.queued(envelopes, bytes);
        let (stop_writer, writer_ended) = (CancellationToken::new(), CancellationToken::new());
        let writer =
            accept::start(store.writer, inbox, Arc::clone(&state), stop_writer.clone(), writer_ended.clone());
        Ok(Self { state, writer, stop_writer: stop_writer.drop_guard(), writer_ended })
    }

    /// Works until `shutdown`, or until a part of it fails.
    async fn work(
        &self,
        listener: TcpListener,
        tls: Option<Arc<Tls>>,
        admin: admin::Bound,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        let (operators, router) = admin.router(Arc::clone(&self.state));
        let admin = http::Door { router, places: Arc::new(Semaphore::new(admin::CONNECTIONS)), tls: None };
        let places = Arc::clone(&self.state.places);
        let links = http::Door { router: http::links(&self.state), places, tls: tls.clone() };
        tokio::select! {
            served = http::serve(listener, links, &self.state, shutdown) => served,
            served = http::serve(operators, admin, &self.state, pending()) => served,
            swept = sweep::run(&self.state) => swept,
            ended = leases::run(&self.state) => ended,
            () = tls::watch(tls.as_deref(), &self.state.metrics) => Ok(()), // Never ends.
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
        drop(stop_writer);
        writer.await.unwrap_or_else(|err| Err(Error::Internal(err.into())))
    }
}
