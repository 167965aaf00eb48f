//! Apps that register without a stream, and who is registered.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use waxwing_crypto::Name;
use waxwing_protocol::api::{App, Apps, Problem, ProblemCode, Registration};

use super::Api;
use super::problem::Refused;
use super::request::Json;

/// Shortest and longest registration.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// `GET /v1/apps`
pub(super) async fn list(State(api): State<Api>) -> Answer<Apps> {
    Answer(Apps { apps: api.apps.list() })
}

/// `PUT /v1/apps/{name}`
pub(super) async fn register(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(registration): Json<Registration>,
) -> Result<Answer<App>, Refused> {
    let ttl = humantime::parse_duration(&registration.ttl).ok().filter(|ttl| TTL.contains(ttl));
    let ttl =
        ttl.ok_or_else(|| Problem::new(ProblemCode::Malformed).detail("ttl must be 1s to 1h, as 30s"))?;
    let app = api.apps.register(&app_name(&name)?, ttl);
    app.map(Answer).map_err(|_| Problem::new(ProblemCode::AppRegistered).into())
}

/// `DELETE /v1/apps/{name}`
pub(super) async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    if api.apps.remove(&app_name(&name)?) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(ProblemCode::UnknownApp).into())
    }
}

fn app_name(text: &str) -> Result<Name, Refused> {
    text.parse().map_err(|_| Problem::new(ProblemCode::Malformed).detail("an app's name is [a-z0-9-]").into())
}
