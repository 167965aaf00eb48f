//! What the parts of a running broker share.

use std::net::SocketAddr;

use sqlx::sqlite::SqlitePool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waxwing_protocol::StoreId;

use crate::accept::Writer;
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::hub::Hub;
use crate::meshes::Meshes;
use crate::sweep::Nudge;

/// Handles on everything that outlives a link.
pub(crate) struct State {
    /// How much to take on.
    pub(crate) limits: Limits,
    /// URLs that nodes may have dialled, in canonical form.
    pub(crate) urls: Vec<String>,
    /// The time.
    pub(crate) clock: Clock,
    /// This life of the store.
    pub(crate) store: StoreId,
    /// Connections that read.
    pub(crate) readers: SqlitePool,
    /// The task that writes.
    pub(crate) writer: Writer,
    /// Who is connected.
    pub(crate) hub: Hub,
    /// Who is a member of what.
    pub(crate) meshes: Meshes,
    /// Wakes the sweeper.
    pub(crate) nudge: Nudge,
    /// Cancelled when the broker stops: links say goodbye.
    pub(crate) stop: CancellationToken,
    /// Every connection, upgraded or not.
    pub(crate) tasks: TaskTracker,
}

impl State {
    /// Puts the parts together.
    pub(crate) fn new(
        config: &Config,
        listen: SocketAddr,
        store: StoreId,
        readers: SqlitePool,
        meshes: Meshes,
        writer: Writer,
    ) -> Self {
        Self {
            limits: config.limits,
            urls: config.advertised(listen),
            clock: config.clock.clone(),
            store,
            readers,
            writer,
            hub: Hub::default(),
            meshes,
            nudge: Nudge::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}
