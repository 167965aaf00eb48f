//! How a long-lived process is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Result};

/// Ends at the first SIGINT or SIGTERM. Listens from the moment it is made, so that no signal is missed.
pub(crate) fn asked() -> Result<impl Future<Output = ()> + Send + 'static> {
    let listen =
        |kind| signal(kind).map_err(|err| Failure::failed(format!("cannot listen for signals: {err}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
