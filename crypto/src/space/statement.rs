//! What a writer says with a record, and how it is written down.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Condition, KeyName};
use crate::codec;
use crate::error::{Error, Result};
use crate::id::{ChangeId, KeyId, MeshId, Name, NodeId, SpaceId, Timestamp};

/// Largest value of a record, in bytes.
pub const VALUE_MAX: usize = 256 * 1024;

const MALFORMED: Error = Error::Malformed("record");

/// What a change with a record does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Puts the record in the place of the one that stands there.
    Put,
    /// Adds the record under the key.
    Append,
    /// Takes a record away, and leaves this one as its tombstone.
    Delete,
}

impl Operation {
    pub(super) const fn as_u8(self) -> u8 {
        match self {
            Self::Put => 0,
            Self::Append => 1,
            Self::Delete => 2,
        }
    }
}

/// How a record stands under its key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// As the one that anybody replaces.
    Shared,
    /// As its writer's own.
    Own,
    /// Beside others.
    Appended,
}

impl Stands {
    pub(super) const fn as_u8(self) -> u8 {
        match self {
            Self::Shared => 0,
            Self::Own => 1,
            Self::Appended => 2,
        }
    }
}

/// A record by what its writer calls it. Places are the broker's to give, and differ after a loss; this does not.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RecordRef {
    /// Who wrote it.
    #[serde(rename = "by")]
    pub writer: NodeId,
    /// The writer's counter in that space.
    #[serde(rename = "ctr")]
    pub counter: u64,
}

/// The newest record of a space that its writer's node held: whoever holds another one at that place, or none, has been shown
/// another space.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Seen {
    /// Its place.
    pub seq: u64,
    /// Of its sealed bytes: [`digest`](super::digest).
    #[serde(rename = "dig", with = "serde_bytes")]
    pub digest: [u8; 16],
}

/// What a writer says with a record. Mesh, space, key and epoch are signed with it: they follow from where it is sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// What the change does.
    pub operation: Operation,
    /// How the record stands under its key; of a tombstone, how the one stood that it takes away.
    pub stands: Stands,
    /// The change.
    pub id: ChangeId,
    /// Who writes.
    pub writer: NodeId,
    /// What must stand there. Of an append, `Absent` means that no appended record stands under the key.
    pub when: Condition,
    /// It ends by itself so many milliseconds after the commit.
    pub ttl: Option<u64>,
    /// It ends so many milliseconds after its writer's lease.
    pub bound: Option<u64>,
    /// One more than that of the record it replaces, from 1.
    pub version: u64,
    /// One more than that of the writer's record before, in this space, from 1.
    pub counter: u64,
    /// The end of the writer's membership log: as of it, the writer is a member with this signing key.
    pub log_seq: u64,
    /// The life of the broker's store for which it was made, by the id that the writer's node was told: in another, it can
    /// only have been handed back.
    pub life: [u8; 16],
    /// The appended record that a tombstone takes away.
    pub of: Option<RecordRef>,
    /// The newest record that the writer's node held.
    pub seen: Option<Seen>,
    /// When, on the broker's clock as the writer's node knew it.
    pub at: Timestamp,
    /// The key's name.
    pub name: KeyName,
    /// The app that wrote it, if it named itself.
    pub app: Option<Name>,
    /// The value, at most [`VALUE_MAX`] bytes.
    pub value: Bytes,
}

impl Statement {
    /// Whether its parts go together: a broker would refuse it otherwise, or its followers could not tell what is meant.
    fn is_sound(&self) -> bool {
        let (deletes, appended) = (self.operation == Operation::Delete, self.stands == Stands::Appended);
        let stands = match self.operation {
            Operation::Put => !appended,
            Operation::Append => appended && !matches!(self.when, Condition::Seq(_)),
            Operation::Delete => self.ttl.is_none() && self.bound.is_none(),
        };
        stands && self.of.is_some() == (deletes && appended) && self.version >= 1 && self.counter >= 1
    }
}

/// Where a statement was made: signed with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) mesh: MeshId,
    pub(super) space: SpaceId,
    pub(super) key: KeyId,
    pub(super) epoch: u64,
}

/// The encoded form: short names.
#[derive(Deserialize, Serialize)]
struct Encoded {
    v: u8,
    mesh: MeshId,
    space: SpaceId,
    key: KeyId,
    epoch: u64,
    op: Operation,
    st: Stands,
    id: ChangeId,
    by: NodeId,
    #[serde(rename = "if")]
    when: Condition,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<u64>,
    ver: u64,
    ctr: u64,
    log: u64,
    #[serde(with = "serde_bytes")]
    life: [u8; 16],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<RecordRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
    at: Timestamp,
    name: KeyName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<Name>,
    val: Bytes,
}

/// The bytes to be signed.
pub(super) fn encode(place: Place, statement: &Statement) -> Result<Vec<u8>> {
    if statement.value.len() > VALUE_MAX {
        return Err(Error::TooLarge("value"));
    }
    if !statement.is_sound() {
        return Err(MALFORMED);
    }
    let encoded = Encoded {
        v: super::VERSION,
        mesh: place.mesh,
        space: place.space,
        key: place.key,
        epoch: place.epoch,
        op: statement.operation,
        st: statement.stands,
        id: statement.id,
        by: statement.writer,
        when: statement.when,
        ttl: statement.ttl,
        bound: statement.bound,
        ver: statement.version,
        ctr: statement.counter,
        log: statement.log_seq,
        life: statement.life,
        of: statement.of,
        seen: statement.seen,
        at: statement.at,
        name: statement.name.clone(),
        app: statement.app.clone(),
        val: statement.value.clone(),
    };
    rmp_serde::to_vec_named(&encoded).map_err(|_| MALFORMED)
}

/// Reads what may have been signed: that it was, nobody has checked.
pub(super) fn decode(bytes: &[u8]) -> Result<(Place, Statement)> {
    let encoded: Encoded = codec::exactly(bytes, "record")?;
    let place = Place { mesh: encoded.mesh, space: encoded.space, key: encoded.key, epoch: encoded.epoch };
    let statement = Statement {
        operation: encoded.op,
        stands: encoded.st,
        id: encoded.id,
        writer: encoded.by,
        when: encoded.when,
        ttl: encoded.ttl,
        bound: encoded.bound,
        version: encoded.ver,
        counter: encoded.ctr,
        log_seq: encoded.log,
        life: encoded.life,
        of: encoded.of,
        seen: encoded.seen,
        at: encoded.at,
        name: encoded.name,
        app: encoded.app,
        value: encoded.val,
    };
    let known = encoded.v == super::VERSION && statement.value.len() <= VALUE_MAX && statement.is_sound();
    if known { Ok((place, statement)) } else { Err(MALFORMED) }
}
