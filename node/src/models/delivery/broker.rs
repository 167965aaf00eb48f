//! The broker: its store, and what it has on the way.

use super::Rule;
use super::recipient::{Delivery, Verdict};
use super::sender::Sealed;
use super::world::{Disk, FromBroker, MESSAGES, Message, State, World};

/// What became of an item.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Outcome {
    /// Or a duplicate.
    Accepted,
    Expired,
    /// It is full, or an earlier one was refused.
    Later,
}

/// An answer, on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Said {
    pub(super) message: Message,
    pub(super) seal: u8,
    pub(super) outcome: Outcome,
    /// Its mark is of a commit after the backup.
    pub(super) ahead: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Notice {
    Delivered(Message),
    Nack { message: Message, seal: u8 },
    Expired(Message),
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Way {
    Waits,
    Passed,
    /// The sender has it, and has said so.
    Settled,
}

/// One that is queued.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Row {
    place: u8,
    sealed: Sealed,
    /// It was delivered on the recipient's link as it is.
    delivered: bool,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Store {
    pub(super) life: u8,
    /// The highest seal accepted of each message, and the place it was given.
    records: [Option<(u8, u8)>; MESSAGES],
    places: u8,
    queue: Vec<Row>,
    /// For the sender, and how far each has come on its link.
    notices: Vec<(Notice, Way)>,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Broker {
    pub(super) disk: Disk<Store>,
    pub(super) backup: Option<Store>,
    /// There was a commit since the backup.
    pub(super) moved: bool,
}

impl Broker {
    pub(super) fn steps(&self, state: &State) -> Vec<FromBroker> {
        let store = &self.disk.now;
        let mut steps = Vec::new();
        if self.disk.is_behind() {
            steps.push(FromBroker::Syncs);
        }
        if let Some(link) = &state.sender.link {
            steps.extend((!link.sends.is_empty()).then_some(FromBroker::ReadsSend));
            let has = |such: Way| store.notices.iter().any(|(_, way)| *way == such);
            steps.extend(has(Way::Waits).then_some(FromBroker::PassesNotice));
            steps.extend(has(Way::Settled).then_some(FromBroker::DropsNotice));
        }
        if let Some(link) = &state.recipient.link {
            let waits = store.queue.iter().any(|row| !row.delivered);
            steps.extend(waits.then_some(FromBroker::Delivers));
            steps.extend((!link.settlements.is_empty()).then_some(FromBroker::ReadsSettlement));
        }
        let over = |row: &&Row| state.happened.over[row.sealed.message];
        steps.extend(store.queue.iter().filter(over).map(|row| FromBroker::Sweeps(row.sealed.message)));
        steps
    }

    /// Notes a commit, for the marks.
    pub(super) fn moves(&mut self) {
        self.moved |= self.backup.is_some();
    }

    /// The recipient has all that it could have been given.
    pub(super) fn has_delivered_all(&self) -> bool {
        self.disk.now.queue.iter().all(|row| row.delivered)
    }

    pub(super) fn forget_deliveries(&mut self) {
        for row in &mut self.disk.now.queue {
            row.delivered = false;
        }
    }

    pub(super) fn forget_notices(&mut self) {
        for (_, way) in &mut self.disk.now.notices {
            *way = Way::Waits;
        }
    }

    pub(super) fn has_passed_a_notice(&self) -> bool {
        self.disk.now.notices.iter().any(|(_, way)| *way == Way::Passed)
    }

    /// The first notice that has come so far goes on.
    pub(super) fn advance(&mut self, from: Way, to: Way) -> Option<Notice> {
        let (notice, way) = self.disk.now.notices.iter_mut().find(|(_, way)| *way == from)?;
        *way = to;
        Some(*notice)
    }

    pub(super) fn has_each_once(&self) -> bool {
        let queue = &self.disk.now.queue;
        (0..MESSAGES).all(|message| queue.iter().filter(|row| row.sealed.message == message).count() <= 1)
    }

    pub(super) fn may_repeat(&self, state: &State) -> bool {
        state.recipient.link.is_some() && self.disk.now.queue.iter().any(|row| row.delivered)
    }

    /// There is something new on its way that it could refuse.
    pub(super) fn may_refuse(&self, state: &State) -> bool {
        let first = state.sender.link.as_ref().and_then(|link| link.sends.first());
        first.is_some_and(|sealed| {
            let queued = self.disk.now.queue.iter().any(|row| row.sealed.message == sealed.message);
            let known = self.disk.now.records[sealed.message].is_some_and(|(seal, _)| seal >= sealed.seal);
            !queued && !known && !state.happened.over[sealed.message]
        })
    }
}

impl Store {
    /// An empty one.
    pub(super) fn begin(life: u8) -> Self {
        Self { life, ..Self::default() }
    }

    /// Queues one, in the place of an older seal of it if that is queued.
    fn accept(&mut self, sealed: Sealed) {
        let place = self.records[sealed.message].map(|(_, place)| place);
        if let Some(row) = self.queue.iter_mut().find(|row| Some(row.place) == place) {
            row.sealed = sealed;
            self.records[sealed.message] = Some((sealed.seal, row.place));
            return;
        }
        self.places += 1;
        self.queue.push(Row { place: self.places, sealed, delivered: false });
        self.records[sealed.message] = Some((sealed.seal, self.places));
    }

    fn notify(&mut self, notice: Notice) {
        self.notices.push((notice, Way::Waits));
    }

    fn settle(&mut self, delivery: Delivery, verdict: Verdict, world: &World) {
        let at = self.queue.iter().position(|row| row.place == delivery.place);
        let message = delivery.sealed.message;
        match verdict {
            Verdict::Receipt => {
                if let Some(at) = at {
                    self.queue.remove(at);
                }
                if at.is_some() || world.has(Rule::ReceiptOfWhatIsGone) {
                    self.notify(Notice::Delivered(message));
                }
            }
            Verdict::Nack => {
                let Some(at) = at else { return };
                if self.queue[at].sealed.seal != delivery.sealed.seal && world.has(Rule::NackOfItsSeal) {
                    self.queue[at].delivered = false;
                    return;
                }
                self.queue.remove(at);
                self.notify(Notice::Nack { message, seal: delivery.sealed.seal });
            }
        }
    }
}

impl State {
    pub(super) fn broker_does(&mut self, step: FromBroker, world: &World) {
        match step {
            FromBroker::ReadsSend => self.read_send(world),
            FromBroker::Delivers => self.deliver(world),
            FromBroker::ReadsSettlement => {
                let Some(link) = &mut self.recipient.link else { return };
                let (delivery, verdict) = link.settlements.remove(0);
                self.happened.receipted[delivery.sealed.message] |= verdict == Verdict::Receipt;
                self.broker.disk.now.settle(delivery, verdict, world);
                self.broker.moves();
            }
            FromBroker::PassesNotice => drop(self.broker.advance(Way::Waits, Way::Passed)),
            FromBroker::DropsNotice => {
                let notices = &mut self.broker.disk.now.notices;
                if let Some(at) = notices.iter().position(|(_, way)| *way == Way::Settled) {
                    notices.remove(at);
                }
                self.broker.moves();
            }
            FromBroker::Sweeps(message) => {
                let store = &mut self.broker.disk.now;
                store.queue.retain(|row| row.sealed.message != message);
                store.notify(Notice::Expired(message));
                self.broker.moves();
            }
            FromBroker::Syncs => self.broker.disk.sync(),
        }
    }

    /// The next item, decided as the broker's accept path does.
    fn read_send(&mut self, world: &World) {
        let Some(link) = &mut self.sender.link else { return };
        let sealed = link.sends.remove(0);
        let Sealed { message, seal, .. } = sealed;
        link.behind &= !sealed.first;
        let store = &self.broker.disk.now;
        let record = store.records[message].filter(|_| world.has(Rule::BrokerDedupes));
        let is_queued = record.is_some() && store.queue.iter().any(|row| row.sealed.message == message);
        let known = record.is_some_and(|(known, _)| seal <= known);
        let outcome = if known {
            Outcome::Accepted
        } else if self.happened.over[message] {
            Outcome::Expired
        } else if !is_queued && link.behind && world.has(Rule::Behind) {
            Outcome::Later
        } else {
            let over =
                |before: Message| self.sender.disk.now.rows[before].is_over() || self.happened.over[before];
            let overtakes = |before: Message| store.records[before].is_none() && !over(before);
            self.happened.overtaken |= (0..message).any(overtakes);
            let dedupes = world.has(Rule::BrokerDedupes);
            self.broker.disk.commit(world.has(Rule::BrokerCommitsFirst), |store| {
                if !dedupes {
                    store.records[message] = None;
                }
                store.accept(sealed);
            });
            self.broker.moves();
            Outcome::Accepted
        };
        let ahead = self.broker.moved;
        if let Some(link) = &mut self.sender.link {
            link.answers.push(Said { message, seal, outcome, ahead });
        }
    }

    /// The next item is refused for now.
    pub(super) fn refuse(&mut self) {
        let ahead = self.broker.moved;
        if let Some(link) = &mut self.sender.link {
            let Sealed { message, seal, .. } = link.sends.remove(0);
            link.behind = true;
            link.answers.push(Said { message, seal, outcome: Outcome::Later, ahead });
        }
    }

    fn deliver(&mut self, world: &World) {
        let queue = &mut self.broker.disk.now.queue;
        let Some(at) = queue.iter().position(|row| !row.delivered) else { return };
        queue[at].delivered = true;
        let Row { place, sealed, .. } = queue[at];
        if !world.has(Rule::KeepsUntilSettled) {
            queue.remove(at);
        }
        if let Some(link) = &mut self.recipient.link {
            link.deliveries.push(Delivery { place, sealed });
        }
    }

    pub(super) fn repeat(&mut self) {
        let queue = &self.broker.disk.now.queue;
        let Some(Row { place, sealed, .. }) = queue.iter().find(|row| row.delivered).copied() else { return };
        if let Some(link) = &mut self.recipient.link {
            link.deliveries.push(Delivery { place, sealed });
        }
    }

    /// Everything that is receipted, wherever the receipt is.
    pub(super) fn receipts(&self) -> Vec<Message> {
        let delivered = |notice: &Notice| match notice {
            Notice::Delivered(message) => Some(*message),
            Notice::Nack { .. } | Notice::Expired(_) => None,
        };
        let notices = self.broker.disk.now.notices.iter().filter_map(|(notice, _)| delivered(notice));
        let settlements = self.recipient.link.iter().flat_map(|link| &link.settlements);
        let settled = settlements.filter(|(_, verdict)| *verdict == Verdict::Receipt);
        let rows = self.sender.disk.now.rows.iter().enumerate().filter(|(_, row)| row.delivered);
        notices
            .chain(settled.map(|(delivery, _)| delivery.sealed.message))
            .chain(rows.map(|(message, _)| message))
            .collect()
    }
}
