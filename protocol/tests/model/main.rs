//! Progress and marks as a model, checked exhaustively within bounds: who is refused, and who never is.
//!
//! The model is of one node, perhaps copied or set back, and one broker, perhaps restarted, set back to a backup or emptied.
//! Each step is one that can be cut off from the next by a crash: what is durable at either end is in the state, what is
//! not is lost whenever [`Step::Lose`] comes, which is any time. What decides is the protocol's own: [`Progress::is_behind`].

mod presence;
mod world;

use stateright::{Checker as _, HasDiscoveries, Model as _};
use world::{Bounds, Find, World};

/// Everything but copies: an honest node.
const HONEST: Bounds = Bounds {
    logins: 3,
    deliveries: 1,
    rows: 1,
    losses: 2,
    restarts: 1,
    store_losses: 1,
    set_backs: 1,
    copies: 0,
    roll_backs: 0,
};

/// Copies, as long as the broker keeps its store.
const COPIED: Bounds = Bounds {
    logins: 5,
    deliveries: 1,
    rows: 1,
    losses: 2,
    restarts: 0,
    store_losses: 0,
    set_backs: 0,
    copies: 1,
    roll_backs: 0,
};

/// One that is set back, by itself.
const ROLLED_BACK: Bounds = Bounds {
    logins: 4,
    deliveries: 1,
    rows: 1,
    losses: 1,
    restarts: 1,
    store_losses: 0,
    set_backs: 0,
    copies: 0,
    roll_backs: 1,
};

/// Everything at once, and little of each.
const ALL: Bounds = Bounds {
    logins: 3,
    deliveries: 1,
    rows: 0,
    losses: 0,
    restarts: 0,
    store_losses: 1,
    set_backs: 1,
    copies: 1,
    roll_backs: 0,
};

/// Looks at every state within the bounds.
fn check(bounds: Bounds) {
    let checker = World { bounds, find: Find::Behind }.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn an_honest_node_is_never_refused_whatever_is_lost_restarted_set_back_or_emptied() {
    check(HONEST);
}

#[test]
fn of_two_copies_only_one_ever_goes_on_at_one_store() {
    check(COPIED);
}

#[test]
fn a_state_that_is_set_back_behind_what_it_has_shown_is_refused() {
    check(ROLLED_BACK);
}

#[test]
fn a_store_that_was_set_back_is_found_out_by_whoever_knows_its_future() {
    check(ALL);
}

/// A check that cannot fail says nothing: each of these rules, taken away, is missed.
#[test]
fn without_each_rule_the_model_finds_what_goes_wrong() {
    for (find, bounds, missed) in [
        (Find::Nobody, COPIED, "one copy goes on"),
        (Find::LoginsOnly, ROLLED_BACK, "a roll-back is refused"),
        (Find::WithoutFence, COPIED, "one copy goes on"),
        (Find::WithoutMarks, ALL, "a set-back is found out"),
        (Find::FromOne, HONEST, "an honest node is served"),
    ] {
        let checker = World { bounds, find }.checker().threads(2);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        assert!(checker.discovery(missed).is_some(), "{find:?}: {missed}");
    }
}
