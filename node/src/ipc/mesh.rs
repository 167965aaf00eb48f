//! Who is in a mesh, and how others come in.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::{Body, Grant, InviteSeed, InviteToken, NewInvite, Reason, Role, Target};
use waxwing_protocol::api::{
    GrantRequest, InviteAnswer, InviteRequest, LinkState, MemberAnswer, Problem, ProblemCode, ResumeAnswer,
    ResumeRequest, RevokeRequest,
};
use waxwing_protocol::link::Code;

use super::Api;
use super::problem::Refused;
use super::request::Json;
use crate::append;
use crate::epochs::Proposal;
use crate::link::CallError;
use crate::mesh::Mesh;

/// How long an invite lasts, unless asked otherwise.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest life of an invite.
const EXPIRES_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Why inviting needs the broker.
const INVITE: &str = "an invite is an entry in the mesh's log";
/// Why any other change needs the broker.
const CHANGE: &str = "this is an entry in the mesh's log";
/// Why resuming needs the broker.
const RESUME: &str = "to resume a mesh is an entry in its log";
/// Most uses of an invite.
const USES_MAX: u32 = 10_000;

/// `POST /v1/mesh/invite`
pub(super) async fn invite(
    State(api): State<Api>,
    Json(request): Json<InviteRequest>,
) -> Result<Answer<InviteAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    must_be_admin(mesh, "ask an admin of the mesh for an invite")?;
    let seed = InviteSeed::generate(&mut crate::rng());
    let new = new_invite(mesh, &request, &seed)?;
    let expires_at = new.expires;
    let proposal = Proposal::Invite(Box::new(new));
    append::append(mesh, &proposal).await.map_err(|error| refusal(mesh, INVITE, &error))?;
    let token = InviteToken::new(&mesh.broker.dialled(), mesh.identity.mesh, seed, mesh.broker.pin())?;
    Ok(Answer(InviteAnswer { token: token.reveal().to_string(), mesh: mesh.name.clone(), expires_at }))
}

/// `POST /v1/mesh/resume`
pub(super) async fn resume(
    State(api): State<Api>,
    Json(request): Json<ResumeRequest>,
) -> Result<Answer<ResumeAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    must_be_admin(mesh, "ask an admin of the mesh to say `waxwing mesh resume`")?;
    if mesh.resume_wanted().is_none() {
        return Err(Problem::new(ProblemCode::NothingToResume).into());
    }
    let head = append::resume_by(mesh, &mesh.identity.signing)
        .await
        .map_err(|error| refusal(mesh, RESUME, &error))?;
    Ok(Answer(ResumeAnswer { mesh: mesh.name.clone(), head }))
}

/// `POST /v1/mesh/grant`
pub(super) async fn grant(
    State(api): State<Api>,
    Json(request): Json<GrantRequest>,
) -> Result<Answer<MemberAnswer>, Refused> {
    let GrantRequest { node: name, role, mesh } = request;
    let mesh = &api.mesh(mesh.as_ref())?;
    let node = crate::outbox::resolve(mesh, &name).map_err(|problem| *problem)?;
    change(mesh, Body::Grant(Grant { node, role }).into()).await?;
    Ok(Answer(MemberAnswer { mesh: mesh.name.clone(), node: name, id: node }))
}

/// `POST /v1/mesh/revoke`
pub(super) async fn revoke(
    State(api): State<Api>,
    Json(request): Json<RevokeRequest>,
) -> Result<Answer<MemberAnswer>, Refused> {
    let RevokeRequest { node: name, reason, mesh } = request;
    let mesh = &api.mesh(mesh.as_ref())?;
    let reason = self::reason(reason)?;
    let node = crate::outbox::resolve(mesh, &name).map_err(|problem| *problem)?;
    change(mesh, Proposal::Revoke { target: Box::new(Target::Node(node)), reason }).await?;
    Ok(Answer(MemberAnswer { mesh: mesh.name.clone(), node: name, id: node }))
}

/// Why something is revoked, for the log.
pub(super) fn reason(text: Option<String>) -> Result<Reason, Problem> {
    text.unwrap_or_default().parse().map_err(|_| {
        let detail = "a reason has at most 256 bytes and no control characters";
        Problem::new(ProblemCode::Malformed).detail(detail)
    })
}

/// Appends what only an admin may.
pub(super) async fn change(mesh: &Mesh, proposal: Proposal) -> Result<(), Problem> {
    must_be_admin(mesh, "ask an admin of the mesh")?;
    append::append(mesh, &proposal).await.map_err(|error| refusal(mesh, CHANGE, &error))
}

/// Has a mesh that waits for it go on, by the recovery key.
pub(super) async fn resume_by(mesh: &Mesh, key: &SigningKey) -> Result<(), Problem> {
    append::resume_by(mesh, key).await.map(drop).map_err(|error| refusal(mesh, RESUME, &error))
}

/// Appends what the recovery key may, whoever this node is.
pub(super) async fn change_by(mesh: &Mesh, key: &SigningKey, body: Body) -> Result<(), Problem> {
    append::append_by(mesh, key, &body.into()).await.map_err(|error| refusal(mesh, CHANGE, &error))
}

fn must_be_admin(mesh: &Mesh, otherwise: &str) -> Result<(), Problem> {
    let role = mesh.roster(|roster| roster.member(&mesh.identity.node).map(|member| member.role));
    match role {
        Some(Role::Admin) => Ok(()),
        Some(Role::Member) | None => Err(Problem::new(ProblemCode::NotAdmin).detail(otherwise)),
    }
}

fn new_invite(mesh: &Mesh, request: &InviteRequest, seed: &InviteSeed) -> Result<NewInvite, Refused> {
    let malformed = |detail: String| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
    let expires = match &request.expires {
        None => EXPIRES,
        Some(text) => humantime::parse_duration(text)
            .map_err(|error| malformed(format!("expires `{}`: {error}; write 24h", text.escape_debug())))?,
    };
    if expires.is_zero() || expires > EXPIRES_MAX {
        return Err(malformed("expires must be above 0 and at most 365d".into()));
    }
    let uses = request.uses.unwrap_or(1);
    if !(1..=USES_MAX).contains(&uses) {
        return Err(malformed("uses must be 1 to 10000".into()));
    }
    let sealing = seed.sealing_key().public()?;
    Ok(NewInvite {
        key: seed.signing_key().public(),
        // Those held now; the proposal seals those of the epoch that it comes into.
        state_keys: mesh.epochs.held().seal_to(&sealing, &mut crate::rng())?,
        sealing,
        role: request.role.unwrap_or(Role::Member),
        uses,
        expires: mesh.clock.broker_now().plus(expires),
        name: request.name.clone(),
    })
}

/// What needs the broker, and why it cannot be had.
pub(super) fn offline(mesh: &Mesh, why: &str) -> Problem {
    let link = mesh.link();
    let code = if link.state == LinkState::Stopped { ProblemCode::MeshStopped } else { ProblemCode::Offline };
    let reason = link.reason.unwrap_or_else(|| "not connected yet".into());
    Problem::new(code).detail(format!("{why}: {reason}"))
}

fn refusal(mesh: &Mesh, why: &str, error: &CallError) -> Problem {
    match error {
        // That this node is no admin is known before the broker is asked, unless it has just been demoted.
        CallError::Refused { code: Code::NotAllowed, detail } => {
            Problem::new(ProblemCode::NotNow).detail(detail)
        }
        CallError::Refused { code: Code::ResumeWanted, detail } => {
            Problem::new(ProblemCode::ResumeWanted).detail(detail)
        }
        CallError::Refused { .. } | CallError::Grow(_) | CallError::Read(_) => {
            Problem::new(ProblemCode::Internal).detail(error.to_string())
        }
        CallError::NoKeys { .. } => Problem::new(ProblemCode::KeysWanted)
            .detail(format!("{error}, and the node goes on asking for it")),
        CallError::Limited { .. } => Problem::new(ProblemCode::Busy).detail(error.to_string()),
        CallError::Unanswered(_) => {
            let detail = "the link was lost before the broker had answered, and did not come back in time: whether the log \
                          has the entry shows when it does";
            let hint = "`waxwing members --all` and `waxwing invite list` show what the log has".to_owned();
            Problem::new(ProblemCode::Offline).detail(detail).hint(Some(hint))
        }
        CallError::Lost => offline(mesh, why),
    }
}
