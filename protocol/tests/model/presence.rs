//! Presence as a model: a node that keeps one record bound to its lease, a broker, and a follower that tells of joins and leaves.
//!
//! Time is what may happen: while a node is silent its lease may be over at any step, while it is heard it is not. Restarts and cuts
//! come between any two steps.

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// How often what may happen.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    links: u8,
    follows: u8,
    byes: u8,
    broker_restarts: u8,
    follower_restarts: u8,
}

const BOUNDS: Bounds = Bounds { links: 4, follows: 3, byes: 1, broker_restarts: 2, follower_restarts: 1 };

/// The rules, or these without one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rules {
    All,
    /// A record ends with its node's link.
    WithoutLease,
    /// A broker that starts takes those for gone who are not linked.
    WithoutFreshLease,
    /// What the timer has found to be over is not looked at again in the transaction that ends it.
    WithoutSecondLook,
    /// A node does not put its record again.
    WithoutRenewal,
    /// A follower that starts again does not know whom it has told of.
    WithoutMemory,
    /// A follower tells of every page as it comes, and takes its copy for begun anew on each link.
    WithoutCompleteness,
    /// Goodbye is as good as silence.
    WithoutGoodbye,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct State {
    /// The broker hears the node.
    linked: bool,
    /// The node has ended on purpose, and does not come back by itself.
    gone: bool,
    /// The place of its record.
    stands: Option<u8>,
    /// The place of its record's end, until another is put.
    ended: Option<u8>,
    last: u8,
    /// The timer has found the lease over.
    due: bool,
    follower: Follower,
    /// Ends that had to be: of a lease that was over, or by goodbye.
    ends: u8,
    /// A record ended while its node was heard.
    ended_while_heard: bool,
    links: u8,
    follows: u8,
    byes: u8,
    broker_restarts: u8,
    follower_restarts: u8,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Follower {
    linked: bool,
    place: u8,
    holds: bool,
    /// The last it has told of the node: that it is there.
    told: bool,
    joins: u8,
    leaves: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Step {
    NodeLinks,
    NodeIsCut,
    NodePuts,
    NodeSaysGoodbye,
    LeaseIsOver,
    BrokerEnds,
    BrokerRestarts,
    FollowerLinks,
    FollowerIsCut,
    FollowerReads,
    FollowerTells,
    FollowerRestarts,
}

struct Presence(Rules);

impl State {
    fn end(&mut self) {
        if self.stands.take().is_some() {
            self.last += 1;
            self.ended = Some(self.last);
        }
        self.due = false;
    }

    const fn is_complete(&self) -> bool {
        self.follower.linked && self.follower.place == self.last
    }

    fn tells(&mut self) {
        let Follower { holds, told, joins, leaves, .. } = &mut self.follower;
        match (*told, *holds) {
            (false, true) => *joins += 1,
            (true, false) => *leaves += 1,
            (true, true) | (false, false) => {}
        }
        *told = *holds;
    }
}

impl Model for Presence {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let follower = &state.follower;
        let may = [
            (Step::NodeLinks, !state.linked && !state.gone && state.links < BOUNDS.links),
            (Step::NodeIsCut, state.linked),
            (Step::NodePuts, state.linked && state.stands.is_none() && self.renews(state)),
            (Step::NodeSaysGoodbye, state.linked && state.byes < BOUNDS.byes),
            (Step::LeaseIsOver, !state.linked && state.stands.is_some() && !state.due),
            (Step::BrokerEnds, state.due),
            (Step::BrokerRestarts, state.broker_restarts < BOUNDS.broker_restarts),
            (Step::FollowerLinks, !follower.linked && state.follows < BOUNDS.follows),
            (Step::FollowerIsCut, follower.linked),
            (Step::FollowerReads, follower.linked && follower.place < state.last),
            (Step::FollowerTells, state.is_complete() && follower.told != follower.holds),
            (Step::FollowerRestarts, state.follower_restarts < BOUNDS.follower_restarts),
        ];
        steps.extend(may.into_iter().filter(|(_, may)| *may).map(|(step, _)| step));
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::NodeLinks => {
                state.links += 1;
                state.linked = true;
            }
            Step::NodeIsCut => {
                state.linked = false;
                if self.0 == Rules::WithoutLease {
                    state.end();
                }
            }
            Step::NodePuts => {
                state.last += 1;
                (state.stands, state.ended) = (Some(state.last), None);
            }
            Step::NodeSaysGoodbye => {
                state.byes += 1;
                (state.linked, state.gone) = (false, true);
                if self.0 != Rules::WithoutGoodbye {
                    state.ends += u8::from(state.stands.is_some());
                    state.end();
                }
            }
            Step::LeaseIsOver => state.due = true,
            Step::BrokerEnds => {
                state.due = false;
                if !state.linked || self.0 == Rules::WithoutSecondLook {
                    state.ended_while_heard |= state.linked && state.stands.is_some();
                    state.ends += u8::from(state.stands.is_some());
                    state.end();
                }
            }
            Step::BrokerRestarts => {
                state.broker_restarts += 1;
                (state.linked, state.follower.linked) = (false, false);
                state.due = false; // Leases are in memory, and begin anew.
                if self.0 == Rules::WithoutFreshLease {
                    state.end();
                }
            }
            Step::FollowerLinks => {
                state.follows += 1;
                state.follower.linked = true;
                if self.0 == Rules::WithoutCompleteness {
                    (state.follower.place, state.follower.holds) = (0, false);
                    state.tells();
                }
            }
            Step::FollowerIsCut => state.follower.linked = false,
            Step::FollowerReads => self.reads(&mut state),
            Step::FollowerTells => state.tells(),
            Step::FollowerRestarts => {
                state.follower_restarts += 1;
                state.follower.linked = false;
                if self.0 == Rules::WithoutMemory {
                    state.follower.told = false;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody leaves who has not", |_, state: &State| {
                state.follower.leaves <= state.ends && !state.ended_while_heard
            }),
            Property::always("nobody joins twice", |_, state: &State| {
                let Follower { joins, leaves, told, .. } = state.follower;
                joins == leaves + u8::from(told) && joins <= state.ends + 1
            }),
            Property::always("a link that is back within the lease is not told", |_, state: &State| {
                state.ends > 0 || (state.follower.leaves == 0 && state.follower.joins <= 1)
            }),
            Property::always("a complete copy is what stands", |_, state: &State| {
                !state.is_complete() || state.follower.holds == state.stands.is_some()
            }),
            Property::always("who is linked is there in the end", |model: &Self, state: &State| {
                let mut steps = Vec::new();
                model.actions(state, &mut steps);
                let puts = steps.contains(&Step::NodePuts);
                !state.linked || state.stands.is_some() || puts
            }),
            Property::always("goodbye is told at once", |_, state: &State| {
                !state.gone || state.stands.is_none()
            }),
            Property::sometimes("a leave is told", |_, state: &State| state.follower.leaves > 0),
            Property::sometimes("who has left joins again", |_, state: &State| state.follower.joins > 1),
            Property::sometimes("a restart and new links are not told", |_, state: &State| {
                let all = state.broker_restarts == BOUNDS.broker_restarts && state.links == BOUNDS.links;
                all && state.is_complete() && state.follower.joins == 1 && state.follower.leaves == 0
            }),
        ]
    }
}

impl Presence {
    fn renews(&self, state: &State) -> bool {
        self.0 != Rules::WithoutRenewal || state.last == 0
    }

    /// One change: the next that is still there.
    fn reads(&self, state: &mut State) {
        let behind = |place: &u8| *place > state.follower.place;
        let next = [state.stands, state.ended].into_iter().flatten().filter(behind).min();
        let Some(place) = next else {
            state.follower.place = state.last;
            return;
        };
        state.follower.place = place;
        state.follower.holds = state.stands == Some(place);
        if self.0 == Rules::WithoutCompleteness {
            state.tells();
        }
    }
}

#[test]
fn a_join_and_a_leave_are_told_once_each_and_no_restart_or_reconnect_is() {
    let checker = Presence(Rules::All).checker().threads(2).spawn_bfs().join();
    println!("{} states within {BOUNDS:?}", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn without_each_rule_of_presence_the_model_finds_what_goes_wrong() {
    for (rules, missed) in [
        (Rules::WithoutLease, "a link that is back within the lease is not told"),
        (Rules::WithoutFreshLease, "nobody leaves who has not"),
        (Rules::WithoutSecondLook, "nobody leaves who has not"),
        (Rules::WithoutRenewal, "who is linked is there in the end"),
        (Rules::WithoutMemory, "nobody joins twice"),
        (Rules::WithoutCompleteness, "a link that is back within the lease is not told"),
        (Rules::WithoutGoodbye, "goodbye is told at once"),
    ] {
        let checker = Presence(rules).checker().threads(2);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found: Vec<_> = checker.discoveries().into_keys().collect();
        assert!(checker.discovery(missed).is_some(), "{rules:?}: {missed}, but {found:?}");
    }
}
