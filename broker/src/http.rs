//! The listener: connections in, one request each.
//!
//! The accept loop is our own, since `axum::serve` has neither a timeout for headers nor a cap on connections. There is
//! no keep-alive: a request is a login, or a health check that nobody makes often.

mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tower::Service as _;
use tracing::{debug, warn};
use waxwing_protocol::{limits, link};

use crate::error::{Error, Result};
use crate::meter::{Meter, Metered};
use crate::state::State;
use crate::strangers::Stranger;
use crate::tls::Tls;

/// How long a client may take from connecting to having sent its headers, a TLS handshake included.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of headers.
const HEADERS: usize = 8 * 1024;
/// After a failed accept, most often for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a request for a link leaves for its connection: the bytes, once HTTP is done with them.
type Upgrading = Arc<Mutex<Option<OnUpgrade>>>;

/// What connections to one listener come to.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) places: Arc<Semaphore>,
    /// What is under HTTP, unless it is plain.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Accepts connections as long as there are places for them, and has the router answer, until `shutdown`.
///
/// # Errors
/// None today; accepting is tried again whatever happens.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Door,
    state: &Arc<State>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = accept(&listener, &door.places, state) => {
                let accepted = accepted?;
                let stranger = Arc::new(state.strangers.admit(accepted.1.ip()));
                state.tasks.spawn(connection(accepted, stranger, door.clone(), Arc::clone(state)));
            }
        }
    }
}

/// What nodes are answered.
pub(crate) fn links(state: &Arc<State>) -> Router {
    let state = Arc::clone(state);
    Router::new().route(link::PATH, get(link_route)).route("/healthz", get(async || "ok\n")).with_state(state)
}

/// A connection, from where, and its place.
type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Waits for a place among the connections, then for one to fill it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>, state: &State) -> Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(|err| Error::Internal(err.into()))?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, place)),
            Err(err) => {
                state.metrics.connection_refused("cannot_accept");
                if let Some(unsaid) = state.accept_lines.may() {
                    warn!(%err, unsaid, "cannot accept");
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves a connection until it ends: its one request, and the link if it was for one.
///
/// All in one task, with every stage in a box of its own: what is large and short-lived must not lie among what stays as
/// long as the link, or each leaves a gap that nothing fits.
async fn connection((stream, peer, place): Accepted, stranger: Arc<Stranger>, door: Door, state: Arc<State>) {
    let meter = Arc::new(Meter::new(limits::BEFORE_LOGIN));
    let upgraded = Box::pin(async {
        tokio::select! {
            upgraded = request((stream, peer), Arc::clone(&meter), door, &state) => upgraded,
            () = stranger.ousted() => {
                state.metrics.connection_refused("ousted");
                None
            }
            () = state.stop.cancelled() => None,
        }
    });
    if let Some(upgraded) = upgraded.await {
        crate::link::run(upgraded, meter, (peer, stranger), state).await;
    }
    drop(place);
}

/// Serves the one request of a connection. The meter is below TLS: it counts what a stranger makes us read, whatever
/// that turns out to be.
async fn request(
    (stream, peer): (TcpStream, SocketAddr),
    meter: Arc<Meter>,
    door: Door,
    state: &State,
) -> Option<Upgraded> {
    let deadline = Instant::now() + HEADERS_WITHIN;
    state.metrics.connections.inc();
    if let Err(err) = stream.set_nodelay(true) {
        debug!(%peer, %err, "connection lost");
        return None;
    }
    let stream = Metered::new(stream, meter, state.metrics.traffic.clone());
    let Some(tls) = door.tls else {
        return answer(stream, deadline, peer, door.router, state).await;
    };
    match timeout_at(deadline, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, deadline, peer, door.router, state).await,
        Ok(Err(err)) => {
            state.metrics.connection_refused("bad_tls");
            debug!(%peer, %err, "TLS handshake failed");
            None
        }
        Err(_) => {
            state.metrics.connection_refused("bad_tls");
            debug!(%peer, "TLS handshake not done in time");
            None
        }
    }
}

/// Reads a request and answers it.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    deadline: Instant,
    peer: SocketAddr,
    router: Router,
    state: &State,
) -> Option<Upgraded> {
    let upgrading = Upgrading::default();
    let left = Arc::clone(&upgrading);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&left));
        route(router.clone(), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(err) = served {
        state.metrics.connection_refused("bad_http");
        debug!(%peer, %err, "connection failed");
        return None;
    }
    let upgrading = upgrading.lock().unwrap_or_else(PoisonError::into_inner).take();
    upgrading?.await.ok() // Fails only if the client is gone by now.
}

/// Routes one request. What is not upgraded is closed. (With the builder's own `keep_alive(false)`, hyper would add
/// `close` to the answer of an upgrade too, and clients refuse that.)
async fn route(mut router: Router, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
    let mut response = router.call(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Upgrades to a WebSocket. The link is run by the connection's own task.
async fn link_route(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    let response = upgrade::respond(request, |upgrade, upgrading: Upgrading| {
        *upgrading.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    });
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        state.metrics.connection_refused("bad_upgrade");
    }
    response
}
