//! What may happen to some nodes and a broker, in any order.

use proptest::prelude::*;
use waxwing_protocol::link::EndedBy;

use super::tricks::Trick;

/// A history. Printed a step a line.
#[derive(Clone)]
pub(super) struct Script(pub(super) Vec<Step>);

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "\n    {step:?},"))
    }
}

/// A short lifetime of a record, in milliseconds. The clocks of nodes run on beside the broker's: by them it must not end.
const LIFE: u64 = 1_000_000;

/// Members in a history.
pub(super) const NODES: usize = 3;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A node writes, and does not wait for the answer.
    Write { who: usize, wishes: Vec<Wish> },
    /// A link is made, if there is none.
    Link(usize),
    /// A link is cut, whatever is under way.
    Cut(usize),
    /// So many requests are done and not answered.
    Deaf(usize),
    /// Most changes in one answer.
    Page(usize),
    /// Tombstones and ends are too old to be kept.
    Forget,
    /// Time passes at the broker, in milliseconds: far more than the test takes.
    Pass(u64),
    /// A node's lease ends, or it says goodbye.
    Unbind(usize, EndedBy),
    /// The store is lost: at rest, and what was there comes back; or while nodes go on writing.
    Lose { busy: bool },
    /// A node's process ends and begins again.
    Restart(usize),
    /// What is under way goes on for a while.
    Run(usize),
    /// Everything comes to rest, and is looked at.
    Rest,
    /// The broker is dishonest.
    Trick(Trick),
}

/// One thing that a node wants.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Put { key: u8, own: bool, when: When, ttl: Option<u64>, bound: bool },
    Append { key: u8, if_empty: bool, ttl: Option<u64>, bound: bool },
    Touch { nth: usize, ttl: u64 },
    Delete { key: u8, own: bool, when: When },
    DeleteAppended { nth: usize },
}

/// What must stand there.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Any,
    Absent,
    /// What the node's copy shows.
    There,
}

/// A node that writes something.
pub(super) fn write() -> impl Strategy<Value = Step> {
    let when = prop_oneof![3 => Just(When::Any), 1 => Just(When::Absent), 2 => Just(When::There)];
    let ttl = prop_oneof![3 => Just(None), 1 => (LIFE..5 * LIFE).prop_map(Some)];
    let bound = prop_oneof![4 => Just(false), 1 => Just(true)];
    let put = (0..3_u8, any::<bool>(), when.clone(), ttl.clone(), bound.clone())
        .prop_map(|(key, own, when, ttl, bound)| Wish::Put { key, own, when, ttl, bound });
    let append = (0..2_u8, any::<bool>(), ttl, bound).prop_map(|(key, if_empty, ttl, bound)| Wish::Append {
        key,
        if_empty,
        ttl,
        bound,
    });
    let touch = (0..4_usize, LIFE..5 * LIFE).prop_map(|(nth, ttl)| Wish::Touch { nth, ttl });
    let delete = (0..3_u8, any::<bool>(), when).prop_map(|(key, own, when)| Wish::Delete { key, own, when });
    let appended = (0..4_usize).prop_map(|nth| Wish::DeleteAppended { nth });
    let wish = prop_oneof![5 => put, 3 => append, 1 => touch, 1 => delete, 1 => appended];
    (0..NODES, prop::collection::vec(wish, 1..4)).prop_map(|(who, wishes)| Step::Write { who, wishes })
}

/// Anything that may happen where the broker is honest.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let who = 0..NODES;
    prop_oneof![
        24 => write(),
        6 => who.clone().prop_map(Step::Link),
        4 => who.clone().prop_map(Step::Cut),
        2 => (1..3_usize).prop_map(Step::Deaf),
        1 => (1..4_usize).prop_map(Step::Page),
        1 => Just(Step::Forget),
        2 => (1..3 * LIFE).prop_map(Step::Pass),
        2 => (who.clone(), prop_oneof![Just(EndedBy::Lease), Just(EndedBy::Goodbye)])
            .prop_map(|(who, why)| Step::Unbind(who, why)),
        1 => any::<bool>().prop_map(|busy| Step::Lose { busy }),
        1 => who.prop_map(Step::Restart),
        8 => (1..40_usize).prop_map(Step::Run),
        2 => Just(Step::Rest),
    ]
}
