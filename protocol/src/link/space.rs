//! Spaces: ordered logs of sealed records with a last value per key, of which a broker can read neither names nor values.
//!
//! ```text
//! node                                    broker
//!   space.write {changes}          ->     decided in order, in one transaction
//!                                  <-     space.written {outcomes}
//!   space.follow {after}           ->     answered as soon as there is something after that place
//!                                  <-     space.changes {changes, upto}
//!   space.follow {after: upto}     ->     the next: a node that does not ask is not sent anything
//!   space.offer {records}          ->     what a store that was lost lacks
//!                                  <-     space.offered {outcomes}
//! ```
//!
//! **Places.** Every change of a space has a place in it: one rising number, given in the transaction that commits the
//! change, never twice. A new space begins above [`crate::limits::FIRST_PLACE`] times the second in which it was made, so
//! that a store that was lost and made anew is above where it was. The place of the change that made a record is the
//! record's `seq`, for as long as it lives.
//!
//! **Keys.** Under a key stand the one shared record that anybody replaces, one own record per writer, and any number of
//! appended ones. A change names which it means; none touches the others.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::space::Condition;
pub use waxwing_crypto::space::Stands;
use waxwing_crypto::{ChangeId, KeyId, NodeId, SpaceId, Timestamp};

use super::handshake::Mark;

/// See [`super::ToBroker::SpaceWrite`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceWrite {
    /// Repeated in the answer.
    pub req: u64,
    /// The space. It is made by its first change.
    pub space: SpaceId,
    /// 1 to [`crate::limits::SPACE_PAGE`] changes, with at most [`crate::limits::FRAME_ENVELOPES`] sealed bytes in all. Decided
    /// one after the other, each on what those before have left.
    pub changes: Vec<Change>,
}

/// One change of a space. One that was made, made again with the same id, has the same answer, for 35 days.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Puts a record in the place of the one that stands there.
    Put(Put),
    /// Adds a record under a key.
    Append(Append),
    /// Renews records of the same node, to end that much later than now.
    Touch(Touch),
    /// Takes a record away, and leaves a tombstone for 35 days.
    Delete(Delete),
}

/// See [`Change::Put`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Put {
    /// The change.
    pub id: ChangeId,
    /// Under which key.
    pub key: KeyId,
    /// Whether the writer's own record is meant, rather than the shared one.
    pub own: bool,
    /// What must stand there.
    #[serde(rename = "if")]
    pub when: Condition,
    /// It ends by itself so many milliseconds after the commit: [`crate::limits::LIFETIME_MIN`] to
    /// [`crate::limits::LIFETIME_MAX`].
    pub ttl: Option<u64>,
    /// It ends so many milliseconds after its writer's lease: at most [`crate::limits::GRACE_MAX`].
    pub bound: Option<u64>,
    /// The sealed record, at most [`crate::limits::RECORD`] bytes.
    pub sealed: Bytes,
}

/// See [`Change::Append`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Append {
    /// The change.
    pub id: ChangeId,
    /// Under which key.
    pub key: KeyId,
    /// Only if no appended record stands under the key.
    pub if_empty: bool,
    /// It ends by itself so many milliseconds after the commit: [`crate::limits::LIFETIME_MIN`] to
    /// [`crate::limits::LIFETIME_MAX`].
    pub ttl: Option<u64>,
    /// It ends so many milliseconds after its writer's lease: at most [`crate::limits::GRACE_MAX`].
    pub bound: Option<u64>,
    /// The sealed record, at most [`crate::limits::RECORD`] bytes.
    pub sealed: Bytes,
}

/// See [`Change::Touch`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Touch {
    /// The records: 1 to [`crate::limits::SPACE_PAGE`].
    pub seqs: Vec<u64>,
    /// In milliseconds, from now on. A record that has no lifetime is not given one.
    pub ttl: u64,
}

/// See [`Change::Delete`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delete {
    /// The change.
    pub id: ChangeId,
    /// Under which key.
    pub key: KeyId,
    /// Whether the writer's own record is meant, rather than the shared one. Not looked at if `seq` is given.
    pub own: bool,
    /// The appended record meant: the writer's own, or anybody's if the writer is an admin.
    pub seq: Option<u64>,
    /// What must stand there.
    #[serde(rename = "if")]
    pub when: Condition,
    /// The sealed tombstone, at most [`crate::limits::RECORD`] bytes.
    pub sealed: Bytes,
}

/// Answers [`SpaceWrite`], after the commit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceWritten {
    /// Of the request answered.
    pub req: u64,
    /// One per change, in the same order.
    pub outcomes: Vec<ChangeOutcome>,
    /// How far the store has come with them.
    pub mark: Mark,
}

/// What the broker did with one change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// It is on the broker's disk, or was before.
    Applied {
        /// Its place: of a record, its `seq`.
        seq: u64,
    },
    /// The records are renewed, except for these, which are not there any more or have no lifetime.
    Touched {
        /// They.
        gone: Vec<u64>,
    },
    /// Something else stands there than the condition says.
    Conflict {
        /// What does; none for nothing.
        seq: Option<u64>,
    },
    /// Nothing stands there that could be deleted.
    NotFound,
    /// A record that it concerns is another node's, and nothing was done.
    NotYours,
    /// The sealed record is larger than allowed.
    TooLarge,
    /// The space, or the mesh, has as many records or bytes as it may.
    Full,
    /// The id was used for another change.
    IdReused,
    /// The change breaks a rule of the protocol: a lifetime or grace out of its range, or too many records at once.
    BadChange,
}

/// See [`super::ToBroker::SpaceFollow`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceFollow {
    /// Repeated in the answer.
    pub req: u64,
    /// The space. It need not be there yet.
    pub space: SpaceId,
    /// The last place known; 0 for all that there is.
    pub after: u64,
    /// The end of the space when this copy was begun from nothing, as the answers said; 0 if it is being begun.
    pub begun: u64,
    /// To be answered when there is something, rather than at once.
    pub wait: bool,
}

/// Answers [`SpaceFollow`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceChanges {
    /// Of the request answered.
    pub req: u64,
    /// What has changed, in the order of places: at most [`crate::limits::SPACE_PAGE`], with at most
    /// [`crate::limits::FRAME_ENVELOPES`] sealed bytes. What was replaced or has been taken away since is not among them.
    pub changes: Vec<Changed>,
    /// The place up to which that is everything. If it is below `head`, ask on.
    pub upto: u64,
    /// The end of the space; 0 if it is not there.
    pub head: u64,
    /// The end of the space when the copy was begun: to be kept with it.
    pub begun: u64,
    /// The copy is older than the tombstones: it is to be thrown away, and these changes are the first of a new one.
    pub reset: bool,
    /// How far the store has come.
    pub mark: Mark,
}

/// One change of a space, as its followers hear of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Changed {
    /// Its place.
    pub n: u64,
    /// When it was committed, on the broker's clock.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// See [`Changed`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A record that was put or appended. It takes the place of what it replaces.
    Record(Record),
    /// A record was taken away by a member.
    Deleted(Deleted),
    /// A record has ended. The broker's word.
    Ended(EndedRecord),
    /// A record was renewed, that is not among these changes and was told of before.
    Touched {
        /// Which.
        seq: u64,
        /// When it ends now, on the broker's clock.
        expires: Timestamp,
    },
}

/// A record as the broker holds it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The place of the change that made it: `n`. A renewal is told apart.
    pub seq: u64,
    /// Under which key.
    pub key: KeyId,
    /// Who wrote it.
    pub writer: NodeId,
    /// How it stands there.
    pub stands: Stands,
    /// When it ends, on the broker's clock.
    pub expires: Option<Timestamp>,
    /// It ends so many milliseconds after its writer's lease.
    pub bound: Option<u64>,
    /// It was handed back after a loss of the store, by whomever: the order of its writer's changes says nothing about it.
    pub offered: bool,
    /// As it came.
    pub sealed: Bytes,
}

/// See [`What::Deleted`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deleted {
    /// Under which key.
    pub key: KeyId,
    /// Who deleted it.
    pub writer: NodeId,
    /// How it stood there.
    pub stood: Stands,
    /// Its place. Of an appended one it says which.
    pub seq: u64,
    /// The tombstone was handed back after a loss of the store.
    pub offered: bool,
    /// The tombstone, as it came.
    pub sealed: Bytes,
}

/// See [`What::Ended`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndedRecord {
    /// Under which key.
    pub key: KeyId,
    /// Who wrote it.
    pub writer: NodeId,
    /// How it stood there.
    pub stood: Stands,
    /// Its place.
    pub seq: u64,
    /// Why.
    pub why: EndedBy,
}

/// Why a record has ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its lifetime is over.
    Lifetime,
    /// Its writer's lease has ended, and its grace.
    Lease,
    /// Its writer has said goodbye, or is a member no more.
    Goodbye,
}

/// See [`super::ToBroker::SpaceOffer`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceOffer {
    /// Repeated in the answer.
    pub req: u64,
    /// The space.
    pub space: SpaceId,
    /// 1 to [`crate::limits::SPACE_PAGE`] records and tombstones, with at most [`crate::limits::FRAME_ENVELOPES`] sealed
    /// bytes in all.
    pub records: Vec<Offered>,
}

/// A record or tombstone that a node holds from before the store was lost, as it was received.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Offered {
    /// Under which key.
    pub key: KeyId,
    /// Who wrote it.
    pub writer: NodeId,
    /// How it stands there, or stood. Tombstones of appended records are not offered.
    pub stands: Stands,
    /// It is a tombstone.
    pub tombstone: bool,
    /// What must stand there: nothing, or an older one at this place. Of an appended record, nothing is looked at but
    /// whether the same bytes were offered before.
    #[serde(rename = "if")]
    pub when: Condition,
    /// When it ends, on the clock of the broker that had it. Bound records are not offered.
    pub expires: Option<Timestamp>,
    /// As it came.
    pub sealed: Bytes,
}

/// Answers [`SpaceOffer`], after the commit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpaceOffered {
    /// Of the request answered.
    pub req: u64,
    /// One per record, in the same order: `applied`, also if somebody else had offered the same; `conflict`, `too_large`,
    /// `full` or `bad_change`. `conflict` also for one whose lifetime is over.
    pub outcomes: Vec<ChangeOutcome>,
    /// How far the store has come with them.
    pub mark: Mark,
}
