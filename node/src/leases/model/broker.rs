//! The broker: the order of places, and when a record ends.

use super::Rule;
use super::node::{Asked, Told, View};
use super::world::{GRACE, LEASE, NODES, State, TTL, World};

/// So many places are given in one step of time at most.
const PLACES: u16 = 16;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Record {
    pub(super) seq: u16,
    pub(super) node: usize,
    pub(super) expires: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Store {
    pub(super) life: u8,
    pub(super) last: u16,
    pub(super) records: Vec<Record>,
}

impl Store {
    pub(super) fn new(life: u8, began: u8) -> Self {
        Self { life, last: floor(began), records: Vec::new() }
    }

    /// No place is given again that a store may have given until now.
    pub(super) fn raise(&mut self, now: u8) {
        self.last = self.last.max(floor(now));
    }

    /// What was bound to leases is gone.
    pub(super) fn begin_life(&mut self, now: u8, world: &World) {
        self.life += 1;
        if world.has(Rule::OfThisLife) {
            self.records.clear();
        }
        if world.has(Rule::Raised) {
            self.raise(now);
        }
    }

    pub(super) fn end(&mut self, seq: u16) {
        self.records.retain(|record| record.seq != seq);
    }

    /// What is over, however long.
    pub(super) fn forget(&mut self, now: u8) {
        for record in &mut self.records {
            record.expires = record.expires.max(now);
        }
    }

    fn append(&mut self, node: usize, now: u8) -> u16 {
        self.last += 1;
        self.records.push(Record { seq: self.last, node, expires: now + TTL });
        self.last
    }

    fn touch(&mut self, seq: u16, now: u8) -> bool {
        let found = self.records.iter_mut().find(|record| record.seq == seq);
        found.map(|record| record.expires = now + TTL).is_some()
    }
}

fn floor(began: u8) -> u16 {
    u16::from(began) * PLACES
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Broker {
    pub(super) store: Store,
    /// When something was last heard of each node.
    pub(super) heard: [u8; NODES],
    /// When the store was opened.
    pub(super) opened: u8,
    pub(super) backup: Option<Store>,
    /// There was a commit since the backup.
    pub(super) moved: bool,
}

impl Broker {
    pub(super) const fn new(store: Store, now: u8) -> Self {
        Self { store, heard: [now; NODES], opened: now, backup: None, moved: false }
    }

    /// Notes a commit, for the marks.
    pub(super) fn moves(&mut self) {
        self.moved |= self.backup.is_some();
    }

    /// Records that may end now. The broker may be late.
    pub(super) fn due(&self, now: u8, world: &World) -> impl Iterator<Item = u16> {
        let hold = world.bounds.hold;
        let grace = if world.has(Rule::Grace) { GRACE } else { 0 };
        let is_due = move |record: &&Record| {
            record.expires <= now || !hold && self.heard[record.node] + LEASE + grace <= now
        };
        self.store.records.iter().filter(is_due).map(|record| record.seq)
    }

    /// Whether a copy has what there is.
    pub(super) fn is_shown(&self, copy: &View) -> bool {
        (copy.life, copy.place) == (self.store.life, self.store.last) && copy.records == self.store.records
    }
}

impl State {
    /// What a node asks is done at once: it counts its own time from then, and if it takes longer, the broker counts from later.
    pub(super) fn broker_does(&mut self, at: usize, asked: Asked) {
        let now = self.now;
        let store = &mut self.broker.store;
        let told = match asked {
            Asked::Append => Told::Appended(store.append(at, now)),
            Asked::Touch(seq) => Told::Touched(store.touch(seq, now)),
            Asked::Delete(seq) => {
                store.end(seq);
                Told::Heard
            }
        };
        self.broker.heard[at] = now;
        self.broker.moves();
        let ahead = self.broker.moved;
        self.nodes[at].frames += 1;
        if let Some(link) = &mut self.nodes[at].link {
            link.down = Some((told, now, ahead));
        }
    }
}
