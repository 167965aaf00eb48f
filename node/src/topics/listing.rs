//! The topics of the mesh and who wants them, as the space `topics` says it.

use std::collections::{BTreeMap, HashMap};

use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::TopicName;

use super::record::{self, Wanted};
use crate::spaces::{Entry, Fact, News};

/// A topic that is listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Topic {
    /// The place of the record that lists it.
    pub(super) seq: u64,
    /// How long its messages are kept, in milliseconds.
    pub(super) retention: u64,
    /// When it falls off the list, on the broker's clock.
    pub(super) expires: Option<Timestamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listing {
    topics: BTreeMap<TopicName, Topic>,
    wanted: HashMap<NodeId, (u64, Wanted)>,
}

impl Listing {
    /// What the copy has.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut listing = Self::default();
        entries.iter().for_each(|entry| listing.set(entry));
        listing
    }

    /// What has changed in it.
    pub(super) fn apply(&mut self, news: &News) {
        if news.reset {
            *self = Self::default();
        }
        for fact in &news.facts {
            match fact {
                Fact::Set(entry) => self.set(entry),
                Fact::Touched { seq, expires } => {
                    if let Some(topic) = self.topics.values_mut().find(|topic| topic.seq == *seq) {
                        topic.expires = Some(*expires);
                    }
                }
                Fact::Gone { seq, .. } => {
                    self.topics.retain(|_, topic| topic.seq != *seq);
                    self.wanted.retain(|_, (of, _)| of != seq);
                }
            }
        }
    }

    fn set(&mut self, entry: &Entry) {
        if let Some((name, listed)) = record::listing(entry) {
            let topic = Topic { seq: entry.seq, retention: listed.retention, expires: entry.expires };
            self.topics.insert(name, topic);
        } else if let Some(wanted) = record::wants(entry) {
            self.wanted.insert(entry.writer, (entry.seq, wanted));
        }
    }

    /// All topics, by name.
    pub(super) const fn topics(&self) -> &BTreeMap<TopicName, Topic> {
        &self.topics
    }

    /// What the apps of a node want, by its word.
    pub(super) fn wanted(&self, node: &NodeId) -> Option<&Wanted> {
        self.wanted.get(node).map(|(_, wanted)| wanted)
    }

    /// How many apps of nodes that count want a topic.
    pub(super) fn subscribers(&self, topic: &TopicName, counts: impl Fn(&NodeId) -> bool) -> u64 {
        let of = |wanted: &Wanted| -> u64 {
            wanted.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, apps)| *apps).sum()
        };
        self.wanted.iter().filter(|(node, _)| counts(node)).map(|(_, (_, wanted))| of(wanted)).sum()
    }
}
