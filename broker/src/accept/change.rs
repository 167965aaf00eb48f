//! What can be asked of the writer, and what it answers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use waxwing_crypto::membership::{Roster, SignedEntry};
use waxwing_crypto::state_key::{KeyListHead, ProofPath, ProvenSlot, SealedStateKeys};
use waxwing_crypto::{Digest, MeshId, NodeId, Priority, SpaceId, Timestamp, VerifyingKey, WireId};
use waxwing_protocol::link::{self, Mark, Offered, Progress, SendItem, Settlement, ToNode};

use crate::store::prekey::PrekeyRow;
use crate::store::{LoginNumber, NodeKey, Place};

/// One change of the store.
pub(crate) enum Change {
    /// Gives a node its next login.
    Login(Login),
    /// Accepts items.
    Send(Sends),
    /// Takes settled deliveries out of the queue, and tells their senders.
    Settle(Settles),
    /// Keeps a prekey.
    Prekey(PrekeyPut),
    /// Keeps a part of a sealed-key list.
    Keys(KeysPut),
    /// Appends to a membership log.
    Append(Append),
    /// Takes a log that a node has brought back.
    Upload(Box<Upload>),
    /// Begins a new life of the store, if this mark still proves that one is due.
    Renew(Renew),
    /// Ends some rows that are past their end. Answers whether there are more.
    Sweep(oneshot::Sender<bool>),
    /// Ends some rows of a node that is no longer a member. Answers whether there are more.
    Evict {
        /// The node.
        node: NodeKey,
        /// Whether there are more.
        answer: oneshot::Sender<bool>,
    },
    /// Changes a space.
    Write(SpaceWrites),
    /// Takes what a node has of a space from before a loss.
    Offer(SpaceOffers),
    /// Ends a node's lease.
    Bye(Bye),
    /// Ends records whose lifetimes or leases are over.
    End(EndDue),
    /// Writes what changes nothing, to see that the store takes it.
    Probe(oneshot::Sender<()>),
}

impl Change {
    /// Whether nobody waits for it: it takes notices out of a queue, which tells nobody anything.
    pub(super) fn can_wait(&self) -> bool {
        if let Self::Settle(Settles { settled, .. }) = self {
            !settled.is_empty() && settled.iter().all(|settled| settled.mail.is_none())
        } else {
            false
        }
    }
}

/// See [`Change::Login`].
pub(crate) struct Login {
    /// Who logs in.
    pub(crate) node: NodeKey,
    /// How far its state has come.
    pub(crate) progress: Progress,
    /// Dropped if the node is no member by now.
    pub(crate) answer: oneshot::Sender<LoginDecision>,
}

/// The number of a login, or that the node's state is behind.
pub(crate) type LoginDecision = Result<LoginNumber, Stale>;

/// A node's state is behind what was shown of it before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stale {
    /// What was shown.
    pub(crate) shown: Progress,
}

/// See [`Change::Send`].
pub(crate) struct Sends {
    /// On whose link they came.
    pub(crate) peer: Arc<Peer>,
    /// Of the frame.
    pub(crate) req: u64,
    /// The rows that the sender's outbox had been given.
    pub(crate) rows: u64,
    /// The items, in lane order.
    pub(crate) items: Vec<SendItem>,
    /// Where the outcomes go.
    pub(crate) reply: Reply,
    /// What they take up of the link's window and of the writer's memory, until they are stored.
    pub(crate) budget: [Budget; 2],
}

/// See [`Change::Settle`].
pub(crate) struct Settles {
    /// On whose link they came.
    pub(crate) peer: Arc<Peer>,
    /// The last delivery settled.
    pub(crate) through: u64,
    /// The deliveries, in their order.
    pub(crate) settled: Vec<Settled>,
    /// Where it is said that they are gone.
    pub(crate) reply: Reply,
}

/// A delivery that is settled.
pub(crate) struct Settled {
    /// Its place in the queue of the node that settled it.
    pub(crate) place: Place,
    /// Of an envelope: which, and what became of it.
    pub(crate) mail: Option<(MailRef, Settlement)>,
}

/// What a link remembers of an envelope in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailRef {
    /// Who sent it.
    pub(crate) from: NodeId,
    /// As its sender calls it.
    pub(crate) id: WireId,
    /// The seal that was delivered.
    pub(crate) seal: u32,
    /// When it ends.
    pub(crate) exp: Timestamp,
}

/// See [`Change::Prekey`].
pub(crate) struct PrekeyPut {
    /// On whose link it came.
    pub(crate) peer: Arc<Peer>,
    /// The prekey, verified.
    pub(crate) row: PrekeyRow,
    /// Of the frame.
    pub(crate) req: u64,
    /// Where it is said that it is kept.
    pub(crate) reply: Reply,
}

/// See [`Change::Keys`].
pub(crate) struct KeysPut {
    /// On whose link it came.
    pub(crate) peer: Arc<Peer>,
    /// The root of its list.
    pub(crate) root: Digest,
    /// What the list is, beside its slots.
    pub(crate) head: KeyListHead,
    /// The slots, proven to be in it.
    pub(crate) slots: Vec<ProvenSlot>,
    /// Of the frame.
    pub(crate) req: u64,
    /// Where it is said that they are kept.
    pub(crate) reply: Reply,
    /// What they take up of the link's window and of the writer's memory, until they are stored.
    pub(crate) _budget: [Budget; 2],
}

/// See [`Change::Append`].
pub(crate) struct Append {
    /// Who asks.
    pub(crate) author: Author,
    /// The entry.
    pub(crate) entry: SignedEntry,
    /// Of the frame.
    pub(crate) req: u64,
    /// Where the new head, or the refusal, goes.
    pub(crate) reply: Reply,
}

/// See [`Change::Write`].
pub(crate) struct SpaceWrites {
    /// On whose link they came.
    pub(crate) peer: Arc<Peer>,
    /// Of the frame.
    pub(crate) req: u64,
    /// The space.
    pub(crate) space: SpaceId,
    /// The changes, in their order.
    pub(crate) changes: Vec<link::Change>,
    /// Where the outcomes go.
    pub(crate) reply: Reply,
    /// What they take up of the link's window and of the writer's memory, until they are stored.
    pub(crate) budget: [Budget; 2],
}

/// See [`Change::Offer`].
pub(crate) struct SpaceOffers {
    /// On whose link they came.
    pub(crate) peer: Arc<Peer>,
    /// Of the frame.
    pub(crate) req: u64,
    /// The space.
    pub(crate) space: SpaceId,
    /// What is offered.
    pub(crate) records: Vec<Offered>,
    /// Where the outcomes go.
    pub(crate) reply: Reply,
    /// What they take up of the link's window and of the writer's memory, until they are stored.
    pub(crate) budget: [Budget; 2],
}

/// See [`Change::Bye`].
pub(crate) struct Bye {
    /// On whose link it came.
    pub(crate) peer: Arc<Peer>,
    /// Of the frame.
    pub(crate) req: u64,
    /// Where it is said that the lease has ended.
    pub(crate) reply: Reply,
}

/// See [`Change::End`].
pub(crate) struct EndDue {
    /// When it was asked for, on the steady clock.
    pub(crate) asked: Duration,
    /// Answered with whether there is more to end.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// See [`Change::Upload`].
pub(crate) struct Upload {
    /// The whole log, verified.
    pub(crate) roster: Roster,
    /// The place before the first of `entries`.
    pub(crate) after: u64,
    /// Its entries from there on.
    pub(crate) entries: Vec<SignedEntry>,
    /// Answered once what is new of it is kept.
    pub(crate) answer: oneshot::Sender<()>,
}

/// See [`Change::Renew`].
pub(crate) struct Renew {
    /// What a node has shown.
    pub(crate) mark: Mark,
    /// Answered once the new life has begun.
    pub(crate) answer: oneshot::Sender<()>,
}

impl KeysPut {
    /// Its size, give or take a proof.
    pub(super) fn bytes(&self) -> usize {
        keys_bytes(self.slots.len(), &self.head)
    }
}

/// What so many slots of a list take up, give or take a proof.
pub(crate) fn keys_bytes(slots: usize, head: &KeyListHead) -> usize {
    slots * (SealedStateKeys::ONE + ProofPath::MAX * Digest::SIZE) + head.earlier.as_bytes().len()
}

/// How many records some changes of a space concern, and their sealed bytes.
pub(crate) fn changes_size(changes: &[link::Change]) -> (usize, usize) {
    changes.iter().fold((0, 0), |(records, bytes), change| match change {
        link::Change::Put(put) => (records + 1, bytes + put.sealed.len()),
        link::Change::Append(append) => (records + 1, bytes + append.sealed.len()),
        link::Change::Delete(delete) => (records + 1, bytes + delete.sealed.len()),
        link::Change::Touch(touch) => (records + touch.seqs.len().max(1), bytes),
    })
}

/// On what kind of link an entry came.
pub(crate) enum Author {
    /// A member's.
    Member(Arc<Peer>),
    /// An entering one: a founder's for a genesis, an invite's for a join.
    Entering {
        /// The mesh it named.
        mesh: MeshId,
        /// The key it logged in with.
        key: VerifyingKey,
    },
}

impl Author {
    /// The mesh of its link.
    pub(crate) fn mesh(&self) -> MeshId {
        match self {
            Self::Member(peer) => peer.key.mesh,
            Self::Entering { mesh, .. } => *mesh,
        }
    }
}

/// A member's link, as the writer knows it.
pub(crate) struct Peer {
    /// Whose link.
    pub(crate) key: NodeKey,
    /// Which login. Changes of a superseded one are ignored.
    pub(crate) login: LoginNumber,
    /// Cancelled when the life of the store ends in which it logged in.
    life: CancellationToken,
    behind: Mutex<HashSet<Lane>>,
}

/// The unit of order on one link.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Lane {
    /// To whom.
    pub(crate) to: NodeId,
    /// At which priority.
    pub(crate) pri: Priority,
}

impl Peer {
    /// A link that has just logged in.
    pub(crate) fn new(key: NodeKey, login: LoginNumber, life: CancellationToken) -> Self {
        Self { key, login, life, behind: Mutex::default() }
    }

    /// Whether the store's life goes on in which it logged in.
    pub(crate) fn is_of_this_life(&self) -> bool {
        !self.life.is_cancelled()
    }

    /// The lanes of which an item was refused for now. Later items are `behind` until one marked `first`. Only the
    /// writer asks, so this is never waited for.
    pub(crate) fn behind(&self) -> MutexGuard<'_, HashSet<Lane>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reserved place of an answer. Filling it never waits.
pub(crate) type Reply = mpsc::OwnedPermit<Box<Answer>>;

/// What goes to a link once it is true. Boxed where it waits, since every link has room for many.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A frame.
    Frame(ToNode),
    /// A large one.
    Page {
        /// The frame.
        frame: ToNode,
        /// Its place among those of this link that wait.
        _place: OwnedSemaphorePermit,
    },
    /// So many more deliveries have left the queue; except these, whose envelope was replaced while they were under
    /// way: they are to be delivered again.
    Settled {
        /// How many.
        count: usize,
        /// The exceptions.
        kept: Vec<Place>,
    },
}

/// A share of a bounded resource, given back on drop.
pub(crate) struct Budget {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// Wraps what was acquired.
    pub(crate) const fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}
