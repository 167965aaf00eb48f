//! What a broker may do with the records that it has; and histories with such a broker.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use waxwing_crypto::space::Statement;
use waxwing_protocol::link::{Changed, EndedBy, EndedRecord, Record, What};

use super::broker::Space as Held;
use super::histories::{block_on, config};
use super::script::{NODES, Script, Step, step, write};
use super::world::World;
use super::*;

/// How long a copy may take to come as far as it can.
const MOMENT: Duration = Duration::from_millis(100);

/// Something dishonest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trick {
    /// Shows an old record as a new one, or as one that was handed back.
    Replay { nth: usize, offered: bool },
    /// Shows an old record as one that was there long before and has been renewed.
    CallRenewed { nth: usize },
    /// Forgets a change, without a trace.
    Drop { nth: usize },
    /// Exchanges what was changed at two places.
    Swap { nth: usize, with: usize },
    /// Gives a record another place.
    Move { nth: usize },
    /// Shows a record for something else than it is.
    Relabel { nth: usize, with: usize, how: u8 },
    /// Ends a record.
    End { nth: usize, why: EndedBy },
    /// Changes a bit of a record.
    Flip { nth: usize, bit: usize },
    /// Shows an older state.
    RollBack { by: usize },
    /// Says that a copy is too old.
    Reset,
    /// Does not keep to conditions.
    Lawless,
}

pub(super) fn trick() -> impl Strategy<Value = Trick> {
    let nth = 0..40_usize;
    let why = prop_oneof![Just(EndedBy::Lifetime), Just(EndedBy::Lease), Just(EndedBy::Goodbye)];
    prop_oneof![
        5 => (nth.clone(), any::<bool>()).prop_map(|(nth, offered)| Trick::Replay { nth, offered }),
        2 => nth.clone().prop_map(|nth| Trick::CallRenewed { nth }),
        1 => nth.clone().prop_map(|nth| Trick::Drop { nth }),
        1 => (nth.clone(), nth.clone()).prop_map(|(nth, with)| Trick::Swap { nth, with }),
        2 => nth.clone().prop_map(|nth| Trick::Move { nth }),
        3 => (nth.clone(), nth.clone(), 0..6_u8).prop_map(|(nth, with, how)| Trick::Relabel { nth, with, how }),
        2 => (nth.clone(), why).prop_map(|(nth, why)| Trick::End { nth, why }),
        1 => (nth, 0..4_000_usize).prop_map(|(nth, bit)| Trick::Flip { nth, bit }),
        1 => (1..5_usize).prop_map(|by| Trick::RollBack { by }),
        2 => Just(Trick::Reset),
        1 => Just(Trick::Lawless),
    ]
}

impl Trick {
    pub(super) fn play(self, held: &mut Held) {
        let record = |held: &Held, nth: usize| {
            let made: Vec<_> = held.made.iter().filter(|made| !made.tombstone).collect();
            (!made.is_empty()).then(|| made[nth % made.len()].record.clone())
        };
        let shows = |held: &mut Held, record: Record| held.push(What::Record(record));
        let next = held.last + 1;
        let at = |held: &Held, nth: usize| (!held.changes.is_empty()).then(|| nth % held.changes.len());
        match self {
            Self::Replay { nth, offered } => {
                if let Some(old) = record(held, nth) {
                    shows(held, Record { seq: next, offered, ..old });
                }
            }
            Self::CallRenewed { nth } => {
                if let Some(old) = record(held, nth) {
                    shows(held, Record { seq: next - 1, ..old });
                }
            }
            Self::Drop { nth } => {
                if let Some(at) = at(held, nth) {
                    held.changes.remove(at);
                }
            }
            Self::Swap { nth, with } => {
                if let (Some(a), Some(b)) = (at(held, nth), at(held, with)) {
                    let (one, other) = (held.changes[a].what.clone(), held.changes[b].what.clone());
                    (held.changes[a].what, held.changes[b].what) = (other, one);
                }
            }
            Self::Move { nth } => {
                if let Some(at) = at(held, nth) {
                    let Changed { what, .. } = held.changes.remove(at);
                    let what = match what {
                        What::Record(record) => What::Record(Record { seq: next, ..record }),
                        What::Deleted(_) | What::Ended(_) | What::Touched { .. } => what,
                    };
                    held.push(what);
                }
            }
            Self::Relabel { nth, with, how } => {
                if let (Some(one), Some(other)) = (record(held, nth), record(held, with)) {
                    shows(held, relabelled(Record { seq: next, ..one }, &other, how));
                }
            }
            Self::End { nth, why } => {
                if let Some(Record { seq, key, writer, stands: stood, .. }) = record(held, nth) {
                    held.push(What::Ended(EndedRecord { key, writer, stood, seq, why }));
                }
            }
            Self::Flip { nth, bit } => {
                if let Some(old) = record(held, nth) {
                    let mut sealed = old.sealed.to_vec();
                    let bit = bit % (sealed.len() * 8);
                    sealed[bit / 8] ^= 1 << (bit % 8);
                    shows(held, Record { seq: next, sealed: sealed.into(), ..old });
                }
            }
            Self::RollBack { by } => {
                let keep = held.changes.len().saturating_sub(by);
                held.changes.truncate(keep);
                held.last = held.changes.last().map_or(1_000, |change| change.n);
            }
            Self::Reset => held.horizon = held.last,
            Self::Lawless => held.lawless = true,
        }
    }
}

fn relabelled(record: Record, other: &Record, how: u8) -> Record {
    match how {
        0 => Record { key: other.key, ..record },
        1 => Record { writer: other.writer, ..record },
        2 => Record { stands: other.stands, ..record },
        3 => Record { bound: Some(7), ..record },
        4 => Record { expires: Some(Timestamp::from_millis(u64::MAX >> 12)), ..record },
        _ => Record { sealed: other.sealed.clone(), ..record },
    }
}

/// What each node has shown so far.
#[derive(Default)]
struct Shown {
    /// The newest change of a writer in a slot, and whether it was one that may end.
    newest: HashMap<(String, NodeId, bool), (u128, bool)>,
}

/// The number of a value, and who wrote it.
fn number(value: &[u8]) -> (u128, usize) {
    let text = std::str::from_utf8(value).unwrap();
    let (number, who) = text.split_once(" of ").unwrap();
    (number.parse().unwrap(), who.parse().unwrap())
}

impl Shown {
    /// Looks at what a node shows now.
    fn look(&mut self, world: &World, entries: &[Entry]) {
        let mut numbers = HashSet::new();
        for entry in entries {
            let (number, who) = number(&entry.value);
            assert!(numbers.insert(number), "one record at two places: {entry:?}");
            assert_eq!(entry.writer, world.people[who].node.mesh.identity.node, "written by somebody else");
            let id = ChangeId::from_bytes(number.to_be_bytes());
            let mut drafts = world.writes.iter().filter(|write| write.who == who).flat_map(|w| &w.drafts);
            let draft = drafts.find(|draft| draft.id == Some(id)).expect("somebody has wanted it");
            let (key, stands, may_end) = match &draft.change {
                DraftChange::Put { key, own, ttl, bound, .. } => {
                    let stands = if *own { Stands::Own } else { Stands::Shared };
                    (key, stands, ttl.is_some() || bound.is_some())
                }
                DraftChange::Append { key, .. } => (key, Stands::Appended, true),
                DraftChange::Touch { .. } | DraftChange::Delete { .. } => panic!("{draft:?} has no value"),
            };
            assert_eq!((&entry.key, entry.stands), (key, stands), "it was written elsewhere");
            if stands == Stands::Appended {
                continue;
            }
            let slot = (key.as_str().to_owned(), entry.writer, stands == Stands::Own);
            let newest = self.newest.entry(slot).or_insert((number, may_end));
            let goes_back = number < newest.0 && !newest.1;
            assert!(!goes_back, "{number} is shown after {} of the same writer and place", newest.0);
            *newest = (number, may_end);
        }
    }
}

async fn happens(Script(steps): Script) {
    let mut world = World::new().await;
    for who in 0..NODES {
        world.happens(Step::Link(who)).await;
    }
    let mut shown: [Shown; NODES] = Default::default();
    for step in steps {
        let looks = matches!(step, Step::Rest);
        if looks {
            world.goes_on(MOMENT).await; // It may never let them come to rest.
        } else if matches!(step, Step::Lose { .. }) {
            world.loses_all_at_once().await;
        } else {
            world.happens(step).await;
        }
        for (who, shown) in shown.iter_mut().enumerate() {
            let Node { mesh, space, .. } = &world.people[who].node;
            let entries = space.entries(mesh).await.unwrap();
            shown.look(&world, &entries);
            if looks {
                is_told(&world, who).await;
            }
        }
    }
}

/// If a node has come to the end of the space, and does not show what the broker does, it has said why.
async fn is_told(world: &World, who: usize) {
    let node = &world.people[who].node;
    let before = *node.space.freshness().borrow();
    let entries = node.space.entries(&node.mesh).await.unwrap();
    let refused = {
        let held = world.broker.space();
        let freshness = *node.space.freshness().borrow();
        if !freshness.complete || freshness.place != held.last || freshness != before {
            return;
        }
        let is_shown = |record: &Record| {
            let key = |entry: &Entry| node.space.sealing.key(&entry.key) == record.key;
            entries
                .iter()
                .any(|entry| key(entry) && (entry.seq == record.seq || entry.stands == record.stands))
        };
        // What came under the same key behind it may be why it is not there.
        let is_last = |n: u64, record: &Record| {
            !held.changes.iter().any(|change| {
                let key = match &change.what {
                    What::Record(other) => other.key,
                    What::Deleted(deleted) => deleted.key,
                    What::Ended(ended) => ended.key,
                    What::Touched { .. } => return false,
                };
                change.n > n && key == record.key
            })
        };
        // Who was away when the store was lost hands back in good faith what others know to be old.
        let may_be_outdated = |record: &Record| {
            let is_of_another = |said: Statement| said.life != *held.store.as_bytes();
            record.offered && world.try_open(record, false).is_some_and(is_of_another)
        };
        let mut changes = held.changes.iter();
        changes.find_map(|change| match &change.what {
            What::Record(record)
                if is_last(change.n, record) && !is_shown(record) && !may_be_outdated(record) =>
            {
                Some(record.clone())
            }
            What::Record(_) | What::Deleted(_) | What::Ended(_) | What::Touched { .. } => None,
        })
    };
    if let Some(record) = refused {
        let told = timeout(PATIENCE, node.alarmed(|alarms| !alarms.is_empty())).await;
        told.unwrap_or_else(|_| panic!("node {who} has refused this, and not said so: {record:?}"));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_a_broker_tries_nothing_is_shown_that_was_not_written_there_nor_goes_back_and_nobody_is_silent(
        script in prop::collection::vec(
            prop_oneof![4 => write(), 4 => step(), 6 => trick().prop_map(Step::Trick), 2 => Just(Step::Rest)], 1..60
        ).prop_map(Script)
    ) {
        block_on(happens(script));
    }
}
