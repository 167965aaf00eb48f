//! The one task that writes a mesh's database.
//!
//! It takes whatever has arrived, runs it as one transaction of a few set-based statements, commits, and only then
//! answers. So what is answered is on disk, and under load the cost of a commit is shared.
//!
//! What it keeps in memory (counters, lanes, the inbox's cursor) is a copy of what the tables hold. A transaction that
//! fails throws the copy away, and the next one reads it again.

mod accept;
mod answers;
mod batch;
mod effects;
mod give_up;
mod handle;
mod life;
mod membership;
mod reading;
mod receive;
mod spaces;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tracing::{error, warn};
use waxwing_crypto::ClientMessageId;
use waxwing_crypto::sealing::CounterRange;
use waxwing_crypto::storage::StorageKeys;
use waxwing_protocol::api::Event;
use waxwing_protocol::link::Mark;
use waxwing_sqlite::Connection;

pub(crate) use accept::{Acceptance, HIGH};
pub(crate) use answers::{Answered, News};
pub(crate) use give_up::GivenUp;
pub(crate) use handle::{Caps, Changes, Following, Forget, Growth, WriteError, Writer, channel};
pub(crate) use receive::{Delivered, ReceivedItem, Stored};

use self::batch::BATCH;
use self::effects::Effects;
use self::handle::{Answer, Change};
use crate::metrics::Counts;
use crate::signals::Signals;
use crate::store::events::NewEvent;
use crate::store::inbox::Acknowledged;
use crate::store::outbox::{self, NewRow};
use crate::store::{
    blocked, events, inbox, meta, prekeys, presence, records, retention, roster, sessions, state, topics,
};
use crate::tail::Place;

/// Most messages that one sweep ends.
const SWEEP: usize = 500;

/// Writes until every handle is gone, or the database fails for good. Gives the connection back, to be closed.
pub(crate) async fn run(
    db: Connection,
    mut changes: Changes,
    keys: Arc<StorageKeys>,
    caps: Caps,
    signals: Arc<Signals>,
    counts: Arc<Counts>,
) -> Result<Connection, WriteError> {
    let mut task = Task { db, keys, caps, signals, counts, copy: None };
    let mut batch = Vec::with_capacity(BATCH);
    while changes.collect(&mut batch).await {
        task.commit(&mut batch).await?;
    }
    Ok(task.db)
}

struct Task {
    db: Connection,
    keys: Arc<StorageKeys>,
    caps: Caps,
    signals: Arc<Signals>,
    counts: Arc<Counts>,
    copy: Option<Copy>,
}

/// What the tables hold, in memory.
#[derive(Debug)]
struct Copy {
    counters: accept::Counters,
    lanes: receive::Lanes,
    load: accept::Estimate,
    /// The last place given to a message or event.
    cursor: u64,
    /// The last number given to a row of the outbox.
    rows: i64,
    /// The newest mark of the broker.
    mark: Option<Mark>,
}

impl Task {
    /// One transaction. An error is one that the writer cannot go on after.
    async fn commit(&mut self, batch: &mut Vec<Change>) -> Result<(), WriteError> {
        let mut effects = Effects::default();
        let outcome = self.transact(batch, &mut effects).await;
        match outcome {
            Ok(()) => {
                self.counts.add(&effects.tally);
                for reply in effects.replies {
                    reply(Ok(()));
                }
                self.signals.landed(&effects.landed);
                self.signals.moved();
                if let Some(at) = effects.expires {
                    self.signals.expires(at);
                }
                if effects.ended {
                    self.signals.note_end();
                }
                self.signals.wake(effects.wake);
                self.signals.happened(effects.live);
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
                        if !self.signals.set_disk_full(true) {
                            warn!("the disk is full: nothing is stored until there is room");
                        }
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

    async fn transact(
        &mut self,
        batch: &mut Vec<Change>,
        effects: &mut Effects,
    ) -> waxwing_sqlite::Result<()> {
        let mut copy = match self.copy.take() {
            Some(copy) => copy,
            None => Copy::read(&mut self.db).await?,
        };
        waxwing_sqlite::query("BEGIN IMMEDIATE").execute(&mut self.db).await?;
        let written = self.write(&mut copy, batch, effects).await;
        if written.is_err() {
            let _ = waxwing_sqlite::query("ROLLBACK").execute(&mut self.db).await;
        }
        written?;
        self.signals.set_gapped(copy.lanes.gapped());
        self.signals.show(copy.cursor, std::mem::take(&mut effects.places));
        effects.changed.iter().for_each(|which| self.signals.tail().shed(which));
        if let Some(through) = effects.forgotten {
            self.signals.tail().forget(through);
        }
        self.signals.set_crowded(copy.load.is_high(self.caps));
        self.copy = Some(copy);
        Ok(())
    }

    /// What a transaction writes, and its commit.
    async fn write(
        &mut self,
        copy: &mut Copy,
        batch: &mut Vec<Change>,
        effects: &mut Effects,
    ) -> waxwing_sqlite::Result<()> {
        let before = copy.cursor;
        let db = &mut self.db;
        let mut sends = Sends::default();
        let mut result = Ok(());
        // Every change gets its reply registered, also behind one that fails: all fail alike.
        for change in batch.drain(..) {
            let shared = (&*self.keys, &*self.signals);
            let applied = apply(&mut *db, copy, shared, change, &mut sends, effects).await;
            result = result.and(applied);
        }
        let accepted = match result {
            Ok(()) => accept::apply(&mut *db, copy, self.caps, &mut sends, effects).await,
            Err(error) => Err(error),
        };
        sends.answer(accepted, effects)?;
        let (events, at) = (std::mem::take(&mut effects.events), crate::clock::now());
        events.iter().for_each(|event| effects.tally.told(&event.body));
        events::insert(&mut *db, copy.cursor + 1, &events, at).await?;
        for NewEvent { app, body } in events {
            copy.cursor += 1;
            effects.places.push(Place::Event { app, event: Event { cursor: copy.cursor, at, body } });
        }
        if copy.cursor != before {
            meta::set_number(&mut *db, meta::CURSOR, copy.cursor).await?;
        }
        waxwing_sqlite::query("COMMIT").execute(db).await.map(|_| ())
    }
}

impl Copy {
    async fn read(db: &mut Connection) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            counters: accept::Counters::default(),
            lanes: receive::Lanes::read(&mut *db).await?,
            load: accept::Estimate::read(&mut *db).await?,
            cursor: meta::number(&mut *db, meta::CURSOR).await?,
            rows: i64::try_from(outbox::rows(&mut *db).await?).unwrap_or(i64::MAX),
            mark: meta::mark(db).await?,
        })
    }
}

/// The sends of a transaction, decided together.
#[derive(Default)]
struct Sends {
    rows: Vec<Vec<NewRow>>,
    answers: Vec<Answer<Vec<Acceptance>>>,
    /// What this node sends by itself: read receipts, and messages sent again. Not subject to the caps.
    own: Vec<NewRow>,
}

impl Sends {
    /// Whether a send of this transaction has this id.
    fn takes(&self, id: &ClientMessageId) -> bool {
        self.rows.iter().flatten().chain(&self.own).any(|row| row.client_id == *id)
    }

    fn answer(
        self,
        accepted: waxwing_sqlite::Result<Vec<Vec<Acceptance>>>,
        effects: &mut Effects,
    ) -> waxwing_sqlite::Result<()> {
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
    db: &mut Connection,
    copy: &mut Copy,
    (keys, signals): (&StorageKeys, &Signals),
    change: Change,
    sends: &mut Sends,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let now = crate::clock::now();
    match change {
        Change::Accept { rows, answer } => {
            sends.rows.push(rows);
            sends.answers.push(answer);
            Ok(())
        }
        Change::Answered { answered, mark, answer } => {
            let applied = match life::note_mark(db, copy, Some(mark)).await {
                Ok(()) => answers::apply(db, &answered, now, effects).await,
                Err(error) => Err(error),
            };
            effects.answer(answer, applied)
        }
        Change::Received { delivered, answer } => {
            let stored = receive::apply(db, copy, delivered, now, effects).await;
            effects.answer(answer, stored)
        }
        Change::Read { which, app, receipts, answer } => {
            let read = inbox::read(db, &which, app.as_deref(), now).await;
            effects.changed.push(which);
            effects.answer(answer, read.map(|read| reading::note(keys, &read, receipts, sends)))
        }
        Change::Delete { cursor, app, answer } => {
            effects.changed.push(Acknowledged::These(vec![cursor]));
            effects.answer(answer, inbox::delete(db, cursor, app.as_deref()).await)
        }
        Change::GiveUp { row, successor, answer } => {
            let given_up = give_up::apply(db, row, successor.map(|row| *row), now, sends, effects).await;
            effects.answer(answer, given_up)
        }
        Change::Event { event, answer } => {
            effects.events.push(event);
            effects.answer(answer, Ok(()))
        }
        Change::Log { growth, answer } => {
            let grown = membership::grow(db, copy, (growth, &signals.unanswered()), now, effects).await;
            effects.answer(answer, grown)
        }
        Change::Life { login, store, pass, answer } => {
            let begun = life::begin(db, copy, (login, store), pass, effects).await;
            effects.answer(answer, begun)
        }
        Change::Block { node, blocked, answer } => {
            let changed =
                if blocked { blocked::add(db, node, now).await } else { blocked::remove(db, node).await };
            effects.answer(answer, changed)
        }
        Change::Presence { rows, events, store, answer } => {
            effects.events.extend(events);
            let kept = match presence::put(&mut *db, &rows).await {
                Ok(()) => presence::set_store(db, store).await,
                Err(error) => Err(error),
            };
            effects.answer(answer, kept)
        }
        Change::State { rows, events, answer } => {
            effects.events.extend(events);
            effects.answer(answer, state::put(db, &rows).await)
        }
        Change::Profile { sealed, answer } => {
            effects.answer(answer, meta::set_bytes(db, meta::PROFILE, &sealed).await)
        }
        Change::Topics { kept, answer } => effects.answer(answer, topics::keep(db, &kept).await),
        Change::Nothing { answer } => effects.answer(answer, Ok(())),
        Change::Refused { why, answer } => {
            effects.answer(answer, meta::set_text(db, meta::REFUSED, &why).await)
        }
        Change::StateKeys { sealed, answer } => effects.answer(answer, sealed.write(db).await),
        Change::Roster { seq, kept, answer } => effects.answer(answer, roster::keep(db, seq, &kept).await),
        Change::Prekey { prekey, answer } => effects.answer(answer, prekeys::insert(db, &prekey).await),
        Change::Published { id, answer } => effects.answer(answer, prekeys::published(db, id, now).await),
        Change::PeerPrekey { node, signer, id, signed, answer } => {
            effects.answer(answer, prekeys::keep(db, node, &signer, id, &signed).await)
        }
        Change::Forget { forget, answer } => {
            let destroyed = destroy(db, forget, effects).await;
            effects.answer(answer, destroyed)
        }
        Change::Recount { answer } => {
            let counted = accept::Estimate::read(db).await;
            let load = counted.map(|counted| {
                let load = counted.load();
                copy.load = counted;
                load
            });
            effects.answer(answer, load)
        }
        Change::Prune { over, answer } => effects.answer(answer, retention::step(db, &over).await),
        Change::Expire { now, answer } => {
            // Looked up after the clock: whoever hands something over has noted that before he looks at it.
            let count = answers::expire(db, now, &signals.unanswered(), effects).await;
            effects.answer(answer, count)
        }
        Change::Unlinked { lost, answer } => effects.answer(answer, life::end_link(db, &lost).await),
        Change::PassOver { noticed_before, answer } => {
            let passed = receive::pass_over(db, copy, noticed_before, effects).await;
            effects.answer(answer, passed)
        }
        Change::Space { space, answer } => effects.answer(answer, spaces::known(db, &space).await),
        Change::BeginSpace { progress, lost, keep, answer } => {
            effects.answer(answer, spaces::begin(db, &progress, lost, keep).await)
        }
        Change::Followed { following, answer } => {
            effects.answer(answer, spaces::follow(db, copy, &following).await)
        }
        Change::ForgetOld { space, answer } => effects.answer(answer, records::forget_old(db, space).await),
        Change::Numbers { space, count, answer } => {
            effects.answer(answer, spaces::numbers(db, space, count).await)
        }
    }
}

async fn destroy(db: &mut Connection, forget: Forget, effects: &mut Effects) -> waxwing_sqlite::Result<()> {
    if let Some(last) = events::forget(db, forget.events, SWEEP).await? {
        meta::set_number(&mut *db, meta::FORGOTTEN, last).await?;
        effects.forgotten = Some(last);
    }
    records::forget_tombstones(&mut *db, forget.tombstones).await?;
    sessions::forget(&mut *db, forget.sessions_ended, forget.made).await?;
    prekeys::destroy(db, forget.prekeys_published, forget.made).await
}

/// A full disk refuses this transaction; any other failure may have left the file in doubt, and a failed sync must
/// never be tried again.
fn classify(error: &waxwing_sqlite::Error) -> WriteError {
    if error.is_full() { WriteError::DiskFull } else { WriteError::Failed(error.to_string().into()) }
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
