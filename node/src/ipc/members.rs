//! Whom a mesh's log knows: members, open invites, and the admin of last resort.

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::membership::{Body, Grant, RecoverySecret, Role, Target};
use waxwing_crypto::{Name, NodeId};
use waxwing_protocol::api::{
    Invites, MemberAnswer, Members, MembersQuery, MeshQuery, Problem, ProblemCode, RecoverRequest,
    RevokeInviteRequest, RevokedInvite,
};

use super::Api;
use super::mesh::{change, change_by, reason, resume_by};
use super::problem::Refused;
use super::request::{Json, Query};
use crate::epochs::Proposal;
use crate::mesh::Mesh;
use crate::{members, outbox};

/// Fewest digits by which an invite is named.
const DIGITS: usize = 4;

/// `GET /v1/members`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<MembersQuery>,
) -> Result<Answer<Members>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let members = mesh.roster(|roster| members::of(roster, mesh.identity.node, query.all));
    Ok(Answer(Members { mesh: mesh.name.clone(), members }))
}

/// `GET /v1/mesh/invites`
pub(super) async fn invites(
    State(api): State<Api>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<Invites>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let now = mesh.clock.broker_now();
    let invites = mesh.roster(|roster| members::open_invites(roster, now));
    Ok(Answer(Invites { mesh: mesh.name.clone(), invites }))
}

/// `POST /v1/mesh/invite/revoke`
pub(super) async fn revoke_invite(
    State(api): State<Api>,
    Json(request): Json<RevokeInviteRequest>,
) -> Result<Answer<RevokedInvite>, Refused> {
    let RevokeInviteRequest { key, reason: why, mesh } = request;
    let mesh = &api.mesh(mesh.as_ref())?;
    let reason = reason(why)?;
    let digits = key.to_ascii_lowercase();
    if digits.len() < DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let detail =
            format!("an invite is named by {DIGITS} or more hex digits of its key, from the first on");
        return Err(Problem::new(ProblemCode::Malformed).detail(detail).into());
    }
    let found = mesh.roster(|roster| members::invites_like(roster, &digits));
    let key = match found.as_slice() {
        [key] => *key,
        [] => {
            let detail = format!("{} has no invite whose key begins with {digits}", mesh.name);
            let hint = Some("`waxwing invite list` shows those that are open".to_owned());
            return Err(Problem::new(ProblemCode::NotFound).detail(detail).hint(hint).into());
        }
        several => {
            let detail =
                format!("the keys of {} invites begin with {digits}: write more of it", several.len());
            return Err(Problem::new(ProblemCode::Usage).detail(detail).into());
        }
    };
    change(mesh, Proposal::Revoke { target: Box::new(Target::Invite(key)), reason }).await?;
    Ok(Answer(RevokedInvite { mesh: mesh.name.clone(), key: members::hex(&key) }))
}

/// `POST /v1/mesh/recover`
pub(super) async fn recover(
    State(api): State<Api>,
    Json(request): Json<RecoverRequest>,
) -> Result<Answer<MemberAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let words = request.words.parse::<RecoverySecret>();
    let key = words.map_err(|error| not_the_words(error.to_string()))?.signing_key();
    if mesh.roster(|roster| *roster.recovery() != key.public()) {
        return Err(not_the_words(format!(
            "these are the recovery words of another mesh than {}",
            mesh.name
        ))
        .into());
    }
    let (name, id) = whom(mesh, request.node)?;
    let resumed = mesh.resume_wanted().is_some();
    if resumed {
        // Until then the log takes nothing else, and there may be no other admin who could say it.
        resume_by(mesh, &key).await?;
    }
    let is_admin = mesh.roster(|roster| roster.member(&id).is_some_and(|member| member.role == Role::Admin));
    if !(resumed && is_admin) {
        change_by(mesh, &key, Body::Grant(Grant { node: id, role: Role::Admin })).await?;
    }
    Ok(Answer(MemberAnswer { mesh: mesh.name.clone(), node: name, id }))
}

/// Who is to become an admin: this node, unless another is named.
fn whom(mesh: &Mesh, named: Option<Name>) -> Result<(Name, NodeId), Refused> {
    let name = match named {
        Some(name) => name,
        None => mesh.node_name().ok_or_else(|| {
            Problem::new(ProblemCode::NotAuthorised).detail("this node is no member of the mesh any more")
        })?,
    };
    let id = outbox::resolve(mesh, &name).map_err(|problem| *problem)?;
    Ok((name, id))
}

fn not_the_words(detail: String) -> Problem {
    Problem::new(ProblemCode::RecoveryWords).detail(detail)
}
