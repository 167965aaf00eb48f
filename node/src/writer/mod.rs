//! The one task that writes a mesh's database.
//!
//! It takes whatever has arrived, runs it as one transaction of a few set-based statements, commits, and only then
//! answers. So what is answered is on disk, and under load the cost of a commit is shared.
//!
//! What it keeps in memory (counters, lanes, the inbox's cursor) is a copy of what the tables hold. A transaction that
//! fails throws the copy away, and the next one reads it again.

mod accept;
mod answers;
mod handle;
mod receive;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::{Connection as _, SqliteConnection};
use tracing::{error, warn};
use waxwing_crypto::sealing::CounterRange;

pub(crate) use accept::Acceptance;
pub(crate) use answers::{Answered, News};
pub(crate) use handle::{Caps, Changes, Forget, WriteError, Writer, channel};
pub(crate) use receive::{Delivered, ReceivedItem, Stored};

use self::handle::{Answer, Change};
use crate::signals::Signals;
use crate::store::outbox::NewRow;
use crate::store::{OutLane, inbox, log, outbox, prekeys, sessions};

/// Most changes in one transaction.
const BATCH: usize = 1_024;
/// Most bytes of new messages in one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most messages that one sweep ends.
const SWEEP: usize = 500;

/// Writes until every handle is gone, or the database fails for good. Gives the connection back, to be closed.
pub(crate) async fn run(
    db: SqliteConnection,
    mut changes: Changes,
    caps: Caps,
    signals: Arc<Signals>,
) -> Result<SqliteConnection, WriteError> {
    let mut task = Task { db, caps, signals, copy: None };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        let Some(first) = changes.0.recv().await else {
            return Ok(task.db);
        };
        let mut bytes = first.bytes();
        batch.push(first);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(change) = changes.0.try_recv() else { break };
            bytes += change.bytes();
            batch.push(change);
        }
        task.commit(&mut batch).await?;
    }
}

struct Task {
    db: SqliteConnection,
    caps: Caps,
    signals: Arc<Signals>,
    copy: Option<Copy>,
}

/// What the tables hold, in memory.
#[derive(Debug)]
struct Copy {
    counters: accept::Counters,
    lanes: receive::Lanes,
    load: accept::Estimate,
}

/// What to tell once a transaction has ended: given its outcome.
type Reply = Box<dyn FnOnce(Result<(), &WriteError>) + Send>;

/// What a transaction will have done once it commits.
#[derive(Default)]
struct Effects {
    replies: Vec<Reply>,
    /// Lanes with something new to send, from a row on if it is an old one.
    wake: Vec<(OutLane, Option<i64>)>,
    /// Rows that the link no longer holds.
    landed: Vec<i64>,
}

impl Effects {
    /// Answers with this once the transaction has committed, or with the reason why it has not.
    fn answer<T: Send + 'static>(&mut self, answer: Answer<T>, result: sqlx::Result<T>) -> sqlx::Result<()> {
        // Whoever asked may have gone; what was committed stands.
        match result {
            Ok(value) => {
                self.replies.push(Box::new(move |committed| {
                    let _ = answer.send(committed.map(|()| value).map_err(Clone::clone));
                }));
                Ok(())
            }
            Err(error) => {
                self.fail(answer);
                Err(error)
            }
        }
    }

    /// Answers with the reason why the transaction has failed.
    fn fail<T: Send + 'static>(&mut self, answer: Answer<T>) {
        self.replies.push(Box::new(move |committed| {
            if let Err(failure) = committed {
                let _ = answer.send(Err(failure.clone()));
            }
        }));
    }
}

impl Task {
    /// One transaction. An error is one that the writer cannot go on after.
    async fn commit(&mut self, batch: &mut Vec<Change>) -> Result<(), WriteError> {
        let mut effects = Effects::default();
        let outcome = self.transact(batch, &mut effects).await;
        match outcome {
            Ok(()) => {
                for reply in effects.replies {
                    reply(Ok(()));
                }
                self.signals.landed(&effects.landed);
                self.signals.wake(effects.wake);
                Ok(())
            }
            Err(failure) => {
                self.copy = None;
                let failure = classify(&failure);
                for reply in effects.replies {
                    reply(Err(&failure));
                }
                match failure {
                    WriteError::DiskFull => {
                        warn!("the disk is full: nothing is stored until there is room");
                        Ok(())
                    }
                    WriteError::Failed(_) => {
                        error!(%failure, "the database failed");
                        Err(failure)
                    }
                }
            }
        }
    }

    async fn transact(&mut self, batch: &mut Vec<Change>, effects: &mut Effects) -> sqlx::Result<()> {
        let copy = match self.copy.take() {
            Some(copy) => self.copy.insert(copy),
            None => self.copy.insert(Copy::read(&mut self.db).await?),
        };
        let mut tx = self.db.begin_with("BEGIN IMMEDIATE").await?;
        let mut sends = Sends::default();
        let mut result = Ok(());
        // Every change gets its reply registered, also behind one that fails: all fail alike.
        for change in batch.drain(..) {
            let applied = apply(&mut tx, copy, change, &mut sends, effects).await;
            result = result.and(applied);
        }
        let accepted = match result {
            Ok(()) => accept::apply(&mut tx, copy, self.caps, std::mem::take(&mut sends.rows), effects).await,
            Err(error) => Err(error),
        };
        sends.answer(accepted, effects)?;
        tx.commit().await?;
        self.signals.set_gapped(copy.lanes.gapped());
        Ok(())
    }
}

impl Copy {
    async fn read(db: &mut SqliteConnection) -> sqlx::Result<Self> {
        Ok(Self {
            counters: accept::Counters::default(),
            lanes: receive::Lanes::read(&mut *db).await?,
            load: accept::Estimate::read(db).await?,
        })
    }
}

/// The sends of a transaction, decided together.
#[derive(Default)]
struct Sends {
    rows: Vec<Vec<NewRow>>,
    answers: Vec<Answer<Vec<Acceptance>>>,
}

impl Sends {
    fn answer(self, accepted: sqlx::Result<Vec<Vec<Acceptance>>>, effects: &mut Effects) -> sqlx::Result<()> {
        match accepted {
            Ok(accepted) => {
                self.answers.into_iter().zip(accepted).try_for_each(|(a, value)| effects.answer(a, Ok(value)))
            }
            Err(error) => {
                self.answers.into_iter().for_each(|answer| effects.fail(answer));
                Err(error)
            }
        }
    }
}

async fn apply(
    db: &mut SqliteConnection,
    copy: &mut Copy,
    change: Change,
    sends: &mut Sends,
    effects: &mut Effects,
) -> sqlx::Result<()> {
    let now = crate::clock::now();
    match change {
        Change::Accept { rows, answer } => {
            sends.rows.push(rows);
            sends.answers.push(answer);
            Ok(())
        }
        Change::Answered { answered, answer } => {
            let applied = answers::apply(db, &answered, now, effects).await;
            effects.answer(answer, applied)
        }
        Change::Received { delivered, answer } => {
            let stored = receive::apply(db, &mut copy.lanes, delivered, now, effects).await;
            effects.answer(answer, stored)
        }
        Change::Read { cursors, answer } => effects.answer(answer, inbox::read(db, &cursors, now).await),
        Change::ReadThrough { cursor, app, answer } => {
            effects.answer(answer, inbox::read_through(db, cursor, app.as_deref(), now).await)
        }
        Change::Log { seq, entries, answer } => effects.answer(answer, log::append(db, seq, &entries).await),
        Change::Prekey { prekey, answer } => effects.answer(answer, prekeys::insert(db, &prekey).await),
        Change::Published { id, answer } => effects.answer(answer, prekeys::published(db, id, now).await),
        Change::PeerPrekey { node, signer, id, signed, answer } => {
            effects.answer(answer, prekeys::keep(db, node, &signer, id, &signed).await)
        }
        Change::Forget { forget, answer } => effects.answer(answer, destroy(db, forget).await),
        Change::Expire { now, answer } => effects.answer(answer, outbox::expire(db, now, SWEEP).await),
        Change::PassOver { noticed_before, answer } => {
            effects.answer(answer, receive::pass_over(db, &mut copy.lanes, noticed_before).await)
        }
    }
}

async fn destroy(db: &mut SqliteConnection, forget: Forget) -> sqlx::Result<()> {
    sessions::forget(&mut *db, forget.sessions_ended, forget.made).await?;
    prekeys::destroy(db, forget.prekeys_published, forget.made).await
}

/// A full disk refuses this transaction; any other failure may have left the file in doubt, and a failed sync must
/// never be tried again.
fn classify(error: &sqlx::Error) -> WriteError {
    /// SQLITE_FULL.
    const FULL: &str = "13";
    let full = error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == FULL);
    if full { WriteError::DiskFull } else { WriteError::Failed(error.to_string().into()) }
}

/// Ranges, widest apart first, from counters nearest first.
pub(crate) fn ranges(counters: &[u64]) -> Vec<CounterRange> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &counter in counters {
        match ranges.last_mut() {
            Some((first, _)) if counter + 1 == *first => *first = counter,
            _ => ranges.push((counter, counter)),
        }
    }
    ranges.into_iter().filter_map(|(first, last)| CounterRange::new(first, last)).collect()
}
