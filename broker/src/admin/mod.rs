//! The operators' listener: how the broker is, and what it counts. Apart from the one that nodes dial, and on this machine
//! only unless somebody says otherwise; then whoever asks must show the token in the data folder.
//!
//! ```text
//! GET /healthz   this process answers
//! GET /readyz    its store takes commits; 503 with the reason otherwise
//! GET /metrics   what it counts, for Prometheus
//! GET /status    the same in a few lines, as JSON: what `waxwing broker status` shows
//! ```

mod client;
mod ready;
mod status;
mod token;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tracing::warn;

pub use client::ask;
pub use ready::Readiness;
pub use status::{Links, Queued, Status};
pub use token::token_file;

use crate::error::{Error, Result};
use crate::metrics;
use crate::state::State;
use crate::store::inspect;
use token::Token;

/// Where it listens unless somebody says.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7901);
/// Connections at once. Operators are few.
pub(crate) const CONNECTIONS: usize = 64;
/// The text that Prometheus asks for.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The section `[admin]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address to answer operators on. Without it, port 7901 of this machine, or another free one if that is taken.
    pub listen: Option<SocketAddr>,
}

/// The listener and what it asks of callers, before the broker runs.
pub(crate) struct Bound {
    /// Where operators call.
    pub(crate) listener: TcpListener,
    /// Where that is.
    pub(crate) addr: SocketAddr,
    token: Option<Token>,
}

impl Admin {
    /// Binds the listener, and reads or makes its token if others can reach it.
    ///
    /// # Errors
    /// `Listen` if an address that was asked for cannot be had; `Config` if the token's file is not what it must be.
    pub(crate) async fn bind(self, data: &Path) -> Result<Bound> {
        let listener = match self.listen {
            Some(addr) => TcpListener::bind(addr).await.map_err(|cause| Error::Listen { addr, cause })?,
            None => free().await?,
        };
        let addr = listener.local_addr()?;
        let open = addr.ip().to_canonical().is_loopback();
        let token = if open { None } else { Some(Token::load(&token_file(data))?) };
        Ok(Bound { listener, addr, token })
    }
}

/// The usual port, or any other if another broker has it.
async fn free() -> Result<TcpListener> {
    match TcpListener::bind(LISTEN).await {
        Ok(listener) => Ok(listener),
        Err(cause) => {
            let addr = SocketAddr::new(LISTEN.ip(), 0);
            let listener = TcpListener::bind(addr).await.map_err(|cause| Error::Listen { addr, cause })?;
            let addr = listener.local_addr()?;
            warn!(%cause, instead = %addr, "the usual admin address {LISTEN} cannot be had");
            Ok(listener)
        }
    }
}

impl Bound {
    /// What is answered there.
    pub(crate) fn router(self, state: Arc<State>) -> (TcpListener, Router) {
        let closed = Router::new()
            .route("/readyz", get(ready))
            .route("/metrics", get(show))
            .route("/status", get(status));
        let closed = match self.token {
            Some(token) => closed.layer(from_fn_with_state(Arc::new(token), authorise)),
            None => closed,
        };
        (self.listener, closed.route("/healthz", get(async || "ok\n")).with_state(state))
    }
}

/// Lets a request pass that shows the token.
async fn authorise(Shared(token): Shared<Arc<Token>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    if shown.is_some_and(|shown| token.is(shown)) {
        return next.run(request).await;
    }
    let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
    let text =
        "send `Authorization: Bearer TOKEN`: the token is in admin.token in the broker's data folder\n";
    (StatusCode::UNAUTHORIZED, ask, text).into_response()
}

async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let readiness = ready::ask(&state).await;
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

async fn show(Shared(state): Shared<Arc<State>>) -> Response {
    let store = inspect::bytes(&state.database, &state.readers).await;
    match spawn_blocking(move || metrics::render(&state, &store)).await {
        Ok(page) => ([(header::CONTENT_TYPE, METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    Json(status::of(&state).await)
}
