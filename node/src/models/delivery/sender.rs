//! The sender: what it has accepted from apps, and its link.

use super::Rule;
use super::broker::{Notice, Outcome, Said, Way};
use super::world::{Disk, FromSender, MESSAGES, Message, State, World};

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum Progress {
    #[default]
    None,
    Pending,
    Accepted,
    /// Its time was over; on the broker's word, or by this node's own clock.
    Dead {
        by_broker: bool,
    },
}

/// A row of the outbox.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Row {
    pub(super) progress: Progress,
    pub(super) delivered: bool,
    pub(super) seal: u8,
    /// A broker had it, or may have had it, that has lost it.
    doubtful: bool,
    /// It was handed over, and the answer is lost: the broker may have it.
    unanswered: bool,
}

impl Row {
    /// Whether the report says that it has not arrived, and by this node's own knowledge.
    pub(super) fn is_certain(&self) -> bool {
        !self.doubtful && !self.unanswered && self.progress == (Progress::Dead { by_broker: false })
    }

    /// Whether nothing is to be sent any more.
    pub(super) const fn is_over(&self) -> bool {
        self.delivered || matches!(self.progress, Progress::Dead { .. })
    }
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Outbox {
    pub(super) rows: [Row; MESSAGES],
    /// The life of the broker's store that was seen last; the first is 0.
    life: Option<u8>,
    /// A link may have handed over what is pending.
    linked: bool,
}

impl Outbox {
    /// Of what is pending and such, nobody knows whether the broker has it.
    fn doubt(&mut self, such: impl Fn(Message) -> bool) {
        let pending = |(at, row): &(Message, &mut Row)| row.progress == Progress::Pending && such(*at);
        self.rows.iter_mut().enumerate().filter(pending).for_each(|(_, row)| row.unanswered = true);
    }
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Sender {
    pub(super) disk: Disk<Outbox>,
    /// What apps were told is accepted.
    pub(super) told: [bool; MESSAGES],
    pub(super) link: Option<Link>,
    /// Its mark is of a commit after the backup.
    pub(super) ahead: bool,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Link {
    pub(super) sends: Vec<Sealed>,
    pub(super) answers: Vec<Said>,
    /// Something is to be sent again, once nothing is under way.
    back: bool,
    /// The broker refuses what is new until it is given the oldest.
    pub(super) behind: bool,
    /// The recipient's key that messages are sealed for.
    key: u8,
}

/// One seal of a message, on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Sealed {
    pub(super) message: Message,
    pub(super) seal: u8,
    pub(super) key: u8,
    /// Whether the counters before it are said to bring nothing.
    pub(super) void: bool,
    pub(super) first: bool,
}

impl Link {
    fn is_flying(&self, message: Message) -> bool {
        self.sends.iter().any(|sealed| sealed.message == message)
            || self.answers.iter().any(|said| said.message == message)
    }
}

impl Sender {
    pub(super) fn steps(&self, state: &State) -> Vec<FromSender> {
        let mut steps = Vec::new();
        if self.disk.is_behind() {
            steps.push(FromSender::Syncs);
        }
        for (message, row) in self.disk.now.rows.iter().enumerate() {
            if row.progress == Progress::Pending && !row.delivered && state.happened.over[message] {
                steps.push(FromSender::Expires(message));
            }
        }
        let Some(link) = &self.link else {
            steps.push(FromSender::LogsIn);
            return steps;
        };
        if !link.answers.is_empty() {
            steps.push(FromSender::ReadsAnswer);
        }
        if state.broker.has_passed_a_notice() {
            steps.push(FromSender::ReadsNotice);
        }
        if !link.back {
            let is_due = |row: &Row| row.progress == Progress::Pending && !row.delivered;
            let next = (0..MESSAGES).find(|at| is_due(&self.disk.now.rows[*at]) && !link.is_flying(*at));
            steps.extend(next.map(FromSender::Seals));
        }
        steps
    }

    /// What an app has not handed over yet.
    pub(super) fn next(&self) -> Option<Message> {
        self.disk
            .now
            .rows
            .iter()
            .zip(self.told)
            .position(|(row, told)| row.progress == Progress::None && !told)
    }

    /// Has to be where a crash makes a difference.
    pub(super) fn has_something_to_lose(&self) -> bool {
        self.link.is_some() || self.disk.is_behind()
    }

    pub(super) fn accept(&mut self, world: &World) {
        let Some(message) = self.next() else { return };
        self.disk.commit(world.has(Rule::NodeCommitsFirst), |outbox| {
            outbox.rows[message].progress = Progress::Pending;
        });
        self.told[message] = true;
    }

    /// Nothing of the lane is under way: it goes back to the oldest that is pending.
    fn settle(&mut self) {
        if let Some(link) = &mut self.link
            && link.sends.is_empty()
            && link.answers.is_empty()
        {
            link.back = false;
        }
    }

    fn seal(&mut self, message: Message) {
        let rows = &self.disk.now.rows;
        let is_void = |row: &Row| matches!(row.progress, Progress::Dead { .. }) && !row.delivered;
        let void = message > 0 && is_void(&rows[message - 1]);
        let seal = rows[message].seal;
        if let Some(link) = &mut self.link {
            let first = link.sends.is_empty() && link.answers.is_empty();
            link.sends.push(Sealed { message, seal, key: link.key, void, first });
        }
    }

    fn read_answer(&mut self, world: &World) {
        let Some(link) = &mut self.link else { return };
        let Said { message, seal, outcome, ahead } = link.answers.remove(0);
        self.ahead |= ahead;
        let row = &mut self.disk.now.rows[message];
        let of_it = row.seal == seal || !world.has(Rule::AcceptedOfItsSeal);
        match outcome {
            Outcome::Accepted if of_it && row.progress == Progress::Pending => {
                row.progress = Progress::Accepted;
                row.unanswered = false;
            }
            Outcome::Accepted => {}
            Outcome::Expired if row.seal == seal && !row.delivered => {
                row.progress = Progress::Dead { by_broker: true };
            }
            Outcome::Expired => {}
            Outcome::Later => link.back = true,
        }
        self.settle();
    }

    fn read_notice(&mut self, notice: Notice, key: u8, world: &World) {
        match notice {
            Notice::Delivered(message) => {
                let row = &mut self.disk.now.rows[message];
                row.delivered = true;
                row.progress = Progress::Accepted;
            }
            Notice::Nack { message, seal } => {
                let row = &mut self.disk.now.rows[message];
                let is_kept = row.progress == Progress::Pending || world.has(Rule::KeepsUntilReceipt);
                if seal < row.seal || !world.has(Rule::Reseals) {
                    return;
                }
                if let Some(link) = &mut self.link {
                    link.key = key;
                    link.back = true;
                }
                if !row.is_over() && is_kept {
                    row.seal = seal + 1;
                    row.progress = Progress::Pending;
                }
                self.settle();
            }
            Notice::Expired(message) => {
                let row = &mut self.disk.now.rows[message];
                if !row.delivered && matches!(row.progress, Progress::Pending | Progress::Accepted) {
                    row.progress = Progress::Dead { by_broker: true };
                }
            }
        }
    }

    /// Its time is over.
    fn expire(&mut self, message: Message, world: &World) {
        let is_flying = self.link.as_ref().is_some_and(|link| link.is_flying(message));
        let row = &mut self.disk.now.rows[message];
        row.unanswered |= is_flying && world.has(Rule::DoubtsWhatItHolds);
        row.progress = Progress::Dead { by_broker: false };
    }

    /// The link is cut, and its end is noted.
    pub(super) fn is_cut(&mut self, world: &World) {
        if let Some(link) = self.link.take() {
            self.disk.now.doubt(|message| link.is_flying(message) && world.has(Rule::DoubtsWhatALinkHeld));
            self.disk.now.linked = false;
        }
    }

    /// The process is killed, and started again.
    pub(super) fn restarts(&mut self, world: &World) {
        self.link = None;
        let linked = std::mem::take(&mut self.disk.now.linked);
        self.disk.now.doubt(|_| linked && world.has(Rule::DoubtsAfterACrash));
    }

    /// Of a life of the store that was not seen before, everything that is not receipted is pending again.
    fn begin(&mut self, life: u8, world: &World) {
        let outbox = &mut self.disk.now;
        let another = outbox.life.is_some_and(|known| known != life);
        outbox.life = Some(life);
        outbox.linked = true;
        for row in outbox.rows.iter_mut().filter(|row| another && row.unanswered) {
            row.doubtful = true;
        }
        if another && world.has(Rule::TakesBack) {
            let accepted = |row: &&mut Row| row.progress == Progress::Accepted && !row.delivered;
            for row in outbox.rows.iter_mut().filter(accepted) {
                row.progress = Progress::Pending;
                row.doubtful = true;
            }
        }
    }
}

impl State {
    pub(super) fn sender_does(&mut self, step: FromSender, world: &World) {
        match step {
            FromSender::LogsIn => {
                if self.logs_in(self.sender.ahead, world) {
                    self.sender.ahead = self.broker.moved;
                    self.sender.begin(self.broker.disk.now.life, world);
                    self.sender.link = Some(Link { key: self.recipient.key, ..Link::default() });
                }
            }
            FromSender::Seals(message) => self.sender.seal(message),
            FromSender::ReadsAnswer => self.sender.read_answer(world),
            FromSender::ReadsNotice => {
                if let Some(notice) = self.broker.advance(Way::Passed, Way::Settled) {
                    self.sender.read_notice(notice, self.recipient.key, world);
                }
            }
            FromSender::Expires(message) => self.sender.expire(message, world),
            FromSender::Syncs => self.sender.disk.sync(),
        }
    }
}
