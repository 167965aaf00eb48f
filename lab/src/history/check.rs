//! The checker: one pass to sort events by message, then one question per promise.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;

use super::{Event, Key};

/// What a history that keeps every promise contains.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Messages accepted.
    pub accepted: usize,
    /// Of these, shown to an app.
    pub shown: usize,
    /// Of these, called delivered.
    pub delivered: usize,
    /// Of these, reported dead, expired or aborted.
    pub ended: usize,
}

/// A promise broken by one message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Violation {
    /// Accepted, and neither shown nor reported dead.
    Lost,
    /// Shown, and never accepted.
    Unsent,
    /// Shown by a node that it was not sent to.
    Misdelivered,
    /// Shown at two places of an inbox, or in two inboxes.
    Repeated,
    /// Shown before a message of its lane that was accepted earlier.
    Reordered,
    /// Called delivered before the recipient had stored it, or though it never did.
    DeliveredEarly,
    /// Acknowledged without having been shown.
    AcknowledgedUnseen,
    /// Shown, and its sender was not told.
    Untold,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "was accepted, and neither shown nor reported dead",
            Self::Unsent => "was shown, and never accepted",
            Self::Misdelivered => "was shown by a node it was not sent to",
            Self::Repeated => "was shown twice",
            Self::Reordered => "was shown before one of its lane that was accepted earlier",
            Self::DeliveredEarly => "was called delivered before its recipient had it",
            Self::AcknowledgedUnseen => "was acknowledged without having been shown",
            Self::Untold => "was accepted and shown, and its sender was not told",
        })
    }
}

/// Every broken promise of a history, with what happened to each message concerned.
#[derive(Clone, Debug)]
pub struct Broken {
    found: Vec<(Violation, Key, Vec<Event>)>,
}

impl Broken {
    /// Which promises were broken, by which messages.
    pub fn violations(&self) -> impl Iterator<Item = (Violation, &Key)> {
        self.found.iter().map(|(violation, key, _)| (*violation, key))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A run that breaks everything is understood from its first messages.
        const SHOWN: usize = 10;
        writeln!(f, "{} broken promises", self.found.len())?;
        for (violation, key, events) in self.found.iter().take(SHOWN) {
            writeln!(f, "{key} {violation}:")?;
            for event in events {
                writeln!(f, "  {event:?}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Broken {}

/// A lane: sender, recipient, priority.
type Lane<'a> = (&'a str, &'a str, &'a str);

/// What happened to one message, with the positions of events in the history.
#[derive(Default)]
struct Life<'a> {
    accepted: Option<(usize, Lane<'a>)>,
    shown: Vec<Showing<'a>>,
    acknowledged: Option<usize>,
    delivered: Vec<u64>,
    ended: bool,
    events: Vec<usize>,
}

impl Life<'_> {
    const fn is_untold(&self) -> bool {
        self.accepted.is_some() && !self.shown.is_empty() && self.delivered.is_empty() && !self.ended
    }
}

struct Showing<'a> {
    position: usize,
    to: &'a str,
    place: u64,
    stored_at: u64,
    late: bool,
}

/// Judges. What is `over` must have come to an end at its sender as well.
pub(super) fn check(events: &[Event], over: bool) -> Result<Summary, Broken> {
    let lives = lives(events);
    let mut found: Vec<(Violation, &Key)> = Vec::new();
    for (key, life) in &lives {
        found.extend(judge(life).into_iter().map(|violation| (violation, *key)));
        if over && life.is_untold() {
            found.push((Violation::Untold, key));
        }
    }
    found.extend(reordered(&lives).into_iter().map(|key| (Violation::Reordered, key)));
    if found.is_empty() {
        return Ok(summary(&lives));
    }
    let story = |key: &Key| lives[key].events.iter().map(|&at| events[at].clone()).collect();
    Err(Broken {
        found: found.into_iter().map(|(violation, key)| (violation, key.clone(), story(key))).collect(),
    })
}

/// What a history contains.
pub(super) fn count(events: &[Event]) -> Summary {
    summary(&lives(events))
}

fn lives(events: &[Event]) -> BTreeMap<&Key, Life<'_>> {
    let mut lives: BTreeMap<&Key, Life<'_>> = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        let life = lives.entry(event.key()).or_default();
        life.events.push(position);
        match event {
            // A retry answered again is the same acceptance.
            Event::Accepted { key, to, priority } => {
                life.accepted.get_or_insert((position, (&key.from, to, priority)));
            }
            Event::Shown { to, place, stored_at, late, .. } => {
                life.shown.push(Showing { position, to, place: *place, stored_at: *stored_at, late: *late });
            }
            Event::Acknowledged { .. } => {
                life.acknowledged.get_or_insert(position);
            }
            Event::Delivered { at, .. } => life.delivered.push(*at),
            Event::Ended { .. } => life.ended = true,
        }
    }
    lives
}

/// What one message's life says by itself.
fn judge(life: &Life<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let first = life.shown.first();
    if life.accepted.is_some() && first.is_none() && !life.ended {
        found.push(Violation::Lost);
    }
    if life.accepted.is_none() && first.is_some() {
        found.push(Violation::Unsent);
    }
    if life.accepted.is_some_and(|(_, lane)| life.shown.iter().any(|shown| shown.to != lane.1)) {
        found.push(Violation::Misdelivered);
    }
    if life.shown.len() > 1 {
        found.push(Violation::Repeated);
    }
    let stored = life.shown.iter().map(|shown| shown.stored_at).min();
    if life.delivered.iter().any(|&at| stored.is_none_or(|stored| at < stored)) {
        found.push(Violation::DeliveredEarly);
    }
    let seen = |acknowledged| first.is_some_and(|shown| shown.position < acknowledged);
    if life.acknowledged.is_some_and(|acknowledged| !seen(acknowledged)) {
        found.push(Violation::AcknowledgedUnseen);
    }
    found
}

/// Messages shown before an earlier one of their lane: walking a lane in the order accepted, places must rise.
fn reordered<'a>(lives: &BTreeMap<&'a Key, Life<'a>>) -> Vec<&'a Key> {
    let mut lanes: HashMap<Lane<'_>, Vec<(usize, &'a Key, u64)>> = HashMap::new();
    for (key, life) in lives {
        let (Some((position, lane)), Some(shown)) = (life.accepted, life.shown.first()) else {
            continue;
        };
        if shown.to == lane.1 && !shown.late {
            lanes.entry(lane).or_default().push((position, key, shown.place));
        }
    }
    let mut found = Vec::new();
    for lane in lanes.values_mut() {
        lane.sort_unstable_by_key(|(position, ..)| *position);
        let mut highest = 0;
        for &(_, key, place) in lane.iter() {
            if place < highest {
                found.push(key);
            }
            highest = highest.max(place);
        }
    }
    found.sort_unstable();
    found
}

fn summary(lives: &BTreeMap<&Key, Life<'_>>) -> Summary {
    let accepted = || lives.values().filter(|life| life.accepted.is_some());
    Summary {
        accepted: accepted().count(),
        shown: accepted().filter(|life| !life.shown.is_empty()).count(),
        delivered: accepted().filter(|life| !life.delivered.is_empty()).count(),
        ended: accepted().filter(|life| life.ended).count(),
    }
}
