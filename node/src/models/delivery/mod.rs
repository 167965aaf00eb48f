//! Delivery: a sender's outbox, its link, a broker, the recipient's link and inbox. Two messages of one lane; crashes of any of
//! the three between any two steps, with whatever was on the links lost; a broker that loses its store, or is set back; a
//! recipient that cannot open any more what was sealed for it; a broker that refuses for now, or says a thing twice; time that
//! is over.
//!
//! A step is one commit with what is said after it, or one frame read. Order at the recipient is decided by [`Lane`], in the
//! form in which it is stored.
//!
//! [`Lane`]: crate::lane::Lane

mod broker;
mod recipient;
mod sender;
mod world;

use super::{check, finds};

/// How often what may happen.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// A process is killed, and its links are cut with it.
    crashes: u8,
    store_losses: u8,
    set_backs: u8,
    /// The recipient loses the key that messages are sealed for, and publishes another.
    forgets: u8,
    /// The broker refuses a message for now.
    refusals: u8,
    /// The broker delivers once more what it has delivered.
    repeats: u8,
    /// A message has had its time.
    ends: u8,
}

/// All rules, or all without one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    None,
    /// A node answers an app after its commit.
    NodeCommitsFirst,
    /// A broker answers after its commit. Marks, which would find out that it has not, are taken away with it.
    BrokerCommitsFirst,
    /// A recipient settles after its commit.
    RecipientCommitsFirst,
    /// The sender keeps a message until its receipt.
    KeepsUntilReceipt,
    /// The broker keeps a message until it is settled.
    KeepsUntilSettled,
    /// The broker looks up what it has accepted.
    BrokerDedupes,
    /// The recipient looks up what it has stored.
    RecipientDedupes,
    /// Of a new life of the store everything is taken back that was not receipted.
    TakesBack,
    /// Marks are looked at.
    Marks,
    /// What the recipient cannot open is sealed anew.
    Reseals,
    /// A nack takes out only the seal that was delivered.
    NackOfItsSeal,
    /// That the broker has accepted one seal says nothing of another.
    AcceptedOfItsSeal,
    /// Messages get their places in the order of counters.
    Order,
    /// What comes after one that was refused for now is refused too.
    Behind,
    /// A receipt is passed on although its row has gone.
    ReceiptOfWhatIsGone,
    /// What has had its time while the link held it may have arrived.
    DoubtsWhatItHolds,
    /// What a link held at its end may have arrived.
    DoubtsWhatALinkHeld,
    /// What was pending when a process with a link was killed may have arrived.
    DoubtsAfterACrash,
}

/// Two crashes and a lost store, as it is promised.
const LOST: Bounds = Bounds { crashes: 2, store_losses: 1, ..NONE };
/// A store that is set back.
const SET_BACK: Bounds = Bounds { crashes: 1, set_backs: 1, ..NONE };
/// The same, with seals that cannot be opened.
const SEALED_ANEW: Bounds = Bounds { set_backs: 1, forgets: 1, ..NONE };
/// Refusals for now, with seals that cannot be opened.
const REFUSED: Bounds = Bounds { crashes: 1, forgets: 1, refusals: 1, repeats: 1, ..NONE };
/// Time that is over.
const OVER: Bounds = Bounds { crashes: 1, store_losses: 1, ends: 1, ..NONE };
const NONE: Bounds =
    Bounds { crashes: 0, store_losses: 0, set_backs: 0, forgets: 0, refusals: 0, repeats: 0, ends: 0 };

#[test]
fn through_two_crashes_and_a_lost_store_each_accepted_message_arrives_once_and_in_order() {
    check(world::World { bounds: LOST, without: Rule::None });
}

#[test]
fn a_store_that_is_set_back_loses_nothing_and_repeats_nothing() {
    check(world::World { bounds: SET_BACK, without: Rule::None });
}

#[test]
fn what_is_sealed_anew_for_a_store_that_is_set_back_arrives_once_and_in_order() {
    check(world::World { bounds: SEALED_ANEW, without: Rule::None });
}

#[test]
fn what_is_refused_for_now_repeated_or_sealed_anew_arrives_once_and_in_order() {
    check(world::World { bounds: REFUSED, without: Rule::None });
}

#[test]
fn a_message_whose_time_is_over_has_arrived_or_is_reported_and_nothing_waits_for_it() {
    check(world::World { bounds: OVER, without: Rule::None });
}

#[test]
fn without_each_rule_of_delivery_the_model_finds_what_goes_wrong() {
    for (without, bounds, missed) in [
        (Rule::NodeCommitsFirst, LOST, world::DURABLE),
        (Rule::BrokerCommitsFirst, LOST, world::ENDS_WELL),
        (Rule::RecipientCommitsFirst, LOST, world::PROVEN),
        (Rule::KeepsUntilReceipt, SEALED_ANEW, world::ENDS_WELL),
        (Rule::KeepsUntilSettled, LOST, world::ENDS_WELL),
        (Rule::BrokerDedupes, LOST, world::QUEUED_ONCE),
        (Rule::RecipientDedupes, LOST, world::ONCE),
        (Rule::TakesBack, LOST, world::ENDS_WELL),
        (Rule::Marks, SET_BACK, world::ENDS_WELL),
        (Rule::Reseals, SEALED_ANEW, world::ENDS_WELL),
        (Rule::NackOfItsSeal, SEALED_ANEW, world::ENDS_WELL),
        (Rule::AcceptedOfItsSeal, REFUSED, world::ENDS_WELL),
        (Rule::Order, REFUSED, world::ORDER),
        (Rule::Behind, REFUSED, world::NOTHING_OVERTAKES),
        (Rule::ReceiptOfWhatIsGone, OVER, world::RECEIPTS),
        (Rule::DoubtsWhatItHolds, OVER, world::ENDS_WELL),
        (Rule::DoubtsWhatALinkHeld, OVER, world::ENDS_WELL),
        (Rule::DoubtsAfterACrash, OVER, world::ENDS_WELL),
    ] {
        finds(world::World { bounds, without }, missed, without);
    }
}
