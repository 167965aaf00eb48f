//! Why a broker does not serve a request, and why it ends a link.

use std::fmt;

use serde::{Deserialize, Serialize};

/// See [`super::ToNode::Error`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorFrame {
    /// Of the request refused; none if it could not be read.
    pub req: Option<u64>,
    /// What is wrong.
    pub code: Code,
    /// The same for people, at most [`crate::limits::DETAIL`] characters.
    pub detail: String,
    /// With `rate_limited`: not before so many milliseconds have passed; at most [`crate::limits::AFTER_MAX`].
    pub after: Option<u64>,
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No frame of this name.
    Unsupported,
    /// The frame's body is not of its form.
    BadFrame,
    /// The entry's `prev` is not the head of the log.
    LogConflict,
    /// The rules of the log, or of this kind of link, forbid it.
    NotAllowed,
    /// The entry's time is too far from the broker's clock.
    ClockSkew,
    /// The node has asked for more than it may, for now. The same request may be made again later.
    RateLimited,
    /// The mesh waits for a `resume`, and its log takes no other entry.
    ResumeWanted,
    /// The entry names a sealed-key list that the broker does not hold as a whole: put it, and append again.
    KeysWanted,
}

/// See [`super::ToNode::GoAway`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GoAway {
    /// Why.
    pub reason: Reason,
    /// The same for people, at most [`crate::limits::DETAIL`] characters.
    pub detail: String,
    /// Come back at a random moment of this span, in milliseconds; none for never.
    pub again: Option<(u64, u64)>,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The broker is stopping, to start again.
    Restarting,
    /// The broker serves as many links as it can, or its store does not answer.
    Busy,
    /// The node does not read or settle what it is sent.
    TooSlow,
    /// A newer login of the same node took over.
    Replaced,
    /// A frame broke the protocol. A bug: logged as one.
    ProtocolViolation,
    /// A frame was larger than allowed. A bug: logged as one.
    FrameTooLarge,
    /// The signature does not hold, or the node or mesh is not known here.
    Unauthenticated,
    /// This node was revoked, or has left.
    Revoked,
    /// An entering link: this broker does not have the mesh named, and does not let it be founded for nothing.
    UnknownMesh,
    /// An entering link: the mesh's log does not have the key that signed.
    UnknownInvite,
    /// An entering link: the invite has expired.
    InviteExpired,
    /// An entering link: the invite was revoked: itself, with its maker, or with a node that joined by it.
    InviteRevoked,
    /// The node's state is behind what has been shown of it: it is a copy, or was set back. See [`super::Progress`].
    StaleState,
    /// The node's signing key has been replaced by another: this is a copy from before.
    Superseded,
    /// The broker does not serve the node's version, or lacks a feature that it needs.
    Unsupported,
    /// The URL dialled is not one of this broker's.
    WrongBroker,
}

impl Reason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarting => "restarting",
            Self::Busy => "busy",
            Self::TooSlow => "too_slow",
            Self::Replaced => "replaced",
            Self::ProtocolViolation => "protocol_violation",
            Self::FrameTooLarge => "frame_too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Revoked => "revoked",
            Self::UnknownMesh => "unknown_mesh",
            Self::UnknownInvite => "unknown_invite",
            Self::InviteExpired => "invite_expired",
            Self::InviteRevoked => "invite_revoked",
            Self::StaleState => "stale_state",
            Self::Superseded => "superseded",
            Self::Unsupported => "unsupported",
            Self::WrongBroker => "wrong_broker",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
