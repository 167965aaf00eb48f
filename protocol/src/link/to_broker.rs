//! What a member's node sends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::state_key::{KeyListHead, ProvenSlot};
use waxwing_crypto::{Digest, Fingerprint, NodeId, Priority, Receipt, Signed, Timestamp, WireId};

use super::codec::Frame;
use super::space::{SpaceFollow, SpaceOffer, SpaceWrite};

/// A frame from a node, after login.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToBroker {
    /// Hands over sealed messages, in lane order. Repeating an item is harmless: the same sender and wire id are
    /// queued once. Answered by [`super::Sent`], one outcome per item.
    #[serde(rename = "send")]
    Send(Send),
    /// Says of every envelope up to `through` whether it was stored (receipt) or refused (nack). Not answered.
    #[serde(rename = "settle")]
    Settle(Settle),
    /// Publishes this node's newest prekey; an older one than the broker holds changes nothing. Answered by
    /// [`super::Done`] once it is stored.
    #[serde(rename = "prekey.put")]
    PrekeyPut(PrekeyPut),
    /// Asks for the newest prekeys of members. Answered by [`super::Prekeys`].
    #[serde(rename = "prekey.get")]
    PrekeyGet(PrekeyGet),
    /// Asks for the membership log. Answered by [`super::Log`], a page at a time.
    #[serde(rename = "log.get")]
    LogGet(LogGet),
    /// Appends an entry. Answered by [`super::Log`] with the new head, or by an error `log_conflict` (the entry's
    /// `prev` is not the head: read on, sign again), `keys_wanted` (the sealed-key list that it names is not whole here:
    /// put it), `not_allowed` or `clock_skew`.
    #[serde(rename = "log.append")]
    LogAppend(LogAppend),
    /// Hands over a part of an epoch's sealed-key list, for an entry that names it. Parts may come in any order and more
    /// than once. Answered by [`super::Done`] once it is stored, or by an error `not_allowed`.
    #[serde(rename = "keys.put")]
    KeysPut(KeysPut),
    /// Asks for this node's slot of an epoch's sealed-key list. Answered by [`super::Keys`].
    #[serde(rename = "keys.get")]
    KeysGet(KeysGet),
    /// Asks what the broker holds of a message this node sent. Answered by [`super::QueueShown`].
    #[serde(rename = "queue.show")]
    QueueShow(QueueShow),
    /// Changes a space. Answered by [`super::SpaceWritten`], one outcome per change; or by an error `rate_limited`, and then
    /// nothing was changed.
    #[serde(rename = "space.write")]
    SpaceWrite(SpaceWrite),
    /// Asks for what has changed in a space. Answered by [`super::SpaceChanges`]; if it is asked to wait, not before there is
    /// something. A newer one for the same space takes its place, and it is not answered any more.
    #[serde(rename = "space.follow")]
    SpaceFollow(SpaceFollow),
    /// Hands back what a store that was lost had. Answered by [`super::SpaceOffered`]; by an error `not_allowed` if this store
    /// has not begun a new life in the last [`crate::limits::TOMBSTONES`].
    #[serde(rename = "space.offer")]
    SpaceOffer(SpaceOffer),
    /// Says that this node goes, and will not be back soon: its lease ends at once, until its next login.
    /// Answered by [`super::Done`], after the commit. Nothing may follow it.
    #[serde(rename = "bye")]
    Bye(Bye),
}

impl ToBroker {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Settle(_) => "settle",
            Self::PrekeyPut(_) => "prekey.put",
            Self::PrekeyGet(_) => "prekey.get",
            Self::LogGet(_) => "log.get",
            Self::LogAppend(_) => "log.append",
            Self::KeysPut(_) => "keys.put",
            Self::KeysGet(_) => "keys.get",
            Self::QueueShow(_) => "queue.show",
            Self::SpaceWrite(_) => "space.write",
            Self::SpaceFollow(_) => "space.follow",
            Self::SpaceOffer(_) => "space.offer",
            Self::Bye(_) => "bye",
        }
    }
}

impl Frame for ToBroker {
    const NAMES: &'static [&'static str] = &[
        "send",
        "settle",
        "prekey.put",
        "prekey.get",
        "log.get",
        "log.append",
        "keys.put",
        "keys.get",
        "queue.show",
        "space.write",
        "space.follow",
        "space.offer",
        "bye",
    ];
}

/// See [`ToBroker::Send`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Send {
    /// Repeated in the answer.
    pub req: u64,
    /// The highest number ever given to a row of this node's outbox: see [`super::Progress`].
    pub rows: u64,
    /// 1 to [`crate::limits::WINDOW_ITEMS`] items, in counter order within each lane.
    pub items: Vec<SendItem>,
}

/// One sealed message on its way to the broker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SendItem {
    /// Recipient node.
    pub to: NodeId,
    /// The message, as the broker may know it. Unique to the sender.
    pub id: WireId,
    /// Keyed digest of the request: tells a retry from an id used twice.
    pub fp: Fingerprint,
    /// Priority, which with sender and recipient names the lane.
    pub pri: Priority,
    /// When the message ends, on the broker's clock.
    pub exp: Timestamp,
    /// How often it has been sealed anew, from 0. A higher one replaces the queued envelope in its place.
    pub seal: u32,
    /// Set on the oldest unaccepted message of a lane of which nothing is in flight. After a transient refusal, later
    /// items of the lane are refused as `behind` until one so marked comes.
    pub first: bool,
    /// The sealed envelope, at most [`crate::limits::ENVELOPE`] bytes.
    pub env: Bytes,
}

/// See [`ToBroker::Settle`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Settle {
    /// Covers every delivery of this link up to this number that no earlier settle covered. The welcome is delivery 0:
    /// the first settle, with 0 and no items, says that it is committed.
    pub through: u64,
    /// One for each *envelope* (not notice) covered, in delivery order.
    pub items: Vec<Settlement>,
}

/// What became of one envelope.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Settlement {
    /// Opened and stored, or stored before: the proof goes to the sender.
    #[serde(rename = "receipt")]
    Receipt(Receipt),
    /// Refused: a signed [`waxwing_crypto::sealing::Nack`].
    #[serde(rename = "nack")]
    Nack(Signed),
}

/// See [`ToBroker::PrekeyPut`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PrekeyPut {
    /// Repeated in the answer.
    pub req: u64,
    /// A signed [`waxwing_crypto::sealing::Prekey`].
    pub prekey: Signed,
}

/// See [`ToBroker::PrekeyGet`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PrekeyGet {
    /// Repeated in the answer.
    pub req: u64,
    /// 1 to [`crate::limits::PREKEY_PAGE`] members.
    pub nodes: Vec<NodeId>,
}

/// See [`ToBroker::LogGet`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogGet {
    /// Repeated in the answer.
    pub req: u64,
    /// The last sequence number already held; 0 for none.
    pub after: u64,
}

/// See [`ToBroker::LogAppend`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogAppend {
    /// Repeated in the answer.
    pub req: u64,
    /// The entry.
    pub entry: SignedEntry,
}

/// See [`ToBroker::KeysPut`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeysPut {
    /// Repeated in the answer.
    pub req: u64,
    /// The list's root, as the entry will name it.
    pub root: Digest,
    /// What the list is, beside its slots. The same in every part.
    pub head: KeyListHead,
    /// 1 to [`crate::limits::KEY_SLOTS`] of its slots, each proven to be in it.
    pub slots: Vec<ProvenSlot>,
}

/// See [`ToBroker::KeysGet`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeysGet {
    /// Repeated in the answer.
    pub req: u64,
    /// The epoch. A broker keeps the newest one's list: each opens all earlier keys.
    pub epoch: u64,
}

/// See [`ToBroker::QueueShow`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueShow {
    /// Repeated in the answer.
    pub req: u64,
    /// The message.
    pub id: WireId,
}

/// See [`ToBroker::Bye`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bye {
    /// Repeated in the answer.
    pub req: u64,
}
