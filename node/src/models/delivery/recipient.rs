//! The recipient: what it has stored and shown, and its link.

use std::sync::LazyLock;

use tokio::time::Instant;
use waxwing_crypto::sealing::CounterRange;

use super::Rule;
use super::sender::Sealed;
use super::world::{Disk, FromRecipient, MESSAGES, Message, State, World};
use crate::lane::{Arrival, Lane};

/// The one moment there is: what is missing is overdue when the model says so.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What is settled with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Verdict {
    Receipt,
    Nack,
}

/// A row of the queue, on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Delivery {
    pub(super) place: u8,
    pub(super) sealed: Sealed,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Inbox {
    pub(super) stored: [bool; MESSAGES],
    /// In the order of their places, with whether they are marked late.
    pub(super) shown: Vec<(Message, bool)>,
    /// The lane as it is stored; empty before the first message.
    lane: Vec<u8>,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Recipient {
    pub(super) disk: Disk<Inbox>,
    pub(super) link: Option<Link>,
    /// The key that it can open with.
    pub(super) key: u8,
    /// Its mark is of a commit after the backup.
    pub(super) ahead: bool,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Link {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) settlements: Vec<(Delivery, Verdict)>,
}

impl Recipient {
    pub(super) fn steps(&self, state: &State) -> Vec<FromRecipient> {
        let mut steps = Vec::new();
        if self.disk.is_behind() {
            steps.push(FromRecipient::Syncs);
        }
        let Some(link) = &self.link else {
            steps.push(FromRecipient::LogsIn);
            return steps;
        };
        if !link.deliveries.is_empty() {
            steps.push(FromRecipient::ReadsDelivery);
        }
        // It is caught up, and has waited: only what has had its time is not on its way by then.
        let caught_up = link.deliveries.is_empty() && state.broker.has_delivered_all();
        if caught_up && state.happened.over.contains(&true) && self.disk.now.lane().missing_since().is_some()
        {
            steps.push(FromRecipient::PassesOver);
        }
        steps
    }

    /// Has to be where a crash makes a difference.
    pub(super) fn has_something_to_lose(&self) -> bool {
        self.link.is_some() || self.disk.is_behind()
    }
}

impl Inbox {
    fn lane(&self) -> Lane {
        Lane::decode(&self.lane, *NOW).unwrap_or_default()
    }

    /// Stores one message, as the writer does.
    fn store(&mut self, sealed: Sealed, world: &World) {
        let Sealed { message, void, .. } = sealed;
        self.stored[message] = true;
        if !world.has(Rule::Order) {
            return self.shown.push((message, false));
        }
        let mut lane = self.lane();
        let counter = counter(message);
        let void: Vec<CounterRange> =
            CounterRange::new(1, counter.saturating_sub(1)).filter(|_| void).into_iter().collect();
        match lane.arrive(counter, &void, *NOW) {
            Arrival::Next => self.shown.push((message, false)),
            Arrival::Held => {}
            Arrival::Late | Arrival::Repeated => self.shown.push((message, true)),
        }
        self.release(lane);
    }

    /// Gives places to what no longer waits.
    fn release(&mut self, mut lane: Lane) {
        for message in 0..MESSAGES {
            let waits = self.stored[message] && self.shown.iter().all(|(shown, _)| *shown != message);
            if lane.holds() && waits && counter(message) < lane.ready_below() {
                self.shown.push((message, false));
                lane.placed(1);
            }
        }
        self.lane = lane.encode();
    }
}

const fn counter(message: Message) -> u64 {
    message as u64 + 1
}

impl State {
    pub(super) fn recipient_does(&mut self, step: FromRecipient, world: &World) {
        match step {
            FromRecipient::LogsIn => {
                if self.logs_in(self.recipient.ahead, world) {
                    self.recipient.ahead = self.broker.moved;
                    self.recipient.link = Some(Link::default());
                }
            }
            FromRecipient::ReadsDelivery => self.read_delivery(world),
            FromRecipient::PassesOver => {
                let inbox = &mut self.recipient.disk.now;
                let mut lane = inbox.lane();
                lane.pass_over(*NOW);
                inbox.release(lane);
            }
            FromRecipient::Syncs => self.recipient.disk.sync(),
        }
    }

    /// Authenticated first, duplicate second: only what opens is looked up.
    fn read_delivery(&mut self, world: &World) {
        let Recipient { disk, link, key, .. } = &mut self.recipient;
        let Some(link) = link else { return };
        let delivery = link.deliveries.remove(0);
        let opens = delivery.sealed.key == *key;
        let known = disk.now.stored[delivery.sealed.message] && world.has(Rule::RecipientDedupes);
        if opens && !known {
            disk.commit(world.has(Rule::RecipientCommitsFirst), |inbox| inbox.store(delivery.sealed, world));
        }
        link.settlements.push((delivery, if opens { Verdict::Receipt } else { Verdict::Nack }));
    }
}
