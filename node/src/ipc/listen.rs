//! The socket: who may connect, and how long they may take.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::{debug, warn};

use super::guard::Door;
use super::{Api, router};
use crate::error::{Error, Result};
use crate::home;
use crate::meshes::Meshes;

/// Connections at once. One more waits.
const CONNECTIONS: usize = 1_024;
/// A request's head must be there within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (no descriptors left), wait this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest path of a Unix socket, the system's limit.
const PATH_MAX: usize = 107;

/// Binds the socket. Made under another name in a private folder, restricted, then renamed into place: nobody else can
/// ever connect, and a stale socket is replaced.
pub(crate) fn bind(path: &Path) -> Result<UnixListener> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    home::private_folder(folder)?;
    let temporary = path.with_extension(format!("{}", std::process::id()));
    if temporary.as_os_str().len() > PATH_MAX {
        return Err(Error::Usage(format!(
            "{} is too long for a Unix socket (at most {PATH_MAX} bytes): use a shorter --state",
            path.display()
        )));
    }
    let failed = |what| Error::file(what, path);
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(failed("cannot bind"))?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))
        .map_err(failed("cannot restrict"))?;
    std::fs::rename(&temporary, path).map_err(failed("cannot bind"))?;
    Ok(listener)
}

/// Removes the socket.
pub(crate) fn unbind(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        debug!(%error, "the socket was gone already");
    }
}

/// Serves until told to stop; then lets every request under way finish.
pub(crate) async fn serve(listener: UnixListener, meshes: Meshes, stop: CancellationToken) {
    let router = router(Api::new(meshes));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            connection(stream, router, stop).await;
        });
    }
    tasks.close();
    tasks.wait().await;
}

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection of somebody who may connect.
async fn accept(listener: &UnixListener, room: &Arc<Semaphore>) -> Option<(UnixStream, Permit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) if may_connect(&stream) => Some((stream, permit)),
        Ok(_) => None,
        Err(error) => {
            warn!(%error, "cannot accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The same user, or root. The file's mode says so too; this holds where a folder's mode was changed.
fn may_connect(stream: &UnixStream) -> bool {
    let me = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == me || peer.uid() == 0 => true,
        Ok(peer) => {
            warn!(uid = peer.uid(), "another user tried to connect");
            false
        }
        Err(error) => {
            warn!(%error, "who connects cannot be told");
            false
        }
    }
}

async fn connection(stream: UnixStream, router: axum::Router, stop: CancellationToken) {
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let door = Door::Socket { process };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(door);
        router.clone().call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended: Result<(), hyper::Error> = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
