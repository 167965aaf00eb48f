//! The keys that stand, in memory and without their values; and which of them apps have to be told of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use waxwing_crypto::Timestamp;
use waxwing_crypto::space;
use waxwing_protocol::api::{Category, KvChange};
use waxwing_protocol::link::EndedBy;

use super::record::{By, Key, Version};
use crate::spaces::{Entry, Fact, Gone};

/// What is known of a key.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) seq: u64,
    pub(super) version: u64,
    pub(super) category: Category,
    pub(super) by: By,
    pub(super) expires: Option<Timestamp>,
    /// The same for the same version, also where a store that was lost has been given it back.
    pub(super) tag: Tag,
}

/// See [`Shown::tag`].
pub(super) type Tag = [u8; 16];

/// All keys.
#[derive(Debug, Default)]
pub(super) struct View {
    now: BTreeMap<Key, Shown>,
    by_place: HashMap<u64, Key>,
    /// How those have ended that have.
    ends: HashMap<Key, KvChange>,
    /// What may be news.
    changed: BTreeSet<Key>,
    /// The last place that it has come to.
    place: u64,
    /// The copy has been read.
    is_read: bool,
    /// Apps are told of what happens from now on.
    pub(super) is_told: bool,
}

impl View {
    /// Begins anew with what the copy has.
    pub(super) fn reload(&mut self, place: u64, entries: &[Entry]) {
        self.changed.extend(std::mem::take(&mut self.now).into_keys());
        self.by_place.clear();
        entries.iter().for_each(|entry| self.set(entry));
        (self.place, self.is_read) = (self.place.max(place), true);
    }

    /// Takes in what has changed.
    pub(super) fn apply(&mut self, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::Set(entry) => self.set(entry),
                Fact::Gone { seq, why, .. } => self.gone(*seq, *why),
                Fact::Touched { seq, expires } => {
                    if let Some(shown) = self.by_place.get(seq).and_then(|key| self.now.get_mut(key)) {
                        shown.expires = Some(*expires);
                    }
                }
            }
        }
    }

    fn set(&mut self, entry: &Entry) {
        self.place = self.place.max(entry.seq);
        let Some(key) = Key::of(entry) else { return };
        if let Some(before) = self.now.remove(&key) {
            self.by_place.remove(&before.seq);
        }
        self.ends.remove(&key);
        self.changed.insert(key.clone());
        // What cannot be read stands for nothing.
        let Some(Version { version, seq, by, expires, says, .. }) = Version::of(entry) else { return };
        let app = by.app.as_ref().map_or("", |app| app.as_str());
        let tag =
            [&version.to_be_bytes()[..], by.node.as_bytes(), app.as_bytes(), b"\0", &entry.value].concat();
        let shown = Shown { seq, version, category: says.category, by, expires, tag: space::digest(&tag) };
        self.by_place.insert(seq, key.clone());
        self.now.insert(key, shown);
    }

    fn gone(&mut self, seq: u64, why: Gone) {
        let Some(key) = self.by_place.remove(&seq) else { return };
        self.now.remove(&key);
        self.changed.insert(key.clone());
        let end = match why {
            Gone::Deleted => KvChange::Deleted,
            Gone::Ended(EndedBy::Lifetime | EndedBy::Lease | EndedBy::Goodbye) => KvChange::Expired,
        };
        self.ends.insert(key, end);
    }

    /// Whether what was put at a place has been taken in.
    pub(super) fn has_come_to(&self, place: u64) -> bool {
        self.is_read && self.place >= place
    }

    /// What is known of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&Shown> {
        self.now.get(key)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    /// Keys that begin with this, behind that one, in order.
    pub(super) fn behind<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Shown)> {
        let after = after.filter(|after| after.as_str() >= prefix);
        // The empty prefix begins with the first key there is.
        let from = match (after, prefix.parse::<Key>()) {
            (Some(after), _) => Bound::Excluded(after.clone()),
            (None, Ok(first)) => Bound::Included(first),
            (None, Err(_)) => Bound::Unbounded,
        };
        let keys = self.now.range((from, Bound::Unbounded));
        keys.take_while(move |(key, _)| key.as_str().starts_with(prefix))
    }

    /// How a key has ended, as far as that is known.
    pub(super) fn end(&self, key: &Key) -> KvChange {
        self.ends.get(key).copied().unwrap_or(KvChange::Deleted)
    }

    /// What may be news.
    pub(super) fn changed(&self) -> &BTreeSet<Key> {
        &self.changed
    }

    /// These may be.
    pub(super) fn note<'a>(&mut self, keys: impl Iterator<Item = &'a Key>) {
        self.changed.extend(keys.cloned());
    }

    /// Apps have been told.
    pub(super) fn told(&mut self) {
        self.changed.clear();
        self.ends.clear();
        self.is_told = true;
    }
}
