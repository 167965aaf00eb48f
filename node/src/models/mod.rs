//! What is promised, as models that are checked in every state within bounds. What decides in them is the node's own code,
//! wherever that decides without a database or a clock.
//!
//! A check that cannot fail says nothing: so each rule is taken away once, and the model has to find what goes wrong.

mod delivery;

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker as _, HasDiscoveries, Model};

/// Looks at every state.
pub(crate) fn check<M>(model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Looks until something goes wrong, which has to be this.
pub(crate) fn finds<M>(model: M, missed: &'static str, rule: impl Debug)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyOf([missed].into())).spawn_bfs().join();
    assert!(checker.discovery(missed).is_some(), "without {rule:?}: {missed}");
}
