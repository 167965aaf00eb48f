//! The writer: it alone changes the store.
//!
//! ```text
//! links, sweeper   submit a Change each, with the place for its answer reserved, and go on
//! writer           takes all that waits (at most 1,024 items or 4 MiB); in one transaction, each phase set-based:
//!                  lost and brought back -> logins -> key lists -> log -> settlements -> sweeps -> prekeys -> sends -> ends -> spaces -> goodbyes -> rows and counters; commits
//!                  only then: rosters are replaced, links are woken, answers go out
//! ```
//!
//! A batch is the serial execution of its changes in the order of the phases, which keeps what each link relies on:
//! logins come first, so that whatever an older link of the same node has under way is ignored.
//!
//! Invariants: no answer before its commit; the writer waits for the disk and for nobody else (an answer's place is
//! reserved before its change is submitted, a wake-up is a bit); after an error of the store nothing of the batch is
//! answered, and it is final unless the server is away or the disk is full ([`lost`]).

mod append;
mod batch;
mod change;
mod keys;
mod last;
mod lost;
mod send;
mod settle;
mod spaces;
mod start;
mod sweep;
mod upload;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use change::{
    Answer, Append, Author, Budget, Bye, Change, EndDue, KeysPut, Login, MailRef, Peer, PrekeyPut, Renew,
    Reply, Sends, Settled, Settles, SpaceOffers, SpaceWrites, Stale, Upload, changes_size, keys_bytes,
};

pub(crate) use last::LastCommit;
pub(crate) use start::start;

use crate::error::{Error, Result};
use crate::state::State;
use crate::store::Connection;
use batch::{Batch, Effects};
use lost::Attempt;
use work::Work;

/// Changes that wait for the writer. Each link has a few dozen at most.
const CHANGES: usize = 1_024;
/// Items in one transaction, give or take one frame.
const BATCH_ITEMS: usize = 1_024;
/// Envelope bytes in one transaction, give or take one frame.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a change that nobody waits for does so for one to go with: half of all commits are saved by it where messages come one by one.
const PATIENCE: Duration = Duration::from_millis(10);
/// Envelope bytes that may wait for the writer in all, whatever the number of links.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Hands changes to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    changes: mpsc::Sender<Change>,
    bytes: Arc<Semaphore>,
}

/// What the writer reads from.
pub(crate) struct Inbox(mpsc::Receiver<Change>);

impl Writer {
    /// A writer's two ends.
    pub(crate) fn new() -> (Self, Inbox) {
        let (changes, inbox) = mpsc::channel(CHANGES);
        (Self { changes, bytes: Arc::new(Semaphore::new(WAITING_BYTES)) }, Inbox(inbox))
    }

    /// Hands over a change.
    ///
    /// # Errors
    /// If the writer has stopped.
    pub(crate) async fn submit(&self, change: Change) -> Result<()> {
        self.changes.send(change).await.map_err(|_| Error::Internal("the writer has stopped".into()))
    }

    /// What waits: changes, and the bytes of their envelopes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (CHANGES - self.changes.capacity(), WAITING_BYTES - self.bytes.available_permits())
    }

    /// Waits until that many bytes may wait for the writer, in the order of asking.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Budget> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        permit.map(Budget::new).map_err(|err| Error::Internal(err.into()))
    }
}

/// Writes until `stop` is cancelled and nothing waits any more; then closes the store. A server that goes away is waited for, and so is
/// room on a disk that is full.
///
/// # Errors
/// If the store fails. What was not answered is not known to be stored.
async fn run(mut db: Connection, mut inbox: Inbox, state: &State, stop: &CancellationToken) -> Result<()> {
    while let Some(work) = inbox.collect(stop).await {
        let (begin, items) = (Instant::now(), work.items);
        let effects = match commit(&mut db, work, state).await {
            Ok(effects) => effects,
            Err(attempt) => {
                state.last_commit.is_past();
                let (again, effects) = lost::recover(db, attempt, state, stop).await?;
                db = again;
                let Some(effects) = effects else { continue };
                effects
            }
        };
        state.last_commit.is_now();
        state.metrics.committed(&effects.tally, items, begin.elapsed());
        effects.publish(state);
    }
    db.close().await
}

impl Inbox {
    /// Waits for a change, and takes what else is there, up to a batch; what can wait does so a while for what cannot.
    async fn collect(&mut self, stop: &CancellationToken) -> Option<Work> {
        let first = tokio::select! {
            biased; // What waits is written even when the broker is stopping.
            first = self.0.recv() => first,
            () = stop.cancelled() => {
                self.0.close();
                self.0.recv().await
            }
        };
        let (mut work, mut next, until) = (Work::default(), Some(first?), Instant::now() + PATIENCE);
        let (mut items, mut bytes, mut waits) = (0, 0, true);
        while let Some(change) = next {
            waits &= change.can_wait();
            let (more_items, more_bytes) = work.add(change);
            (items, bytes) = (items + more_items, bytes + more_bytes);
            if items >= BATCH_ITEMS || bytes >= BATCH_BYTES {
                break;
            }
            next = match self.0.try_recv() {
                Ok(change) => Some(change),
                Err(_) if waits => self.wait(until, stop).await,
                Err(_) => {
                    // Where the processors are busy, a link that has something for this batch may be waiting for one. Where they are not,
                    // this takes no time.
                    std::thread::yield_now();
                    self.0.try_recv().ok()
                }
            };
        }
        work.items = items;
        Some(work)
    }

    /// Waits for a change until a moment, or the end.
    async fn wait(&mut self, until: Instant, stop: &CancellationToken) -> Option<Change> {
        tokio::select! {
            biased;
            change = self.0.recv() => change,
            () = sleep_until(until) => None,
            () = stop.cancelled() => None,
        }
    }
}

/// Runs one batch. When it returns, the disk has it.
async fn commit(db: &mut Connection, work: Work, state: &State) -> Result<Effects, Attempt> {
    let patience = db.patience();
    let effects = within(patience, apply(db, work, state)).await?;
    match within(patience, db.commit()).await {
        Ok(()) => Ok(effects),
        Err(err) => Err(Attempt { err, unsure: Some(effects) }),
    }
}

/// Takes a server for away that has not answered by then, whatever the network says.
async fn within<T>(patience: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(patience) = patience else { return work.await };
    let away = || Error::Unavailable(format!("no answer within {} s", patience.as_secs()).into());
    timeout(patience, work).await.unwrap_or_else(|_| Err(away()))
}

/// Makes the changes of one batch, in a transaction that it leaves open. After an error the connection is of no more use.
async fn apply(db: &mut Connection, work: Work, state: &State) -> Result<Effects> {
    db.begin().await?;
    let mut batch = Batch::open(db, state, &work).await?;
    upload::renew(&mut batch, work.renewals).await?;
    upload::apply(&mut batch, work.uploads).await?;
    batch.login(work.logins);
    keys::apply(&mut batch, work.keys).await?;
    append::apply(&mut batch, work.appends).await?;
    settle::apply(&mut batch, work.settles).await?;
    sweep::apply(&mut batch, work.sweeps, work.evictions).await?;
    batch.put_prekeys(work.prekeys).await?;
    batch.probe(work.probes).await?;
    send::apply(&mut batch, work.sends).await?;
    spaces::apply(&mut batch, work.ends, work.writes, work.offers, work.byes).await?;
    batch.close().await
}

#[cfg(test)]
mod tests;
