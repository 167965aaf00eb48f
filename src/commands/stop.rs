//! How a long-lived process is told to stop.

use std::process::exit;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use crate::failure::{Failure, Result};

/// The exit code of a process that was not given the time to stop in order.
const AT_ONCE: i32 = 1;

/// Ends at the first SIGINT or SIGTERM. Listens from the moment it is made, so that no signal is missed. The second ends
/// the process at once: what was acknowledged is on the disk.
pub(crate) fn asked() -> Result<impl Future<Output = ()> + Send + 'static> {
    let listen =
        |kind| signal(kind).map_err(|err| Failure::failed(format!("cannot listen for signals: {err}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        either(&mut interrupt, &mut terminate).await;
        drop(tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            warn!("told to stop twice: ending at once");
            exit(AT_ONCE);
        }));
    })
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
