//! Whoever runs a long-lived process here: systemd, if it says so in the environment, and otherwise nobody.

use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::debug;
use waxwing_node::{Supervision, Watchdog};

use crate::failure::{Failure, Result};

/// What the supervisor of a node gives it, and wants of it.
pub(crate) fn of_node() -> Result<Supervision> {
    let patience = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
    let watchdog = patience.map(|patience| Watchdog { patience, alive: || tell(&NotifyState::Watchdog) });
    Ok(Supervision { socket: socket()?, watchdog })
}

/// The socket that it has bound, if it has.
fn socket() -> Result<Option<UnixListener>> {
    let mut given = ListenFd::from_env();
    let wrong = |what: &str| {
        let message = format!("{what} was handed over, and a node takes one Unix socket");
        Err(Failure::usage(message).hint("the unit has one ListenStream=, with a path"))
    };
    match given.len() {
        0 => Ok(None),
        1 => match given.take_unix_listener(0) {
            Ok(socket) => Ok(socket),
            Err(err) => wrong(&err.to_string()),
        },
        many => wrong(&format!("{many} sockets")),
    }
}

/// Says that the process does its work from now on.
pub(crate) fn ready() {
    tell(&NotifyState::Ready);
}

/// Ends when `asked` does, and says that the process is about to.
pub(crate) async fn stopping(asked: impl Future<Output = ()>) {
    asked.await;
    tell(&NotifyState::Stopping);
}

fn tell(state: &NotifyState<'_>) {
    // One that does not listen is its own fault, and not worth ending for.
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        debug!(%error, %state, "the service manager is not told");
    }
}
