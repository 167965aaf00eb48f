//! Changes of spaces: what members write and hand back, and what ends. Each is decided in memory, on the rows that it may
//! concern, and what has changed is written in a few statements.

mod decide;
mod end;
mod hub;
mod offer;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use waxwing_crypto::{KeyId, MeshId, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{EndedBy, Stands};

use super::batch::Batch;
use super::change::{Bye, EndDue, SpaceOffers, SpaceWrites};
use crate::error::{Error, Result};
use crate::state::State;
use crate::store::Connection;
use crate::store::record::{Body, NewRow, Row, Slot};
use crate::store::space::{Space, SpaceKey, Usage};
use crate::store::{self, NodeKey};

pub(super) use end::forget;
pub(super) use hub::Told;

/// Ends what is due, then applies what nodes write and offer, then the goodbyes: whatever a node has written before its own is
/// there by then.
pub(super) async fn apply(
    batch: &mut Batch<'_>,
    ends: Vec<EndDue>,
    writes: Vec<SpaceWrites>,
    offers: Vec<SpaceOffers>,
    byes: Vec<Bye>,
) -> Result<()> {
    if batch.effects.gone {
        end::gone(batch).await?;
    }
    end::due(batch, ends).await?;
    write::apply(batch, writes).await?;
    offer::apply(batch, offers).await?;
    end::bye(batch, byes).await
}

#[cfg(test)]
mod tests;

/// The spaces that a batch concerns, with what it has done to them so far.
#[derive(Default)]
pub(super) struct Spaces {
    known: HashMap<SpaceKey, Space>,
    changed: BTreeSet<SpaceKey>,
    /// Rows that were read or made, by their place.
    rows: HashMap<(SpaceKey, u64), Row>,
    /// What is in each slot that was looked at: a record, or what was left of one.
    slots: HashMap<Slot, u64>,
    /// The appended records under the keys that were looked at.
    appended: HashMap<(SpaceKey, KeyId), BTreeSet<u64>>,
    removed: Vec<i64>,
    fresh: BTreeMap<(SpaceKey, u64), NewRow>,
    touched: HashMap<i64, (u64, Timestamp)>,
    /// How much each mesh has.
    usage: HashMap<MeshId, Usage>,
    /// What followers are told after the commit.
    told: Told,
    /// What ends by itself.
    bindings: Bindings,
}

/// What memory has to know of the spaces after the commit: what ends when, and how much there is.
#[derive(Default)]
pub(super) struct Bindings {
    /// How much meshes have in their spaces.
    usage: HashMap<MeshId, Usage>,
    /// How long after their leases the first records of nodes end, of which some have ended.
    least: HashMap<NodeKey, Option<u64>>,
    /// The same of records that were added.
    bound: HashMap<NodeKey, u64>,
    /// When the first lifetime is over, if it was looked for.
    first_lifetime: Option<Option<Timestamp>>,
    /// The first lifetime that was added.
    lifetime: Option<Timestamp>,
}

impl Bindings {
    fn first(&mut self, ends: Option<Timestamp>) {
        self.lifetime = self.lifetime.into_iter().chain(ends).min();
    }

    /// Lets the rest of the broker know.
    pub(super) fn publish(self, state: &State) {
        state.totals.set(self.usage);
        for (node, least) in self.least {
            state.leases.bound(node, least);
        }
        for (node, grace) in self.bound {
            state.leases.bound_more(node, grace);
        }
        if let Some(first) = self.first_lifetime {
            state.leases.lifetime(first);
        }
        if let Some(ends) = self.lifetime {
            state.leases.lifetime_more(ends);
        }
    }
}

impl Batch<'_> {
    /// Reads what is not known yet of these spaces. One that is not there is as if it had just been made.
    async fn load_spaces(&mut self, keys: impl IntoIterator<Item = SpaceKey>) -> Result<()> {
        let mut missing: Vec<_> =
            keys.into_iter().filter(|key| !self.spaces.known.contains_key(key)).collect();
        missing.sort_unstable();
        missing.dedup();
        let mut found = store::space::find(self.db, &missing).await?;
        let began = self.state.life.began();
        for key in missing {
            let space = found.remove(&key).unwrap_or_else(|| Space::new(began));
            self.spaces.told.begin(key, space.last);
            self.spaces.known.insert(key, space);
            self.spaces.usage.entry(key.mesh).or_insert_with(|| self.state.totals.of(key.mesh));
        }
        Ok(())
    }

    /// Writes what was done to the spaces, and forgets their rows: what comes next reads anew.
    async fn flush_spaces(&mut self) -> Result<()> {
        let Spaces { known, changed, removed, fresh, touched, .. } = &mut self.spaces;
        let changed: Vec<_> = std::mem::take(changed).into_iter().map(|key| (key, known[&key])).collect();
        for (key, id) in store::space::put(self.db, &changed).await? {
            if let Some(space) = known.get_mut(&key) {
                space.id = Some(id);
            }
        }
        store::record::delete(self.db, &std::mem::take(removed)).await?;
        let fresh = std::mem::take(fresh);
        let rows: Vec<_> = fresh
            .values()
            .map(|row| known[&row.row.space].id.map(|id| (row, id)).ok_or_else(|| Error::damaged("a space")))
            .collect::<Result<_>>()?;
        store::record::insert(self.db, &rows).await?;
        let touched: Vec<_> =
            std::mem::take(touched).into_iter().map(|(id, (place, ends))| (id, place, ends)).collect();
        store::record::touch(self.db, &touched, self.even).await?;
        self.spaces.forget_rows();
        Ok(())
    }

    /// What follows from the spaces once the batch is committed.
    pub(super) fn close_spaces(&mut self) {
        self.effects.told = std::mem::take(&mut self.spaces.told);
        self.effects.bindings = std::mem::take(&mut self.spaces.bindings);
        self.effects.bindings.usage = std::mem::take(&mut self.spaces.usage);
    }
}

impl Spaces {
    /// Takes rows that were read.
    fn learn(&mut self, rows: Vec<Row>) {
        for row in rows {
            if self.rows.insert((row.space, row.seq), row).is_none() {
                self.place_row(&row);
            }
        }
    }

    fn forget_rows(&mut self) {
        self.rows.clear();
        self.slots.clear();
        self.appended.clear();
    }

    fn place_row(&mut self, row: &Row) {
        match row.slot() {
            Some(slot) => drop(self.slots.insert(slot, row.seq)),
            None if row.is_record => {
                if let Some(appended) = self.appended.get_mut(&(row.space, row.key)) {
                    appended.insert(row.seq);
                }
            }
            None => {}
        }
    }

    /// The number that a space's rows are found by, if it is stored.
    fn id(&self, key: SpaceKey) -> Option<i64> {
        self.known.get(&key).and_then(|space| space.id)
    }

    /// A row that was read or made.
    fn row(&self, space: SpaceKey, seq: u64) -> Option<Row> {
        self.rows.get(&(space, seq)).copied()
    }

    /// The record in a slot.
    fn standing(&self, slot: &Slot) -> Option<Row> {
        self.last_in(slot).filter(|row| row.is_record)
    }

    /// The record in a slot, or what is left of it: a tombstone, an end.
    fn last_in(&self, slot: &Slot) -> Option<Row> {
        self.slots.get(slot).and_then(|seq| self.row(slot.space, *seq))
    }

    /// The first appended record under a key that was looked at.
    fn first_appended(&self, space: SpaceKey, key: KeyId) -> Option<u64> {
        self.appended.get(&(space, key)).and_then(|seqs| seqs.first().copied())
    }

    /// Whether nothing was put into a space yet.
    fn is_new(&self, key: SpaceKey) -> bool {
        self.id(key).is_none() && !self.changed.contains(&key)
    }

    /// Gives a place.
    fn place(&mut self, key: SpaceKey) -> u64 {
        if self.is_new(key) {
            self.usage.entry(key.mesh).or_default().records += 1;
        }
        self.changed.insert(key);
        let Some(space) = self.known.get_mut(&key) else { return 0 };
        space.last += 1;
        space.last
    }

    /// Puts a row at a new place, in its slot if it has one: what was there goes.
    fn put(&mut self, row: Row, at: Timestamp, body: Body) -> u64 {
        let seq = self.place(row.space);
        if let Some(before) = row.slot().and_then(|slot| self.slots.get(&slot).copied()) {
            self.remove(row.space, before);
        }
        let row = Row { seq, ..row };
        self.count(row.space, 1, row.bytes.cast_signed());
        self.rows.insert((row.space, seq), row);
        self.place_row(&row);
        if row.is_record {
            if let Some(bound) = row.bound {
                let writer = NodeKey { mesh: row.space.mesh, node: row.writer };
                let least = self.bindings.bound.entry(writer).or_insert(bound);
                *least = bound.min(*least);
            }
            self.bindings.first(row.ends);
        }
        let new = NewRow { row, at, body };
        self.told.changed(&new);
        self.fresh.insert((row.space, seq), new);
        seq
    }

    /// Takes a row out.
    fn remove(&mut self, space: SpaceKey, seq: u64) {
        let Some(row) = self.rows.remove(&(space, seq)) else { return };
        self.changed.insert(space);
        self.count(space, -1, -row.bytes.cast_signed());
        if let Some(appended) = self.appended.get_mut(&(space, row.key)) {
            appended.remove(&seq);
        }
        self.fresh.remove(&(space, seq));
        if let Some(id) = row.id {
            self.touched.remove(&id);
            self.removed.push(id);
        }
        self.told.gone(space, seq, row.touched);
    }

    /// Lets a record end later.
    fn touch(&mut self, space: SpaceKey, seq: u64, at: Timestamp, ends: Timestamp) {
        let place = self.place(space);
        let Some(row) = self.rows.get_mut(&(space, seq)) else { return };
        let before = row.touched.replace(place);
        row.ends = Some(ends);
        self.bindings.first(Some(ends));
        if let Some(id) = row.id {
            self.touched.insert(id, (place, ends));
        }
        if let Some(fresh) = self.fresh.get_mut(&(space, seq)) {
            (fresh.row.touched, fresh.row.ends) = (Some(place), Some(ends));
        }
        self.told.touched(space, (seq, before), (place, at, ends));
    }

    /// Ends a record: what is left of it is that it has ended, and why.
    fn end(&mut self, record: &Row, why: EndedBy, now: Timestamp) {
        self.remove(record.space, record.seq);
        let row = Row {
            id: None,
            is_record: false,
            ends: Some(now.plus(limits::TOMBSTONES)),
            bound: None,
            touched: None,
            bytes: 0,
            ..*record
        };
        self.put(row, now, Body::End { of: record.seq, why });
    }

    /// A row that is not read any more has been taken out of the store, for its age: copies that are older than it must not go
    /// on without knowing of it.
    fn forget(&mut self, key: SpaceKey, seq: u64, usage: Usage) {
        self.changed.insert(key);
        if let Some(space) = self.known.get_mut(&key) {
            space.horizon = space.horizon.max(seq);
        }
        self.count(key, -usage.records.cast_signed(), -usage.bytes.cast_signed());
    }

    fn count(&mut self, key: SpaceKey, records: i64, bytes: i64) {
        let add = |usage: &mut Usage| {
            usage.records = usage.records.saturating_add_signed(records);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
        };
        if let Some(space) = self.known.get_mut(&key) {
            add(&mut space.usage);
        }
        add(self.usage.entry(key.mesh).or_default());
    }

    /// How much each mesh has, as the store says.
    pub(super) fn count_anew(&mut self, usage: HashMap<MeshId, Usage>) {
        self.usage.extend(usage);
    }

    /// How much a mesh has in its spaces, of which one is known.
    fn usage(&self, mesh: MeshId) -> Usage {
        self.usage.get(&mesh).copied().unwrap_or_default()
    }

    /// Ends what was read and is past its lifetime. Says whether there was any.
    fn lapse(&mut self, now: Timestamp) -> u64 {
        let lapsed: BTreeMap<_, _> = self
            .rows
            .iter()
            .filter(|(_, row)| row.is_record && row.ends.is_some_and(|ends| ends <= now))
            .map(|(place, row)| (*place, *row))
            .collect();
        for row in lapsed.values() {
            self.end(row, EndedBy::Lifetime, now);
        }
        lapsed.len() as u64
    }
}

/// Reads the rows in slots, at places, and appended under keys.
async fn load_rows(db: &mut Connection, spaces: &mut Spaces, wanted: &Wanted) -> Result<()> {
    let with_id = |slot: &Slot| spaces.id(slot.space).map(|id| (*slot, id));
    let slots: Vec<_> = wanted.slots.iter().filter_map(with_id).collect();
    let places: Vec<_> = wanted
        .places
        .iter()
        .filter_map(|(space, seq)| spaces.id(*space).map(|id| (space.mesh, id, *seq)))
        .collect();
    let keys: Vec<_> = wanted
        .appended
        .iter()
        .filter_map(|(space, key)| spaces.id(*space).map(|id| (space.mesh, id, *key)))
        .collect();
    for key in &wanted.appended {
        spaces.appended.entry(*key).or_default();
    }
    spaces.learn(store::record::in_slots(db, &slots).await?);
    spaces.learn(store::record::at(db, &places).await?);
    spaces.learn(store::record::appended(db, &keys).await?);
    Ok(())
}

/// What has to be read for some changes to be decided.
#[derive(Default)]
struct Wanted {
    slots: Vec<Slot>,
    places: Vec<(SpaceKey, u64)>,
    appended: BTreeSet<(SpaceKey, KeyId)>,
}

/// The slot that a put or delete means; none for appended records.
fn slot(space: SpaceKey, key: KeyId, own: Option<waxwing_crypto::NodeId>) -> Slot {
    Slot { space, key, owner: own }
}

/// The slot of what stands so.
const fn slot_of(
    space: SpaceKey,
    key: KeyId,
    writer: waxwing_crypto::NodeId,
    stands: Stands,
) -> Option<Slot> {
    match stands {
        Stands::Shared => Some(Slot { space, key, owner: None }),
        Stands::Own => Some(Slot { space, key, owner: Some(writer) }),
        Stands::Appended => None,
    }
}
