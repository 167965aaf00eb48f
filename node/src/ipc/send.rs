//! Sending.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use waxwing_crypto::ClientMessageId;
use waxwing_protocol::api::{
    BatchAnswer, BatchOutcome, BatchRequest, MessageState, Problem, ProblemCode, SendAnswer, SendRequest,
    SendStatus, StatusQuery,
};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{From, Json, Query};
use super::wait::Wait;
use crate::outbox;
use crate::store::outbox::Which;

/// `POST /v1/send`
pub(super) async fn send(
    State(api): State<Api>,
    From(caller): From,
    Json(request): Json<SendRequest>,
) -> Result<(StatusCode, Answer<SendAnswer>), Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let outcome = outbox::accept(mesh, vec![(request, caller)]).await.pop();
    let answer = outcome.ok_or_else(|| Problem::new(ProblemCode::Internal))??;
    Ok((status_of(&answer), Answer(answer)))
}

/// 202: stored here. 200: it was at the broker already.
const fn status_of(answer: &SendAnswer) -> StatusCode {
    match answer.state {
        MessageState::Accepted | MessageState::Delivered | MessageState::Read => StatusCode::OK,
        MessageState::Queued
        | MessageState::Inflight
        | MessageState::Dead
        | MessageState::Expired
        | MessageState::Aborted => StatusCode::ACCEPTED,
    }
}

/// `POST /v1/send/batch`
pub(super) async fn batch(
    State(api): State<Api>,
    From(caller): From,
    Json(request): Json<BatchRequest>,
) -> Result<Answer<BatchAnswer>, Refused> {
    if request.items.is_empty() || request.items.len() > limits::API_BATCH {
        return Err(Problem::new(ProblemCode::Malformed).detail("a batch has 1 to 1,000 items").into());
    }
    if caller.id.is_some() {
        let detail = "an Idempotency-Key header cannot stand for several messages: use client_message_id";
        return Err(Problem::new(ProblemCode::Malformed).detail(detail).into());
    }
    let mesh = &api.mesh(request.items.first().and_then(|item| item.mesh.as_ref()))?;
    if request.items.iter().any(|item| item.mesh != request.items[0].mesh) {
        return Err(Problem::new(ProblemCode::Malformed).detail("a batch is for one mesh").into());
    }
    let requests = request.items.into_iter().map(|item| (item, caller.clone())).collect();
    let outcomes = outbox::accept(mesh, requests).await.into_iter().map(|outcome| match outcome {
        Ok(answer) => BatchOutcome::Sent(answer),
        Err(problem) => BatchOutcome::Refused(problem),
    });
    Ok(Answer(BatchAnswer { items: outcomes.collect() }))
}

/// `GET /v1/send/{id}`
pub(super) async fn status(
    State(api): State<Api>,
    From(caller): From,
    Path(id): Path<String>,
    Query(query): Query<StatusQuery>,
) -> Result<Answer<SendStatus>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let unknown = || Refused::from(Problem::new(ProblemCode::UnknownMessage));
    let id: ClientMessageId = id.parse().map_err(|_| unknown())?;
    let mut wait = Wait::new(mesh, query.wait.as_deref(), mesh.signals.moves())?;
    let mut asked = query.known;
    loop {
        let status = outbox::status(mesh, Which::Id(&id)).await?;
        let status = status.filter(|status| !caller.bound || status.from_app == caller.app);
        let status = status.ok_or_else(unknown)?;
        let changed = *asked.get_or_insert(status.state) != status.state;
        if changed || status.state.is_end() || !wait.again().await {
            return Ok(Answer(status));
        }
    }
}
