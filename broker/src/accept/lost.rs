//! A server that goes away under the writer, and comes back.
//!
//! Nothing of a batch is seen by anybody before its commit. So a batch that the server did not take is as if its links had been cut
//! before they were heard: they are ended, and what they ask for again is known by its ids. A commit whose answer was lost is
//! looked up: the number of the last commit says whether it was made.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::Effects;
use crate::config::Database;
use crate::error::{Error, Result};
use crate::state::State;
use crate::store::meta::{self, Now};
use crate::store::{self, Connection};

/// Between two tries to reach the server: doubled with each, from the first to the second.
const AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// A batch that was not committed, as far as is known.
pub(super) struct Attempt {
    /// What happened.
    pub(super) err: Error,
    /// What follows it if it was committed after all: its commit was sent, and not answered.
    pub(super) unsure: Option<Effects>,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("err", &self.err).finish_non_exhaustive()
    }
}

impl From<Error> for Attempt {
    fn from(err: Error) -> Self {
        Self { err, unsure: None }
    }
}

/// Waits until the store can be written to again. Gives the connection, and what follows the batch if it was committed.
///
/// # Errors
/// If the store has failed for good, what is there now is not what was there, or the broker stops meanwhile.
pub(super) async fn recover(
    attempt: Attempt,
    state: &State,
    stop: &CancellationToken,
) -> Result<(Connection, Option<Effects>)> {
    let Attempt { err, unsure } = attempt;
    if !matches!(err, Error::Unavailable(_)) {
        return Err(err);
    }
    warn!(%err, "the database is away: nothing is acknowledged until it is back");
    let mut wait = AGAIN[0];
    let (db, found) = loop {
        tokio::select! {
            () = stop.cancelled() => return Err(err),
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(AGAIN[1]);
        match reach(&state.database).await {
            Ok(reached) => break reached,
            Err(Error::Unavailable(why)) => info!(%why, "the database is still away"),
            Err(err) => return Err(err),
        }
    };
    let before = state.life.m();
    if (found.store, found.run) != (state.life.store(), state.life.run()) {
        return Err(Error::Internal("the database that came back is not the one that went".into()));
    }
    let committed = unsure.filter(|_| found.m == before + 1);
    if committed.is_none() {
        if found.m != before {
            let why = format!("the database came back at commit {}, and {before} was acknowledged", found.m);
            return Err(Error::Internal(why.into()));
        }
        state.life.interrupt();
    }
    info!(m = found.m, lost = committed.is_none(), "the database is back");
    Ok((db, committed))
}

/// Connects anew, and reads what the store says of itself: a server may go away again between the two.
async fn reach(database: &Database) -> Result<(Connection, Now)> {
    let mut db = store::reopen(database).await?;
    let found = meta::now(&mut db).await?;
    Ok((db, found))
}
