//! A server that goes away under the writer and comes back, and a disk that is full and has room again.
//!
//! Nothing of a batch is seen by anybody before its commit. So a batch that the store did not take is as if its links had been cut
//! before they were heard: they are ended, and what they ask for again is known by its ids. A commit whose answer was lost is
//! looked up: the number of the last commit says whether it was made.
//!
//! A full disk ends links at once, and lets nobody log in until there is room: so senders are told, and keep what they have.

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

/// Between two tries to reach the server, or to find room: doubled with each, from the first to the second.
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
    db: Connection,
    attempt: Attempt,
    state: &State,
    stop: &CancellationToken,
) -> Result<(Connection, Option<Effects>)> {
    let Attempt { err, unsure } = attempt;
    let is_full = matches!(err, Error::DiskFull(_));
    let tried = if is_full {
        warn!(%err, "nothing is stored or acknowledged until there is room");
        state.life.interrupt();
        room(db, stop).await?
    } else if matches!(err, Error::Unavailable(_)) {
        warn!(%err, "the database is away: nothing is acknowledged until it is back");
        server(&state.database, stop).await?
    } else {
        None
    };
    let Some((db, found)) = tried else { return Err(err) };
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
        if !is_full {
            state.life.interrupt();
        }
    }
    info!(m = found.m, lost = committed.is_none(), "the store takes commits again");
    Ok((db, committed))
}

/// Waits until the disk has room; none if the broker stops before.
async fn room(mut db: Connection, stop: &CancellationToken) -> Result<Option<(Connection, Now)>> {
    let mut wait = AGAIN[0];
    while pause(&mut wait, stop).await {
        match has_room(&mut db).await {
            Err(Error::DiskFull(_)) => {}
            tried => return tried.map(|found| Some((db, found))),
        }
    }
    Ok(None)
}

/// Waits until the server is back; none if the broker stops before.
async fn server(database: &Database, stop: &CancellationToken) -> Result<Option<(Connection, Now)>> {
    let mut wait = AGAIN[0];
    while pause(&mut wait, stop).await {
        match reach(database).await {
            Err(Error::Unavailable(why)) => info!(%why, "the database is still away"),
            tried => return tried.map(Some),
        }
    }
    Ok(None)
}

/// Waits before the next try. False if the broker stops.
async fn pause(wait: &mut Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => return false,
        () = sleep(*wait) => {}
    }
    *wait = (*wait * 2).min(AGAIN[1]);
    true
}

/// Commits what is there already, and reads what the store says of itself.
async fn has_room(db: &mut Connection) -> Result<Now> {
    db.roll_back().await;
    db.begin().await?;
    store::touch(db).await?;
    db.commit().await?;
    meta::now(db).await
}

/// Connects anew, and reads what the store says of itself: a server may go away again between the two.
async fn reach(database: &Database) -> Result<(Connection, Now)> {
    let mut db = store::reopen(database).await?;
    let found = meta::now(&mut db).await?;
    Ok((db, found))
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::work::Work;
    use super::*;
    use crate::testing::Fixture;

    #[tokio::test(start_paused = true)]
    async fn one_waits_twice_as_long_each_time_up_to_a_bound_and_not_when_the_broker_stops() {
        let (stop, mut wait) = (CancellationToken::new(), AGAIN[0]);
        for millis in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let begun = tokio::time::Instant::now();
            assert!(pause(&mut wait, &stop).await);
            assert_eq!(begun.elapsed(), Duration::from_millis(millis));
        }
        stop.cancel();
        let begun = tokio::time::Instant::now();
        assert!(!pause(&mut wait, &stop).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    fn full() -> Error {
        Error::DiskFull("as the test has it".into())
    }

    /// A batch whose commit was not answered, whether it was made or not.
    async fn unanswered(fixture: &mut Fixture, is_made: bool) -> Effects {
        fixture.db.begin().await.unwrap();
        let batch = Batch::open(&mut fixture.db, &fixture.state, &Work::default()).await.unwrap();
        let effects = batch.close().await.unwrap();
        if is_made {
            fixture.db.commit().await.unwrap();
        }
        effects
    }

    /// What comes of an attempt, and whether its links were ended.
    async fn recovered(fixture: Fixture, err: Error, unsure: Option<Effects>) -> (Result<bool>, bool) {
        let (before, stop) = (fixture.state.life.ended(), CancellationToken::new());
        let recovered = recover(fixture.db, Attempt { err, unsure }, &fixture.state, &stop).await;
        (recovered.map(|(_, effects)| effects.is_some()), before.is_cancelled())
    }

    #[tokio::test(start_paused = true)]
    async fn when_there_is_room_again_it_goes_on_and_what_was_under_way_is_asked_for_anew() {
        let fixture = Fixture::on(None).await;
        let (recovered, has_ended) = recovered(fixture, full(), None).await;
        assert!(!recovered.unwrap() && has_ended);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_was_not_answered_is_told_if_it_was_made_and_only_then() {
        for is_made in [true, false] {
            let mut fixture = Fixture::on(None).await;
            let effects = unanswered(&mut fixture, is_made).await;
            assert_eq!(recovered(fixture, full(), Some(effects)).await.0.unwrap(), is_made);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_with_commits_that_nobody_has_made_is_not_gone_on_with() {
        let mut fixture = Fixture::on(None).await;
        unanswered(&mut fixture, true).await;
        let (recovered, _) = recovered(fixture, full(), None).await;
        assert!(matches!(recovered, Err(Error::Internal(_))), "{recovered:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_in_a_file_does_not_come_back_from_a_server() {
        let fixture = Fixture::on(None).await;
        let (recovered, _) = recovered(fixture, Error::Unavailable("away".into()), None).await;
        assert!(matches!(recovered, Err(Error::Internal(_))), "{recovered:?}");
    }
}
