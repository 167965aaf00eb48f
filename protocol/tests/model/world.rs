//! The model itself.

use stateright::{Model, Property};
use waxwing_protocol::link::Progress;

/// How often what may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) logins: u64,
    pub(crate) deliveries: u64,
    pub(crate) rows: u64,
    pub(crate) losses: u8,
    pub(crate) restarts: u8,
    pub(crate) store_losses: u8,
    pub(crate) set_backs: u8,
    pub(crate) copies: u8,
    pub(crate) roll_backs: u8,
}

/// What the broker goes by: the protocol's rules, or these without one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Find {
    /// The rules.
    Behind,
    /// Everybody is served.
    Nobody,
    /// Only the login is compared.
    LoginsOnly,
    /// A link that was replaced still shows progress.
    WithoutFence,
    /// Marks are not looked at.
    WithoutMarks,
    /// A new store numbers logins from 1, whatever it is shown.
    FromOne,
}

pub(crate) struct World {
    pub(crate) bounds: Bounds,
    pub(crate) find: Find,
}

/// How far a state has come.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Come {
    login: u64,
    through: u64,
    rows: u64,
}

impl Come {
    const fn progress(self) -> Progress {
        Progress { login: self.login, through: self.through, rows: self.rows }
    }
}

/// How far a store has come: its life, its opening, and its commits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Mark {
    life: u8,
    run: u8,
    m: u64,
}

/// What a copy of the node has on disk.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Disk {
    come: Come,
    mark: Option<Mark>,
}

/// Where a copy's link is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum Link {
    #[default]
    None,
    /// The hello is on its way.
    Hello(Disk),
    /// The welcome is on its way.
    Welcome { login: u64, mark: Mark },
    /// The node has committed it. What it has shown since is on its way: how far it has come, and what of it is confirmed.
    Up { login: u64, shows: Option<Come> },
    /// The broker has said never.
    Refused,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Copy {
    disk: Disk,
    link: Link,
    /// The broker has believed what it showed beyond what the copies share.
    went_on: bool,
    /// It is behind what the broker had been shown when it was set back.
    rolled_back: bool,
}

/// What the broker has on disk.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Store {
    mark: Mark,
    issued: u64,
    shown: Come,
    /// The run before, and where it ended.
    past: Option<(u8, u64)>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct State {
    copies: Vec<Copy>,
    store: Store,
    /// Which copy has the current link, by which login.
    current: Option<(usize, u64)>,
    backup: Option<Store>,
    snapshot: Option<Disk>,
    /// How far the copies had come when they were made.
    shared: Option<Come>,
    /// Lives and runs are random: none comes twice.
    random: u8,
    losses: u8,
    restarts: u8,
    store_losses: u8,
    set_backs: u8,
    roll_backs: u8,
    /// A login was given to somebody who knows a future of this store.
    overlooked: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Step {
    Dial(usize),
    BrokerReadsHello(usize),
    NodeCommitsWelcome(usize),
    /// Stores a delivery, and says so.
    NodeSettles(usize),
    /// Takes a message from an app, and sends it.
    NodeSends(usize),
    BrokerReadsShown(usize),
    /// Whatever this copy's link has on its way is lost, and the link with it: cut, or one end killed.
    Lose(usize),
    RestartBroker,
    BackUpStore,
    SetStoreBack,
    LoseStore,
    CopyNode,
    Snapshot,
    RollBack,
}

impl State {
    /// Notes a commit, and what follows from a frame of a link that is current.
    fn commit(&mut self) {
        self.store.mark.m += 1;
    }

    fn end_links(&mut self) {
        self.current = None;
        for copy in &mut self.copies {
            if copy.link != Link::Refused {
                copy.link = Link::None;
            }
        }
    }

    fn open_store(&mut self, life: Option<u8>) {
        self.random += 1;
        self.store.past = Some((self.store.mark.run, self.store.mark.m));
        self.store.mark.run = self.random;
        self.store.mark.life = life.unwrap_or(self.store.mark.life);
        self.end_links();
    }

    /// Whether a mark is of a future that this store has lost.
    fn proves_set_back(&self, mark: Mark) -> bool {
        let Store { mark: now, past, .. } = self.store;
        let last = if mark.run == now.run {
            Some(now.m)
        } else {
            past.filter(|(run, _)| *run == mark.run).map(|(_, last)| last)
        };
        mark.life == now.life && last.is_none_or(|last| mark.m > last)
    }

    /// As the broker does it, hello in hand.
    fn decide(&mut self, at: usize, shown: Disk, find: Find) {
        let future = shown.mark.is_some_and(|mark| self.proves_set_back(mark));
        if future && find != Find::WithoutMarks {
            self.random += 1;
            self.store.mark.life = self.random;
            return self.end_links();
        }
        self.overlooked |= future;
        let behind = match find {
            Find::Behind | Find::WithoutFence | Find::WithoutMarks | Find::FromOne => {
                shown.come.progress().is_behind(&self.store.shown.progress())
            }
            Find::LoginsOnly => shown.come.login < self.store.shown.login,
            Find::Nobody => false,
        };
        if behind {
            self.copies[at].link = Link::Refused;
            return;
        }
        let above = if find == Find::FromOne { 0 } else { shown.come.login };
        self.store.issued = self.store.issued.max(above) + 1;
        self.store.shown = shown.come;
        self.commit();
        if let Some((other, _)) = self.current.replace((at, self.store.issued))
            && other != at
            && find != Find::WithoutFence
        {
            self.copies[other].link = Link::None;
        }
        self.copies[at].link = Link::Welcome { login: self.store.issued, mark: self.store.mark };
    }

    /// As the broker does it with a settle or a send.
    fn believe(&mut self, at: usize, login: u64, shows: Come, find: Find) {
        if self.current != Some((at, login)) && find != Find::WithoutFence {
            return;
        }
        self.commit();
        if self.store.shown.login <= login {
            self.store.shown = shows;
        }
        self.copies[at].went_on |=
            self.shared.is_some_and(|shared| shared.progress().is_behind(&shows.progress()));
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let store = Store { mark: Mark { life: 1, run: 1, m: 0 }, ..Store::default() };
        vec![State {
            copies: vec![Copy::default()],
            store,
            current: None,
            backup: None,
            snapshot: None,
            shared: None,
            random: 1,
            losses: 0,
            restarts: 0,
            store_losses: 0,
            set_backs: 0,
            roll_backs: 0,
            overlooked: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let bounds = &self.bounds;
        for (at, copy) in state.copies.iter().enumerate() {
            match copy.link {
                Link::None if state.store.issued < bounds.logins => steps.push(Step::Dial(at)),
                Link::None | Link::Refused => {}
                Link::Hello(_) => steps.push(Step::BrokerReadsHello(at)),
                Link::Welcome { .. } => steps.push(Step::NodeCommitsWelcome(at)),
                Link::Up { shows, .. } => {
                    if copy.disk.come.through < bounds.deliveries {
                        steps.push(Step::NodeSettles(at));
                    }
                    if copy.disk.come.rows < bounds.rows {
                        steps.push(Step::NodeSends(at));
                    }
                    if shows.is_some() {
                        steps.push(Step::BrokerReadsShown(at));
                    }
                }
            }
            if !matches!(copy.link, Link::None | Link::Refused) && state.losses < bounds.losses {
                steps.push(Step::Lose(at));
            }
        }
        if state.restarts < bounds.restarts {
            steps.push(Step::RestartBroker);
        }
        if bounds.set_backs > 0 && state.backup.is_none() && state.set_backs == 0 {
            steps.push(Step::BackUpStore);
        }
        if state.backup.is_some() && state.set_backs < bounds.set_backs {
            steps.push(Step::SetStoreBack);
        }
        if state.store_losses < bounds.store_losses {
            steps.push(Step::LoseStore);
        }
        if state.copies.len() <= usize::from(bounds.copies) {
            steps.push(Step::CopyNode);
        }
        if bounds.roll_backs > 0 && state.snapshot.is_none() && state.roll_backs == 0 {
            steps.push(Step::Snapshot);
        }
        if state.snapshot.is_some() && state.roll_backs < bounds.roll_backs {
            steps.push(Step::RollBack);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Dial(at) => state.copies[at].link = Link::Hello(state.copies[at].disk),
            Step::BrokerReadsHello(at) => {
                let Link::Hello(shown) = state.copies[at].link else { return None };
                state.decide(at, shown, self.find);
            }
            Step::NodeCommitsWelcome(at) => {
                let copy = &mut state.copies[at];
                let Link::Welcome { login, mark } = copy.link else { return None };
                // One that does not rise is refused by the node itself.
                if login <= copy.disk.come.login {
                    copy.link = Link::Refused;
                } else {
                    copy.disk.come = Come { login, through: 0, ..copy.disk.come };
                    copy.disk.mark = Some(mark);
                    copy.link = Link::Up { login, shows: Some(copy.disk.come) };
                }
            }
            Step::NodeSettles(at) => {
                state.copies[at].disk.come.through += 1;
                state.copies[at].shows();
            }
            Step::NodeSends(at) => {
                state.copies[at].disk.come.rows += 1;
                state.copies[at].shows();
            }
            Step::BrokerReadsShown(at) => {
                let Link::Up { login, shows: Some(shows) } = state.copies[at].link else { return None };
                state.copies[at].link = Link::Up { login, shows: None };
                state.believe(at, login, shows, self.find);
            }
            Step::Lose(at) => {
                state.losses += 1;
                state.copies[at].link = Link::None;
                if state.current.is_some_and(|(current, _)| current == at) {
                    state.current = None;
                }
            }
            Step::RestartBroker => {
                state.restarts += 1;
                state.open_store(None);
            }
            Step::BackUpStore => state.backup = Some(state.store),
            Step::SetStoreBack => {
                state.set_backs += 1;
                state.store = state.backup.take()?;
                state.open_store(None);
            }
            Step::LoseStore => {
                state.store_losses += 1;
                state.store = Store::default();
                state.random += 1;
                let life = state.random;
                state.open_store(Some(life));
                state.store.past = None;
            }
            Step::CopyNode => {
                let copy = Copy { link: Link::None, ..state.copies[0] };
                state.shared = Some(copy.disk.come);
                state.copies.push(copy);
            }
            Step::Snapshot => state.snapshot = Some(state.copies[0].disk),
            Step::RollBack => {
                state.roll_backs += 1;
                let disk = state.snapshot.take()?;
                let rolled_back = disk.come.progress().is_behind(&state.store.shown.progress());
                let copy = &mut state.copies[0];
                let link = if copy.link == Link::Refused { Link::Refused } else { Link::None };
                *copy = Copy { disk, link, rolled_back, ..*copy };
                if state.current.is_some_and(|(current, _)| current == 0) {
                    state.current = None;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("an honest node is served", |_, state: &State| {
                state.copies.len() > 1 || state.roll_backs > 0 || state.copies[0].link != Link::Refused
            }),
            Property::always("one copy goes on", |_, state: &State| {
                let kept = state.store_losses + state.set_backs == 0;
                !kept || state.copies.iter().filter(|copy| copy.went_on).count() <= 1
            }),
            Property::always("a roll-back is refused", |_, state: &State| {
                let kept = state.store_losses + state.set_backs == 0;
                let served = |copy: &Copy| matches!(copy.link, Link::Welcome { .. } | Link::Up { .. });
                !kept || !state.copies.iter().any(|copy| copy.rolled_back && served(copy))
            }),
            Property::always("a set-back is found out", |_, state: &State| !state.overlooked),
            Property::sometimes("a node settles", |_, state: &State| state.store.shown.through > 0),
        ];
        if self.bounds.copies > 0 {
            properties.push(Property::sometimes(
                "a copy is refused while another goes on",
                |_, state: &State| {
                    let refused = state.copies.iter().any(|copy| copy.link == Link::Refused);
                    refused && state.copies.iter().any(|copy| copy.went_on)
                },
            ));
        }
        properties
    }
}

impl Copy {
    /// Says how far it has come.
    fn shows(&mut self) {
        if let Link::Up { shows, .. } = &mut self.link {
            *shows = Some(self.disk.come);
        }
    }
}
