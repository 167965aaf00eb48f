//! `space.write`: the changes of a batch, frame by frame, each decided on what those before have left.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use waxwing_crypto::membership::Role;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, Digest, SpaceId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Change, ChangeOutcome, SpaceWritten, ToNode};

use super::super::batch::Batch;
use super::super::change::{Answer, SpaceWrites};
use super::decide::By;
use super::{Wanted, end, load_rows, slot};
use crate::error::Result;
use crate::store::change_id::{ChangeKey, Made};
use crate::store::space::{SpaceKey, Usage};
use crate::store::{self, NodeKey};

/// What is known of the ids in a batch, and what it adds.
#[derive(Default)]
pub(super) struct Ids {
    made: HashMap<ChangeKey, Made>,
    fresh: Vec<(ChangeKey, Made)>,
}

/// Applies what current links have written.
pub(in crate::accept) async fn apply(batch: &mut Batch<'_>, writes: Vec<SpaceWrites>) -> Result<()> {
    let writes: Vec<_> = writes.into_iter().filter(|write| batch.is_current(&write.peer)).collect();
    if writes.is_empty() {
        return Ok(());
    }
    end::leases(batch).await?;
    batch.load_spaces(writes.iter().map(SpaceWrites::key)).await?;
    let keys: Vec<_> = writes.iter().flat_map(SpaceWrites::ids).collect();
    let mut ids = Ids { made: store::change_id::find(batch.db, &keys, batch.even).await?, ..Ids::default() };
    let wanted = wanted(&writes);
    loop {
        load_rows(batch.db, &mut batch.spaces, &wanted).await?;
        // What is past its end has ended before anything else is looked at; behind it there may be more.
        let lapsed = batch.spaces.lapse(batch.even);
        if lapsed == 0 {
            break;
        }
        batch.effects.tally.ended(waxwing_protocol::link::EndedBy::Lifetime, lapsed);
        batch.flush_spaces().await?;
    }
    for SpaceWrites { peer, req, space, changes, reply, budget } in writes {
        let by = by(batch, SpaceKey { mesh: peer.key.mesh, space }, peer.key.node);
        let mut touches = limits::SPACE_PAGE;
        let mut outcomes = Vec::with_capacity(changes.len());
        let again = ids.made_until(&by, &changes);
        for (at, change) in changes.iter().enumerate() {
            let outcome = decide(batch, &mut ids, &by, change, at < again, &mut touches);
            batch.effects.tally.change(change, &outcome);
            outcomes.push(outcome);
        }
        let written = ToNode::SpaceWritten(SpaceWritten { req, outcomes, mark: batch.mark });
        batch.effects.replies.push((reply, Box::new(Answer::Frame(written))));
        batch.effects.budgets.push(budget);
    }
    batch.flush_spaces().await?;
    store::change_id::put(batch.db, &ids.fresh).await
}

/// Who writes.
pub(super) fn by(batch: &mut Batch<'_>, space: SpaceKey, writer: waxwing_crypto::NodeId) -> By {
    let limits = batch.state.limits_of(space.mesh);
    // A right is one held in every log that there is.
    let is_admin = batch.mesh(space.mesh).is_some_and(|mesh| {
        mesh.logs().all(|log| log.member(&writer).is_some_and(|member| member.role == Role::Admin))
    });
    let most = Usage { records: limits.space_records, bytes: limits.space_bytes };
    By { space, writer, is_admin, now: batch.even, most }
}

fn wanted(writes: &[SpaceWrites]) -> Wanted {
    let mut wanted = Wanted::default();
    for write in writes {
        let (space, writer) = (write.key(), write.peer.key.node);
        for change in &write.changes {
            match change {
                Change::Put(put) => wanted.slots.push(slot(space, put.key, put.own.then_some(writer))),
                Change::Append(append) if append.if_empty => {
                    wanted.appended.insert((space, append.key));
                }
                Change::Append(_) => {}
                Change::Touch(touch) => {
                    let few = touch.seqs.iter().take(limits::SPACE_PAGE);
                    wanted.places.extend(few.map(|seq| (space, *seq)));
                }
                Change::Delete(delete) => match delete.seq {
                    Some(seq) => wanted.places.push((space, seq)),
                    None => wanted.slots.push(slot(space, delete.key, delete.own.then_some(writer))),
                },
            }
        }
    }
    wanted
}

/// `again`: a change behind this one was made before. This one was refused then, and now it would be made behind that.
fn decide(
    batch: &mut Batch<'_>,
    ids: &mut Ids,
    by: &By,
    change: &Change,
    again: bool,
    touches: &mut usize,
) -> ChangeOutcome {
    if let Change::Touch(touch) = change {
        return batch.spaces.touch_records(by, touch, touches);
    }
    let Some(key) = key(by, change) else { return ChangeOutcome::BadChange };
    let digest = digest(by.space.space, change);
    if let Some(made) = ids.made.get(&key) {
        return if made.digest == digest {
            ChangeOutcome::Applied { seq: made.seq }
        } else {
            ChangeOutcome::IdReused
        };
    }
    if again {
        return ChangeOutcome::Conflict { seq: None };
    }
    let decided = match change {
        Change::Put(put) => batch.spaces.put_record(by, put),
        Change::Append(append) => batch.spaces.append_record(by, append),
        Change::Delete(delete) => batch.spaces.delete_record(by, delete),
        Change::Touch(_) => Err(ChangeOutcome::BadChange),
    };
    match decided {
        Ok(seq) => {
            ids.remember(key, digest, seq, by);
            ChangeOutcome::Applied { seq }
        }
        Err(refused) => refused,
    }
}

/// How a change is known again. None of a renewal.
fn key(by: &By, change: &Change) -> Option<ChangeKey> {
    let writer = NodeKey { mesh: by.space.mesh, node: by.writer };
    id(change).map(|id| ChangeKey { writer, id })
}

const fn id(change: &Change) -> Option<ChangeId> {
    match change {
        Change::Put(put) => Some(put.id),
        Change::Append(append) => Some(append.id),
        Change::Delete(delete) => Some(delete.id),
        Change::Touch(_) => None,
    }
}

impl Ids {
    /// Up to where a frame was decided before, as far as that is known: the last change in it that was made.
    fn made_until(&self, by: &By, changes: &[Change]) -> usize {
        let was_made = |change| key(by, change).is_some_and(|key| self.made.contains_key(&key));
        changes.iter().rposition(was_made).unwrap_or(0)
    }

    fn remember(&mut self, key: ChangeKey, digest: Digest, seq: u64, by: &By) {
        let made = Made { digest, seq, expires: by.now.plus(limits::TOMBSTONES) };
        self.made.insert(key, made);
        self.fresh.push((key, made));
    }
}

impl SpaceWrites {
    fn key(&self) -> SpaceKey {
        SpaceKey { mesh: self.peer.key.mesh, space: self.space }
    }

    fn ids(&self) -> impl Iterator<Item = ChangeKey> {
        self.changes.iter().filter_map(id).map(|id| ChangeKey { writer: self.peer.key, id })
    }
}

/// Tells a change made again from another under the same id.
fn digest(space: SpaceId, change: &Change) -> Digest {
    let number = |number: Option<u64>| {
        let mut bytes = [0; 9];
        if let Some(number) = number {
            bytes[0] = 1;
            bytes[1..].copy_from_slice(&number.to_be_bytes());
        }
        bytes
    };
    let condition = |when: Condition| match when {
        Condition::Any => (0, number(None)),
        Condition::Absent => (1, number(None)),
        Condition::Seq(seq) => (2, number(Some(seq))),
    };
    let mut hash = Sha256::new();
    hash.update(b"waxwing broker change v1\0");
    hash.update(space.as_bytes());
    // Everything but the sealed bytes has a fixed length, and these come last.
    let sealed = match change {
        Change::Put(put) => {
            let (kind, seq) = condition(put.when);
            hash.update(put.key.as_bytes());
            hash.update([0, put.own.into(), kind]);
            hash.update(seq);
            hash.update(number(put.ttl));
            hash.update(number(put.bound));
            &put.sealed
        }
        Change::Append(append) => {
            hash.update(append.key.as_bytes());
            hash.update([1, append.if_empty.into(), 0]);
            hash.update(number(None));
            hash.update(number(append.ttl));
            hash.update(number(append.bound));
            &append.sealed
        }
        Change::Delete(delete) => {
            let (kind, seq) = condition(delete.when);
            hash.update(delete.key.as_bytes());
            hash.update([2, delete.own.into(), kind]);
            hash.update(seq);
            hash.update(number(delete.seq));
            hash.update(number(None));
            &delete.sealed
        }
        Change::Touch(_) => return Digest::from_bytes([0; 32]), // It has no id.
    };
    hash.update(sealed);
    Digest::from_bytes(hash.finalize().into())
}
