//! Who waits for answers, who serves apps, and which requests they have been given: in memory, under one lock, and never held
//! while anything is written.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use waxwing_crypto::{ClientMessageId, Name, NodeId};
use waxwing_protocol::api::{CancelReason, EventBody};
use waxwing_protocol::limits;

use super::failure::Failure;
use crate::apps::Which;
use crate::content::Content;

/// An answer, and who gives it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) app: Option<Name>,
    pub(crate) content: Content,
}

/// A note on the way, and which it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) number: u64,
    pub(crate) content: Content,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The request, as its caller calls it.
    pub(super) name: ClientMessageId,
    /// The app that asks.
    pub(super) app: Option<Name>,
    /// The node that is to answer.
    pub(super) node: NodeId,
    /// Where notes go, if anybody looks at them.
    pub(super) notes: Option<mpsc::Sender<Note>>,
    /// How many there were.
    pub(super) noted: u64,
    /// None once it was told.
    pub(super) end: Option<oneshot::Sender<Result<Answer, Failure>>>,
}

/// A request that a stream has been given.
#[derive(Clone, Debug)]
pub(super) struct Serving {
    /// The asking node.
    pub(super) asker: NodeId,
    /// Its id for the request.
    pub(super) request: ClientMessageId,
    /// The asking app.
    pub(super) from_app: Option<Name>,
    /// The app asked.
    pub(super) app: Name,
    pub(super) deadline: Instant,
    /// Notes are looked at.
    pub(super) progress: bool,
    pub(super) notes: u64,
    /// Which stream was given it.
    stream: u64,
}

/// A stream that takes requests.
#[derive(Debug)]
struct Stream {
    number: u64,
    events: mpsc::Sender<EventBody>,
}

/// Everybody.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: HashMap<ClientMessageId, Waiting>,
    /// By the id that the stream was told.
    serving: HashMap<ClientMessageId, Serving>,
    /// The same id, by what the asker calls the request.
    told_as: HashMap<(NodeId, ClientMessageId), ClientMessageId>,
    streams: BTreeMap<Which, Vec<Stream>>,
    /// The instance of each app that was given a request last.
    last: HashMap<Name, Option<Name>>,
    /// The number of the newest stream.
    newest: u64,
}

/// Why somebody may not wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unwaited {
    /// As many wait as may.
    Full,
    /// The app has another request of this name under way.
    Taken,
}

/// Why a request is given to nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ungiven {
    /// There is no stream of this app.
    Nobody,
    /// None of them reads, or there is too much under way.
    Busy,
}

impl Board {
    /// Somebody waits from now on.
    pub(super) fn wait(&mut self, id: ClientMessageId, waiting: Waiting) -> Result<(), Unwaited> {
        if self.waiting.len() >= limits::REQUESTS {
            return Err(Unwaited::Full);
        }
        if self.waiting.values().any(|other| other.name == waiting.name && other.app == waiting.app) {
            return Err(Unwaited::Taken);
        }
        self.waiting.insert(id, waiting);
        Ok(())
    }

    /// A note from a node. False if nobody waits for it.
    pub(super) fn note(&mut self, from: NodeId, of: &ClientMessageId, content: Content) -> bool {
        let Some(waiting) = self.waiting.get_mut(of).filter(|waiting| waiting.node == from) else {
            return false;
        };
        waiting.noted += 1;
        if let Some(notes) = &waiting.notes {
            // Whoever does not read in time sees by the number that he has missed one.
            let _ = notes.try_send(Note { number: waiting.noted, content });
        }
        true
    }

    /// The end of a request, by the word of a node. False if nobody waits for it.
    pub(super) fn end(&mut self, from: NodeId, of: &ClientMessageId, end: Result<Answer, Failure>) -> bool {
        if self.waiting.get(of).is_none_or(|waiting| waiting.node != from) {
            return false;
        }
        let told = self.stop_waiting(of).and_then(|waiting| waiting.end);
        told.is_some_and(|told| told.send(end).is_ok())
    }

    /// Tells whoever waits that somebody has cancelled it. When he goes, the other side is told. False if nobody waits for it.
    pub(super) fn cancel(&mut self, id: &ClientMessageId) -> bool {
        let told = self.waiting.get_mut(id).and_then(|waiting| waiting.end.take());
        told.is_some_and(|told| told.send(Err(Failure::Cancelled)).is_ok())
    }

    /// Nobody waits for this any more.
    pub(super) fn stop_waiting(&mut self, id: &ClientMessageId) -> Option<Waiting> {
        self.waiting.remove(id)
    }

    /// The request of this name that an app has under way.
    pub(super) fn named(&self, app: Option<&Name>, name: &ClientMessageId) -> Option<ClientMessageId> {
        let mut all = self.waiting.iter();
        all.find(|(_, waiting)| waiting.name == *name && waiting.app.as_ref() == app)
            .map(|(id, _)| id.clone())
    }

    /// Those who wait for other nodes, with the node each waits for.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = (&ClientMessageId, NodeId)> {
        self.waiting.iter().map(|(id, waiting)| (id, waiting.node))
    }

    /// A stream takes requests from now on. Gives its number.
    pub(super) fn listen(&mut self, which: Which, events: mpsc::Sender<EventBody>) -> u64 {
        self.newest += 1;
        let stream = Stream { number: self.newest, events };
        self.streams.entry(which).or_default().push(stream);
        self.newest
    }

    /// It takes no more. Gives what it has not answered.
    pub(super) fn leave(&mut self, which: &Which, number: u64) -> Vec<Serving> {
        if let Some(streams) = self.streams.get_mut(which) {
            streams.retain(|stream| stream.number != number);
            if streams.is_empty() {
                self.streams.remove(which);
            }
        }
        if self.of(&which.name).next().is_none() {
            self.last.remove(&which.name);
        }
        self.drain(|serving| serving.stream == number).into_iter().map(|(_, serving)| serving).collect()
    }

    /// Gives a request to an instance of the app, each in turn, and to its newest stream. One that does not read is passed over.
    pub(super) fn give(
        &mut self,
        told_as: ClientMessageId,
        asked: Asked,
        event: EventBody,
    ) -> Result<(), Ungiven> {
        if self.of(&asked.app).next().is_none() {
            return Err(Ungiven::Nobody);
        }
        if self.serving.len() >= limits::REQUESTS {
            return Err(Ungiven::Busy);
        }
        let mut event = Some(event);
        let given = self.in_turn(&asked.app).into_iter().find_map(|which| {
            let stream = self.streams.get(&which)?.last()?;
            match stream.events.try_send(event.take()?) {
                Ok(()) => Some((which, stream.number)),
                Err(error) => {
                    event = Some(error.into_inner());
                    None
                }
            }
        });
        let (which, stream) = given.ok_or(Ungiven::Busy)?;
        self.last.insert(which.name, which.instance);
        let Asked { asker, request, from_app, app, deadline, progress } = asked;
        self.told_as.insert((asker, request.clone()), told_as.clone());
        let serving = Serving { asker, request, from_app, app, deadline, progress, notes: 0, stream };
        self.serving.insert(told_as, serving);
        Ok(())
    }

    /// The instances of an app that take requests, the one whose turn it is first.
    fn in_turn(&self, app: &Name) -> Vec<Which> {
        let mut all: Vec<Which> = self.of(app).cloned().collect();
        if let Some(last) = self.last.get(app) {
            let next = all.iter().position(|which| which.instance > *last).unwrap_or(0);
            all.rotate_left(next);
        }
        all
    }

    fn of(&self, app: &Name) -> impl Iterator<Item = &Which> {
        let first = Which { name: app.clone(), instance: None };
        let from = self.streams.range((Bound::Included(first), Bound::Unbounded));
        from.map(|(which, _)| which).take_while(move |which| which.name == *app)
    }

    /// What a stream was told under this id.
    pub(super) fn served(&mut self, told_as: &ClientMessageId) -> Option<&mut Serving> {
        self.serving.get_mut(told_as)
    }

    /// It is answered.
    pub(super) fn take(&mut self, told_as: &ClientMessageId) -> Option<Serving> {
        let serving = self.serving.remove(told_as)?;
        self.told_as.remove(&(serving.asker, serving.request.clone()));
        Some(serving)
    }

    /// It is not, after all.
    pub(super) fn put_back(&mut self, told_as: ClientMessageId, serving: Serving) {
        self.told_as.insert((serving.asker, serving.request.clone()), told_as.clone());
        self.serving.insert(told_as, serving);
    }

    /// Whoever has asked waits no more.
    pub(super) fn withdraw(&mut self, asker: NodeId, request: &ClientMessageId) {
        let Some(told_as) = self.told_as.get(&(asker, request.clone())).cloned() else { return };
        if let Some(serving) = self.take(&told_as) {
            self.tell(&serving, told_as, CancelReason::Cancelled);
        }
    }

    /// When the next deadline of a request given to somebody passes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.serving.values().map(|serving| serving.deadline).min()
    }

    /// Those whose deadlines have passed are nobody's any more.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        for (told_as, serving) in self.drain(|serving| serving.deadline <= now) {
            self.tell(&serving, told_as, CancelReason::Timeout);
        }
    }

    /// A stream that has no room to be told learns it when it answers.
    fn tell(&self, serving: &Serving, request: ClientMessageId, reason: CancelReason) {
        let mut streams = self.of(&serving.app).filter_map(|which| self.streams.get(which)).flatten();
        if let Some(stream) = streams.find(|stream| stream.number == serving.stream) {
            let _ = stream.events.try_send(EventBody::Cancel { request, reason });
        }
    }

    fn drain(&mut self, which: impl Fn(&Serving) -> bool) -> Vec<(ClientMessageId, Serving)> {
        let drained: Vec<_> = self.serving.extract_if(|_, serving| which(serving)).collect();
        for (_, serving) in &drained {
            self.told_as.remove(&(serving.asker, serving.request.clone()));
        }
        drained
    }
}

/// A request, before it is given to somebody.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) asker: NodeId,
    pub(super) request: ClientMessageId,
    pub(super) from_app: Option<Name>,
    pub(super) app: Name,
    pub(super) deadline: Instant,
    pub(super) progress: bool,
}
