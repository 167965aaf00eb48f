//! Who is there, as apps are told: one join and one leave each.
//!
//! What stands in the space is held against what apps were told last, and only the difference is told. So a reconnect is not
//! seen, nor a broker that stops and starts, nor what both came and went while this node was away. What apps were told is on
//! the disk, with the events, so a restart of this node changes nothing either.
//!
//! | | |
//! |---|---|
//! | nothing was ever told | whoever stands is there: no joins |
//! | the broker has lost its store | whoever was there is held for one lease, and leaves if he has not come back by then |
//! | no link, or a copy that is being filled | nothing is looked at |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use waxwing_protocol::StoreId;

use super::record::Who;

/// What there is to tell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) joined: Vec<Who>,
    pub(super) left: Vec<Who>,
    /// It is the first look: nobody has joined, they were there.
    pub(super) first: bool,
    /// The life of the broker's store to be kept with it.
    pub(super) store: Option<StoreId>,
}

/// What apps were told, and who is held.
#[derive(Debug, Default)]
pub(super) struct Tracker<T> {
    /// Who is there, with what is kept beside it.
    there: BTreeMap<Who, T>,
    /// Nothing was ever told.
    first: bool,
    /// The life of the broker's store that it follows from.
    store: Option<StoreId>,
    /// The same, as it is kept: the one before, while anybody is held.
    kept: Option<StoreId>,
    /// Who may still come back, and until when.
    held: BTreeSet<Who>,
    until: Option<Instant>,
}

impl<T> Tracker<T> {
    /// As it was kept; without a store, nothing was.
    pub(super) fn new(there: BTreeMap<Who, T>, store: Option<StoreId>) -> Self {
        Self { there, first: store.is_none(), store, kept: store, held: BTreeSet::new(), until: None }
    }

    /// Who is there, with what is kept beside it.
    pub(super) const fn there(&self) -> &BTreeMap<Who, T> {
        &self.there
    }

    /// When there is something to look at though nothing has happened.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Holds what stands, in a copy that is complete, against what was told. Nothing is told before [`Tracker::told`].
    pub(super) fn look(
        &mut self,
        standing: &BTreeSet<Who>,
        store: Option<StoreId>,
        now: Instant,
        lease: Duration,
    ) -> Option<Change> {
        if self.first {
            self.store = store;
        } else if store != self.store {
            self.store = store;
            self.held = self.there.keys().cloned().collect();
            self.until = Some(now + lease);
        }
        // Who has come back leaves like everybody else.
        self.held.retain(|who| !standing.contains(who));
        if self.until.is_some_and(|until| until <= now) {
            (self.until, self.held) = (None, BTreeSet::new());
        }
        let joined: Vec<_> = standing.iter().filter(|who| !self.there.contains_key(*who)).cloned().collect();
        // Apps before their nodes.
        let left = self.there.keys().rev().filter(|who| !standing.contains(who) && !self.held.contains(who));
        let left = left.cloned().collect::<Vec<_>>();
        // A restart in between begins the hold anew.
        let keep = if self.until.is_some() { self.kept } else { store };
        let is_news = self.first || !joined.is_empty() || !left.is_empty() || keep != self.kept;
        is_news.then_some(Change { joined, left, first: self.first, store: keep })
    }

    /// A change has been told, and is on the disk.
    pub(super) fn told(&mut self, change: &Change, beside: impl Fn(&Who) -> T) {
        (self.first, self.kept) = (false, change.store);
        change.left.iter().for_each(|who| drop(self.there.remove(who)));
        self.there.extend(change.joined.iter().map(|who| (who.clone(), beside(who))));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waxwing_crypto::NodeId;

    use super::*;

    const LEASE: Duration = Duration::from_secs(90);

    fn who(n: u8) -> Who {
        Who::node(NodeId::from_bytes([n; 16]))
    }

    fn all(of: impl IntoIterator<Item = u8>) -> BTreeSet<Who> {
        of.into_iter().map(who).collect()
    }

    fn store(n: u8) -> Option<StoreId> {
        Some(StoreId::from_bytes([n; 16]))
    }

    fn fresh() -> Tracker<()> {
        Tracker::new(BTreeMap::new(), None)
    }

    fn step(
        tracker: &mut Tracker<()>,
        standing: &BTreeSet<Who>,
        life: u8,
        now: Instant,
    ) -> (Vec<Who>, Vec<Who>) {
        let change = tracker.look(standing, store(life), now, LEASE).unwrap_or_default();
        if change != Change::default() {
            tracker.told(&change, |_| ());
        }
        if change.first { (Vec::new(), change.left) } else { (change.joined, change.left) }
    }

    #[test]
    fn whoever_is_there_at_the_first_look_has_not_joined_and_leaves_like_the_others() {
        let (mut tracker, now) = (fresh(), Instant::now());
        assert_eq!(step(&mut tracker, &all([1, 2]), 1, now), (vec![], vec![]));
        assert_eq!(step(&mut tracker, &all([1, 2, 3]), 1, now), (vec![who(3)], vec![]));
        assert_eq!(step(&mut tracker, &all([3]), 1, now), (vec![], vec![who(2), who(1)]));
    }

    #[test]
    fn what_was_told_before_a_restart_is_not_told_again_and_what_has_changed_is() {
        let before = BTreeMap::from([(who(1), ()), (who(2), ())]);
        let (mut tracker, now) = (Tracker::new(before, store(1)), Instant::now());
        assert_eq!(step(&mut tracker, &all([2, 3]), 1, now), (vec![who(3)], vec![who(1)]));
    }

    #[test]
    fn after_a_loss_of_the_store_only_who_does_not_come_back_in_a_lease_leaves() {
        let (mut tracker, now) = (fresh(), Instant::now());
        step(&mut tracker, &all([1, 2, 3]), 1, now);
        assert_eq!(step(&mut tracker, &all([]), 2, now), (vec![], vec![]));
        assert_eq!(step(&mut tracker, &all([1, 2]), 2, now + LEASE / 4), (vec![], vec![]));
        assert_eq!(step(&mut tracker, &all([1]), 2, now + LEASE / 2), (vec![], vec![who(2)]), "it was back");
        assert_eq!(tracker.until(), Some(now + LEASE));
        assert_eq!(step(&mut tracker, &all([1]), 2, now + LEASE), (vec![], vec![who(3)]));
        assert_eq!(tracker.until(), None);
    }

    #[test]
    fn a_change_that_could_not_be_kept_is_told_at_the_next_look() {
        let (mut tracker, now) = (fresh(), Instant::now());
        step(&mut tracker, &all([]), 1, now);
        let lost = tracker.look(&all([1]), store(1), now, LEASE).unwrap();
        assert_eq!(tracker.look(&all([1]), store(1), now, LEASE), Some(lost));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Appear(u8),
        End(u8),
        /// The copy is not kept up; what happens is seen at once when it is again.
        Offline,
        Online,
        Lost,
        Pass(u64),
        /// This node's process ends and starts.
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8).prop_map(Step::Appear),
            4 => (0..4_u8).prop_map(Step::End),
            1 => Just(Step::Offline),
            2 => Just(Step::Online),
            1 => Just(Step::Lost),
            2 => (1..100_u64).prop_map(Step::Pass),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// Of everybody, join and leave are told in turn. Nobody joins who is not there, nor leaves who is; and when all is
        /// quiet for a lease, what apps were told is what is.
        #[test]
        fn one_join_and_one_leave_each(steps in proptest::collection::vec(any_step(), 1..120)) {
            let (mut tracker, mut now) = (fresh(), Instant::now());
            let (mut is, mut told, mut life, mut online) = (BTreeSet::new(), BTreeSet::new(), 1, true);
            let mut begun = false;
            for it in steps.into_iter().chain([Step::Online, Step::Pass(90), Step::Pass(90)]) {
                match it {
                    Step::Appear(n) => drop(is.insert(who(n))),
                    Step::End(n) => drop(is.remove(&who(n))),
                    Step::Offline => online = false,
                    Step::Online => online = true,
                    Step::Lost => { life += 1; is.clear() }
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                    Step::Restart => {
                        let kept = tracker.there.clone();
                        tracker = Tracker::new(kept, tracker.kept);
                    }
                }
                if !online { continue }
                let (joined, left) = step(&mut tracker, &is, life, now);
                if !begun { told.clone_from(&is); begun = true; }
                for who in joined {
                    prop_assert!(is.contains(&who) && told.insert(who));
                }
                for who in left {
                    prop_assert!(!is.contains(&who) && told.remove(&who));
                }
            }
            prop_assert_eq!(is, told);
        }
    }
}
