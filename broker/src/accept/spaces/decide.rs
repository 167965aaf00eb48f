//! The decision about one change, on what those before it have left.

use bytes::Bytes;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{KeyId, NodeId, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Append, ChangeOutcome, Delete, Put, Stands, Touch};

use super::{Spaces, slot};
use crate::store::record::{Body, Row};
use crate::store::space::{SpaceKey, Usage};

/// Who changes what, when, and how much there may be.
#[derive(Clone, Copy)]
pub(super) struct By {
    /// The space.
    pub(super) space: SpaceKey,
    /// The writer.
    pub(super) writer: NodeId,
    /// Its node is an admin's.
    pub(super) is_admin: bool,
    /// The moment of the batch.
    pub(super) now: Timestamp,
    /// How much the mesh may have in its spaces.
    pub(super) most: Usage,
}

/// What a change has come to: made at a place, or refused.
pub(super) type Decided = Result<u64, ChangeOutcome>;

impl Spaces {
    /// Puts a record in the place of the one that stands there.
    pub(super) fn put_record(&mut self, by: &By, put: &Put) -> Decided {
        fits(&put.sealed, put.ttl, put.bound)?;
        let slot = slot(by.space, put.key, put.own.then_some(by.writer));
        let before = self.standing(&slot);
        holds(put.when, before.as_ref())?;
        if let Some(before) = &before {
            may_take(by, before)?;
        }
        self.has_room(by, before.as_ref(), put.sealed.len())?;
        let stands = if put.own { Stands::Own } else { Stands::Shared };
        Ok(self.record(by, put.key, stands, (put.ttl, put.bound), &put.sealed))
    }

    /// Adds a record under a key.
    pub(super) fn append_record(&mut self, by: &By, append: &Append) -> Decided {
        fits(&append.sealed, append.ttl, append.bound)?;
        let first = self.first_appended(by.space, append.key);
        if append.if_empty && first.is_some() {
            return Err(ChangeOutcome::Conflict { seq: first });
        }
        self.has_room(by, None, append.sealed.len())?;
        Ok(self.record(by, append.key, Stands::Appended, (append.ttl, append.bound), &append.sealed))
    }

    fn record(
        &mut self,
        by: &By,
        key: KeyId,
        stands: Stands,
        (ttl, bound): (Option<u64>, Option<u64>),
        sealed: &Bytes,
    ) -> u64 {
        let row = Row {
            ends: ttl.map(|ttl| by.now.plus(std::time::Duration::from_millis(ttl))),
            bound,
            ..new_row(by, key, stands, sealed)
        };
        self.put(row, by.now, Body::Record { sealed: sealed.clone() })
    }

    /// Renews the writer's own records. `left` is how many more its frame may name.
    pub(super) fn touch_records(&mut self, by: &By, touch: &Touch, left: &mut usize) -> ChangeOutcome {
        let Some(rest) = left.checked_sub(touch.seqs.len()).filter(|_| !touch.seqs.is_empty()) else {
            return ChangeOutcome::BadChange;
        };
        *left = rest;
        if !is_lifetime(touch.ttl) {
            return ChangeOutcome::BadChange;
        }
        let rows: Vec<_> = touch.seqs.iter().map(|seq| (*seq, self.row(by.space, *seq))).collect();
        if rows.iter().any(|(_, row)| row.is_some_and(|row| row.is_record && row.writer != by.writer)) {
            return ChangeOutcome::NotYours;
        }
        let ends = by.now.plus(std::time::Duration::from_millis(touch.ttl));
        let mut gone = Vec::new();
        for (seq, row) in rows {
            if row.is_some_and(|row| row.is_record && row.ends.is_some()) {
                self.touch(by.space, seq, by.now, ends);
            } else {
                gone.push(seq);
            }
        }
        ChangeOutcome::Touched { gone }
    }

    /// Leaves a tombstone in the place of a record.
    pub(super) fn delete_record(&mut self, by: &By, delete: &Delete) -> Decided {
        fits(&delete.sealed, None, None)?;
        let standing = match delete.seq {
            Some(seq) => self
                .row(by.space, seq)
                .filter(|row| row.is_record && row.stands == Stands::Appended && row.key == delete.key),
            None => self.standing(&slot(by.space, delete.key, delete.own.then_some(by.writer))),
        };
        let before = standing.ok_or(ChangeOutcome::NotFound)?;
        holds(delete.when, Some(&before))?;
        may_take(by, &before)?;
        self.remove(by.space, before.seq);
        let row = Row {
            is_record: false,
            ends: Some(by.now.plus(limits::TOMBSTONES)),
            ..new_row(by, delete.key, before.stands, &delete.sealed)
        };
        Ok(self.put(row, by.now, Body::Tombstone { of: before.seq, sealed: delete.sealed.clone() }))
    }

    /// Whether the mesh may have one record more, or a larger one in the place of another.
    pub(super) fn has_room(&self, by: &By, before: Option<&Row>, bytes: usize) -> Result<(), ChangeOutcome> {
        let usage = self.usage(by.space.mesh);
        // A new space counts for a record.
        let records = u64::from(before.is_none()) + u64::from(self.is_new(by.space));
        let freed = before.map_or(0, |before| before.bytes);
        // No record is without bytes: one more grows.
        let grows = bytes as u64 > freed;
        let full = usage.records + records > by.most.records
            || (usage.bytes + bytes as u64).saturating_sub(freed) > by.most.bytes;
        if grows && full { Err(ChangeOutcome::Full) } else { Ok(()) }
    }
}

/// A record of this writer, at a place to be given.
pub(super) fn new_row(by: &By, key: KeyId, stands: Stands, sealed: &Bytes) -> Row {
    Row {
        id: None,
        space: by.space,
        seq: 0,
        is_record: true,
        key,
        writer: by.writer,
        stands,
        ends: None,
        bound: None,
        touched: None,
        bytes: sealed.len() as u64,
        offered: false,
    }
}

/// Whether what stands there is what the condition says.
pub(super) fn holds(when: Condition, standing: Option<&Row>) -> Result<(), ChangeOutcome> {
    let seq = standing.map(|row| row.seq);
    let holds = match when {
        Condition::Any => true,
        Condition::Absent => seq.is_none(),
        Condition::Seq(wanted) => seq == Some(wanted),
    };
    if holds { Ok(()) } else { Err(ChangeOutcome::Conflict { seq }) }
}

/// Whether this writer may take away what stands there: an appended or bound record is its writer's, or an admin's to take.
fn may_take(by: &By, standing: &Row) -> Result<(), ChangeOutcome> {
    let anybodys = standing.stands == Stands::Shared && standing.bound.is_none();
    if anybodys || standing.writer == by.writer || by.is_admin {
        Ok(())
    } else {
        Err(ChangeOutcome::NotYours)
    }
}

/// Whether a record is within the rules of the protocol.
fn fits(sealed: &Bytes, ttl: Option<u64>, bound: Option<u64>) -> Result<(), ChangeOutcome> {
    is_sealed(sealed)?;
    let grace = u64::try_from(limits::GRACE_MAX.as_millis()).unwrap_or(u64::MAX);
    if ttl.is_none_or(is_lifetime) && bound.is_none_or(|bound| bound <= grace) {
        Ok(())
    } else {
        Err(ChangeOutcome::BadChange)
    }
}

/// Whether these may be sealed bytes.
pub(super) fn is_sealed(sealed: &Bytes) -> Result<(), ChangeOutcome> {
    match sealed.len() {
        0 => Err(ChangeOutcome::BadChange),
        1..=limits::RECORD => Ok(()),
        _ => Err(ChangeOutcome::TooLarge),
    }
}

fn is_lifetime(ttl: u64) -> bool {
    let (least, most) = (limits::LIFETIME_MIN.as_millis(), limits::LIFETIME_MAX.as_millis());
    (least..=most).contains(&u128::from(ttl))
}
