//! Frames as the proxy reads them, and descriptions of those that a rule waits for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use waxwing_crypto::NodeId;
use waxwing_protocol::link::{
    self, Delivery, Hello, LogUpload, ToBroker, ToBrokerLogin, ToNode, ToNodeLogin,
};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From a node.
    ToBroker,
    /// From the broker.
    ToNode,
}

/// A frame, read.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A login, whose signature the proxy does not check.
    Hello(Hello),
    /// A part of a log, before the login is done.
    Upload(LogUpload),
    /// Any later frame from a node.
    ToBroker(ToBroker),
    /// The broker's part of a login.
    Login(ToNodeLogin),
    /// Any later frame from the broker.
    ToNode(ToNode),
    /// Something this version of the protocol does not have.
    Unreadable,
}

impl Frame {
    pub(super) fn read(direction: Direction, bytes: &[u8]) -> Self {
        match direction {
            Direction::ToBroker => match link::decode::<ToBrokerLogin>(bytes) {
                Ok(ToBrokerLogin::Hello(signed)) => {
                    Hello::peek(&signed).map_or(Self::Unreadable, Self::Hello)
                }
                Ok(ToBrokerLogin::LogUpload(upload)) => Self::Upload(upload),
                Err(_) => link::decode(bytes).map_or(Self::Unreadable, Self::ToBroker),
            },
            Direction::ToNode => match link::decode(bytes) {
                Ok(frame) => Self::ToNode(frame),
                Err(_) => link::decode(bytes).map_or(Self::Unreadable, Self::Login),
            },
        }
    }

    /// The frame as bytes; none for what the proxy cannot sign or does not know.
    pub(super) fn write(&self) -> Option<Bytes> {
        match self {
            Self::Upload(upload) => link::encode(&ToBrokerLogin::LogUpload(upload.clone())).ok(),
            Self::ToBroker(frame) => link::encode(frame).ok(),
            Self::Login(frame) => link::encode(frame).ok(),
            Self::ToNode(frame) => link::encode(frame).ok(),
            Self::Hello(_) | Self::Unreadable => None,
        }
    }

    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Upload(_) => "log.upload",
            Self::ToBroker(frame) => frame.name(),
            Self::Login(frame) => match frame {
                ToNodeLogin::Challenge(_) => "challenge",
                ToNodeLogin::LogWanted(_) => "log_wanted",
                ToNodeLogin::Welcome(_) => "welcome",
                ToNodeLogin::GoAway(_) => "goaway",
            },
            Self::ToNode(frame) => frame.name(),
            Self::Unreadable => "unreadable",
        }
    }

    /// The member that a login names.
    pub(super) const fn member(&self) -> Option<NodeId> {
        match self {
            Self::Hello(Hello::Member(hello)) => Some(hello.node),
            Self::Hello(Hello::Entering(_))
            | Self::Upload(_)
            | Self::ToBroker(_)
            | Self::Login(_)
            | Self::ToNode(_)
            | Self::Unreadable => None,
        }
    }
}

/// Tells whether a frame is the one.
type Test = dyn Fn(&Frame) -> bool + Send + Sync;

/// Describes frames: of which node's link, and what kind.
#[derive(Clone)]
pub struct When {
    /// None for a link that is no member's.
    node: Option<NodeId>,
    test: Arc<Test>,
}

impl When {
    /// Frames of this node's link, of this name.
    pub fn named(node: NodeId, name: &'static str) -> Self {
        Self::matches(node, move |frame| frame.name() == name)
    }

    /// Frames of this name on the link of somebody who enters a mesh.
    pub fn entering(name: &'static str) -> Self {
        Self { node: None, test: Arc::new(move |frame| frame.name() == name) }
    }

    /// A `deliver` to this node with an envelope in it.
    pub fn envelope(node: NodeId) -> Self {
        Self::delivery(node, |delivery| matches!(delivery, Delivery::Envelope(_)))
    }

    /// A `deliver` to this node with a notice in it: what became of a message it sent.
    pub fn notice(node: NodeId) -> Self {
        Self::delivery(node, |delivery| matches!(delivery, Delivery::Notice(_)))
    }

    /// A `settle` from this node with a receipt or nack in it.
    pub fn settlement(node: NodeId) -> Self {
        Self::matches(
            node,
            |frame| matches!(frame, Frame::ToBroker(ToBroker::Settle(settle)) if !settle.items.is_empty()),
        )
    }

    /// Frames of this node's link that pass a test.
    pub fn matches(node: NodeId, test: impl Fn(&Frame) -> bool + Send + Sync + 'static) -> Self {
        Self { node: Some(node), test: Arc::new(test) }
    }

    fn delivery(node: NodeId, test: fn(&Delivery) -> bool) -> Self {
        Self::matches(
            node,
            move |frame| matches!(frame, Frame::ToNode(ToNode::Deliver(deliver)) if deliver.items.iter().any(test)),
        )
    }

    pub(super) fn describes(&self, node: Option<NodeId>, frame: &Frame) -> bool {
        node == self.node && (self.test)(frame)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "When(node {node})"),
            None => f.write_str("When(entering)"),
        }
    }
}
