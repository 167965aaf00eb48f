//! Changes before the lane has made them.

use bytes::Bytes;
use waxwing_crypto::space::{Condition, KeyName};
use waxwing_crypto::{ChangeId, Name};

/// A change that somebody wants made.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// What it is called: made again under the same id, it has the same answer. Chosen at random if none is given.
    pub(crate) id: Option<ChangeId>,
    /// The app that wants it.
    pub(crate) app: Option<Name>,
    /// What.
    pub(crate) change: DraftChange,
}

/// See [`Draft`] and, for the fields, [`waxwing_protocol::link::Change`].
#[derive(Clone, Debug)]
pub(crate) enum DraftChange {
    /// Puts a record in the place of the shared one, or of this node's own.
    Put {
        /// Under which key.
        key: KeyName,
        /// This node's own.
        own: bool,
        /// What must stand there.
        when: Condition,
        /// It ends by itself, in milliseconds.
        ttl: Option<u64>,
        /// It ends so many milliseconds after this node's lease.
        bound: Option<u64>,
        /// The value.
        value: Bytes,
    },
    /// Adds a record under a key.
    Append {
        /// Under which key.
        key: KeyName,
        /// Only if none was appended there.
        if_empty: bool,
        /// It ends by itself, in milliseconds.
        ttl: Option<u64>,
        /// It ends so many milliseconds after this node's lease.
        bound: Option<u64>,
        /// The value.
        value: Bytes,
    },
    /// Renews records of this node.
    Touch {
        /// Which.
        seqs: Vec<u64>,
        /// From now on, in milliseconds.
        ttl: u64,
    },
    /// Takes a record away.
    Delete {
        /// Under which key.
        key: KeyName,
        /// This node's own.
        own: bool,
        /// The appended one at this place.
        seq: Option<u64>,
        /// What must stand there.
        when: Condition,
    },
}
