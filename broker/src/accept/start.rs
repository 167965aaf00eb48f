//! Where the writer runs.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Inbox, run};
use crate::error::Result;
use crate::state::State;
use crate::store::Connection;

/// Starts the writer. It stops as [`run`] says, and cancels `has_ended` when it has, for whatever reason.
///
/// A statement on SQLite blocks until the disk has done it, so there the writer has a thread of its own; on PostgreSQL it waits for the
/// network, as a task among others.
pub(crate) fn start(
    db: Connection,
    inbox: Inbox,
    state: Arc<State>,
    stop: CancellationToken,
    has_ended: CancellationToken,
) -> JoinHandle<Result<()>> {
    let blocks = matches!(db, Connection::Sqlite(_));
    let writing = async move {
        let _has_ended = has_ended.drop_guard();
        run(db, inbox, &state, &stop).await
    };
    tokio::spawn(async move {
        if blocks { waxwing_sqlite::on_own_thread("writer", writing).await? } else { writing.await }
    })
}
