//! Leases as a model: two nodes whose apps want the same, and a broker. Time goes on in steps, and what a node has asked may be
//! under way for any number of them; links are cut, nodes and the broker are killed, the broker's store is lost or set back.
//!
//! Who has it is decided by [`Queue`], and until when by [`Own::end`]: the code that does so. A node's lease at the broker lasts
//! one step, what is bound to it one more, and a lease is asked for three.
//!
//! [`Queue`]: super::Queue
//! [`Own::end`]: super::table::Own::end

mod broker;
mod node;
mod world;

use crate::models::{check, finds};
use world::World;

/// How often what may happen.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Until when it is looked.
    time: u8,
    /// The lease is held through the loss of a link, to the end of its time.
    hold: bool,
    /// What each node may say.
    frames: u8,
    releases: u8,
    cuts: u8,
    crashes: u8,
    restarts: u8,
    store_losses: u8,
    set_backs: u8,
}

/// All rules, or all without one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    None,
    /// A lease is counted from before it was asked for.
    FromBefore,
    /// A node's own lease is counted from the sending of what was answered.
    FromSending,
    /// What has had its time at a node is over there, though the broker is heard again.
    EndsInTime,
    /// A node judges on a copy that has come to its own place.
    CopyHasCome,
    /// The broker ends what is bound only after the grace.
    Grace,
    /// Whoever gives it back does not have it from then on.
    GivesUpFirst,
    /// A broker that starts gives every node a new lease.
    NewLease,
    /// What is of another life of the store is over, at the broker as at the node.
    OfThisLife,
    /// Places of another life of the store are above those of before.
    Raised,
}

const NONE: Bounds = Bounds {
    time: 4,
    hold: false,
    frames: 2,
    releases: 0,
    cuts: 0,
    crashes: 0,
    restarts: 0,
    store_losses: 0,
    set_backs: 0,
};
/// A node that is killed, and an app that gives its lease back.
const CRASHES: Bounds = Bounds { releases: 1, crashes: 1, ..NONE };
/// A broker that is killed.
const RESTARTS: Bounds = Bounds { restarts: 1, ..NONE };
/// Leases for their time, whatever becomes of links.
const HELD: Bounds = Bounds { time: 5, hold: true, crashes: 1, ..NONE };
/// A store that is lost.
const LOST: Bounds = Bounds { time: 3, store_losses: 1, ..NONE };
/// One that is set back.
const SET_BACK: Bounds = Bounds { time: 3, set_backs: 1, ..NONE };

#[test]
fn never_do_two_have_it_while_nodes_are_killed_and_it_is_given_back() {
    check(World { bounds: CRASHES, without: Rule::None });
}

#[test]
fn never_do_two_have_it_though_the_broker_starts_anew() {
    check(World { bounds: RESTARTS, without: Rule::None });
}

#[test]
fn never_do_two_have_what_is_held_for_its_time() {
    check(World { bounds: HELD, without: Rule::None });
}

#[test]
fn tokens_rise_and_nobody_holds_on_through_a_store_that_is_lost() {
    check(World { bounds: LOST, without: Rule::None });
}

#[test]
fn tokens_rise_and_nobody_holds_on_once_it_is_known_that_a_store_was_set_back() {
    check(World { bounds: SET_BACK, without: Rule::None });
}

#[test]
fn without_each_rule_of_leases_the_model_finds_what_goes_wrong() {
    for (without, bounds, missed) in [
        (Rule::FromBefore, HELD, world::ALONE),
        (Rule::FromSending, RESTARTS, world::ALONE),
        (Rule::EndsInTime, RESTARTS, world::ALONE),
        (Rule::CopyHasCome, RESTARTS, world::ALONE),
        (Rule::Grace, RESTARTS, world::ALONE),
        (Rule::GivesUpFirst, CRASHES, world::ALONE),
        (Rule::NewLease, RESTARTS, world::ALONE),
        (Rule::OfThisLife, SET_BACK, world::AWARE),
        (Rule::Raised, LOST, world::TOKENS_RISE),
    ] {
        finds(World { bounds, without }, missed, without);
    }
}
