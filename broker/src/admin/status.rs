//! How the broker is, in a few lines.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ready::{self, Readiness};
use crate::metrics::Kind;
use crate::state::State;
use crate::store::inspect;

/// How a broker is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, in milliseconds since 1970.
    pub since: u64,
    /// Where it listens for nodes.
    pub listen: SocketAddr,
    /// What nodes dial it by, with the pin if it has one.
    pub urls: Vec<String>,
    /// Its links.
    pub links: Links,
    /// How many meshes it serves.
    pub meshes: usize,
    /// How many of them wait for an admin's `resume`, after a loss of the store.
    pub meshes_waiting: usize,
    /// What waits for nodes.
    pub queued: Queued,
    /// Size of its database with its log, in bytes.
    pub store_bytes: u64,
    /// The beginning of this store's id.
    pub store_id: String,
    /// The version of its schema.
    pub schema_version: i64,
    /// Whether it can do its work.
    pub readiness: Readiness,
}

/// How many links, by kind.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Links {
    /// Of members.
    pub member: u64,
    /// Of those who found a mesh or join it.
    pub entering: u64,
}

/// What waits in all queues.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Queued {
    /// Envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
}

pub(super) async fn of(state: &State) -> Status {
    let (envelopes, bytes) = state.metrics.queue_totals();
    let links = Links {
        member: state.metrics.link_count(Kind::Member),
        entering: state.metrics.link_count(Kind::Entering),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since: state.since.as_millis(),
        listen: state.listen,
        urls: state.told_urls.clone(),
        links,
        meshes: state.meshes.count(),
        meshes_waiting: state.meshes.waiting(),
        queued: Queued { envelopes, bytes },
        store_bytes: inspect::bytes(&state.database, &state.readers)
            .await
            .iter()
            .map(|(_, bytes)| bytes)
            .sum(),
        store_id: format!("{:.8}", state.life.store().to_string()),
        schema_version: crate::store::schema_version(),
        readiness: ready::ask(state).await,
    }
}
