//! What happened to messages as apps saw it, and the one judge of it.
//!
//! Apps record events as they observe them; [`History::check`] then holds the promises against the record:
//!
//! - nothing accepted is lost: it is shown, or reported dead with a reason
//! - nothing is shown twice, and nothing is shown that nobody sent
//! - each lane is shown in the order it was accepted in (what is marked late was passed over, and reported)
//! - nothing is called delivered before its recipient had stored it, nor without that
//! - nothing is acknowledged that was not shown
//! - once it is over ([`History::check_all`]): every sender was told what became of its messages
//!
//! The order of a lane is the order of its `accepted` events, so each lane must be sent by one app that waits for each
//! answer, or in batches. Written as JSON lines, one event each, so that a record can be kept, read and judged again.

mod check;

use std::fmt;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use waxwing_protocol::api::MessageState;

pub use check::{Broken, Summary, Violation};

use crate::error::{Error, Result};

/// One message as all its events name it: the sending node and the app's id.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Key {
    /// Sending node.
    pub from: String,
    /// Client message id.
    pub id: String,
}

impl Key {
    /// A key.
    pub fn new(from: impl Into<String>, id: impl Into<String>) -> Self {
        Self { from: from.into(), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.id, self.from)
    }
}

/// Something an app saw happen to a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The sender's node answered that it has it.
    Accepted {
        /// The message.
        #[serde(flatten)]
        key: Key,
        /// Recipient node.
        to: String,
        /// Priority, which with sender and recipient is the lane.
        priority: String,
    },
    /// The recipient's node showed it to an app that reads by cursor.
    Shown {
        /// The message.
        #[serde(flatten)]
        key: Key,
        /// Recipient node.
        to: String,
        /// Its place in that inbox.
        place: u64,
        /// When the recipient's node stored it, by that node.
        stored_at: u64,
        /// Marked as passed over in its lane.
        #[serde(default)]
        late: bool,
    },
    /// The app acknowledged it.
    Acknowledged {
        /// The message.
        #[serde(flatten)]
        key: Key,
        /// Recipient node.
        to: String,
    },
    /// The sender's node called it delivered.
    Delivered {
        /// The message.
        #[serde(flatten)]
        key: Key,
        /// Since when, by that node.
        at: u64,
    },
    /// The sender's node called it dead, expired or aborted.
    Ended {
        /// The message.
        #[serde(flatten)]
        key: Key,
        /// Which of these.
        state: MessageState,
        /// The reason given.
        reason: String,
    },
}

impl Event {
    /// The message it is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Accepted { key, .. }
            | Self::Shown { key, .. }
            | Self::Acknowledged { key, .. }
            | Self::Delivered { key, .. }
            | Self::Ended { key, .. } => key,
        }
    }
}

/// Events in the order they were observed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// Adds what happened next.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// All events, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Holds the promises against the record.
    ///
    /// # Errors
    /// Every violation, each with the whole history of the message it is about.
    pub fn check(&self) -> Result<Summary, Broken> {
        check::check(&self.events, false)
    }

    /// The same of a history that is over: whoever sent a message knows what became of it, too.
    ///
    /// # Errors
    /// As for [`History::check`].
    pub fn check_all(&self) -> Result<Summary, Broken> {
        check::check(&self.events, true)
    }

    /// What it contains, kept promises or not.
    pub fn summary(&self) -> Summary {
        check::count(&self.events)
    }

    /// Writes the events as JSON lines.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, mut to: impl Write) -> Result<()> {
        for event in &self.events {
            let line = serde_json::to_string(event).map_err(|err| Error::Unreadable(err.to_string()))?;
            writeln!(to, "{line}").map_err(Error::io("writing a history"))?;
        }
        Ok(())
    }

    /// Reads events from JSON lines.
    ///
    /// # Errors
    /// `Unreadable` with the first line that is no event.
    pub fn read(from: impl BufRead) -> Result<Self> {
        let mut events = Vec::new();
        for line in from.lines() {
            let line = line.map_err(Error::io("reading a history"))?;
            let event = serde_json::from_str(&line);
            events.push(event.map_err(|err| Error::Unreadable(format!("not an event: {line}: {err}")))?);
        }
        Ok(Self { events })
    }
}

/// A history that several apps write at once.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// Adds what an app just saw.
    pub fn push(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// How many messages were shown so far.
    pub fn shown(&self) -> usize {
        let history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.events.iter().filter(|event| matches!(event, Event::Shown { .. })).count()
    }

    /// What was recorded after so many events.
    pub fn since(&self, read: usize) -> Vec<Event> {
        let history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.events.get(read..).map(<[Event]>::to_vec).unwrap_or_default()
    }

    /// Judges the record so far as a whole: [`History::check_all`].
    ///
    /// # Errors
    /// As there.
    pub fn check_all(&self) -> Result<Summary, Broken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).check_all()
    }

    /// The record so far.
    pub fn history(&self) -> History {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;
