//! The stream of what happens. It is read from the tables at the pace of its reader: a slow one hurts nobody, and one
//! that comes back goes on exactly where it was. Whoever is near its end learns from memory what is there for it ([`Tail`]).
//!
//! [`Tail`]: crate::tail::Tail

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{AppendHeaders, IntoResponse};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracing::error;
use waxwing_crypto::Name;
use waxwing_protocol::api::{
    Event, EventBody, EventKind, EventQuery, Problem, ProblemCode, REGISTRATION_HEADER, TokenScope,
};
use waxwing_sqlite::On;

use super::Api;
use super::apps::denied;
use super::guard::{Who, must_reach};
use super::inbox::{self, mailbox};
use super::problem::Refused;
use super::request::{From, Query, place};
use crate::apps::{Claim, Kept, Standing, Which};
use crate::clock;
use crate::content::Content;
use crate::mesh::Mesh;
use crate::requests::{self, Listener};
use crate::store::inbox::{Filter, Item};
use crate::store::{self, meta};
use crate::tail::{Found, Wanted};

/// A comment goes out when nothing else has for this long, so that both ends notice a dead connection.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);
/// Messages, and events, read at once.
const PAGE: usize = 100;
/// Messages that are read by whoever asks.
const FEW: usize = 16;
/// Handfuls of events made ready for a client before it reads them.
const READ_AHEAD: usize = 2;
/// Events that are handed over together, so that they are one write: at most so many, and no more behind so many bytes of messages.
const HANDFUL: usize = 16;
const HANDFUL_BYTES: usize = 32 << 10;
/// What an event takes beside a message's body, mostly, in bytes.
const BESIDE: usize = 1_024;
/// Where a stream was left.
const LAST_EVENT_ID: &str = "last-event-id";

/// `GET /v1/events`
pub(super) async fn stream(
    State(api): State<Api>,
    From(caller): From,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<impl IntoResponse, Refused> {
    let mesh = api.mesh(query.mesh.as_ref())?;
    let room = Arc::clone(&api.streams).try_acquire_owned();
    let room = room.map_err(|_| Problem::new(ProblemCode::Busy).detail("100 streams are open already"))?;
    if query.register == Some(1) {
        must_reach(&who, TokenScope::Send)?;
    }
    let app = mailbox(query.app.as_deref(), &caller)?;
    let kinds = kinds(query.kind.as_deref())?;
    let takes = takes_requests(kinds.as_ref(), &query)?;
    let kept = register(&mesh, &query, caller.app.as_ref())?;
    let listener = kept.as_ref().filter(|_| takes).map(|kept| requests::listen(&mesh, kept.which().clone()));
    let shown = mesh.signals.shown();
    let after = match query.after.or(last_event_id(&headers)?) {
        Some(after) => place(Some(after))?,
        None => *shown.borrow(),
    };
    let reader =
        Reader { app, kinds, mesh: Arc::clone(&mesh), shown, after, given: after, ready: VecDeque::new() };
    let (events, read) = mpsc::channel(READ_AHEAD);
    mesh.tasks.spawn(reader.run(events, kept.as_ref().map(Kept::standing), listener));
    let registration = kept.as_ref().map(|kept| (REGISTRATION_HEADER, kept.id().as_str().to_owned()));
    let open = Open { events: read, _room: room, _kept: kept };
    // Where it begins: a client that is cut off before the first event resumes from here too.
    let begin = stream::once(ready(Ok::<_, Infallible>(sse::Event::default().id(after.to_string()))));
    let events = stream::unfold(open, |mut open| async {
        let events = open.events.recv().await?;
        Some((stream::iter(events.into_iter().map(Ok)), open))
    });
    let events = Sse::new(begin.chain(events.flatten())).keep_alive(KeepAlive::new().interval(KEEPALIVE));
    Ok((AppendHeaders(registration), events))
}

/// The caller's app, registered while the stream is open, if it asked for that.
fn register(mesh: &Mesh, query: &EventQuery, caller: Option<&Name>) -> Result<Option<Kept>, Refused> {
    let malformed = |detail| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
    let flag = |value: Option<u8>, detail| match value {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(_) => Err(malformed(detail)),
    };
    let takeover = flag(query.takeover, "takeover is 0 or 1")?;
    if !flag(query.register, "register is 0 or 1")? {
        if takeover || query.registration.is_some() || query.instance.is_some() {
            return Err(malformed("registration, instance and takeover go with register=1"));
        }
        return Ok(None);
    }
    let asked = query.app.as_deref().and_then(|app| app.parse().ok());
    let name = caller.cloned().or(asked).ok_or_else(|| malformed("register needs an app's name"))?;
    let which = Which { name, instance: query.instance.clone() };
    let claim = Claim { which, registration: query.registration.clone(), takeover };
    mesh.apps.keep(&claim).map(Some).map_err(denied)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let malformed =
        || Problem::new(ProblemCode::Malformed).detail("Last-Event-ID is not a cursor of this stream");
    number.map(Some).ok_or_else(|| malformed().into())
}

/// The kinds asked for; none for all.
fn kinds(text: Option<&str>) -> Result<Option<HashSet<EventKind>>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let kind = |word: &str| EventKind::ALL.into_iter().find(|kind| kind.as_str() == word.trim());
    let kinds: Option<HashSet<EventKind>> = text.split(',').map(kind).collect();
    let words = || EventKind::ALL.map(EventKind::as_str).join(", ");
    let malformed = || Problem::new(ProblemCode::Malformed).detail(format!("kind is some of {}", words()));
    kinds.map(Some).ok_or_else(|| malformed().into())
}

/// Whether the stream is to be given requests: if it asks for them by name, so that whoever does not know of them gets none.
fn takes_requests(kinds: Option<&HashSet<EventKind>>, query: &EventQuery) -> Result<bool, Refused> {
    let asks = |kind| kinds.is_some_and(|kinds| kinds.contains(&kind));
    let malformed = |detail| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
    match (asks(EventKind::Request), asks(EventKind::Cancel)) {
        (true, _) if query.register != Some(1) => Err(malformed(
            "requests are given to a stream that registers its app: kind=request goes with register=1",
        )),
        (false, true) => Err(malformed("kind=cancel goes with kind=request")),
        (takes, _) => Ok(takes),
    }
}

/// What lasts as long as the client's connection.
struct Open {
    events: mpsc::Receiver<Vec<sse::Event>>,
    _room: OwnedSemaphorePermit,
    _kept: Option<Kept>,
}

/// One stream's way through what happened. A task of its mesh: a client that does not read does not keep the mesh open.
pub(crate) struct Reader {
    mesh: Arc<Mesh>,
    /// None for every mailbox.
    app: Option<String>,
    kinds: Option<HashSet<EventKind>>,
    shown: watch::Receiver<u64>,
    after: u64,
    /// The last event handed over.
    given: u64,
    ready: VecDeque<Event>,
}

impl Reader {
    /// Everything of these kinds from now on, whatever app it is for.
    pub(crate) fn from_now(mesh: &Arc<Mesh>, kinds: HashSet<EventKind>) -> Self {
        let shown = mesh.signals.shown();
        let after = *shown.borrow();
        let mesh = Arc::clone(mesh);
        Self { mesh, app: None, kinds: Some(kinds), shown, after, given: after, ready: VecDeque::new() }
    }

    /// Hands events over until nobody wants more, or the mesh is closed.
    async fn run(
        self,
        events: mpsc::Sender<Vec<sse::Event>>,
        standing: Option<watch::Receiver<Standing>>,
        listener: Option<Listener>,
    ) {
        let stop = self.mesh.stop.clone();
        tokio::select! {
            () = self.hand_over(&events, standing, listener) => {}
            () = events.closed() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Hands events over until there are none, or another has taken the place of the app that this stream registers.
    async fn hand_over(
        mut self,
        events: &mpsc::Sender<Vec<sse::Event>>,
        mut standing: Option<watch::Receiver<Standing>>,
        mut listener: Option<Listener>,
    ) {
        loop {
            let (event, last) = tokio::select! {
                biased;
                () = changed(&mut standing) => {
                    // Whoever is not registered any more serves nobody.
                    listener = None;
                    (Some(self.told(&standing)), is_superseded(&standing))
                }
                Some(body) = asked(&mut listener) => (Some(self.live(body)), false),
                event = self.next() => (event, false),
            };
            let Some(event) = event else { return };
            let handful = self.handful(&event, last);
            if events.send(handful).await.is_err() || last {
                return;
            }
        }
    }

    /// An event made ready, and unless it is the last those behind it that are read already: as long as they are few and small.
    fn handful(&mut self, event: &Event, last: bool) -> Vec<sse::Event> {
        let (mut handful, mut bytes) = (vec![encode(event)], size(event));
        self.given = event.cursor;
        while !last && handful.len() < HANDFUL && bytes < HANDFUL_BYTES {
            let Some(event) = self.ready.pop_front() else { break };
            self.given = event.cursor;
            bytes += size(&event);
            handful.push(encode(&event));
        }
        handful
    }

    /// What has become of the registration.
    fn told(&self, standing: &Option<watch::Receiver<Standing>>) -> Event {
        let what = if is_superseded(standing) { "superseded" } else { "unregistered" };
        self.live(EventBody::System { what: what.to_owned() })
    }

    /// What is for this reader alone takes no place in the stream.
    fn live(&self, body: EventBody) -> Event {
        Event { cursor: self.given, at: clock::now(), body }
    }

    /// The next event. None when it cannot be read.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.shown.mark_unchanged();
            let before = self.after;
            match self.read().await {
                Ok(()) => {}
                Err(Refused(problem)) => {
                    error!(code = problem.code.as_str(), "a stream cannot be read");
                    return None;
                }
            }
            if self.after == before && self.ready.is_empty() {
                self.shown.changed().await.ok()?;
            }
        }
    }

    /// Reads the next page: messages and events, in the order of their numbers.
    async fn read(&mut self) -> Result<(), Refused> {
        let wanted = Wanted { app: self.app.as_deref(), kinds: self.kinds.as_ref() };
        match self.mesh.signals.tail().after(self.after, wanted, PAGE) {
            Some(found) => self.add_messages(found).await,
            None => self.read_tables().await,
        }
    }

    /// Adds messages to the events that were found in memory: from there too, unless one of them is only in the table.
    async fn add_messages(&mut self, found: Found) -> Result<(), Refused> {
        let Found { through, events: mut page, messages, stored } = found;
        let mesh = Arc::clone(&self.mesh);
        if stored == 0 {
            for item in messages {
                page.push(as_event(&mesh, Arc::unwrap_or_clone(item))?);
            }
        } else {
            let limit = messages.len() + stored;
            // A few are read by whoever asks; more where that may take its time.
            let db = if limit <= FEW { On::from(mesh.db.brief()) } else { On::from(&mesh.db) };
            let items = store::inbox::list(db, &self.filter(limit)).await?;
            for item in items.into_iter().filter(|item| item.cursor <= through) {
                page.push(as_event(&mesh, item.open(&mesh.keys)?)?);
            }
        }
        page.sort_by_key(|event| event.cursor);
        self.after = through;
        page.into_iter().for_each(|event| self.push(event));
        Ok(())
    }

    /// What this stream wants of the inbox, at most so much of it.
    fn filter(&self, limit: usize) -> Filter {
        Filter { after: self.after, app: self.app.clone(), from: None, thread: None, unread: false, limit }
    }

    /// Reads the next page from the tables.
    async fn read_tables(&mut self) -> Result<(), Refused> {
        let mesh = Arc::clone(&self.mesh);
        let mut db = On::from(&mesh.db);
        let forgotten = meta::number(&mut db, meta::FORGOTTEN).await?;
        if self.after < forgotten && self.after > 0 {
            self.push(Event { cursor: forgotten, at: clock::now(), body: EventBody::Lagged });
        }
        // Messages and events are read one after the other, and more may be committed in between. Whatever was committed
        // before this moment is in both; what is beyond waits for the next page, or a message could be passed over.
        let shown = *self.shown.borrow();
        let messages = store::inbox::list(&mut db, &self.filter(PAGE)).await?;
        let events = store::events::list(&mut db, self.after, self.app.as_deref(), PAGE).await?;
        // A full page says nothing of what comes after its end.
        let full = |count: usize, last: Option<u64>| last.filter(|_| count == PAGE);
        let end = [
            full(messages.len(), messages.last().map(|item| item.cursor)),
            full(events.len(), events.last().map(|event| event.seq)),
        ];
        let end = end.into_iter().flatten().fold(shown, u64::min);
        let mut page = Vec::with_capacity(messages.len() + events.len());
        for item in messages.into_iter().filter(|item| item.cursor <= end) {
            page.push(as_event(&mesh, item.open(&mesh.keys)?)?);
        }
        let events = events.into_iter().filter(|event| event.seq <= end);
        page.extend(events.map(|event| Event { cursor: event.seq, at: event.at, body: event.body }));
        page.sort_by_key(|event| event.cursor);
        // What is not for this stream is passed over, up to where both pages are complete.
        self.after = self.after.max(end);
        page.into_iter().for_each(|event| self.push(event));
        Ok(())
    }

    fn push(&mut self, event: Event) {
        if self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.body.kind())) {
            self.ready.push_back(event);
        }
    }
}

/// A message as it is in the stream.
fn as_event(mesh: &Mesh, item: Item<Content>) -> Result<Event, Refused> {
    let (cursor, at) = (item.cursor, item.received_at);
    let message = Box::new(inbox::show(mesh, item)?);
    Ok(Event { cursor, at, body: EventBody::Message { message } })
}

/// Waits until something becomes of a registration: for ever, if there is none.
async fn changed(standing: &mut Option<watch::Receiver<Standing>>) {
    let ended = match standing {
        Some(standing) => standing.changed().await.is_err(),
        None => true,
    };
    if ended {
        std::future::pending::<()>().await;
    }
}

/// The next request for this stream's app, or cancel: never, if it takes none.
async fn asked(listener: &mut Option<Listener>) -> Option<EventBody> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}

fn is_superseded(standing: &Option<watch::Receiver<Standing>>) -> bool {
    standing.as_ref().is_some_and(|standing| *standing.borrow() == Standing::Superseded)
}

/// What a message has for a body; whatever else happens is small.
fn size(event: &Event) -> usize {
    let EventBody::Message { message } = &event.body else { return 0 };
    message.body.as_ref().or(message.body_base64.as_ref()).map_or(0, String::len)
}

fn encode(event: &Event) -> sse::Event {
    // Written as a whole: axum looks for ends of lines in every piece that it is given.
    let mut json = Vec::with_capacity(BESIDE + size(event) + size(event) / 16);
    let encoded = serde_json::to_writer(&mut json, event).ok().and_then(|()| String::from_utf8(json).ok());
    let kind = event.body.kind().as_str();
    match encoded {
        Some(json) => sse::Event::default().id(event.cursor.to_string()).event(kind).data(json),
        None => sse::Event::default().comment("an event that cannot be encoded"),
    }
}
