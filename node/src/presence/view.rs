//! The space `presence` as this node sees it, in memory: what stands, and how what does not any more has ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::LeaveReason;
use waxwing_protocol::limits;
use waxwing_protocol::link::EndedBy;

use super::record::{AppSays, NodeSays, Says, Who};
use crate::apps::Which;
use crate::spaces::{Entry, Fact, Gone, News};

/// A record that stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) seq: u64,
    /// When it was committed, on the broker's clock.
    pub(super) at: Timestamp,
    pub(super) value: Bytes,
    pub(super) says: Says,
}

/// How a record has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    pub(super) reason: LeaveReason,
    /// When, on the broker's clock.
    pub(super) at: Timestamp,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct View {
    now: BTreeMap<Who, Standing>,
    by_place: HashMap<u64, Who>,
    /// What stood in a store that the broker has lost: shown of those who are held.
    before: BTreeMap<Who, Standing>,
    ends: HashMap<Who, End>,
}

impl View {
    /// Begins anew with what a copy has.
    pub(super) fn reload(&mut self, entries: Vec<Entry>) {
        self.now.clear();
        self.by_place.clear();
        entries.into_iter().for_each(|entry| self.set(entry));
    }

    /// What was before the loss is not of use any more.
    pub(super) fn forget_before(&mut self) {
        self.before.clear();
    }

    /// Takes in a page of news.
    pub(super) fn apply(&mut self, news: &News) {
        if news.reset {
            self.by_place.clear();
            self.before.append(&mut self.now);
        }
        for fact in &news.facts {
            match fact {
                Fact::Set(entry) => self.set(entry.clone()),
                Fact::Gone { seq, why, at } => self.gone(*seq, *why, *at),
                Fact::Touched { .. } => {} // Nothing here has a time of its own.
            }
        }
    }

    fn set(&mut self, entry: Entry) {
        let Some(who) = Who::by(&entry) else { return };
        if let Some(old) = self.now.remove(&who) {
            self.by_place.remove(&old.seq);
        }
        // What cannot be read says nothing, and a node has so many apps.
        let Some(says) = Says::decode(&who, &entry.value) else { return };
        if who.app.is_some() && self.apps(&who.node).count() >= limits::APPS {
            return;
        }
        self.ends.remove(&who);
        self.by_place.insert(entry.seq, who.clone());
        self.now.insert(who, Standing { seq: entry.seq, at: entry.at, value: entry.value, says });
    }

    fn gone(&mut self, seq: u64, why: Gone, at: Timestamp) {
        let Some(who) = self.by_place.remove(&seq) else { return };
        self.now.remove(&who);
        let reason = match why {
            Gone::Deleted => LeaveReason::Unregistered,
            Gone::Ended(EndedBy::Goodbye) => LeaveReason::Goodbye,
            Gone::Ended(EndedBy::Lease | EndedBy::Lifetime) => LeaveReason::Silent,
        };
        self.ends.insert(who, End { reason, at });
    }

    /// Everybody whose record stands and who counts.
    pub(super) fn standing(&self, counts: impl Fn(&NodeId) -> bool) -> BTreeSet<Who> {
        self.now.keys().filter(|who| counts(&who.node)).cloned().collect()
    }

    /// What stands of somebody.
    pub(super) fn get(&self, who: &Who) -> Option<&Standing> {
        self.now.get(who)
    }

    /// The same, or what stood before the loss.
    pub(super) fn last(&self, who: &Who) -> Option<&Standing> {
        self.now.get(who).or_else(|| self.before.get(who))
    }

    /// How somebody has ended.
    pub(super) fn end(&self, who: &Who) -> Option<End> {
        self.ends.get(who).copied()
    }

    /// How anybody has ended has been told.
    pub(super) fn forget_ends(&mut self) {
        self.ends.clear();
    }

    /// What a node says.
    pub(super) fn node(&self, node: NodeId) -> Option<&NodeSays> {
        match &self.last(&Who::node(node))?.says {
            Says::Node(says) => Some(says),
            Says::App(_) => None,
        }
    }

    /// What is said of an app.
    pub(super) fn app(&self, who: &Who) -> Option<&AppSays> {
        match &self.last(who)?.says {
            Says::App(says) => Some(says),
            Says::Node(_) => None,
        }
    }

    /// The apps of a node that stand.
    pub(super) fn apps(&self, node: &NodeId) -> impl Iterator<Item = (&Which, &Standing)> {
        let node = *node;
        let from = self.now.range(Who::node(node)..);
        from.take_while(move |(who, _)| who.node == node)
            .filter_map(|(who, standing)| who.app.as_ref().map(|which| (which, standing)))
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::space::Stands;

    use super::*;

    const NODE: NodeId = NodeId::from_bytes([7; 16]);

    fn which(n: usize) -> Which {
        Which { name: format!("app-{n}").parse().unwrap(), instance: None }
    }

    fn entry(seq: u64, who: &Who) -> Entry {
        let since = Timestamp::from_millis(seq);
        let says = match who.app {
            None => Says::Node(NodeSays { since, version: String::new(), profile: None }),
            Some(_) => Says::App(Box::new(AppSays { since, details: Default::default() })),
        };
        Entry {
            seq,
            key: who.key(),
            writer: who.node,
            stands: Stands::Own,
            version: seq,
            at: since,
            expires: None,
            bound: Some(0),
            counter: 1,
            life: waxwing_protocol::StoreId::from_bytes([1; 16]),
            app: None,
            value: says.encode(),
        }
    }

    fn page(facts: Vec<Fact>) -> News {
        News { facts, reset: false, complete: true }
    }

    fn gone(seq: u64, why: Gone) -> Fact {
        Fact::Gone { seq, why, at: Timestamp::from_millis(seq) }
    }

    #[test]
    fn a_record_takes_the_place_of_the_one_before_and_has_one_end() {
        let (mut view, who) = (View::default(), Who::node(NODE));
        view.apply(&page(vec![Fact::Set(entry(1, &who)), Fact::Set(entry(2, &who))]));
        view.apply(&page(vec![gone(1, Gone::Ended(EndedBy::Lease))]));
        assert!(view.get(&who).is_some(), "what was replaced has ended, not what is there");
        view.apply(&page(vec![gone(2, Gone::Ended(EndedBy::Goodbye))]));
        assert!(view.get(&who).is_none() && view.standing(|_| true).is_empty());
        let end = End { reason: LeaveReason::Goodbye, at: Timestamp::from_millis(2) };
        assert_eq!(view.end(&who), Some(end));
        view.apply(&page(vec![Fact::Set(entry(3, &who))]));
        assert_eq!(view.end(&who), None, "it is there again");
    }

    #[test]
    fn what_cannot_be_read_stands_for_nothing_and_takes_away_what_was_there() {
        let (mut view, who) = (View::default(), Who::node(NODE));
        view.reload(vec![entry(1, &who)]);
        assert_eq!(view.standing(|_| true).len(), 1);
        assert!(view.standing(|node| *node != NODE).is_empty(), "no member");
        view.apply(&page(vec![Fact::Set(Entry { value: Bytes::from_static(b"?"), ..entry(2, &who) })]));
        assert!(view.get(&who).is_none());
    }

    #[test]
    fn a_node_has_no_more_apps_than_it_may_whatever_it_writes() {
        let mut view = View::default();
        let all = (0..=limits::APPS).map(|n| Fact::Set(entry(n as u64 + 1, &Who::app(NODE, which(n)))));
        view.apply(&page(all.collect()));
        assert_eq!(view.apps(&NODE).count(), limits::APPS);
        let again = Fact::Set(entry(9_999, &Who::app(NODE, which(0))));
        view.apply(&page(vec![again]));
        assert_eq!(view.apps(&NODE).count(), limits::APPS, "one that is there may be replaced");
        assert_eq!(view.apps(&NodeId::from_bytes([8; 16])).count(), 0);
    }

    #[test]
    fn after_a_loss_what_was_said_is_shown_until_it_is_said_again() {
        let (mut view, who) = (View::default(), Who::node(NODE));
        view.reload(vec![entry(1, &who)]);
        view.apply(&News { reset: true, ..News::default() });
        assert!(view.get(&who).is_none() && view.node(NODE).is_some());
        view.apply(&page(vec![Fact::Set(entry(7, &who))]));
        assert_eq!(view.node(NODE).map(|says| says.since), Some(Timestamp::from_millis(7)));
        view.apply(&page(vec![gone(7, Gone::Ended(EndedBy::Lease))]));
        view.forget_before();
        assert!(view.node(NODE).is_none());
    }
}
