//! The writer as everybody else sees it: a handle with one function per change, each answered once it is on disk.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::sealing::PrekeyId;
use waxwing_crypto::{NodeId, Signed, SpaceId, Timestamp, VerifyingKey};
use waxwing_protocol::StoreId;
use waxwing_protocol::api::EventBody;
use waxwing_protocol::link::Mark;

use super::{Acceptance, Answered, Delivered, GivenUp, Stored};
use crate::epochs::Sealed;
use crate::store::events::NewEvent;
use crate::store::inbox::Acknowledged;
use crate::store::outbox::{Load, NewRow};
use crate::store::prekeys::OwnPrekey;
use crate::store::presence;
use crate::store::records::Row;
use crate::store::retention::Over;
use crate::store::spaces::{Progress, Reached, SpaceRow};
use crate::store::state;
use crate::store::topics::Kept;

/// Changes that may wait for the writer. Whoever has one more waits too.
const WAITING: usize = 1_024;

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

pub(super) type Answer<T> = oneshot::Sender<Result<T, WriteError>>;

/// What can be written. Each is applied whole or not at all.
pub(super) enum Change {
    Accept { rows: Vec<NewRow>, answer: Answer<Vec<Acceptance>> },
    Answered { answered: Vec<Answered>, mark: Mark, answer: Answer<()> },
    Received { delivered: Delivered, answer: Answer<Vec<Stored>> },
    Read { which: Acknowledged, app: Option<String>, receipts: Timestamp, answer: Answer<u64> },
    Delete { cursor: u64, app: Option<String>, answer: Answer<bool> },
    GiveUp { row: i64, successor: Option<Box<NewRow>>, answer: Answer<GivenUp> },
    Event { event: NewEvent, answer: Answer<()> },
    Log { growth: Growth, answer: Answer<()> },
    Life { login: u64, store: StoreId, pass: Option<Vec<u8>>, answer: Answer<u64> },
    Unlinked { lost: Vec<i64>, answer: Answer<()> },
    Refused { why: String, answer: Answer<()> },
    Block { node: NodeId, blocked: bool, answer: Answer<bool> },
    Presence { rows: Vec<presence::Row>, events: Vec<NewEvent>, store: Option<StoreId>, answer: Answer<()> },
    State { rows: Vec<state::Row>, events: Vec<NewEvent>, answer: Answer<()> },
    Profile { sealed: Vec<u8>, answer: Answer<()> },
    StateKeys { sealed: Sealed, answer: Answer<()> },
    Roster { seq: u64, kept: Vec<u8>, answer: Answer<()> },
    Prekey { prekey: OwnPrekey, answer: Answer<()> },
    Published { id: PrekeyId, answer: Answer<()> },
    PeerPrekey { node: NodeId, signer: VerifyingKey, id: PrekeyId, signed: Signed, answer: Answer<()> },
    Forget { forget: Forget, answer: Answer<()> },
    Recount { answer: Answer<Load> },
    Prune { over: Over, answer: Answer<u64> },
    Expire { now: Timestamp, answer: Answer<u64> },
    PassOver { noticed_before: Instant, answer: Answer<()> },
    Space { space: SpaceId, answer: Answer<Progress> },
    BeginSpace { progress: Progress, lost: bool, keep: bool, answer: Answer<()> },
    Followed { following: Box<Following>, answer: Answer<()> },
    ForgetOld { space: SpaceRow, answer: Answer<()> },
    Numbers { space: SpaceRow, count: u64, answer: Answer<u64> },
    Topics { kept: Box<Kept>, answer: Answer<()> },
    Nothing { answer: Answer<()> },
}

/// One page of a space, judged.
#[derive(Debug)]
pub(crate) struct Following {
    /// How far the copy has come with it.
    pub(crate) progress: Progress,
    /// Records and tombstones, each in the place of what stands in its slot.
    pub(crate) put: Vec<Row>,
    /// Places to forget.
    pub(crate) remove: Vec<u64>,
    /// Records that end at another moment.
    pub(crate) touch: Vec<(u64, Timestamp)>,
    /// How far writers have come, by signing key.
    pub(crate) writers: Vec<([u8; VerifyingKey::SIZE], Reached)>,
    /// Of the broker's answer.
    pub(crate) mark: Mark,
}

/// Which secrets have served their time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forget {
    /// Sessions whose sender stopped using them before this.
    pub(crate) sessions_ended: Timestamp,
    /// Prekeys before the newest one that was published before this.
    pub(crate) prekeys_published: Timestamp,
    /// Events before this.
    pub(crate) events: Timestamp,
    /// Tombstones of spaces from before this, on the broker's clock.
    pub(crate) tombstones: Timestamp,
    /// Everything secret made before this, whatever else holds.
    pub(crate) made: Timestamp,
}

/// What has become of the membership log: verified, and to be stored as one.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    /// Entries, from this place on, in the place of what is there.
    pub(crate) seq: u64,
    /// The entries.
    pub(crate) entries: Vec<SignedEntry>,
    /// The broker's mark that they came under.
    pub(crate) mark: Option<Mark>,
    /// Nodes that are no members any more: nothing can be sealed for them.
    pub(crate) gone: Vec<NodeId>,
}

/// Caps on what waits in the outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The writer's side of the channel, to be given to [`super::run`].
#[derive(Debug)]
pub(crate) struct Changes(pub(super) mpsc::Receiver<Change>);

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

    /// Notes what the broker said of messages handed over, and its mark. The answer comes by the receiver, so that more can be handed
    /// over meanwhile.
    pub(crate) async fn answered(
        &self,
        answered: Vec<Answered>,
        mark: Mark,
    ) -> oneshot::Receiver<Result<(), WriteError>> {
        let (answer, done) = oneshot::channel();
        // A writer that is gone drops the sender, and the receiver says so.
        let _ = self.0.send(Change::Answered { answered, mark, answer }).await;
        done
    }

    /// Stores what came in. One answer per item, in the same order.
    pub(crate) async fn received(&self, delivered: Delivered) -> Result<Vec<Stored>, WriteError> {
        self.change(|answer| Change::Received { delivered, answer }).await
    }

    /// Marks messages of a mailbox, or of all, read; says how many were not. `receipts`: from when on those that tell their
    /// senders have their time, by the clock that lifetimes go by.
    pub(crate) async fn read(
        &self,
        which: Acknowledged,
        app: Option<String>,
        receipts: Timestamp,
    ) -> Result<u64, WriteError> {
        self.change(|answer| Change::Read { which, app, receipts, answer }).await
    }

    /// Deletes a received message of a mailbox, or of any; says whether it was there.
    pub(crate) async fn delete(&self, cursor: u64, app: Option<String>) -> Result<bool, WriteError> {
        self.change(|answer| Change::Delete { cursor, app, answer }).await
    }

    /// Gives a message up, and sends its successor in its place if there is one.
    pub(crate) async fn give_up(
        &self,
        row: i64,
        successor: Option<Box<NewRow>>,
    ) -> Result<GivenUp, WriteError> {
        self.change(|answer| Change::GiveUp { row, successor, answer }).await
    }

    /// Tells every app.
    pub(crate) async fn tell_all(&self, body: EventBody) -> Result<(), WriteError> {
        self.change(|answer| Change::Event { event: NewEvent { app: None, body }, answer }).await
    }

    /// Tells an app something.
    pub(crate) async fn tell(&self, event: NewEvent) -> Result<(), WriteError> {
        self.change(|answer| Change::Event { event, answer }).await
    }

    /// Stores what has become of the log.
    pub(crate) async fn log(&self, growth: Growth) -> Result<(), WriteError> {
        self.change(|answer| Change::Log { growth, answer }).await
    }

    /// Notes a welcome: the login's number, which life of its store the broker is in, and the mesh's pass there,
    /// encrypted. If the life is another one than the last, what it had is taken back; says how many messages.
    pub(crate) async fn welcomed(
        &self,
        login: u64,
        store: StoreId,
        pass: Option<Vec<u8>>,
    ) -> Result<u64, WriteError> {
        self.change(|answer| Change::Life { login, store, pass, answer }).await
    }

    /// Notes which messages a link that has ended had handed over without an answer.
    pub(crate) async fn unlinked(&self, lost: Vec<i64>) -> Result<(), WriteError> {
        self.change(|answer| Change::Unlinked { lost, answer }).await
    }

    /// Notes why the broker has refused this node's state for good.
    pub(crate) async fn refused(&self, why: String) -> Result<(), WriteError> {
        self.change(|answer| Change::Refused { why, answer }).await
    }

    /// Stores the mesh's state keys in the place of those before.
    pub(crate) async fn state_keys(&self, sealed: Sealed) -> Result<(), WriteError> {
        self.change(|answer| Change::StateKeys { sealed, answer }).await
    }

    /// Notes whether a member's mail is refused from now on. Says whether that is news.
    pub(crate) async fn block(&self, node: NodeId, blocked: bool) -> Result<bool, WriteError> {
        self.change(|answer| Change::Block { node, blocked, answer }).await
    }

    /// Tells apps of peers that have come and gone, and keeps that they were told.
    pub(crate) async fn presence(
        &self,
        rows: Vec<presence::Row>,
        events: Vec<NewEvent>,
        store: Option<StoreId>,
    ) -> Result<(), WriteError> {
        self.change(|answer| Change::Presence { rows, events, store, answer }).await
    }

    /// Tells apps of keys of shared state, and keeps that they were told.
    pub(crate) async fn state(&self, rows: Vec<state::Row>, events: Vec<NewEvent>) -> Result<(), WriteError> {
        self.change(|answer| Change::State { rows, events, answer }).await
    }

    /// Keeps what this node says of whoever is at it.
    pub(crate) async fn profile(&self, sealed: Vec<u8>) -> Result<(), WriteError> {
        self.change(|answer| Change::Profile { sealed, answer }).await
    }

    /// Keeps the roster as it is at this place of the log.
    pub(crate) async fn keep_roster(&self, seq: u64, kept: Vec<u8>) -> Result<(), WriteError> {
        self.change(|answer| Change::Roster { seq, kept, answer }).await
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

    /// Counts what is in the outbox.
    pub(crate) async fn recount(&self) -> Result<Load, WriteError> {
        self.change(|answer| Change::Recount { answer }).await
    }

    /// Takes a step in forgetting what is over; says how many rows it was.
    pub(crate) async fn prune(&self, over: Over) -> Result<u64, WriteError> {
        self.change(|answer| Change::Prune { over, answer }).await
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.capacity() == self.0.max_capacity()
    }

    /// Ends messages whose time has passed; says how many.
    pub(crate) async fn expire(&self, now: Timestamp) -> Result<u64, WriteError> {
        self.change(|answer| Change::Expire { now, answer }).await
    }

    /// Shows what waits for messages that have been missing since before a moment.
    pub(crate) async fn pass_over(&self, noticed_before: Instant) -> Result<(), WriteError> {
        self.change(|answer| Change::PassOver { noticed_before, answer }).await
    }

    /// Makes a space known. Says how far its copy has come.
    pub(crate) async fn space(&self, space: SpaceId) -> Result<Progress, WriteError> {
        self.change(|answer| Change::Space { space, answer }).await
    }

    /// Begins the copy of a space anew. `lost`: the store that it is of was lost. `keep`: what was held is kept as old.
    pub(crate) async fn begin_space(
        &self,
        progress: Progress,
        lost: bool,
        keep: bool,
    ) -> Result<(), WriteError> {
        self.change(|answer| Change::BeginSpace { progress, lost, keep, answer }).await
    }

    /// Takes a page of a space into its copy.
    pub(crate) async fn followed(&self, following: Following) -> Result<(), WriteError> {
        let following = Box::new(following);
        self.change(|answer| Change::Followed { following, answer }).await
    }

    /// Forgets what was held of a space before its copy was begun anew.
    pub(crate) async fn forget_old(&self, space: SpaceRow) -> Result<(), WriteError> {
        self.change(|answer| Change::ForgetOld { space, answer }).await
    }

    /// Takes numbers for changes of this node. Returns the one before the first.
    pub(crate) async fn numbers(&self, space: SpaceRow, count: u64) -> Result<u64, WriteError> {
        self.change(|answer| Change::Numbers { space, count, answer }).await
    }

    /// Keeps what has become of subscriptions and cursors.
    pub(crate) async fn topics(&self, kept: Kept) -> Result<(), WriteError> {
        let kept = Box::new(kept);
        self.change(|answer| Change::Topics { kept, answer }).await
    }

    /// Whether transactions come to an end, be it that the disk is full. One of nothing, which writes nothing.
    pub(crate) async fn answers(&self) -> bool {
        matches!(self.change(|answer| Change::Nothing { answer }).await, Ok(()) | Err(WriteError::DiskFull))
    }

    async fn change<T>(&self, change: impl FnOnce(Answer<T>) -> Change) -> Result<T, WriteError> {
        let gone = || WriteError::Failed("the writer has stopped".into());
        let (answer, done) = oneshot::channel();
        self.0.send(change(answer)).await.map_err(|_| gone())?;
        done.await.map_err(|_| gone())?
    }
}
