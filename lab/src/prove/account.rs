//! What is not accounted for yet: kept up from the events, so that nobody reads the whole history to know whether all is there.

use std::collections::HashMap;

use crate::history::{Event, Key, Recorder};

/// How far a message has come, by what apps saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    accepted: bool,
    shown: bool,
    told: bool,
}

impl Seen {
    /// Whether something is still to come.
    const fn is_open(self) -> bool {
        self.accepted && !(self.shown && self.told)
    }
}

/// All messages, and of how many something is still to come.
#[derive(Debug, Default)]
pub(super) struct Account {
    read: usize,
    seen: HashMap<Key, Seen>,
    open: usize,
}

impl Account {
    /// Takes what was recorded since, and says whether every message that was accepted has been shown, and its sender told.
    pub(super) fn settles(&mut self, record: &Recorder) -> bool {
        let news = record.since(self.read);
        self.read += news.len();
        for event in &news {
            self.take(event);
        }
        self.open == 0
    }

    fn take(&mut self, event: &Event) {
        let seen = self.seen.entry(event.key().clone()).or_default();
        let was_open = seen.is_open();
        match event {
            Event::Accepted { .. } => seen.accepted = true,
            Event::Shown { .. } => seen.shown = true,
            Event::Delivered { .. } => seen.told = true,
            Event::Ended { .. } => (seen.shown, seen.told) = (true, true),
            Event::Acknowledged { .. } => {}
        }
        match (was_open, seen.is_open()) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            (true, true) | (false, false) => {}
        }
    }
}
