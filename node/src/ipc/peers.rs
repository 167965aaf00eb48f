//! Members as this node sees them: who they are, whether they are who they say, and whether it takes their mail.

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::membership::Member;
use waxwing_crypto::{NodeId, peer_words};
use waxwing_protocol::api::{
    AppDetails, LinkState, MeshQuery, Peer, PeerAnswer, PeerApp, PeerRequest, Peers, Problem, ProblemCode,
    Profile, VerifyAnswer,
};

use super::Api;
use super::problem::Refused;
use super::request::{Json, Query};
use crate::apps::Which;
use crate::mesh::Mesh;
use crate::presence::{self, Seen, SeenApp};

/// `GET /v1/peers`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<Peers>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let mut members: Vec<Member> = mesh.roster(|roster| roster.members().cloned().collect());
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let known = presence::freshness(mesh);
    let mut apps = mesh.presence.apps();
    let peer = |member| peer(mesh, member, &mut apps);
    let peers = members.into_iter().map(peer).collect();
    Ok(Answer(Peers { mesh: mesh.name.clone(), peers, current: known.complete, as_of: known.as_of }))
}

/// A member, and what is known of it. Its apps are taken out of all.
fn peer(mesh: &Mesh, member: Member, apps: &mut Vec<SeenApp>) -> Peer {
    let this = member.id == mesh.identity.node;
    let (seen, apps) = if this {
        itself(mesh)
    } else {
        let of_it = |app: &mut SeenApp| app.node == member.id;
        let apps = apps.extract_if(.., of_it).map(|app| short(app.which, app.details)).collect();
        (mesh.presence.seen(member.id), apps)
    };
    let blocked = mesh.blocks(&member.id);
    Peer {
        node: member.name,
        id: member.id,
        role: member.role,
        joined_at: member.joined_at,
        online: seen.since.is_some(),
        since: seen.since,
        last_seen: seen.last_seen,
        version: seen.version,
        // What it says is not listened to.
        profile: seen.profile.filter(|profile| !blocked && *profile != Profile::default()),
        apps: if blocked { Vec::new() } else { apps },
        this,
        blocked,
    }
}

/// This node, as its peers see it.
fn itself(mesh: &Mesh) -> (Seen, Vec<PeerApp>) {
    let (own, link) = (mesh.presence.profile(), mesh.link());
    let seen = Seen {
        since: (link.state == LinkState::Up).then(|| mesh.clock.to_broker(link.since)),
        last_seen: None,
        version: Some(crate::VERSION.to_owned()),
        profile: own.visible.then_some(own.profile),
    };
    let apps = mesh.apps.list().into_iter().filter(|_| own.visible);
    (seen, apps.map(|app| short(app.which, app.details)).collect())
}

fn short(which: Which, details: AppDetails) -> PeerApp {
    PeerApp { name: which.name, instance: which.instance, kind: details.kind }
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
