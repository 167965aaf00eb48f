//! The end of the stream of messages and events, in memory: what is there for whom, and what it says. Whoever follows the stream
//! looks here first. So what came for one app has no other app's stream read a table, nor that app's.
//!
//! ```text
//! writer -> commit -> Tail::push -> the streams are woken
//! Reader -> Tail::after -> messages and events; messages from their table, if one of them has changed since
//!                       -> both tables, if it is farther behind than this reaches
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waxwing_crypto::Name;
use waxwing_protocol::api::{Event, EventKind};

use crate::content::Content;
use crate::store::inbox::{Acknowledged, Item};

/// Places that are kept.
const KEPT: usize = 4_096;
/// Bytes of messages that are kept, by [`Place::size`].
const KEPT_BYTES: usize = 4 << 20;
/// What a message takes beside its content.
const MESSAGE: usize = 512;

/// What has a place in the stream.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A message as it came.
    Message(Arc<Item<Content>>),
    /// A message that is in its table, and for which mailbox; none if that is not known here.
    Stored { to_app: Option<String> },
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
    /// In their order.
    pub(crate) messages: Vec<Arc<Item<Content>>>,
    /// Most messages that are there beside these, in their table.
    pub(crate) stored: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    /// What is before this and at it is not kept; every place behind it is.
    begin: u64,
    kept: VecDeque<Place>,
    /// The size of all that are kept.
    bytes: usize,
}

impl Place {
    /// What it takes beside its place.
    fn size(&self) -> usize {
        match self {
            Self::Message(item) => MESSAGE + item.content.body.len() + item.content.meta.len(),
            Self::Stored { .. } | Self::Event { .. } => 0,
        }
    }

    /// Leaves a message to its table. Says how much it took.
    pub(crate) fn shed(&mut self) -> usize {
        let size = self.size();
        if let Self::Message(item) = self {
            *self = Self::Stored { to_app: Some(mailbox(item).to_owned()) };
        }
        size
    }
}

fn mailbox(item: &Item<Content>) -> &str {
    item.to_app.as_ref().map_or("", Name::as_str)
}

impl Wanted<'_> {
    fn takes(&self, place: &Place) -> bool {
        let of_app = |app: Option<&str>| match (self.app, app) {
            (Some(wanted), Some(app)) => wanted == app,
            (None, _) | (_, None) => true,
        };
        let of_kind = |kind| self.kinds.is_none_or(|kinds| kinds.contains(&kind));
        match place {
            Place::Message(item) => of_kind(EventKind::Message) && of_app(Some(mailbox(item))),
            Place::Stored { to_app } => of_kind(EventKind::Message) && of_app(to_app.as_deref()),
            Place::Event { app, event } => of_kind(event.body.kind()) && of_app(app.as_deref()),
        }
    }
}

impl Tail {
    /// Begins at a place.
    pub(crate) fn begin(&self, at: u64) {
        *self.lock() = Places { begin: at, ..Places::default() };
    }

    /// Adds what a transaction has put into the stream, which ends at this place now.
    pub(crate) fn push(&self, end: u64, places: Vec<Place>) {
        let mut tail = self.lock();
        tail.bytes += places.iter().map(Place::size).sum::<usize>();
        tail.kept.extend(places);
        if tail.end() != end {
            // Whatever is not known here is in the tables.
            *tail = Places { begin: end, ..Places::default() };
        }
        let mut more = tail.kept.len().saturating_sub(KEPT);
        let mut left = tail.bytes - tail.kept.range(..more).map(Place::size).sum::<usize>();
        while left > KEPT_BYTES {
            left -= tail.kept[more].size();
            more += 1;
        }
        tail.drop_first(more);
    }

    /// Drops what has been forgotten: whoever asks for it is to be told so.
    pub(crate) fn forget(&self, through: u64) {
        let mut tail = self.lock();
        let gone = tail.up_to(through);
        tail.drop_first(gone);
    }

    /// Leaves messages to their table: they are not any more as they came.
    pub(crate) fn shed(&self, which: &Acknowledged) {
        let mut tail = self.lock();
        match which {
            Acknowledged::These(cursors) => cursors.iter().for_each(|cursor| tail.shed(*cursor, *cursor)),
            Acknowledged::Through(last) => tail.shed(0, *last),
        }
    }

    /// What is there for a stream behind a place, at most so many of both. None if this does not reach so far back.
    pub(crate) fn after(&self, after: u64, wanted: Wanted<'_>, limit: usize) -> Option<Found> {
        let tail = self.lock();
        let skipped = usize::try_from(after.checked_sub(tail.begin)?).ok()?;
        let mut found = Found { through: tail.end().max(after), ..Found::default() };
        let mut count = 0;
        for (cursor, place) in (after + 1..).zip(tail.kept.iter().skip(skipped)) {
            if !wanted.takes(place) {
                continue;
            }
            match place {
                Place::Message(item) => found.messages.push(Arc::clone(item)),
                Place::Stored { .. } => found.stored += 1,
                Place::Event { event, .. } => found.events.push(event.clone()),
            }
            count += 1;
            if count >= limit {
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

    /// How many are at a place or before it.
    fn up_to(&self, place: u64) -> usize {
        let count = usize::try_from(place.saturating_sub(self.begin)).unwrap_or(usize::MAX);
        count.min(self.kept.len())
    }

    /// Leaves messages of these places to their table.
    fn shed(&mut self, first: u64, last: u64) {
        if self.bytes > 0 {
            let places = self.up_to(first.saturating_sub(1))..self.up_to(last);
            self.bytes -= self.kept.range_mut(places).map(Place::shed).sum::<usize>();
        }
    }

    fn drop_first(&mut self, count: usize) {
        self.bytes -= self.kept.drain(..count).map(|place| place.size()).sum::<usize>();
        self.begin += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::Timestamp;
    use waxwing_protocol::api::{EventBody, MessageState};

    use super::*;

    fn message(cursor: u64, app: &str, bytes: usize) -> Place {
        let mut new = crate::writer::tests::item("m", 1).new;
        new.to_app = Some(app.parse().unwrap());
        let content = Content { body: vec![1; bytes].into(), ..Content::default() };
        Place::Message(Arc::new(new.opened(cursor, content)))
    }

    fn stored(app: Option<&str>) -> Place {
        Place::Stored { to_app: app.map(str::to_owned) }
    }

    fn event(cursor: u64, app: Option<&str>) -> Place {
        let body = EventBody::Receipt {
            client_message_id: format!("m-{cursor}").parse().unwrap(),
            state: MessageState::Delivered,
        };
        let event = Event { cursor, at: Timestamp::from_millis(cursor), body };
        Place::Event { app: app.map(str::to_owned), event }
    }

    /// At 11 a message for a, at 12 an event for a, at 13 one for b, at 14 one for everybody, at 15 a message for somebody, at 16
    /// one for b.
    fn tail() -> Tail {
        let tail = Tail::default();
        tail.begin(10);
        tail.push(12, vec![message(11, "a", 1), event(12, Some("a"))]);
        tail.push(16, vec![event(13, Some("b")), event(14, None), stored(None), message(16, "b", 1)]);
        tail
    }

    /// The place up to which all is known; the places of events, and of messages; how many messages are in their table.
    type In = (u64, Vec<u64>, Vec<u64>, usize);

    fn found(tail: &Tail, after: u64, app: Option<&str>, kinds: &[EventKind], limit: usize) -> Option<In> {
        let kinds: HashSet<EventKind> = kinds.iter().copied().collect();
        let wanted = Wanted { app, kinds: Some(&kinds).filter(|kinds| !kinds.is_empty()) };
        let found = tail.after(after, wanted, limit)?;
        let events = found.events.iter().map(|event| event.cursor).collect();
        Some((found.through, events, found.messages.iter().map(|item| item.cursor).collect(), found.stored))
    }

    #[test]
    fn a_stream_finds_what_is_for_it_and_for_everybody_and_what_nobody_knows_for_whom_it_is() {
        let tail = tail();
        assert_eq!(found(&tail, 10, None, &[], 9), Some((16, vec![12, 13, 14], vec![11, 16], 1)));
        assert_eq!(found(&tail, 10, Some("a"), &[], 9), Some((16, vec![12, 14], vec![11], 1)));
        assert_eq!(found(&tail, 11, Some("b"), &[], 9), Some((16, vec![13, 14], vec![16], 1)));
        assert_eq!(
            found(&tail, 10, Some("a"), &[EventKind::Receipt], 9),
            Some((16, vec![12, 14], vec![], 0))
        );
        assert_eq!(found(&tail, 10, Some("c"), &[EventKind::Message], 9), Some((16, vec![], vec![], 1)));
        assert_eq!(found(&tail, 16, None, &[], 9), Some((16, vec![], vec![], 0)));
    }

    #[test]
    fn what_is_full_ends_at_the_last_that_was_found() {
        let tail = tail();
        assert_eq!(found(&tail, 10, None, &[], 2), Some((12, vec![12], vec![11], 0)));
        assert_eq!(found(&tail, 12, None, &[], 2), Some((14, vec![13, 14], vec![], 0)));
        assert_eq!(found(&tail, 14, None, &[], 2), Some((16, vec![], vec![16], 1)));
    }

    #[test]
    fn whoever_is_farther_behind_reads_the_tables() {
        let tail = tail();
        assert_eq!(found(&tail, 9, None, &[], 9), None);
        tail.forget(12);
        assert_eq!(found(&tail, 11, None, &[], 9), None);
        assert_eq!(found(&tail, 12, None, &[], 9), Some((16, vec![13, 14], vec![16], 1)));
        tail.forget(3);
        assert_eq!(found(&tail, 12, None, &[], 1), Some((13, vec![13], vec![], 0)));
        tail.forget(99);
        assert_eq!(found(&tail, 15, None, &[], 9), None);
        assert_eq!(found(&tail, 16, None, &[], 9), Some((16, vec![], vec![], 0)));
    }

    #[test]
    fn a_message_that_was_read_or_deleted_is_in_its_table() {
        let tail = tail();
        tail.shed(&Acknowledged::These(vec![0, 10, 12, 16, 17, u64::MAX]));
        assert_eq!(found(&tail, 10, None, &[], 9), Some((16, vec![12, 13, 14], vec![11], 2)));
        assert_eq!(found(&tail, 15, Some("b"), &[], 9), Some((16, vec![], vec![], 1)));
        tail.push(17, vec![message(17, "a", 1)]);
        tail.shed(&Acknowledged::Through(16));
        assert_eq!(found(&tail, 10, None, &[EventKind::Message], 9), Some((17, vec![], vec![17], 3)));
        tail.shed(&Acknowledged::Through(u64::MAX));
        assert_eq!(found(&tail, 10, None, &[EventKind::Message], 9), Some((17, vec![], vec![], 4)));
        assert_eq!(tail.lock().bytes, 0);
    }

    #[test]
    fn what_does_not_fit_the_stream_is_not_kept_and_no_more_than_so_much_is() {
        let tail = tail();
        tail.push(18, vec![stored(Some("a"))]);
        assert_eq!(found(&tail, 16, None, &[], 9), None);
        assert_eq!(tail.lock().bytes, 0);
        let many = KEPT as u64 + 5;
        tail.push(18 + many, (0..many).map(|_| stored(Some("a"))).collect());
        assert_eq!(found(&tail, 22, None, &[], 9), None);
        assert_eq!(found(&tail, 23, None, &[], usize::MAX), Some((18 + many, vec![], vec![], KEPT)));
    }

    #[test]
    fn as_many_messages_are_kept_as_fit_the_last_of_them() {
        let tail = Tail::default();
        tail.begin(0);
        let quarter = KEPT_BYTES / 4 - MESSAGE;
        let end = |cursor| found(&tail, cursor, None, &[EventKind::Message], 9);
        for cursor in 1..=5 {
            tail.push(cursor, vec![message(cursor, "a", quarter)]);
        }
        assert_eq!((end(0), end(1)), (None, Some((5, vec![], vec![2, 3, 4, 5], 0))));
        tail.push(7, vec![event(6, None), message(7, "a", quarter + 1)]);
        assert_eq!((end(2), end(3)), (None, Some((7, vec![], vec![4, 5, 7], 0))));
        tail.push(8, vec![message(8, "a", KEPT_BYTES)]);
        assert_eq!((end(7), end(8)), (None, Some((8, vec![], vec![], 0))));
        assert_eq!(tail.lock().bytes, 0);
    }

    #[test]
    fn a_place_beyond_the_end_is_nobodys_loss() {
        assert_eq!(found(&tail(), 20, None, &[], 9), Some((20, vec![], vec![], 0)));
    }
}
