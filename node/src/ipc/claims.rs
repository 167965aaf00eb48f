//! What one of many acts on, once, by the local API.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::space::KeyName;
use waxwing_protocol::api::{
    AbandonAnswer, AbandonRequest, Author, Claim, ClaimAnswer, ClaimRequest, ClaimState, Claims, ClaimsQuery,
    CompleteAnswer, CompleteRequest, Completion, OnDisconnect,
};
use waxwing_protocol::limits;

use super::Api;
use super::leases::{denied, key, known, millis, show, time};
use super::problem::Refused;
use super::request::{Acting, Json, Query};
use super::texts::{line, lines};
use super::wait::LONGEST;
use crate::claims::{self, Ask, Done, Tried};
use crate::leases::Standing;
use crate::mesh::Mesh;

/// `POST /v1/claims/try`
pub(super) async fn ask(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<ClaimRequest>,
) -> Result<Answer<ClaimAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let holder = acting.holder(mesh)?;
    line("purpose", request.purpose.as_ref(), limits::LEASE_NAME)?;
    let ask = Ask {
        key: key(&request.key)?,
        ttl: time("ttl", request.ttl.as_deref(), limits::LEASE_TTL, limits::CLAIM_TTL_DEFAULT)?,
        wait: time("wait", request.wait.as_deref(), Duration::ZERO..=LONGEST, Duration::ZERO)?,
        on_disconnect: request.on_disconnect.unwrap_or(OnDisconnect::Hold),
        purpose: request.purpose,
        holder,
    };
    let registered = ask.holder.registered;
    let mut answer = ClaimAnswer {
        mesh: mesh.name.clone(),
        key: request.key,
        state: ClaimState::Held,
        token: None,
        remaining: None,
        renewed: false,
        holder: None,
        completion: None,
    };
    match claims::ask(mesh, ask).await.map_err(denied)? {
        Tried::Claimed { token, remaining } => {
            answer.state = ClaimState::Claimed;
            (answer.token, answer.remaining) = (Some(token), Some(millis(remaining)));
            answer.renewed = registered;
        }
        Tried::Held(by) => answer.holder = by.map(|standing| show(mesh, &standing)),
        Tried::Done(done) => {
            (answer.state, answer.completion) = (ClaimState::Done, Some(completion(mesh, done)));
        }
    }
    Ok(Answer(answer))
}

/// `POST /v1/claims/complete`
pub(super) async fn complete(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<CompleteRequest>,
) -> Result<Answer<CompleteAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let (holder, key) = (acting.holder(mesh)?, known(&request.key)?);
    lines("outcome", request.outcome.as_ref(), limits::SUMMARY)?;
    let done = claims::complete(mesh, &holder, &key, request.token, request.outcome).await;
    let completion = completion(mesh, done.map_err(denied)?);
    Ok(Answer(CompleteAnswer { key: request.key, completion }))
}

/// `POST /v1/claims/abandon`
pub(super) async fn abandon(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<AbandonRequest>,
) -> Result<Answer<AbandonAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let (holder, key, token) = (acting.holder(mesh)?, known(&request.key)?, request.token);
    mesh.claims.release(mesh, &holder, &key, token).await.map_err(denied)?;
    Ok(Answer(AbandonAnswer { key: request.key, token }))
}

/// `GET /v1/claims`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ClaimsQuery>,
) -> Result<Answer<Claims>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let freshness = mesh.claims.space(mesh).known(mesh).await?;
    let wants = |key: &KeyName, holder: Option<&Standing>, done: Option<&Done>| {
        let says = holder.and_then(|standing| standing.says.as_ref());
        query.key.as_ref().is_none_or(|wanted| key.as_str() == wanted)
            && query.prefix.as_ref().is_none_or(|prefix| key.as_str().starts_with(prefix.as_str()))
            && query.app.as_ref().is_none_or(|app| {
                says.is_some_and(|says| says.app == *app) || done.is_some_and(|done| done.says.app == *app)
            })
    };
    let mut claims: Vec<Claim> = Vec::new();
    for (key, (holder, done)) in claims::list(mesh).await? {
        if wants(&key, holder.as_ref(), done.as_ref()) {
            claims.push(Claim {
                key: key.to_string(),
                state: if done.is_some() { ClaimState::Done } else { ClaimState::Held },
                holder: holder.map(|standing| show(mesh, &standing)),
                completion: done.map(|done| completion(mesh, done)),
            });
        }
    }
    let more = claims.len() > limits::LEASES_PAGE;
    claims.truncate(limits::LEASES_PAGE);
    let (mesh, current, as_of) = (mesh.name.clone(), freshness.complete, freshness.as_of);
    Ok(Answer(Claims { mesh, claims, more, current, as_of }))
}

/// That somebody has acted, as others are shown it.
fn completion(mesh: &Mesh, done: Done) -> Completion {
    let node = mesh.roster(|roster| roster.former(&done.node).map(|member| member.name.clone()));
    let Done { node: node_id, at, until, says, .. } = done;
    let by = Author { node, node_id, app: Some(says.app), instance: says.instance };
    Completion { outcome: says.outcome, by, at, token: says.token, until }
}
