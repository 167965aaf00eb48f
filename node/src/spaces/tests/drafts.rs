//! What nodes in a history write.

use super::script::{When, Wish};
use super::world::World;
use super::*;

impl World {
    /// What a node writes that wants something, with its copy before its eyes.
    pub(super) fn draft(&mut self, who: usize, wish: &Wish, entries: &[Entry]) -> Draft {
        let own_id = self.people[who].node.mesh.identity.node;
        self.drafts += 1;
        let value = Bytes::from(format!("{} of {who}", self.drafts));
        let bound = |bound: bool| bound.then_some(0);
        let there = |name: &KeyName, own: bool, when: When| {
            let stands = if own { Stands::Own } else { Stands::Shared };
            let mut standing = entries.iter().filter(|entry| entry.key == *name && entry.stands == stands);
            let seq = standing.find(|entry| !own || entry.writer == own_id).map(|entry| entry.seq);
            match when {
                When::Any => Condition::Any,
                When::Absent => Condition::Absent,
                When::There => seq.map_or(Condition::Absent, Condition::Seq),
            }
        };
        let appended: Vec<_> = entries.iter().filter(|entry| entry.stands == Stands::Appended).collect();
        let change = match *wish {
            Wish::Put { key: name, own, when, ttl, bound: bind } => {
                let key = key(&format!("key-{name}"));
                let when = there(&key, own, when);
                DraftChange::Put { key, own, when, ttl, bound: bound(bind), value }
            }
            Wish::Append { key: name, if_empty, ttl, bound: bind } => {
                let key = key(&format!("list-{name}"));
                DraftChange::Append { key, if_empty, ttl, bound: bound(bind), value }
            }
            Wish::Touch { nth, ttl } => {
                let seqs = vec![entries.get(nth).map_or(5, |entry| entry.seq)];
                DraftChange::Touch { seqs, ttl }
            }
            Wish::Delete { key: name, own, when } => {
                let key = key(&format!("key-{name}"));
                let when = there(&key, own, when);
                DraftChange::Delete { key, own, seq: None, when }
            }
            Wish::DeleteAppended { nth } => {
                let (key, seq) = appended
                    .get(nth)
                    .map_or_else(|| (key("list-0"), 5), |entry| (entry.key.clone(), entry.seq));
                DraftChange::Delete { key, own: false, seq: Some(seq), when: Condition::Any }
            }
        };
        Draft { id: Some(ChangeId::from_bytes(self.drafts.to_be_bytes())), app: None, change }
    }
}
