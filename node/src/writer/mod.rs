//! The one task that writes a mesh's database.
//!
//! It takes whatever has arrived, runs it as one transaction of a few set-based statements, commits, and only then
//! answers. So what is answered is on disk, and under load the cost of a commit is shared.
//!
//! What it keeps in memory (counters, lanes, the inbox's cursor) is a copy of what the tables hold. A transaction that
//! fails throws the copy away, and the next one reads it again.

mod accept;
mod answers;
mod receive;

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};
use waxwing_crypto::Timestamp;
use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::sealing::{CounterRange, PrekeyId};
use waxwing_crypto::{NodeId, Signed, VerifyingKey};

pub(crate) use accept::Acceptance;
pub(crate) use answers::{Answered, News};
pub(crate) use receive::{Delivered, ReceivedItem, Stored};

use crate::signals::Signals;
use crate::store::outbox::NewRow;
use crate::store::prekeys::OwnPrekey;
use crate::store::{OutLane, inbox, log, outbox, prekeys, sessions};

/// Changes that may wait for the writer. Whoever has one more waits too.
const WAITING: usize = 1_024;
/// Most changes in one transaction.
const BATCH: usize = 1_024;
/// Most bytes of new messages in one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most messages that one sweep ends.
const SWEEP: usize = 500;

/// A handle on the writer task.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::Sender<Change>);

/// Why a change was not written. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// No space left. Others may fit later.
    #[error("the disk is full")]
    DiskFull,
    /// The database failed, and the writer has stopped or is about to.
    #[error("the database failed: {0}")]
    Failed(Arc<str>),
}

type Answer<T> = oneshot::Sender<Result<T, WriteError>>;

/// What can be written. Each is applied whole or not at all.
enum Change {
    Accept { rows: Vec<NewRow>, answer: Answer<Vec<Acceptance>> },
    Answered { answered: Vec<Answered>, answer: Answer<()> },
    Received { delivered: Delivered, answer: Answer<Vec<Stored>> },
    Read { cursors: Vec<u64>, answer: Answer<u64> },
    ReadThrough { cursor: u64, app: Option<String>, answer: Answer<u64> },
    Log { seq: u64, entries: Vec<SignedEntry>, answer: Answer<()> },
    Prekey { prekey: OwnPrekey, answer: Answer<()> },
    Published { id: PrekeyId, answer: Answer<()> },
    PeerPrekey { node: NodeId, signer: VerifyingKey, id: PrekeyId, signed: Signed, answer: Answer<()> },
    Forget { forget: Forget, answer: Answer<()> },
    Expire { now: Timestamp, answer: Answer<u64> },
    PassOver { noticed_before: Instant, answer: Answer<()> },
}

/// Which secrets have served their time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forget {
    /// Sessions whose sender stopped using them before this.
    pub(crate) sessions_ended: Timestamp,
    /// Prekeys before the newest one that was published before this.
    pub(crate) prekeys_published: Timestamp,
    /// Everything made before this, whatever else holds.
    pub(crate) made: Timestamp,
}

/// Caps on what waits in the outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The writer's side of the channel, to be given to [`run`].
#[derive(Debug)]
pub(crate) struct Changes(mpsc::Receiver<Change>);

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

/// A writer's two ends.
pub(crate) fn channel() -> (Writer, Changes) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Writer(sender), Changes(receiver))
}

impl Writer {
    /// Stores messages from apps, or says why each is not stored.
    pub(crate) async fn accept(&self, rows: Vec<NewRow>) -> Result<Vec<Acceptance>, WriteError> {
        self.change(|answer| Change::Accept { rows, answer }).await
    }

    /// Notes what the broker said of messages handed over. The answer comes by the receiver, so that more can be handed
    /// over meanwhile.
    pub(crate) async fn answered(
        &self,
        answered: Vec<Answered>,
    ) -> oneshot::Receiver<Result<(), WriteError>> {
        let (answer, done) = oneshot::channel();
        // A writer that is gone drops the sender, and the receiver says so.
        let _ = self.0.send(Change::Answered { answered, answer }).await;
        done
    }

    /// Stores what came in. One answer per item, in the same order.
    pub(crate) async fn received(&self, delivered: Delivered) -> Result<Vec<Stored>, WriteError> {
        self.change(|answer| Change::Received { delivered, answer }).await
    }

    /// Marks messages read; says how many were not.
    pub(crate) async fn read(&self, cursors: Vec<u64>) -> Result<u64, WriteError> {
        self.change(|answer| Change::Read { cursors, answer }).await
    }

    /// Marks every message of a mailbox, or of all, up to a place read; says how many were not.
    pub(crate) async fn read_through(&self, cursor: u64, app: Option<String>) -> Result<u64, WriteError> {
        self.change(|answer| Change::ReadThrough { cursor, app, answer }).await
    }

    /// Stores verified entries of the log from `seq` on.
    pub(crate) async fn log(&self, seq: u64, entries: Vec<SignedEntry>) -> Result<(), WriteError> {
        self.change(|answer| Change::Log { seq, entries, answer }).await
    }

    /// Stores a new prekey of this node.
    pub(crate) async fn prekey(&self, prekey: OwnPrekey) -> Result<(), WriteError> {
        self.change(|answer| Change::Prekey { prekey, answer }).await
    }

    /// Notes that the broker has a prekey.
    pub(crate) async fn published(&self, id: PrekeyId) -> Result<(), WriteError> {
        self.change(|answer| Change::Published { id, answer }).await
    }

    /// Keeps a peer's newest prekey.
    pub(crate) async fn peer_prekey(
        &self,
        node: NodeId,
        signer: VerifyingKey,
        id: PrekeyId,
        signed: Signed,
    ) -> Result<(), WriteError> {
        self.change(|answer| Change::PeerPrekey { node, signer, id, signed, answer }).await
    }

    /// Destroys secrets that have served their time.
    pub(crate) async fn forget(&self, forget: Forget) -> Result<(), WriteError> {
        self.change(|answer| Change::Forget { forget, answer }).await
    }

    /// Ends messages whose time has passed; says how many.
    pub(crate) async fn expire(&self, now: Timestamp) -> Result<u64, WriteError> {
        self.change(|answer| Change::Expire { now, answer }).await
    }

    /// Shows what waits for messages that have been missing since before a moment.
    pub(crate) async fn pass_over(&self, noticed_before: Instant) -> Result<(), WriteError> {
        self.change(|answer| Change::PassOver { noticed_before, answer }).await
    }

    async fn change<T>(&self, change: impl FnOnce(Answer<T>) -> Change) -> Result<T, WriteError> {
        let gone = || WriteError::Failed("the writer has stopped".into());
        let (answer, done) = oneshot::channel();
        self.0.send(change(answer)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}

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

impl Change {
    /// Bytes of new messages.
    fn bytes(&self) -> usize {
        match self {
            Self::Accept { rows, .. } => rows.iter().map(|row| row.content.len()).sum(),
            Self::Received { delivered, .. } => delivered.bytes(),
            Self::Answered { .. }
            | Self::Read { .. }
            | Self::ReadThrough { .. }
            | Self::Log { .. }
            | Self::Prekey { .. }
            | Self::Published { .. }
            | Self::PeerPrekey { .. }
            | Self::Forget { .. }
            | Self::Expire { .. }
            | Self::PassOver { .. } => 0,
        }
    }
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
