//! What monitors read.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::problem::Refused;
use super::{Api, health};

/// The text that Prometheus asks for.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /v1/metrics`
pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Refused> {
    let page = api.meshes.metrics().render(&health::look(&api).await?, &api.meshes.disk());
    Ok(([(header::CONTENT_TYPE, TEXT)], page))
}
