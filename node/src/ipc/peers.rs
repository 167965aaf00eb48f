//! Members as this node sees them: who they are, whether they are who they say, and whether it takes their mail.

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::membership::Member;
use waxwing_crypto::{NodeId, peer_words};
use waxwing_protocol::api::{
    MeshQuery, Peer, PeerAnswer, PeerRequest, Peers, Problem, ProblemCode, VerifyAnswer,
};

use super::Api;
use super::problem::Refused;
use super::request::{Json, Query};
use crate::mesh::Mesh;

/// `GET /v1/peers`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<Peers>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let mut peers: Vec<Peer> = mesh.roster(|roster| {
        let peer = |member: &Member| Peer {
            node: member.name.clone(),
            id: member.id,
            role: member.role,
            joined_at: member.joined_at,
            this: member.id == mesh.identity.node,
            blocked: mesh.blocks(&member.id),
        };
        roster.members().map(peer).collect()
    });
    peers.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Answer(Peers { mesh: mesh.name.clone(), peers }))
}

/// `POST /v1/peers/verify`
pub(super) async fn verify(
    State(api): State<Api>,
    Json(request): Json<PeerRequest>,
) -> Result<Answer<VerifyAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let id = other(mesh, &request)?;
    let keys = mesh.roster(|roster| {
        let signing = |id: &NodeId| roster.member(id).map(|member| member.signing);
        signing(&mesh.identity.node).zip(signing(&id))
    });
    let (ours, theirs) = keys.ok_or_else(|| Problem::new(ProblemCode::UnknownRecipient))?;
    let words = peer_words(&mesh.identity.mesh, &ours, &theirs).map(str::to_owned);
    Ok(Answer(VerifyAnswer { mesh: mesh.name.clone(), node: request.node, id, words }))
}

/// `POST /v1/peers/block`
pub(super) async fn block(
    State(api): State<Api>,
    Json(request): Json<PeerRequest>,
) -> Result<Answer<PeerAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let id = other(mesh, &request)?;
    mesh.set_blocked(id, true).await?;
    Ok(Answer(PeerAnswer { mesh: mesh.name.clone(), node: request.node, id, blocked: true }))
}

/// `POST /v1/peers/allow`
pub(super) async fn allow(
    State(api): State<Api>,
    Json(request): Json<PeerRequest>,
) -> Result<Answer<PeerAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let id = other(mesh, &request)?;
    mesh.set_blocked(id, false).await?;
    Ok(Answer(PeerAnswer { mesh: mesh.name.clone(), node: request.node, id, blocked: false }))
}

/// The member meant, which is not this node.
fn other(mesh: &Mesh, request: &PeerRequest) -> Result<NodeId, Problem> {
    let id = crate::outbox::resolve(mesh, &request.node).map_err(|problem| *problem)?;
    if id == mesh.identity.node {
        return Err(
            Problem::new(ProblemCode::Malformed).detail(format!("{} is this node itself", request.node))
        );
    }
    Ok(id)
}
