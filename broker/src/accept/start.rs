//! Where the writer runs, and how it ends.

use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Inbox, run};
use crate::error::{Error, Result};
use crate::state::State;
use crate::store::Connection;

/// A writer at work.
pub(crate) struct Running {
    ended: oneshot::Receiver<Result<()>>,
    /// Its thread, if it has one of its own.
    thread: Option<thread::JoinHandle<()>>,
}

/// Starts the writer. It stops as [`run`] says, and cancels `has_ended` when it has, for whatever reason.
///
/// A statement on SQLite blocks until the disk has done it, so there the writer has a thread of its own; on PostgreSQL it waits for the
/// network, as a task among others.
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn start(
    db: Connection,
    inbox: Inbox,
    state: Arc<State>,
    stop: CancellationToken,
    has_ended: CancellationToken,
) -> Result<Running> {
    let blocks = matches!(db, Connection::Sqlite(_));
    let (tell, ended) = oneshot::channel();
    let writing = async move {
        let _has_ended = has_ended.drop_guard();
        // Nobody waits for it where the broker was dropped.
        let _ = tell.send(run(db, inbox, &state, &stop).await);
    };
    let thread = if blocks {
        let runtime = Handle::current();
        Some(thread::Builder::new().name("writer".into()).spawn(move || runtime.block_on(writing))?)
    } else {
        tokio::spawn(writing);
        None
    };
    Ok(Running { ended, thread })
}

impl Running {
    /// Waits until it has ended.
    ///
    /// # Errors
    /// As [`run`].
    pub(crate) async fn ended(self) -> Result<()> {
        let panicked = || Error::Internal("the writer has panicked".into());
        let result = self.ended.await.unwrap_or_else(|_| Err(panicked()));
        match self.thread.map(thread::JoinHandle::join) {
            // It has told its end, which is the last that it does: this waits for next to nothing.
            None | Some(Ok(())) => result,
            Some(Err(_)) => Err(panicked()),
        }
    }
}
