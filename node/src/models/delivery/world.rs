//! All three and what may happen to them.

use stateright::{Model, Property};

use super::broker::{Broker, Store};
use super::recipient::{Inbox, Recipient};
use super::sender::{Outbox, Progress, Sender};
use super::{Bounds, Rule};

/// Messages, by their place in the lane.
pub(super) const MESSAGES: usize = 2;
/// One of them.
pub(super) type Message = usize;

/// What a process has on disk, and what it had there at its last sync. These differ only where it acts before it has synced.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Disk<T> {
    pub(super) now: T,
    synced: Option<Box<T>>,
}

impl<T: Clone> Disk<T> {
    /// Changes what is there. `first`: it is synced before anything else happens.
    pub(super) fn commit<R>(&mut self, first: bool, change: impl FnOnce(&mut T) -> R) -> R {
        if !first && self.synced.is_none() {
            self.synced = Some(Box::new(self.now.clone()));
        }
        change(&mut self.now)
    }

    /// What would be there after a crash.
    pub(super) fn kept(&self) -> &T {
        self.synced.as_deref().unwrap_or(&self.now)
    }

    /// Whether there is something that a crash would undo.
    pub(super) const fn is_behind(&self) -> bool {
        self.synced.is_some()
    }

    pub(super) fn sync(&mut self) {
        self.synced = None;
    }

    fn crash(&mut self) {
        if let Some(synced) = self.synced.take() {
            self.now = *synced;
        }
    }

    /// Takes the place of all that was there.
    pub(super) fn replace(&mut self, by: T) {
        *self = Self { now: by, synced: None };
    }
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct State {
    pub(super) sender: Sender,
    pub(super) broker: Broker,
    pub(super) recipient: Recipient,
    pub(super) happened: Happened,
}

/// How often what has happened, and what went wrong.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Happened {
    pub(super) crashes: u8,
    pub(super) store_losses: u8,
    pub(super) set_backs: u8,
    pub(super) forgets: u8,
    pub(super) refusals: u8,
    pub(super) repeats: u8,
    /// Messages that have had their time.
    pub(super) over: [bool; MESSAGES],
    /// The broker has accepted a message before the one before it.
    pub(super) overtaken: bool,
    /// Messages whose receipt the broker has read.
    pub(super) receipted: [bool; MESSAGES],
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Step {
    /// An app hands over the next message, and is answered.
    AppSends,
    Sender(FromSender),
    Broker(FromBroker),
    Recipient(FromRecipient),
    Goes(Fault),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum FromSender {
    LogsIn,
    Seals(Message),
    ReadsAnswer,
    ReadsNotice,
    Expires(Message),
    Syncs,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum FromBroker {
    ReadsSend,
    Delivers,
    ReadsSettlement,
    PassesNotice,
    DropsNotice,
    Sweeps(Message),
    Syncs,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum FromRecipient {
    LogsIn,
    ReadsDelivery,
    PassesOver,
    Syncs,
}

/// What goes wrong, or by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Fault {
    SenderCrashes,
    BrokerCrashes,
    RecipientCrashes,
    StoreIsLost,
    StoreIsBackedUp,
    StoreIsSetBack,
    KeyIsForgotten,
    BrokerRefuses,
    BrokerRepeats,
    TimeIsOver(Message),
}

pub(super) struct World {
    pub(super) bounds: Bounds,
    pub(super) without: Rule,
}

impl World {
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != rule
    }

    /// What happens if nothing more goes wrong.
    fn progress(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend(state.sender.steps(state).into_iter().map(Step::Sender));
        steps.extend(state.broker.steps(state).into_iter().map(Step::Broker));
        steps.extend(state.recipient.steps(state).into_iter().map(Step::Recipient));
    }

    fn faults(&self, state: &State) -> Vec<Fault> {
        let (bounds, happened) = (&self.bounds, &state.happened);
        let broker = &state.broker;
        let crash = happened.crashes < bounds.crashes;
        let backed_up = broker.backup.is_some();
        let mut faults = Vec::new();
        let mut may = |fault, may: bool| faults.extend(may.then_some(fault));
        // A process without a link has nothing under way, unless it has not synced.
        may(Fault::SenderCrashes, crash && state.sender.has_something_to_lose());
        may(Fault::BrokerCrashes, crash && (state.sender.link.is_some() || state.recipient.link.is_some()));
        may(Fault::RecipientCrashes, crash && state.recipient.has_something_to_lose());
        may(Fault::StoreIsLost, happened.store_losses < bounds.store_losses);
        may(Fault::StoreIsBackedUp, !backed_up && happened.set_backs < bounds.set_backs);
        may(Fault::StoreIsSetBack, backed_up);
        may(Fault::KeyIsForgotten, happened.forgets < bounds.forgets);
        may(Fault::BrokerRefuses, happened.refusals < bounds.refusals && broker.may_refuse(state));
        may(Fault::BrokerRepeats, happened.repeats < bounds.repeats && broker.may_repeat(state));
        let ends = happened.over.iter().filter(|over| **over).count();
        for message in 0..MESSAGES {
            let over = ends < usize::from(bounds.ends) && !happened.over[message];
            may(Fault::TimeIsOver(message), over && state.sender.told[message]);
        }
        faults
    }

    fn goes(&self, state: &mut State, fault: Fault) {
        let happened = &mut state.happened;
        match fault {
            Fault::SenderCrashes => {
                happened.crashes += 1;
                state.sender.disk.crash();
                state.sender.restarts(self);
                state.cut_sender(self);
            }
            Fault::BrokerCrashes => {
                happened.crashes += 1;
                state.broker.disk.crash();
                state.cut_all(self);
            }
            Fault::RecipientCrashes => {
                happened.crashes += 1;
                state.recipient.disk.crash();
                state.cut_recipient();
            }
            Fault::StoreIsLost => {
                happened.store_losses += 1;
                let life = state.broker.disk.now.life + 1;
                state.broker.disk.replace(Store::begin(life));
                state.cut_all(self);
            }
            Fault::StoreIsBackedUp => {
                state.broker.backup = Some(state.broker.disk.now.clone());
                state.broker.moved = false;
            }
            Fault::StoreIsSetBack => {
                happened.set_backs += 1;
                if let Some(backup) = state.broker.backup.take() {
                    state.broker.disk.replace(backup);
                }
                state.broker.moved = false;
                state.cut_all(self);
            }
            Fault::KeyIsForgotten => {
                happened.forgets += 1;
                state.recipient.key += 1;
            }
            Fault::BrokerRefuses => {
                happened.refusals += 1;
                state.refuse();
            }
            Fault::BrokerRepeats => {
                happened.repeats += 1;
                state.repeat();
            }
            Fault::TimeIsOver(message) => happened.over[message] = true,
        }
    }

    /// Whether everything that was accepted has come to its end.
    fn ends_well(state: &State) -> bool {
        let Outbox { rows, .. } = &state.sender.disk.now;
        let Inbox { shown, .. } = &state.recipient.disk.now;
        let is_shown = |message: Message| shown.iter().any(|(shown, _)| *shown == message);
        state.sender.told.iter().enumerate().filter(|(_, told)| **told).all(|(message, _)| {
            let row = &rows[message];
            match row.progress {
                Progress::Dead { .. } if !row.delivered => {
                    state.happened.over[message] && (!is_shown(message) || !row.is_certain())
                }
                Progress::None | Progress::Pending | Progress::Accepted | Progress::Dead { .. } => {
                    row.delivered && is_shown(message)
                }
            }
        })
    }

    fn is_at_rest(&self, state: &State) -> bool {
        let mut steps = Vec::new();
        self.progress(state, &mut steps);
        steps.is_empty()
    }
}

impl State {
    pub(super) fn cut_sender(&mut self, world: &World) {
        self.sender.is_cut(world);
        self.broker.forget_notices();
    }

    pub(super) fn cut_recipient(&mut self) {
        self.recipient.link = None;
        self.broker.forget_deliveries();
    }

    pub(super) fn cut_all(&mut self, world: &World) {
        self.cut_sender(world);
        self.cut_recipient();
    }

    /// A login: commits, and tells how far the store has come. False if it shows that the store was set back, which begins a
    /// new life.
    pub(super) fn logs_in(&mut self, ahead: bool, world: &World) -> bool {
        let set_back = self.happened.set_backs > 0 && ahead;
        if set_back && world.has(Rule::Marks) && world.has(Rule::BrokerCommitsFirst) {
            self.broker.disk.now.life += 1;
            (self.sender.ahead, self.recipient.ahead) = (false, false);
            self.cut_all(world);
            return false;
        }
        self.broker.moves();
        true
    }
}

pub(super) const DURABLE: &str = "what an app was told is accepted is on the disk";
pub(super) const ONCE: &str = "nothing is shown twice";
pub(super) const ORDER: &str = "messages are shown in their order, and none is late";
pub(super) const PROVEN: &str = "whatever is receipted is stored";
pub(super) const QUEUED_ONCE: &str = "a message is queued once";
pub(super) const NOTHING_OVERTAKES: &str = "no message overtakes one that was refused for now";
pub(super) const ENDS_WELL: &str = "in the end each message is shown and receipted, or reported";
pub(super) const RECEIPTS: &str = "a receipt that the broker has read comes to the sender";

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.progress(state, steps);
        if state.sender.next().is_some() {
            steps.push(Step::AppSends);
        }
        steps.extend(self.faults(state).into_iter().map(Step::Goes));
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::AppSends => state.sender.accept(self),
            Step::Sender(step) => state.sender_does(step, self),
            Step::Broker(step) => state.broker_does(step, self),
            Step::Recipient(step) => state.recipient_does(step, self),
            Step::Goes(fault) => self.goes(&mut state, fault),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(DURABLE, |_, state: &State| {
                let rows = &state.sender.disk.kept().rows;
                rows.iter().zip(state.sender.told).all(|(row, told)| !told || row.progress != Progress::None)
            }),
            Property::always(ONCE, |_, state: &State| {
                let shown = &state.recipient.disk.now.shown;
                shown
                    .iter()
                    .enumerate()
                    .all(|(at, (one, _))| shown[..at].iter().all(|(other, _)| other != one))
            }),
            Property::always(ORDER, |_, state: &State| {
                let shown = &state.recipient.disk.now.shown;
                shown.is_sorted() && shown.iter().all(|(_, late)| !late)
            }),
            Property::always(PROVEN, |_, state: &State| {
                let stored = &state.recipient.disk.kept().stored;
                state.receipts().into_iter().all(|message| stored[message])
            }),
            Property::always(QUEUED_ONCE, |_, state: &State| state.broker.has_each_once()),
            Property::always(NOTHING_OVERTAKES, |_, state: &State| !state.happened.overtaken),
            Property::always(RECEIPTS, |model: &Self, state: &State| {
                let lost = state.happened.store_losses + state.happened.set_backs > 0;
                let rows = &state.sender.disk.now.rows;
                let came =
                    || rows.iter().zip(state.happened.receipted).all(|(row, read)| !read || row.delivered);
                lost || came() || !model.is_at_rest(state)
            }),
            Property::always(ENDS_WELL, |model: &Self, state: &State| {
                !model.is_at_rest(state) || Self::ends_well(state)
            }),
            Property::sometimes(
                "both are delivered after all that may go wrong",
                |model: &Self, state: &State| {
                    let all = model.faults(state).iter().all(|fault| matches!(fault, Fault::TimeIsOver(_)));
                    all && state.sender.disk.now.rows.iter().all(|row| row.delivered)
                },
            ),
        ];
        if self.bounds.ends > 0 {
            properties.push(Property::sometimes("one is reported", |_, state: &State| {
                state.sender.disk.now.rows.iter().any(|row| matches!(row.progress, Progress::Dead { .. }))
            }));
        }
        properties
    }
}
