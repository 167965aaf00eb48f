//! The socket, and the port where there is one: who may connect, and how long they may take.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::{debug, warn};

use super::guard::Door;
use super::{Api, router};
use crate::error::{Error, Result};
use crate::home;
use crate::meshes::Meshes;
use crate::tokens::Tokens;

/// Connections at once. One more waits.
const CONNECTIONS: usize = 1_024;
/// The same over TCP, where anybody on this machine can take one.
const TCP_CONNECTIONS: usize = 256;
/// What is read of a request at a time, in bytes. Its head has to fit; the guard takes no head of that size.
const BUFFER: usize = 64 * 1024;
/// A request's head must be there within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How often to look whether the socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5);
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

/// Binds the port for apps that cannot use the socket, if there is to be one.
pub(crate) async fn bind_tcp(address: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| {
        let why = format!("cannot listen on {address}: {error}");
        if error.kind() == io::ErrorKind::AddrInUse { Error::Conflict(why) } else { Error::Usage(why) }
    })
}

/// Where apps come in.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) socket: UnixListener,
    /// Where that is found, if it is this process that makes it.
    pub(crate) path: Option<PathBuf>,
    pub(crate) tcp: Option<TcpListener>,
}

/// Serves until told to stop; then lets every request under way finish.
pub(crate) async fn serve(
    listeners: Listeners,
    meshes: Meshes,
    tokens: Arc<Tokens>,
    stop: CancellationToken,
) {
    let Listeners { socket, path, tcp } = listeners;
    let listen = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
    let served = Served { router: router(Api::new(meshes, tokens, listen)), stop, tasks: TaskTracker::new() };
    let by_tcp = async {
        if let Some((tcp, address)) = tcp.zip(listen) {
            accept_tcp(tcp, address.port(), &served).await;
        }
    };
    tokio::join!(keep_socket(socket, path.as_deref(), &served), by_tcp);
    served.tasks.close();
    served.tasks.wait().await;
}

/// What connections come to.
struct Served {
    router: axum::Router,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Served {
    /// Serves a connection in a task of its own.
    fn spawn<S>(&self, stream: S, door: Door, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, stop) = (self.router.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            connection(stream, door, router, stop).await;
            drop(permit);
        });
    }
}

/// Accepts from the socket, and makes it anew whenever somebody has deleted it, until told to stop.
async fn keep_socket(mut listener: UnixListener, path: Option<&Path>, served: &Served) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let Some(path) = path else { return accept_socket(&listener, &room, served).await };
    loop {
        tokio::select! {
            () = accept_socket(&listener, &room, served) => return,
            () = gone(path) => {}
        }
        match bind(path) {
            Ok(bound) => {
                warn!(socket = %path.display(), "the socket was deleted: it is there again");
                listener = bound;
            }
            Err(error) => warn!(%error, "the socket was deleted, and cannot be made again"),
        }
    }
}

/// Waits until there is nothing at the path, or something else than there was.
async fn gone(path: &Path) {
    let id = || std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let bound = id();
    let mut ticks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    loop {
        ticks.tick().await;
        let found = id();
        if found.is_none() || found != bound {
            return;
        }
    }
}

/// Accepts whoever may connect to the socket.
async fn accept_socket(listener: &UnixListener, room: &Arc<Semaphore>, served: &Served) {
    while let Some((accepted, permit)) = next(|| listener.accept(), room, &served.stop).await {
        match accepted {
            Ok((stream, _)) => {
                if let Some(door) = may_connect(&stream) {
                    served.spawn(stream, door, permit);
                }
            }
            Err(error) => cannot_accept(&error).await,
        }
    }
}

/// Accepts whoever is on this machine: what he may do, his token says. They have room of their own, and can take nobody
/// else's.
async fn accept_tcp(listener: TcpListener, port: u16, served: &Served) {
    let room = Arc::new(Semaphore::new(TCP_CONNECTIONS));
    while let Some((accepted, permit)) = next(|| listener.accept(), &room, &served.stop).await {
        match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => served.spawn(stream, Door::Tcp { port }, permit),
            Err(error) => cannot_accept(&error).await,
        }
    }
}

/// The next connection, once there is room for it. None when it is time to stop.
async fn next<T, A: Future<Output = io::Result<T>>>(
    accept: impl Fn() -> A,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(io::Result<T>, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        Some((accept().await, permit))
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

async fn cannot_accept(error: &io::Error) {
    warn!(%error, "cannot accept");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The same user, or root. The file's mode says so too; this holds where a folder's mode was changed.
fn may_connect(stream: &UnixStream) -> Option<Door> {
    let me = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if is_let_in(peer.uid(), me) => Some(Door::Socket { process: peer.pid() }),
        Ok(peer) => {
            warn!(uid = peer.uid(), "another user tried to connect");
            None
        }
        Err(error) => {
            warn!(%error, "who connects cannot be told");
            None
        }
    }
}

const fn is_let_in(user: u32, me: u32) -> bool {
    user == me || user == 0
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
    router: axum::Router,
    stop: CancellationToken,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(door);
        router.clone().call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(BUFFER)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_user_and_root_are_let_in() {
        assert!(is_let_in(1000, 1000) && is_let_in(0, 1000) && is_let_in(0, 0));
        assert!(!is_let_in(1001, 1000) && !is_let_in(1000, 0));
    }
}
