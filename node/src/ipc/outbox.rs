//! The outbox, for operators.

use axum::Json as Answer;
use axum::extract::{Path, State};
use waxwing_protocol::api::{
    AbortRequest, BrokerView, MeshQuery, OutboxAnswer, OutboxDetail, OutboxItem, OutboxPage, OutboxQuery,
    Problem, ProblemCode, RequeueRequest,
};
use waxwing_protocol::{Address, limits};

use super::Api;
use super::mesh::offline;
use super::problem::Refused;
use super::request::{Json, Query, place};
use crate::content::Content;
use crate::link::CallError;
use crate::mesh::Mesh;
use crate::outbox as contract;
use crate::store::outbox::{self, Life, Which};

/// Messages in an answer, unless asked otherwise.
const LIMIT: usize = 100;

/// `GET /v1/outbox`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<OutboxQuery>,
) -> Result<Answer<OutboxPage>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let limit = query.limit.unwrap_or(LIMIT);
    if limit == 0 || limit > limits::INBOX_PAGE {
        return Err(Problem::new(ProblemCode::Malformed).detail("limit must be 1 to 1000").into());
    }
    let after = place(query.after)?;
    let state = query.state.map(waxwing_protocol::api::MessageState::as_str);
    let items: Vec<OutboxItem> =
        outbox::list(&mesh.db, after, state, limit).await?.into_iter().map(|life| item(mesh, life)).collect();
    let next = items.last().map_or(after, |item| item.row);
    Ok(Answer(OutboxPage { items, next }))
}

fn item(mesh: &Mesh, life: Life) -> OutboxItem {
    OutboxItem {
        row: row_number(life.row),
        state: contract::state(mesh, &life),
        client_message_id: life.client_id,
        to: Address { app: life.to_app, node: life.to_node },
        from_app: life.from_app,
        reason: life.reason,
        priority: life.priority,
        queued_at: life.queued_at,
        expires_at: life.expires,
        size: life.size,
    }
}

fn row_number(row: i64) -> u64 {
    u64::try_from(row).unwrap_or(0)
}

/// `GET /v1/outbox/{row}`
pub(super) async fn detail(
    State(api): State<Api>,
    Path(row): Path<String>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<OutboxDetail>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let unknown = || Refused::from(Problem::new(ProblemCode::UnknownMessage));
    let row: i64 = row.parse().map_err(|_| unknown())?;
    let life = outbox::life(&mesh.db, Which::Row(row)).await?.ok_or_else(unknown)?;
    let sealed = outbox::content(&mesh.db, row).await?;
    let wiped = sealed.is_empty();
    let content = if wiped {
        Content::default()
    } else {
        Content::open_outgoing(&mesh.keys, &life.client_id, &sealed)?
    };
    let (body, body_base64) = if wiped { (None, None) } else { content.shown_body() };
    Ok(Answer(OutboxDetail {
        row: row_number(row),
        status: contract::show(mesh, life),
        wiped,
        content_type: content.content_type,
        body,
        body_base64,
        reply_to: content.reply_to,
        thread: content.thread,
    }))
}

/// `POST /v1/outbox/requeue`
pub(super) async fn requeue(
    State(api): State<Api>,
    Json(request): Json<RequeueRequest>,
) -> Result<Answer<OutboxAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    Ok(Answer(contract::requeue(mesh, request).await?))
}

/// `POST /v1/outbox/abort`
pub(super) async fn abort(
    State(api): State<Api>,
    Json(request): Json<AbortRequest>,
) -> Result<Answer<OutboxAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    Ok(Answer(contract::abort(mesh, &request).await?))
}

/// `GET /v1/send/{id}/broker`
pub(super) async fn broker_view(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<BrokerView>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let unknown = || Refused::from(Problem::new(ProblemCode::UnknownMessage));
    let id = id.parse().map_err(|_| unknown())?;
    if outbox::life(&mesh.db, Which::Id(&id)).await?.is_none() {
        return Err(unknown());
    }
    let wire_id = mesh.keys.wire_id(&id);
    let why = "what the broker holds, only it can say";
    let calls = mesh.calls().ok_or_else(|| offline(mesh, why))?;
    let shown = calls.show(wire_id).await.map_err(|error| match error {
        CallError::Limited { .. } => Problem::new(ProblemCode::Busy).detail(error.to_string()),
        CallError::Lost
        | CallError::Unanswered(_)
        | CallError::NoKeys { .. }
        | CallError::Refused { .. }
        | CallError::Grow(_)
        | CallError::Read(_) => offline(mesh, why),
    })?;
    Ok(Answer(BrokerView {
        wire_id,
        message_id: shown.as_ref().map(|shown| shown.message),
        to: shown.as_ref().map(|shown| shown.to),
        priority: shown.as_ref().map(|shown| shown.pri),
        seal: shown.as_ref().map(|shown| shown.seal),
        first_seen: shown.as_ref().map(|shown| shown.first_seen),
        queued_bytes: shown.as_ref().and_then(|shown| shown.queued),
    }))
}
