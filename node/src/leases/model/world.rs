//! Two nodes, a broker, and time.

use stateright::{Model, Property};

use super::broker::{Broker, Store};
use super::node::{Asked, Link, Node};
use super::{Bounds, Rule};

pub(super) const NODES: usize = 2;
/// A node's lease at the broker.
pub(super) const LEASE: u8 = 1;
/// What is bound to it outlives it by so much.
pub(super) const GRACE: u8 = 1;
/// A lease is asked for so long.
pub(super) const TTL: u8 = 3;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct State {
    pub(super) now: u8,
    pub(super) nodes: [Node; NODES],
    pub(super) broker: Broker,
    pub(super) happened: Happened,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Happened {
    releases: u8,
    cuts: u8,
    crashes: u8,
    restarts: u8,
    store_losses: u8,
    pub(super) set_backs: u8,
    /// The highest token that was granted, and to whom.
    pub(super) granted: Option<(u16, usize)>,
    /// One was granted that is not higher than those before.
    pub(super) fell: bool,
    /// The other was granted it after one.
    pub(super) again: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Step {
    TimePasses,
    NodeLogsIn(usize),
    /// Asks for it.
    NodeAsks(usize),
    /// Renews what it has, or stands in line for.
    NodeRenews(usize),
    AppGivesBack(usize),
    NodeReads(usize),
    /// Its copy becomes what the space is now.
    NodeFollows(usize),
    /// A record has had its time at the broker, or its node's lease and grace are over.
    BrokerEnds(u16),
    LinkIsCut(usize),
    NodeCrashes(usize),
    BrokerRestarts,
    StoreIsLost,
    StoreIsBackedUp,
    StoreIsSetBack,
}

pub(super) struct World {
    pub(super) bounds: Bounds,
    pub(super) without: Rule,
}

impl World {
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != rule
    }

    fn of_node(&self, state: &State, at: usize, steps: &mut Vec<Step>) {
        let (node, happened) = (&state.nodes[at], &state.happened);
        let may = |step, may: bool| may.then_some(step);
        let crash = may(Step::NodeCrashes(at), happened.crashes < self.bounds.crashes && node.is_busy());
        steps.extend(crash);
        let Some(link) = &node.link else {
            return steps.push(Step::NodeLogsIn(at));
        };
        let may_speak = link.down.is_none() && node.frames < self.bounds.frames;
        // They are alike: the first is whoever asks first.
        let in_turn = at == 0 || state.nodes[0].frames > 0;
        // What a copy says of a lease that is held can only end it.
        let wants_to_know = node.own.is_some() && !node.holds() || node.copy.life != state.broker.store.life;
        let gives_back = node.holds() && may_speak && happened.releases < self.bounds.releases;
        steps.extend(
            [
                may(Step::NodeAsks(at), may_speak && node.own.is_none() && in_turn),
                may(Step::NodeRenews(at), may_speak && node.own.is_some()),
                may(Step::AppGivesBack(at), gives_back),
                may(Step::NodeReads(at), link.down.is_some()),
                may(Step::NodeFollows(at), wants_to_know && !state.broker.is_shown(&node.copy)),
                may(Step::LinkIsCut(at), happened.cuts < self.bounds.cuts),
            ]
            .into_iter()
            .flatten(),
        );
    }
}

impl State {
    /// Whether this node's app takes itself for the one that has it.
    fn believes(&self, at: usize, world: &World) -> bool {
        self.nodes[at].believes(self.now, world)
    }

    /// Time goes on. What is so long ago that it makes no difference any more is not told apart.
    fn pass(&mut self, world: &World) {
        self.now += 1;
        let long_ago = self.now.saturating_sub(LEASE + GRACE);
        for at in 0..NODES {
            self.broker.heard[at] = self.broker.heard[at].max(long_ago);
            self.nodes[at].look(self.now, world);
            self.nodes[at].forget(self.now, long_ago);
        }
        self.broker.store.forget(self.now);
    }

    pub(super) fn cut(&mut self, at: usize) {
        self.nodes[at].link = None;
    }

    fn cut_all(&mut self) {
        (0..NODES).for_each(|at| self.cut(at));
    }

    /// A store is opened: by a broker that was killed, or with what somebody has put there.
    fn open(&mut self, world: &World) {
        self.cut_all();
        let (now, broker) = (self.now, &mut self.broker);
        broker.opened = now;
        broker.heard = [if world.has(Rule::NewLease) { now } else { 0 }; NODES];
    }

    /// A login commits, and shows how far the store has come that the node knows. False if that is of a future that it has
    /// lost: then a new life begins.
    fn logs_in(&mut self, at: usize, world: &World) -> bool {
        let shown = std::mem::take(&mut self.nodes[at].ahead);
        if self.happened.set_backs > 0 && shown {
            self.broker.store.begin_life(self.now, world);
            self.nodes.iter_mut().for_each(|node| node.ahead = false);
            self.cut_all();
            return false;
        }
        self.broker.heard[at] = self.now;
        self.nodes[at].hears(self.now);
        self.broker.moves();
        self.nodes[at].ahead = self.broker.moved;
        true
    }
}

pub(super) const ALONE: &str = "one has it at a time";
pub(super) const TOKENS_RISE: &str = "tokens rise";
pub(super) const AWARE: &str = "nobody holds what he knows to be of a store that was lost";

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 1,
            nodes: [Node::linked(1), Node::linked(1)],
            broker: Broker::new(Store::new(0, 1), 1),
            happened: Happened::default(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        (0..NODES).for_each(|at| self.of_node(state, at, steps));
        let (bounds, happened) = (&self.bounds, &state.happened);
        steps.extend(state.broker.due(state.now, self).map(Step::BrokerEnds));
        let may = |step, may: bool| may.then_some(step);
        let backed_up = state.broker.backup.is_some();
        // Not within the second in which it was opened: places are counted from that.
        let later = state.now > state.broker.opened;
        steps.extend(
            [
                may(Step::TimePasses, state.now < bounds.time),
                may(Step::BrokerRestarts, happened.restarts < bounds.restarts),
                may(Step::StoreIsLost, later && happened.store_losses < bounds.store_losses),
                may(Step::StoreIsBackedUp, !backed_up && happened.set_backs < bounds.set_backs),
                may(Step::StoreIsSetBack, later && backed_up),
            ]
            .into_iter()
            .flatten(),
        );
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        let now = state.now;
        match step {
            Step::TimePasses => state.pass(self),
            Step::NodeLogsIn(at) => {
                if state.logs_in(at, self) {
                    state.nodes[at].link = Some(Link::default());
                }
            }
            Step::NodeAsks(at) => state.broker_does(at, Asked::Append),
            Step::NodeRenews(at) => state.renews(at),
            Step::AppGivesBack(at) => {
                state.happened.releases += 1;
                state.gives_back(at, self);
            }
            Step::NodeReads(at) => state.node_reads(at, self),
            Step::NodeFollows(at) => state.node_follows(at, self),
            Step::BrokerEnds(seq) => {
                state.broker.store.end(seq);
                state.broker.moves();
            }
            Step::LinkIsCut(at) => {
                state.happened.cuts += 1;
                state.cut(at);
            }
            Step::NodeCrashes(at) => {
                state.happened.crashes += 1;
                state.nodes[at].crash(at, self);
            }
            Step::BrokerRestarts => {
                state.happened.restarts += 1;
                state.open(self);
            }
            Step::StoreIsLost => {
                state.happened.store_losses += 1;
                let life = state.broker.store.life + 1;
                state.broker.store = Store::new(life, if self.has(Rule::Raised) { now } else { 0 });
                state.open(self);
            }
            Step::StoreIsBackedUp => {
                state.broker.backup = Some(state.broker.store.clone());
                state.broker.moved = false;
            }
            Step::StoreIsSetBack => {
                state.happened.set_backs += 1;
                state.broker.store = state.broker.backup.take()?;
                state.broker.moved = false;
                state.open(self);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ALONE, |model: &Self, state: &State| {
                // After a loss it is the tokens that tell who was first.
                let kept = state.happened.store_losses + state.happened.set_backs == 0;
                !kept || (0..NODES).filter(|at| state.believes(*at, model)).count() <= 1
            }),
            Property::always(TOKENS_RISE, |_, state: &State| !state.happened.fell),
            Property::always(AWARE, |_, state: &State| state.nodes.iter().all(Node::holds_nothing_lost)),
            Property::sometimes("it goes from one to the other", |_, state: &State| state.happened.again),
            Property::sometimes("somebody waits while another has it", |model: &Self, state: &State| {
                let waits = |at: usize| state.nodes[at].own.is_some_and(|own| !own.held);
                (0..NODES).any(|at| state.believes(at, model) && waits(1 - at))
            }),
        ]
    }
}
