//! Topics.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use waxwing_protocol::api::{
    HistoryQuery, MeshQuery, Problem, ProblemCode, PublishAnswer, PublishRequest, RetentionRequest,
    SubscribeAnswer, SubscribeRequest, Subscriptions, Topic, TopicAckAnswer, TopicAckRequest, TopicHistory,
    TopicStreamQuery, Topics, TopicsQuery, UnsubscribeRequest,
};

use super::Api;
use super::problem::Refused;
use super::request::{Acting, Json, Query};
use crate::topics::{self, Reader};

/// What is made ready for a client before it reads it.
const READ_AHEAD: usize = 4;
/// What is not acknowledged comes again after this, unless the stream says otherwise.
const REDELIVER: Duration = Duration::from_secs(60);
/// Shortest and longest time that it may say.
const REDELIVERS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// `GET /v1/topics`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<TopicsQuery>,
) -> Result<Answer<Topics>, Refused> {
    let mesh = api.mesh(query.mesh.as_ref())?;
    Ok(Answer(topics::list(&mesh, &query).await?))
}

/// `GET /v1/topics/history`
pub(super) async fn history(
    State(api): State<Api>,
    Query(query): Query<HistoryQuery>,
) -> Result<Answer<TopicHistory>, Refused> {
    let mesh = api.mesh(query.mesh.as_ref())?;
    Ok(Answer(topics::history(&mesh, &query).await?))
}

/// `POST /v1/topics/publish`
pub(super) async fn publish(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<PublishRequest>,
) -> Result<Answer<PublishAnswer>, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    let id = acting.id.clone();
    let app = acting.holder(&mesh)?.which.name;
    Ok(Answer(topics::publish(&mesh, &app, id, request).await?))
}

/// `POST /v1/topics/retention`
pub(super) async fn retention(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<RetentionRequest>,
) -> Result<Answer<Topic>, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    Ok(Answer(topics::set_retention(&mesh, &app, request).await?))
}

/// `POST /v1/topics/subscribe`
pub(super) async fn subscribe(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<SubscribeRequest>,
) -> Result<Answer<SubscribeAnswer>, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    Ok(Answer(topics::subscribe(&mesh, &app, request).await?))
}

/// `POST /v1/topics/unsubscribe`
pub(super) async fn unsubscribe(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<UnsubscribeRequest>,
) -> Result<StatusCode, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    topics::unsubscribe(&mesh, &app, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/topics/subscriptions`
pub(super) async fn subscriptions(
    State(api): State<Api>,
    acting: Acting,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<Subscriptions>, Refused> {
    let mesh = api.mesh(query.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    Ok(Answer(topics::subscriptions(&mesh, &app).await?))
}

/// `POST /v1/topics/ack`
pub(super) async fn acknowledge(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<TopicAckRequest>,
) -> Result<Answer<TopicAckAnswer>, Refused> {
    let mesh = api.mesh(request.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    Ok(Answer(topics::acknowledge(&mesh, &app, request).await?))
}

/// `GET /v1/topics/stream`
pub(super) async fn stream(
    State(api): State<Api>,
    acting: Acting,
    Query(query): Query<TopicStreamQuery>,
) -> Result<impl IntoResponse, Refused> {
    let mesh = api.mesh(query.mesh.as_ref())?;
    let app = acting.holder(&mesh)?.which.name;
    let room = Arc::clone(&api.topic_streams).try_acquire_owned();
    let room = room.map_err(|_| {
        Problem::new(ProblemCode::Busy)
            .detail(format!("{} streams of topics are open already", super::TOPIC_STREAMS))
    })?;
    let redeliver = match &query.redeliver {
        None => REDELIVER,
        Some(text) => {
            let time = humantime::parse_duration(text).ok().filter(|time| REDELIVERS.contains(time));
            time.ok_or_else(|| Problem::new(ProblemCode::Malformed).detail("redeliver is 1s to 1h, as 60s"))?
        }
    };
    let reader = Reader::new(&mesh, app, query.pattern, redeliver);
    let (bytes, read) = mpsc::channel(READ_AHEAD);
    mesh.tasks.spawn(reader.run(bytes));
    let open = Open { read, _room: room };
    let body = stream::unfold(open, |mut open| async {
        let bytes = open.read.recv().await?;
        Some((Ok::<Bytes, Infallible>(bytes), open))
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)))
}

/// What lasts as long as the client's connection.
struct Open {
    read: mpsc::Receiver<Bytes>,
    _room: OwnedSemaphorePermit,
}
