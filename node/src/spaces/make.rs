//! Making changes of what is wanted: numbered, signed for this life of the broker's store, sealed.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rand_core::Rng as _;
use waxwing_crypto::membership::Roster;
use waxwing_crypto::space::{Condition, KeyName, Operation, RecordRef, Seen, Stands, Statement, digest};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{ChangeId, KeyId, Name};
use waxwing_protocol::link::{Append, Change, Delete, Put, Touch};

use super::lane::NotWritten;
use super::{Draft, DraftChange, Link, Space};
use crate::epochs::Trouble;
use crate::link::Ended;
use crate::store::records::{self, Slot};
use crate::store::spaces::Progress;
use crate::writer::WriteError;

/// Why changes are not made.
pub(super) enum Unmade {
    NotWritten(NotWritten),
    Ended(Ended),
}

impl From<WriteError> for Unmade {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::DiskFull => Self::NotWritten(NotWritten::Refused(error.to_string())),
            WriteError::Failed(_) => Self::Ended(Ended::Database(error.to_string())),
        }
    }
}

impl From<waxwing_sqlite::Error> for Unmade {
    fn from(error: waxwing_sqlite::Error) -> Self {
        Self::Ended(Ended::Database(error.to_string()))
    }
}

impl From<waxwing_crypto::Error> for Unmade {
    fn from(error: waxwing_crypto::Error) -> Self {
        Self::NotWritten(NotWritten::Refused(error.to_string()))
    }
}

/// What statements are made of, beside what is wanted.
pub(super) struct Maker<'a> {
    link: Link<'a>,
    space: &'a Space,
    progress: Progress,
    keys: Arc<StateKeys>,
    log_seq: u64,
    seen: Option<Seen>,
    /// Versions given to keys by what is made with it.
    versions: HashMap<(KeyId, bool), u64>,
}

impl<'a> Maker<'a> {
    pub(super) async fn begin(link: Link<'a>, space: &'a Space) -> Result<Self, Trouble> {
        let mesh = link.mesh;
        let failed = |error: waxwing_sqlite::Error| Trouble::Ended(Ended::Database(error.to_string()));
        let (epoch, log_seq) = mesh.roster(|roster| (Roster::epoch(roster), roster.head().seq));
        let later = || Trouble::Later(format!("the state key of epoch {epoch} is not here yet"));
        let keys = mesh.epochs.holding(epoch).await.ok_or_else(later)?;
        let progress = match space.progress(&mesh.db).await.map_err(failed)? {
            Some(progress) => progress,
            None => mesh.writer.space(space.id()).await?,
        };
        let newest = records::newest(&mesh.db, progress.row).await.map_err(failed)?;
        // Places of another life mean something else in this one.
        let newest = newest.filter(|_| progress.store == Some(link.store));
        let seen = newest.map(|row| Seen { seq: row.seq, digest: digest(&row.sealed) });
        Ok(Self { link, space, progress, keys, log_seq, seen, versions: HashMap::new() })
    }

    pub(super) async fn all(&mut self, drafts: Vec<Draft>) -> Result<Vec<Change>, Unmade> {
        let mut changes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            changes.push(self.one(draft).await?);
        }
        Ok(changes)
    }

    async fn one(&mut self, draft: Draft) -> Result<Change, Unmade> {
        let id = draft.id.unwrap_or_else(random_id);
        match draft.change {
            DraftChange::Put { key: name, own, when, ttl, bound, value } => {
                let key = self.space.sealing.key(&name);
                let version = self.version(key, own).await?;
                let stands = if own { Stands::Own } else { Stands::Shared };
                let says = Says { ttl, bound, version, value, ..Says::new(Operation::Put, stands, when) };
                let sealed = self.seal(id, draft.app, name, says).await?;
                Ok(Change::Put(Put { id, key, own, when, ttl, bound, sealed }))
            }
            DraftChange::Append { key: name, if_empty, ttl, bound, value } => {
                let key = self.space.sealing.key(&name);
                let when = if if_empty { Condition::Absent } else { Condition::Any };
                let says = Says { ttl, bound, value, ..Says::new(Operation::Append, Stands::Appended, when) };
                let sealed = self.seal(id, draft.app, name, says).await?;
                Ok(Change::Append(Append { id, key, if_empty, ttl, bound, sealed }))
            }
            DraftChange::Touch { seqs, ttl } => Ok(Change::Touch(Touch { seqs, ttl })),
            DraftChange::Delete { key: name, own, seq, when } => {
                let key = self.space.sealing.key(&name);
                let (stands, of, version) = match seq {
                    Some(seq) => (Stands::Appended, Some(self.appended(key, seq).await?), 1),
                    None if own => (Stands::Own, None, self.version(key, own).await?),
                    None => (Stands::Shared, None, self.version(key, own).await?),
                };
                let says = Says { of, version, ..Says::new(Operation::Delete, stands, when) };
                let sealed = self.seal(id, draft.app, name, says).await?;
                Ok(Change::Delete(Delete { id, key, own, seq, when, sealed }))
            }
        }
    }

    /// One more than that of the record that stands there, as far as this node knows.
    async fn version(&mut self, key: KeyId, own: bool) -> Result<u64, Unmade> {
        let db = &self.link.mesh.db;
        let last = match self.versions.get(&(key, own)) {
            Some(last) => *last,
            None => {
                let slot = if own { Slot::Own(self.link.mesh.identity.node) } else { Slot::Shared };
                records::version(db, self.progress.row, &key, slot).await?
            }
        };
        self.versions.insert((key, own), last + 1);
        Ok(last + 1)
    }

    /// What the writer of an appended record calls it.
    async fn appended(&self, key: KeyId, seq: u64) -> Result<RecordRef, Unmade> {
        let rows = records::at(&self.link.mesh.db, self.progress.row, &[seq]).await?;
        let row = rows.first().filter(|row| row.key == key && row.slot == Slot::Appended(seq));
        let row = row.ok_or_else(|| {
            Unmade::NotWritten(NotWritten::Refused(format!("there is no record at place {seq}")))
        })?;
        Ok(RecordRef { writer: row.writer, counter: row.counter })
    }

    async fn seal(
        &self,
        id: ChangeId,
        app: Option<Name>,
        name: KeyName,
        says: Says,
    ) -> Result<Bytes, Unmade> {
        let mesh = self.link.mesh;
        let statement = Statement {
            operation: says.operation,
            stands: says.stands,
            id,
            writer: mesh.identity.node,
            when: says.when,
            ttl: says.ttl,
            bound: says.bound,
            version: says.version,
            counter: self.space.lane.number(mesh, self.progress.row).await?,
            log_seq: self.log_seq,
            life: *self.link.store.as_bytes(),
            of: says.of,
            seen: self.seen,
            at: mesh.clock.broker_now(),
            name,
            app,
            value: says.value,
        };
        let (epoch, _) = self.keys.newest();
        let signing = &mesh.identity.signing;
        Ok(self.space.sealing.seal(&statement, epoch, &self.keys, signing, &mut crate::rng())?)
    }
}

/// The parts of a statement that differ between changes.
struct Says {
    operation: Operation,
    stands: Stands,
    when: Condition,
    ttl: Option<u64>,
    bound: Option<u64>,
    version: u64,
    of: Option<RecordRef>,
    value: Bytes,
}

impl Says {
    fn new(operation: Operation, stands: Stands, when: Condition) -> Self {
        let value = Bytes::new();
        Self { operation, stands, when, ttl: None, bound: None, version: 1, of: None, value }
    }
}

fn random_id() -> ChangeId {
    let mut id = [0; ChangeId::SIZE];
    crate::rng().fill_bytes(&mut id);
    ChangeId::from_bytes(id)
}
