//! The end of the stream of messages and events, in memory: what is there for whom, and events themselves. Whoever follows the stream
//! looks here first. So what came for one app has no other app's stream read a table, nor that app's, if it was an event.
//!
//! ```text
//! writer -> commit -> Tail::push -> the streams are woken
//! Reader -> Tail::after -> events; messages from their table, if there are any
//!                       -> both tables, if it is farther behind than this reaches
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use waxwing_protocol::api::{Event, EventKind};

/// Places that are kept.
const KEPT: usize = 4_096;

/// What has a place in the stream.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A message for a mailbox; none if it is not known here for which. It is in its table.
    Message { to_app: Option<String> },
    /// Something that happened, for an app or for everybody.
    Event { app: Option<String>, event: Event },
}

/// What a stream wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Of one mailbox, or of all.
    pub(crate) app: Option<&'a str>,
    /// Of these kinds, or of all.
    pub(crate) kinds: Option<&'a HashSet<EventKind>>,
}

/// What is there for a stream.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Up to here nothing else is.
    pub(crate) through: u64,
    /// In their order.
    pub(crate) events: Vec<Event>,
    /// Most messages that are there beside them.
    pub(crate) messages: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    /// What is before this and at it is not kept; every place behind it is.
    begin: u64,
    kept: VecDeque<Place>,
}

impl Wanted<'_> {
    fn takes(&self, place: &Place) -> bool {
        let of_app = |app: &Option<String>| match (self.app, app) {
            (Some(wanted), Some(app)) => wanted == app,
            (None, _) | (_, None) => true,
        };
        let of_kind = |kind| self.kinds.is_none_or(|kinds| kinds.contains(&kind));
        match place {
            Place::Message { to_app } => of_kind(EventKind::Message) && of_app(to_app),
            Place::Event { app, event } => of_kind(event.body.kind()) && of_app(app),
        }
    }
}

impl Tail {
    /// Begins at a place.
    pub(crate) fn begin(&self, at: u64) {
        *self.lock() = Places { begin: at, kept: VecDeque::new() };
    }

    /// Adds what a transaction has put into the stream, which ends at this place now.
    pub(crate) fn push(&self, end: u64, places: Vec<Place>) {
        let mut tail = self.lock();
        tail.kept.extend(places);
        if tail.end() != end {
            // Whatever is not known here is in the tables.
            *tail = Places { begin: end, kept: VecDeque::new() };
        }
        let more = tail.kept.len().saturating_sub(KEPT);
        tail.drop_first(more);
    }

    /// Drops what has been forgotten: whoever asks for it is to be told so.
    pub(crate) fn forget(&self, through: u64) {
        let mut tail = self.lock();
        let gone = usize::try_from(through.saturating_sub(tail.begin)).unwrap_or(usize::MAX);
        let gone = gone.min(tail.kept.len());
        tail.drop_first(gone);
    }

    /// What is there for a stream behind a place, at most so many of both. None if this does not reach so far back.
    pub(crate) fn after(&self, after: u64, wanted: Wanted<'_>, limit: usize) -> Option<Found> {
        let tail = self.lock();
        let skipped = usize::try_from(after.checked_sub(tail.begin)?).ok()?;
        let mut found = Found { through: tail.end().max(after), ..Found::default() };
        for (cursor, place) in (after + 1..).zip(tail.kept.iter().skip(skipped)) {
            if !wanted.takes(place) {
                continue;
            }
            match place {
                Place::Message { .. } => found.messages += 1,
                Place::Event { event, .. } => found.events.push(event.clone()),
            }
            if found.messages + found.events.len() >= limit {
                found.through = cursor;
                break;
            }
        }
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn end(&self) -> u64 {
        self.begin + self.kept.len() as u64
    }

    fn drop_first(&mut self, count: usize) {
        self.kept.drain(..count);
        self.begin += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::Timestamp;
    use waxwing_protocol::api::{EventBody, MessageState};

    use super::*;

    fn message(app: &str) -> Place {
        Place::Message { to_app: Some(app.to_owned()) }
    }

    fn event(cursor: u64, app: Option<&str>) -> Place {
        let body = EventBody::Receipt {
            client_message_id: format!("m-{cursor}").parse().unwrap(),
            state: MessageState::Delivered,
        };
        let event = Event { cursor, at: Timestamp::from_millis(cursor), body };
        Place::Event { app: app.map(str::to_owned), event }
    }

    /// At 11 a message for a, at 12 an event for a, at 13 one for b, at 14 one for everybody, at 15 a message for somebody.
    fn tail() -> Tail {
        let tail = Tail::default();
        tail.begin(10);
        tail.push(12, vec![message("a"), event(12, Some("a"))]);
        tail.push(15, vec![event(13, Some("b")), event(14, None), Place::Message { to_app: None }]);
        tail
    }

    /// The place up to which all is known, the events, and how many messages.
    fn found(
        tail: &Tail,
        after: u64,
        app: Option<&str>,
        kinds: &[EventKind],
        limit: usize,
    ) -> Option<(u64, Vec<u64>, usize)> {
        let kinds: HashSet<EventKind> = kinds.iter().copied().collect();
        let wanted = Wanted { app, kinds: Some(&kinds).filter(|kinds| !kinds.is_empty()) };
        let found = tail.after(after, wanted, limit)?;
        Some((found.through, found.events.iter().map(|event| event.cursor).collect(), found.messages))
    }

    #[test]
    fn a_stream_finds_what_is_for_it_and_for_everybody_and_what_nobody_knows_for_whom_it_is() {
        let tail = tail();
        assert_eq!(found(&tail, 10, None, &[], 9), Some((15, vec![12, 13, 14], 2)));
        assert_eq!(found(&tail, 10, Some("a"), &[], 9), Some((15, vec![12, 14], 2)));
        assert_eq!(found(&tail, 11, Some("b"), &[], 9), Some((15, vec![13, 14], 1)));
        assert_eq!(found(&tail, 10, Some("a"), &[EventKind::Receipt], 9), Some((15, vec![12, 14], 0)));
        assert_eq!(found(&tail, 10, Some("c"), &[EventKind::Message], 9), Some((15, vec![], 1)));
        assert_eq!(found(&tail, 15, None, &[], 9), Some((15, vec![], 0)));
    }

    #[test]
    fn what_is_full_ends_at_the_last_that_was_found() {
        let tail = tail();
        assert_eq!(found(&tail, 10, None, &[], 2), Some((12, vec![12], 1)));
        assert_eq!(found(&tail, 12, None, &[], 2), Some((14, vec![13, 14], 0)));
        assert_eq!(found(&tail, 14, None, &[], 2), Some((15, vec![], 1)));
    }

    #[test]
    fn whoever_is_farther_behind_reads_the_tables() {
        let tail = tail();
        assert_eq!(found(&tail, 9, None, &[], 9), None);
        tail.forget(12);
        assert_eq!(found(&tail, 11, None, &[], 9), None);
        assert_eq!(found(&tail, 12, None, &[], 9), Some((15, vec![13, 14], 1)));
        tail.forget(3);
        assert_eq!(found(&tail, 12, None, &[], 1), Some((13, vec![13], 0)));
        tail.forget(99);
        assert_eq!(found(&tail, 14, None, &[], 9), None);
        assert_eq!(found(&tail, 15, None, &[], 9), Some((15, vec![], 0)));
    }

    #[test]
    fn what_does_not_fit_the_stream_is_not_kept_and_no_more_than_so_much_is() {
        let tail = tail();
        tail.push(18, vec![message("a")]);
        assert_eq!(found(&tail, 15, None, &[], 9), None);
        let many = KEPT as u64 + 5;
        tail.push(18 + many, (0..many).map(|_| message("a")).collect());
        assert_eq!(found(&tail, 22, None, &[], 9), None);
        assert_eq!(found(&tail, 23, None, &[], usize::MAX), Some((18 + many, vec![], KEPT)));
    }

    #[test]
    fn a_place_beyond_the_end_is_nobodys_loss() {
        assert_eq!(found(&tail(), 20, None, &[], 9), Some((20, vec![], 0)));
    }
}
