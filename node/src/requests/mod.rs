//! Requests: an app asks another, and waits for its one answer. Mail that is live: for somebody who waits at this moment.
//!
//! ```text
//! POST /v1/request -> ask -> [own node: give]  or  [mail `request`, expiring with the deadline] -> the other node: arrived -> give
//! give: to the stream of one instance, in turn   no stream: `no_responder` at once
//! POST /v1/reply -> serve -> [own node: board]  or  [mail `progress`, `reply`, `refusal`] -> the asker's node: arrived -> board
//! ends early: the asker cancels or goes          -> `cancel` to the stream
//!             the stream ends                    -> `peer_gone` to the asker; his node says so too when the other goes offline
//!             the deadline passes                -> each node knows it by itself
//! ```
//!
//! Who waits and who serves is in memory only: what outlives the process would have nobody to go to. A request is given to one
//! stream once, or to none: it may be lost, with the link or a node, and is then a `timeout`, but it is never done twice.
//!
//! Live mail goes in the lane `now`, before what waits of lower priorities, and takes no counter there: a request that expired on
//! the way would leave a gap, and urgent mail behind it would wait until that is overdue. So it waits for nothing and nothing
//! waits for it. At the recipient only its id is kept, by which a repetition is known.

mod ask;
mod board;
mod failure;
mod live;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::ask::{Asking, Call, Happening, begin, cancel};
pub(crate) use self::board::{Answer, Note};
pub(crate) use self::live::Live;
pub(crate) use self::serve::{Listener, listen, reply};

use self::board::Board;
use crate::error::Result;
use crate::mesh::Mesh;
use crate::metrics::Counts;
use crate::signals::Happened;

/// Who waits and who serves in one mesh.
#[derive(Debug)]
pub(crate) struct Requests {
    board: Mutex<Board>,
    /// A deadline has come that may be the next.
    due: Notify,
    counts: Arc<Counts>,
}

impl Requests {
    /// Nobody, yet.
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        Self { board: Mutex::default(), due: Notify::new(), counts }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what comes, and what time brings, until it is dropped.
pub(crate) async fn run(mesh: &Arc<Mesh>) -> Result<()> {
    let mut moved = mesh.presence.moves();
    loop {
        let due = mesh.requests.board().next_due();
        tokio::select! {
            happened = mesh.signals.live() => happened.into_iter().for_each(|what| take(mesh, what)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                mesh.requests.board().end_overdue(Instant::now());
            }
            () = mesh.requests.due.notified() => {}
            Ok(()) = moved.changed() => ask::end_those_of_the_gone(mesh),
        }
    }
}

fn take(mesh: &Arc<Mesh>, what: Happened) {
    match what {
        Happened::Arrived(live) => serve::arrived(mesh, *live),
        Happened::Undeliverable { request, reason } => ask::undeliverable(mesh, &request, reason),
    }
}
