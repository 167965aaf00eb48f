//! Tokens: made, listed and ended by who comes by the socket, or has one that allows it.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use waxwing_crypto::Name;
use waxwing_protocol::api::{Problem, ProblemCode, TokenAnswer, TokenRequest, Tokens};

use super::Api;
use super::problem::Refused;
use super::request::Json;
use crate::error::Result;
use crate::tokens;

/// `GET /v1/tokens`
pub(super) async fn list(State(api): State<Api>) -> Answer<Tokens> {
    Answer(Tokens { tokens: api.tokens.list() })
}

/// `POST /v1/tokens`
pub(super) async fn create(
    State(api): State<Api>,
    Json(request): Json<TokenRequest>,
) -> Result<Answer<TokenAnswer>, Refused> {
    let (token, about) = write(api, move |tokens| tokens.create(request)).await?;
    Ok(Answer(TokenAnswer { token: token.reveal(), about }))
}

/// `DELETE /v1/tokens/{name}`
pub(super) async fn revoke(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    let malformed = |_| Problem::new(ProblemCode::Malformed).detail("a token's name is [a-z0-9-]");
    let name: Name = name.parse().map_err(malformed)?;
    write(api, move |tokens| tokens.revoke(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What waits for the disk does so on a thread of its own.
async fn write<T: Send + 'static>(
    api: Api,
    change: impl FnOnce(&tokens::Tokens) -> Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let tokens = Arc::clone(&api.tokens);
    let done = tokio::task::spawn_blocking(move || change(&tokens)).await;
    Ok(done.map_err(|_| Problem::new(ProblemCode::Internal))??)
}
