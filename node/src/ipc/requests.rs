//! Asking an app and waiting for its answer; answering; waiting no more.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json as Answered;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use waxwing_protocol::api::{
    CallAnswer, CallProgress, CallRequest, CancelRequest, EVENT_STREAM, Problem, ProblemCode, ReplyRequest,
};
use waxwing_protocol::{Address, limits};

use super::Api;
use super::events::KEEPALIVE;
use super::problem::Refused;
use super::request::{From, Json};
use crate::mesh::Mesh;
use crate::outbox::{Caller, Written, resolve, written};
use crate::requests::{self, Answer, Asking, Call, Happening, Note};

/// Events made ready for a client before it reads them.
const READ_AHEAD: usize = 4;

/// `POST /v1/request`
pub(super) async fn request(
    State(api): State<Api>,
    From(caller): From,
    headers: HeaderMap,
    Json(request): Json<CallRequest>,
) -> Result<Response, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let as_stream = accepts_stream(&headers);
    let asking = asking(mesh, request, &caller, as_stream)?;
    if as_stream {
        let room = Arc::clone(&api.streams).try_acquire_owned();
        let room =
            room.map_err(|_| Problem::new(ProblemCode::Busy).detail("100 streams are open already"))?;
        let call = requests::begin(mesh, asking).await?;
        let (events, read) = mpsc::channel(READ_AHEAD);
        // A task of its mesh: a client that does not read does not keep the mesh open.
        mesh.tasks.spawn(hand_over(Arc::clone(mesh), call, events));
        let events = stream::unfold((read, room), |(mut read, room)| async {
            let event = read.recv().await?;
            Some((Ok::<_, Infallible>(event), (read, room)))
        });
        return Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEPALIVE)).into_response());
    }
    let mut call = requests::begin(mesh, asking).await?;
    loop {
        if let Happening::End(end) = call.next().await {
            return Ok(Answered(shown(mesh, &call, end?)).into_response());
        }
    }
}

/// Whether the answer is wanted as a stream.
fn accepts_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media =
        |part: &str| part.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM);
    accepted.split(',').any(media)
}

/// A valid request.
fn asking(mesh: &Mesh, request: CallRequest, caller: &Caller, progress: bool) -> Result<Asking, Refused> {
    let malformed = |detail: String| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
    if caller.id.is_some() {
        let detail = "a request is made once and its answer is not kept: it takes no Idempotency-Key";
        return Err(malformed(detail.to_owned()));
    }
    let from_app = caller.speaks_as(request.from_app)?;
    let address: Option<Address> = request.to.parse().ok();
    let to = address.and_then(|address| Some((address.app?, address.node)));
    let (app, node) = to.ok_or_else(|| {
        let detail = "a request is for whoever serves an app: write app@node";
        malformed(format!("`{}`: {detail}", request.to.escape_debug()))
    })?;
    let timeout = match &request.timeout {
        None => limits::ANSWER_WITHIN,
        Some(text) => {
            let within = limits::ANSWER_MIN..=limits::ANSWER_MAX;
            let timeout = humantime::parse_duration(text).ok().filter(|timeout| within.contains(timeout));
            timeout.ok_or_else(|| malformed("timeout must be 100ms to 10m, as 30s".to_owned()))?
        }
    };
    let CallRequest { body, body_base64, content_type, meta, id: name, .. } = request;
    let content = written(Written { body, body_base64, content_type, meta })?;
    let recipient = resolve(mesh, &node)?;
    Ok(Asking { node, recipient, app, from_app, content, timeout, progress, name })
}

/// An answer as its caller sees it.
fn shown(mesh: &Mesh, call: &Call, answer: Answer) -> CallAnswer {
    let Answer { app, content } = answer;
    let (body, body_base64) = content.shown_body();
    let own = || mesh.name.clone();
    CallAnswer {
        request: call.name.clone(),
        from: mesh.roster(|roster| roster.former(&call.node).map(|m| m.name.clone())).unwrap_or_else(own),
        app: app.unwrap_or_else(|| call.app.clone()),
        meta: content.shown_meta(),
        content_type: content.content_type,
        body,
        body_base64,
        took_ms: u64::try_from(call.took().as_millis()).unwrap_or(u64::MAX),
    }
}

fn progress(call: &Call, Note { number, content }: Note) -> CallProgress {
    let (body, body_base64) = content.shown_body();
    let (request, meta) = (call.name.clone(), content.shown_meta());
    CallProgress { request, number, meta, content_type: content.content_type, body, body_base64 }
}

/// Hands over what happens, until the end or until the client has gone: then nobody waits any more.
async fn hand_over(mesh: Arc<Mesh>, mut call: Call, events: mpsc::Sender<sse::Event>) {
    loop {
        let happening = tokio::select! {
            () = events.closed() => return,
            happening = call.next() => happening,
        };
        let (event, last) = match happening {
            Happening::Note(note) => (encode("progress", &progress(&call, note)), false),
            Happening::End(Ok(answer)) => (encode("reply", &shown(&mesh, &call, answer)), true),
            Happening::End(Err(problem)) => (encode("problem", &problem), true),
        };
        if !send(&mesh, &events, event).await || last {
            return;
        }
    }
}

/// False if there is nobody to send to, or no time.
async fn send(mesh: &Mesh, events: &mpsc::Sender<sse::Event>, event: sse::Event) -> bool {
    tokio::select! {
        biased;
        sent = events.send(event) => sent.is_ok(),
        () = mesh.stop.cancelled() => false,
    }
}

fn encode(what: &str, data: &impl Serialize) -> sse::Event {
    let encoded = sse::Event::default().event(what).json_data(data);
    encoded.unwrap_or_else(|_| sse::Event::default().comment("an event that cannot be encoded"))
}

/// `POST /v1/request/cancel`
pub(super) async fn cancel(
    State(api): State<Api>,
    From(caller): From,
    Json(request): Json<CancelRequest>,
) -> Result<StatusCode, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    requests::cancel(mesh, &caller, &request.request)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/reply`
pub(super) async fn reply(
    State(api): State<Api>,
    From(caller): From,
    Json(request): Json<ReplyRequest>,
) -> Result<StatusCode, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    // A task of its mesh: what has been said goes its way, also when the connection it was said on does not last.
    let tasks = mesh.tasks.clone();
    let said = tasks.spawn(async move { requests::reply(&mesh, &caller, request).await });
    said.await.map_err(|_| Problem::new(ProblemCode::Internal))??;
    Ok(StatusCode::NO_CONTENT)
}
