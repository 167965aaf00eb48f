//! Records of spaces, made without a node.

use bytes::Bytes;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use waxwing_crypto::space::{Condition, KeyName, NamingKey, Operation, Space, Stands, Statement};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{ChangeId, MeshId, SigningKey, SpaceId};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::Put;

use crate::bench::now;
use crate::error::{Error, Result};

/// Who writes, and what is needed for it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    /// The mesh.
    pub(crate) mesh: MeshId,
    /// Its state keys.
    pub(crate) keys: &'a StateKeys,
    /// The end of the log that the writer knows.
    pub(crate) log_seq: u64,
    /// The life of the broker's store.
    pub(crate) life: StoreId,
    /// The writer's key.
    pub(crate) key: &'a SigningKey,
}

impl Writer<'_> {
    /// What a node says that is there: its own record, bound to its lease. `version`: an ASCII character.
    pub(crate) fn presence(&self, counter: u64, version: char) -> Result<(SpaceId, Put)> {
        let name = format!("node:{}", self.key.public().node_id());
        self.own("presence", &name, counter, Some(0), says(version))
    }

    /// A record of the writer's own under a key, and the space that it goes into. `counter`: more than that of every record it
    /// wrote there before.
    pub(crate) fn own(
        &self,
        space: &str,
        name: &str,
        counter: u64,
        bound: Option<u64>,
        value: Bytes,
    ) -> Result<(SpaceId, Put)> {
        let wrong = |what: &str| Error::Unreadable(format!("a record of a space: {what}"));
        let space = space.parse().map_err(|_| wrong("a bad name"))?;
        let space = Space::new(self.mesh, &NamingKey::of(self.mesh, self.keys), space);
        let name: KeyName = name.parse().map_err(|_| wrong("a bad key"))?;
        let key = space.key(&name);
        let (when, ttl) = (Condition::Any, None);
        let id = ChangeId::from_bytes(u128::from(counter).to_be_bytes());
        let statement = Statement {
            operation: Operation::Put,
            stands: Stands::Own,
            id,
            writer: self.key.public().node_id(),
            when,
            ttl,
            bound,
            version: counter,
            counter,
            log_seq: self.log_seq,
            life: *self.life.as_bytes(),
            of: None,
            seen: None,
            at: now(),
            name,
            app: None,
            value,
        };
        let (epoch, _) = self.keys.newest();
        let sealed = space.seal(&statement, epoch, self.keys, self.key, &mut UnwrapErr(SysRng));
        let sealed = sealed.map_err(|error| wrong(&error.to_string()))?;
        Ok((space.id(), Put { id, key, own: true, when, ttl, bound, sealed }))
    }
}

/// Since when, and which version, as a node says it: a map of two in MessagePack.
fn says(version: char) -> Bytes {
    let mut says = vec![0x82, 0xa5];
    says.extend(b"since\xcf");
    says.extend(now().as_millis().to_be_bytes());
    says.extend(b"\xa7version\xa1");
    says.push(u8::try_from(version).unwrap_or(b'?'));
    says.into()
}
