//! What a service manager has to do with a node: the socket that it has bound, and signs of life.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::UnixListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::{Error, Result};
use crate::meshes::Meshes;

/// What a service manager gives a node, and wants of it. Without one: nothing.
#[derive(Debug, Default)]
pub struct Supervision {
    /// The socket that apps talk to, bound already.
    pub socket: Option<std::os::unix::net::UnixListener>,
    /// Whom to tell that the node lives.
    pub watchdog: Option<Watchdog>,
}

/// Somebody who starts the node again when it is stuck.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    /// How long he waits for a sign of life.
    pub patience: Duration,
    /// Gives him one.
    pub alive: fn(),
}

impl Watchdog {
    /// Gives signs of life, twice in the time that he waits, for as long as every mesh's writer answers.
    ///
    /// A process that answers requests but cannot store anything is of no use to anybody: that is what is looked at.
    pub(crate) async fn run(self, meshes: Meshes, stop: CancellationToken) {
        let mut ticks = interval(self.patience / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let signs = async {
            loop {
                ticks.tick().await;
                let open = meshes.open();
                let answers = join_all(open.iter().map(|mesh| mesh.writer.answers()));
                match timeout(self.patience / 4, answers).await {
                    Ok(answers) if answers.iter().all(|answers| *answers) => (self.alive)(),
                    Ok(_) | Err(_) => warn!("a database does not answer: no sign of life is given"),
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = signs => {}
        }
    }
}

/// Takes over a socket that was bound for this node: the one that apps look for, which nobody else can use.
pub(crate) fn adopt(socket: std::os::unix::net::UnixListener, path: &Path) -> Result<UnixListener> {
    let bound = socket.local_addr().map_err(Error::file("cannot use", path))?;
    if bound.as_pathname() != Some(path) {
        let at = bound.as_pathname().map_or_else(|| "no path".to_owned(), |at| at.display().to_string());
        let message =
            format!("the socket handed over is at {at}, and apps look for it at {}", path.display());
        return Err(Error::Usage(message));
    }
    let found = fs::metadata(path).map_err(Error::file("cannot look at", path))?;
    if found.permissions().mode() & 0o077 != 0 {
        return Err(Error::TooOpen { path: path.to_path_buf(), is_folder: false });
    }
    socket.set_nonblocking(true).map_err(Error::file("cannot use", path))?;
    UnixListener::from_std(socket).map_err(Error::file("cannot use", path))
}
