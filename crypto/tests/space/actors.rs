//! A space, two members, and what they say in it.

use bytes::Bytes;
use waxwing_crypto::space::{
    Condition, Frame, KeyName, NamingKey, Opened, Operation, RecordRef, Seen, Space, Stands, Statement,
};
use waxwing_crypto::state_key::{StateKey, StateKeys};
use waxwing_crypto::{ChangeId, Error, MeshId, NodeId, SigningKey, Timestamp};

use super::support::Seeded;

pub(crate) const MESH: MeshId = MeshId::from_bytes([0x4d; 16]);
/// The epoch in which records are sealed. There is one before it.
pub(crate) const EPOCH: u64 = 2;

/// What a member holds, and with it whoever may read.
pub(crate) struct Scene {
    pub(crate) keys: StateKeys,
    pub(crate) space: Space,
    pub(crate) alpha: SigningKey,
    pub(crate) beta: SigningKey,
}

/// The key of an epoch.
pub(crate) fn state(epoch: u64) -> StateKey {
    StateKey::from_bytes(&[0xe0 + epoch as u8; 32])
}

/// The keys of so many epochs.
pub(crate) fn keys(epochs: u64) -> StateKeys {
    let list = (1..=epochs).flat_map(|epoch| {
        let key = state(epoch);
        [&epoch.to_be_bytes()[..], key.reveal()].concat()
    });
    StateKeys::from_bytes(&list.collect::<Vec<_>>()).unwrap()
}

/// A space of a mesh with these keys.
pub(crate) fn space(mesh: MeshId, keys: &StateKeys, name: &str) -> Space {
    Space::new(mesh, &NamingKey::of(mesh, keys), name.parse().unwrap())
}

impl Scene {
    pub(crate) fn new() -> Self {
        let keys = keys(EPOCH);
        let [alpha, beta] = [1, 2].map(|n| SigningKey::from_seed(&[n; 32]));
        Self { space: space(MESH, &keys, "team"), keys, alpha, beta }
    }

    /// Seals as alpha.
    pub(crate) fn seal(&self, statement: &Statement) -> Bytes {
        self.space.seal(statement, EPOCH, &self.keys, &self.alpha, &mut Seeded::new(5)).unwrap()
    }

    pub(crate) fn open(&self, sealed: &[u8], frame: &Frame) -> Result<Opened, Error> {
        self.space.open(sealed, frame, &self.keys)
    }

    /// What a broker that keeps to the rules says of a record.
    pub(crate) fn frame(&self, statement: &Statement) -> Frame {
        Frame {
            key: self.space.key(&statement.name),
            operation: statement.operation,
            stands: statement.stands,
            writer: statement.writer,
        }
    }

    pub(crate) fn alpha_id(&self) -> NodeId {
        self.alpha.public().node_id()
    }

    pub(crate) fn beta_id(&self) -> NodeId {
        self.beta.public().node_id()
    }

    /// What alpha puts.
    pub(crate) fn put(&self, value: &[u8]) -> Statement {
        Statement {
            operation: Operation::Put,
            stands: Stands::Shared,
            id: ChangeId::from_bytes([0xc1; 16]),
            writer: self.alpha_id(),
            when: Condition::Any,
            ttl: None,
            bound: None,
            version: 1,
            counter: 1,
            log_seq: 3,
            life: [0x11; 16],
            of: None,
            seen: None,
            at: Timestamp::from_millis(1_800_000_000_000),
            name: key_name("plan"),
            app: None,
            value: Bytes::copy_from_slice(value),
        }
    }

    /// The same with a value in every field that a put may have.
    pub(crate) fn full(&self) -> Statement {
        Statement {
            when: Condition::Seq(7 << 20),
            ttl: Some(60_000),
            bound: Some(45_000),
            version: 4,
            counter: 9,
            seen: Some(Seen { seq: (7 << 20) + 5, digest: [0xd9; 16] }),
            app: Some("ci".parse().unwrap()),
            ..self.put(b"hello")
        }
    }

    /// The tombstone of a record that alpha has appended.
    pub(crate) fn tombstone(&self) -> Statement {
        Statement {
            operation: Operation::Delete,
            stands: Stands::Appended,
            of: Some(RecordRef { writer: self.alpha_id(), counter: 8 }),
            counter: 10,
            ..self.put(b"")
        }
    }
}

pub(crate) fn key_name(name: &str) -> KeyName {
    name.parse().unwrap()
}
