//! What a broker sends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::{LogHead, SignedEntry};
use waxwing_crypto::state_key::{KeyListHead, ProvenSlot};
use waxwing_crypto::{NodeId, Priority, Receipt, Signed, Timestamp, WireId};

use super::codec::Frame;
use super::handshake::Mark;
use super::refusal::{ErrorFrame, GoAway};
use super::space::{SpaceChanges, SpaceOffered, SpaceWritten};
use crate::id::MessageId;

/// A frame from a broker, after login.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToNode {
    /// Answers [`super::Send`], after the commit.
    #[serde(rename = "sent")]
    Sent(Sent),
    /// Hands over queued envelopes and notices, within the window.
    #[serde(rename = "deliver")]
    Deliver(Deliver),
    /// Answers a request that has nothing to return.
    #[serde(rename = "done")]
    Done(Done),
    /// Answers [`super::PrekeyGet`].
    #[serde(rename = "prekey")]
    Prekeys(Prekeys),
    /// Answers [`super::LogGet`] and [`super::LogAppend`], and is pushed when the log grows.
    #[serde(rename = "log")]
    Log(Log),
    /// Answers [`super::KeysGet`].
    #[serde(rename = "keys")]
    Keys(Keys),
    /// Answers [`super::QueueShow`].
    #[serde(rename = "queue.shown")]
    QueueShown(QueueShown),
    /// Answers [`super::SpaceWrite`], after the commit.
    #[serde(rename = "space.written")]
    SpaceWritten(SpaceWritten),
    /// Answers [`super::SpaceFollow`].
    #[serde(rename = "space.changes")]
    SpaceChanges(SpaceChanges),
    /// Answers [`super::SpaceOffer`], after the commit.
    #[serde(rename = "space.offered")]
    SpaceOffered(SpaceOffered),
    /// Something about the mesh that its members, or its admins, should know.
    #[serde(rename = "mesh.notice")]
    MeshNotice(MeshNotice),
    /// A request cannot be served. The link goes on.
    #[serde(rename = "error")]
    Error(ErrorFrame),
    /// The last frame before the broker closes.
    #[serde(rename = "goaway")]
    GoAway(GoAway),
}

impl ToNode {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sent(_) => "sent",
            Self::Deliver(_) => "deliver",
            Self::Done(_) => "done",
            Self::Prekeys(_) => "prekey",
            Self::Log(_) => "log",
            Self::Keys(_) => "keys",
            Self::QueueShown(_) => "queue.shown",
            Self::SpaceWritten(_) => "space.written",
            Self::SpaceChanges(_) => "space.changes",
            Self::SpaceOffered(_) => "space.offered",
            Self::MeshNotice(_) => "mesh.notice",
            Self::Error(_) => "error",
            Self::GoAway(_) => "goaway",
        }
    }
}

impl Frame for ToNode {
    const NAMES: &'static [&'static str] = &[
        "sent",
        "deliver",
        "done",
        "prekey",
        "log",
        "keys",
        "queue.shown",
        "space.written",
        "space.changes",
        "space.offered",
        "mesh.notice",
        "error",
        "goaway",
    ];
}

/// See [`ToNode::Sent`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sent {
    /// Of the [`super::Send`] answered.
    pub req: u64,
    /// One per item, in the same order.
    pub outcomes: Vec<Outcome>,
    /// How far the store has come with them.
    pub mark: Mark,
}

/// What the broker did with one item.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In the recipient's queue, on the broker's disk.
    Accepted {
        /// What the broker calls it.
        message: MessageId,
    },
    /// Was accepted before, with the same fingerprint. Nothing changed.
    Duplicate {
        /// What the broker calls it.
        message: MessageId,
        /// When it was first accepted, on the broker's clock.
        first_seen: Timestamp,
    },
    /// This wire id was accepted with another fingerprint. Permanent.
    IdReused,
    /// No such member. Permanent.
    UnknownRecipient,
    /// The recipient is no longer a member. Permanent.
    RevokedRecipient,
    /// The envelope is larger than allowed. Permanent.
    TooLarge,
    /// It would outlive the dedupe memory. Permanent.
    TtlTooLong,
    /// Its expiry has passed. Permanent.
    Expired,
    /// The item breaks a rule of the protocol. Permanent.
    BadItem,
    /// The recipient's queue is at its cap. Transient.
    QueueFull,
    /// The sender has sent more than it may, for now. Transient.
    RateLimited {
        /// Not before so many milliseconds have passed; at most [`crate::limits::AFTER_MAX`].
        after: u64,
    },
    /// An earlier item of this lane was refused for now. Transient.
    Behind,
}

impl Outcome {
    /// Whether the same item may be accepted later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::QueueFull | Self::RateLimited { .. } | Self::Behind)
    }
}

/// See [`ToNode::Deliver`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deliver {
    /// Numbered 1, 2, ... on each link in the order sent, notices before envelopes. May be empty, to say `tail`.
    pub items: Vec<Delivery>,
    /// Nothing unsent is queued for this node.
    pub tail: bool,
}

/// One delivery.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Delivery {
    /// Mail for this node. Wants a receipt or a nack.
    #[serde(rename = "env")]
    Envelope(Envelope),
    /// What became of a message this node sent. Wants only to be covered by a settle.
    #[serde(rename = "notice")]
    Notice(Notice),
}

impl Delivery {
    /// The delivery's number on this link.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Envelope(envelope) => envelope.n,
            Self::Notice(notice) => notice.n,
        }
    }
}

/// A sealed message, as queued.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope {
    /// Number on this link.
    pub n: u64,
    /// Sender node.
    pub from: NodeId,
    /// The sender's wire id.
    pub id: WireId,
    /// Priority.
    pub pri: Priority,
    /// When the message ends, on the broker's clock.
    pub exp: Timestamp,
    /// How often it had been sealed anew.
    pub seal: u32,
    /// The sealed envelope.
    pub env: Bytes,
}

/// What became of a message this node sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notice {
    /// Number on this link.
    pub n: u64,
    /// The message.
    pub id: WireId,
    /// What happened.
    pub kind: NoticeKind,
}

/// See [`Notice`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The recipient settled it with this receipt. Believed only if the receipt verifies.
    Delivered {
        /// The proof.
        receipt: Receipt,
    },
    /// The recipient refused it. Believed only if the signature holds.
    Nack {
        /// A signed [`waxwing_crypto::sealing::Nack`].
        nack: Signed,
    },
    /// It ended in the queue. The broker's word.
    Expired,
    /// The recipient stopped being a member while it was queued. The broker's word.
    RevokedRecipient,
}

/// See [`ToNode::Done`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// Of the request answered.
    pub req: u64,
}

/// See [`ToNode::Prekeys`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Prekeys {
    /// Of the request answered.
    pub req: u64,
    /// One per node asked for, in the same order.
    pub prekeys: Vec<PeerPrekey>,
}

/// A member's newest prekey.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PeerPrekey {
    /// The member.
    pub node: NodeId,
    /// Its signed [`waxwing_crypto::sealing::Prekey`], or none if it has published none.
    pub prekey: Option<Signed>,
}

/// See [`ToNode::Log`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Log {
    /// Of the request answered; none when pushed.
    pub req: Option<u64>,
    /// Entries after the one asked for, at most [`crate::limits::LOG_PAGE`] of them. If the last is not the head, ask
    /// on.
    pub entries: Vec<SignedEntry>,
    /// The end of the broker's log; none if it holds no such mesh.
    pub head: Option<LogHead>,
    /// How far the store has come with them; none on an entering link.
    pub mark: Option<Mark>,
}

/// See [`ToNode::Keys`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Keys {
    /// Of the request answered.
    pub req: u64,
    /// The asking node's slot, or that of the invite it joined by; none if the broker has no list of this epoch, or
    /// neither is in it. Boxed, since it would make every frame larger in memory.
    pub found: Option<Box<FoundKeys>>,
}

/// A slot of a sealed-key list. Believed only if it is proven to be in the list that the log names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundKeys {
    /// What the list is, beside its slots.
    pub head: KeyListHead,
    /// The slot.
    pub slot: ProvenSlot,
}

/// See [`ToNode::MeshNotice`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MeshNotice {
    /// What there is to know.
    pub kind: MeshNoticeKind,
}

/// See [`MeshNotice`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MeshNoticeKind {
    /// The mesh waits for an admin's `resume`. Sent after the welcome, and when a branch is added.
    ResumeWanted {
        /// The ends of the logs that nodes have shown, the broker's own first: each a place that an admin may resume at.
        branches: Vec<LogHead>,
    },
    /// A copy of a member's state has tried to log in, and was refused: its host was cloned, or set back.
    NodeDuplicated {
        /// The member.
        node: NodeId,
    },
}

/// See [`ToNode::QueueShown`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct QueueShown {
    /// Of the request answered.
    pub req: u64,
    /// What the broker holds; none if it knows nothing of such a message from this node.
    pub shown: Option<Shown>,
}

/// Everything that a broker holds of one message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shown {
    /// What it calls it.
    pub message: MessageId,
    /// Recipient node.
    pub to: NodeId,
    /// Priority.
    pub pri: Priority,
    /// The highest seal accepted.
    pub seal: u32,
    /// When it was first accepted.
    pub first_seen: Timestamp,
    /// Bytes of the envelope, while it is queued.
    pub queued: Option<u64>,
}
