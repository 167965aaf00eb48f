//! Version and health.

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::membership::Roster;
use waxwing_protocol::api::{API_VERSION, ClosedMesh, Health, LinkState, MeshHealth, Version};

use super::Api;
use super::problem::Refused;
use crate::clock;
use crate::mesh::Mesh;
use crate::store::{inbox, meta, outbox};
use crate::topics;

/// `GET /v1/version`
pub(super) async fn version() -> Answer<Version> {
    Answer(Version { version: crate::VERSION.to_owned(), api: API_VERSION })
}

/// `GET /v1/health`
pub(super) async fn health(State(api): State<Api>) -> Result<Answer<Health>, Refused> {
    look(&api).await.map(Answer)
}

/// How the node is now.
pub(super) async fn look(api: &Api) -> Result<Health, Refused> {
    let mut meshes = Vec::new();
    for mesh in api.meshes.open() {
        meshes.push(mesh_health(&mesh).await?);
    }
    let closed = api.meshes.closed().into_iter().map(|(mesh, reason)| ClosedMesh { mesh, reason });
    let closed: Vec<_> = closed.collect();
    let ready = closed.is_empty()
        && meshes.iter().all(|mesh| mesh.link.state != LinkState::Stopped && !mesh.disk_full);
    Ok(Health { live: true, ready, listen: api.listen, meshes, closed })
}

async fn mesh_health(mesh: &Mesh) -> Result<MeshHealth, Refused> {
    let (load, oldest) = (outbox::load(&mesh.db).await?, outbox::oldest(&mesh.db).await?);
    let waited = oldest.pending.map(|at| clock::now().since(at)).unwrap_or_default();
    let (inbox_unread, inbox_held) = inbox::counts(&mesh.db).await?;
    let leases = mesh.leases.counts();
    Ok(MeshHealth {
        mesh: mesh.name.clone(),
        mesh_id: mesh.identity.mesh,
        node: mesh.node_name().unwrap_or_else(|| mesh.name.clone()),
        node_id: mesh.identity.node,
        role: mesh.roster(|roster| roster.member(&mesh.identity.node).map(|member| member.role)),
        broker: mesh.broker.to_string(),
        link: mesh.link(),
        members: mesh.roster(|roster| roster.members().count() as u64),
        epoch: mesh.roster(Roster::epoch),
        outbox_pending: load.pending,
        outbox_unreceipted: load.unreceipted,
        outbox_bytes: load.bytes,
        outbox_oldest_seconds: waited.as_secs(),
        outbox_used: load.percent_of(mesh.caps),
        disk_full: mesh.signals.is_disk_full(),
        inbox_unread,
        inbox_held,
        leases_held: leases.held as u64,
        leases_waiting: leases.waiting as u64,
        claims_held: mesh.claims.counts().held as u64,
        state_keys: mesh.state.keys() as u64,
        topic_backlog: topics::backlog(mesh).await?,
        quarantined: meta::count(&mesh.db, "SELECT count(*) FROM quarantine").await?,
        clock_offset_ms: mesh.clock.offset_millis(),
        resume_wanted: mesh.resume_wanted(),
        state_key: mesh.epochs.health(mesh.roster(Roster::epoch)),
        host_warning: mesh.host_warning.clone(),
        alarms: mesh.alarms.list(),
    })
}
