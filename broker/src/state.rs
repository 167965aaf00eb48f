//! What the parts of a running broker share.
//!
//! Three kinds of things are in memory, and the day that several brokers share a database each kind needs something else:
//! - what is true of this process alone: links, limits, allowances, metrics, strangers. Nothing is needed;
//! - copies of what the store says, replaced by the writer after each commit, and right because one writer holds the store's lock:
//!   [`Meshes`], [`Totals`], the number in [`Life`]. Others' commits would have to be heard of;
//! - what is nowhere else, with one owner each: who is connected to whom ([`Hub`], with [`Followers`] beside it), and who was heard
//!   of when ([`Leases`]). These would have to be shared.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waxwing_crypto::mark::PassKey;
use waxwing_crypto::{CreationToken, MeshId, Timestamp};
use waxwing_protocol::BrokerUrl;

use crate::accept::{LastCommit, Writer};
use crate::alarms::Alarms;
use crate::clock::{Clock, Even};
use crate::config::{Config, Database, Limits};
use crate::drain::Drain;
use crate::error::Result;
use crate::followers::Followers;
use crate::hub::Hub;
use crate::leases::Leases;
use crate::life::Life;
use crate::limiter::Limiter;
use crate::link::Uploads;
use crate::meshes::Meshes;
use crate::metrics::Metrics;
use crate::sparing::Sparing;
use crate::store::{self, NodeKey, Pool, READERS};
use crate::strangers::Strangers;
use crate::sweep::Nudge;
use crate::totals::Totals;

/// Handles on everything that outlives a link.
pub(crate) struct State {
    /// How much to take on.
    pub(crate) limits: Limits,
    /// Where nodes dial.
    pub(crate) listen: SocketAddr,
    /// When the broker started.
    pub(crate) since: Timestamp,
    /// Places for connections of nodes.
    pub(crate) places: Arc<Semaphore>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Where the store is.
    pub(crate) database: Database,
    /// When the store took its last commit.
    pub(crate) last_commit: LastCommit,
    /// The same for meshes that have settings of their own.
    mesh_limits: HashMap<MeshId, Limits>,
    /// How fast nodes and addresses may go.
    pub(crate) limiter: Limiter,
    /// URLs that nodes may have dialled, in canonical form.
    pub(crate) urls: Vec<String>,
    /// The same as people are told them, with the pin if there is one.
    pub(crate) told_urls: Vec<String>,
    /// What a founder must have; none if anybody may found a mesh.
    pub(crate) creation: Option<CreationToken>,
    /// The time.
    pub(crate) clock: Clock,
    /// The time, but for jumps of the clock.
    pub(crate) even: Even,
    /// This life of the store.
    pub(crate) life: Life,
    /// Connections that read.
    pub(crate) readers: Pool,
    /// A turn at reading a queue, as many as there are connections for it: who waits for one holds next to nothing, and
    /// who waits for a connection with a statement in hand holds 3 KiB. At a rush of logins all of them wait.
    pub(crate) reading: Semaphore,
    /// Hands changes to the writer.
    pub(crate) writer: Writer,
    /// Who is connected.
    pub(crate) hub: Hub,
    /// Who follows which space.
    pub(crate) followers: Arc<Followers>,
    /// Who is present, and what ends when.
    pub(crate) leases: Leases,
    /// How much meshes have in their spaces.
    pub(crate) totals: Totals,
    /// Who is a member of what.
    pub(crate) meshes: Meshes,
    /// What members are told at once.
    pub(crate) alarms: Alarms,
    /// The logs that nodes are bringing.
    pub(crate) uploads: Uploads,
    /// Makes passes of meshes.
    pub(crate) passes: PassKey,
    /// When those come back whom a stop sends away.
    pub(crate) drain: Drain,
    /// Which lines about strangers are logged.
    pub(crate) stranger_lines: Sparing,
    /// Which lines about connections that cannot be accepted are.
    pub(crate) accept_lines: Sparing,
    /// Who has not logged in.
    pub(crate) strangers: Strangers,
    /// Wakes the sweeper.
    pub(crate) nudge: Nudge,
    /// Cancelled when the broker stops: links say goodbye.
    pub(crate) stop: CancellationToken,
    /// Every connection, upgraded or not.
    pub(crate) tasks: TaskTracker,
}

/// What a broker finds in its data folder.
pub(crate) struct Kept {
    /// See [`State::life`].
    pub(crate) life: Life,
    /// See [`State::readers`].
    pub(crate) readers: Pool,
    /// See [`State::meshes`].
    pub(crate) meshes: Meshes,
    /// See [`State::passes`].
    pub(crate) passes: PassKey,
    /// See [`State::creation`].
    pub(crate) creation: Option<CreationToken>,
    /// What is in the spaces.
    pub(crate) spaces: KeptSpaces,
}

/// What a broker finds in the spaces at its start.
#[derive(Default)]
pub(crate) struct KeptSpaces {
    /// See [`State::totals`].
    pub(crate) totals: Totals,
    /// The nodes that have records bound to their lease, and how long after that the first ends.
    pub(crate) bound: Vec<(NodeKey, u64)>,
    /// When the first lifetime is over.
    pub(crate) lifetime: Option<Timestamp>,
}

impl KeptSpaces {
    /// Reads it.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn read(db: &Pool) -> Result<Self> {
        Ok(Self {
            totals: Totals::new(store::space::usage(db).await?),
            bound: store::record::bound_nodes(db).await?,
            lifetime: store::record::earliest(db).await?,
        })
    }
}

impl State {
    /// Puts the parts together.
    pub(crate) fn new(
        config: &Config,
        listen: SocketAddr,
        urls: &[BrokerUrl],
        kept: Kept,
        writer: Writer,
    ) -> Self {
        let Kept { life, readers, meshes, passes, creation, spaces } = kept;
        let KeptSpaces { totals, bound, lifetime } = spaces;
        Self {
            limits: config.limits,
            listen,
            since: config.clock.now(),
            places: Arc::new(Semaphore::new(config.limits.connections as usize)),
            metrics: Metrics::new(),
            database: config.store(),
            last_commit: LastCommit::default(),
            mesh_limits: config.mesh.keys().map(|mesh| (*mesh, config.limits_of(mesh))).collect(),
            limiter: Limiter::new(config),
            urls: urls.iter().map(BrokerUrl::dialled).collect(),
            told_urls: urls.iter().map(ToString::to_string).collect(),
            creation,
            clock: config.clock.clone(),
            even: Even::new(config.clock.clone()),
            leases: Leases::new(config, bound, lifetime),
            totals,
            followers: Arc::default(),
            life,
            readers,
            reading: Semaphore::new(READERS as usize),
            writer,
            hub: Hub::default(),
            alarms: Alarms::default(),
            meshes,
            uploads: Uploads::default(),
            passes,
            drain: Drain::new(config.reconnects_per_second),
            stranger_lines: Sparing::default(),
            accept_lines: Sparing::default(),
            strangers: Strangers::new(config.limits.strangers()),
            nudge: Nudge::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// How much to take on for one mesh.
    pub(crate) fn limits_of(&self, mesh: MeshId) -> Limits {
        self.mesh_limits.get(&mesh).copied().unwrap_or(self.limits)
    }
}
