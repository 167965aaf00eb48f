//! What happens at a node, as it happens: one stream, and one that outlives its node.

mod sse;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::time::{Instant, sleep, timeout_at};
use waxwing_protocol::RegistrationId;
use waxwing_protocol::api::{Event, EventQuery, ProblemCode};

pub(crate) use self::sse::{Lines, Text};
use self::sse::{Parser, Said};
use crate::call::{no_answer, refused};
use crate::connection::Stream;
use crate::error::{Error, Result};
use crate::{Client, query};

/// A node sends something every 15 s. One that has been silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Pauses between attempts to reach a node that is away: the first, doubling to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Client {
    /// What happens from now on, or from `query.after` on: one stream, which ends with the node.
    ///
    /// # Errors
    /// [`Error::Problem`] with `app_registered` or `busy`; [`Error::Unreachable`].
    pub async fn events(&self, query: &EventQuery) -> Result<Events> {
        let query = &proven(query)?;
        let request = self.request(&Method::GET, &query::with_query("/v1/events", query)?, Bytes::new())?;
        let answered = tokio::time::timeout(self.timeout, self.pool.stream(request)).await;
        let (status, stream) = answered.unwrap_or_else(|_| Err(no_answer()))?;
        if status.is_success() {
            let named = query.app.as_deref().and_then(|app| app.parse().ok());
            if let (Some(id), Some(app)) = (&query.registration, self.app.clone().or(named)) {
                self.remember(&app, Some(id));
            }
            return Ok(Events::new(stream));
        }
        let rest = tokio::time::timeout(self.timeout, stream.rest()).await;
        Err(refused(status, &rest.unwrap_or_else(|_| Err(no_answer()))?))
    }

    /// The same, going on where it was whenever the node comes back.
    ///
    /// # Errors
    /// As for [`Client::events`]: the node must be there to begin with.
    pub async fn events_resuming(&self, query: &EventQuery) -> Result<ResumingEvents> {
        ResumingEvents::open(self.clone(), query.clone()).await
    }
}

/// The same with what the app will be proved by, if it is to be registered: held from the first attempt on, so that a stream
/// that is cut off is not away, nor in its own way.
fn proven(query: &EventQuery) -> Result<EventQuery> {
    let mut query = query.clone();
    if query.register == Some(1) && query.registration.is_none() {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Incompatible(error.to_string()))?;
        query.registration = Some(RegistrationId::new(random));
    }
    Ok(query)
}

/// One open stream of events.
#[derive(Debug)]
pub struct Events {
    stream: Stream,
    parser: Parser,
    cursor: Option<u64>,
    /// When it counts as gone if nothing more is heard.
    gone: Instant,
}

impl Events {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, parser: Parser::default(), cursor: None, gone: Instant::now() + SILENCE }
    }

    /// The next event. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// The stream has no end of its own, so how it ended is an error: [`Error::Lost`] when the node stopped or fell
    /// silent, [`Error::Incompatible`] if it says what this client does not understand.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            match self.parser.next()? {
                Some(Said::Event(event)) => {
                    self.cursor = Some(event.cursor);
                    return Ok(*event);
                }
                Some(Said::Cursor(cursor)) => self.cursor = Some(cursor),
                None => self.read().await?,
            }
        }
    }

    /// Everything up to here has been given: what to pass as `after` to go on. None until the node has said where the
    /// stream begins, which is before its first event.
    pub const fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    async fn read(&mut self) -> Result<()> {
        if self.gone < Instant::now() {
            // Nobody has listened for a while: that is not the node's silence.
            self.gone = Instant::now() + SILENCE;
        }
        let frame = timeout_at(self.gone, self.stream.body.frame()).await;
        let frame = frame.map_err(|_| Error::Lost("the event stream fell silent".to_owned()))?;
        let frame = frame.ok_or_else(|| Error::Lost("the node ended the event stream".to_owned()))?;
        let frame = frame.map_err(|error| Error::Lost(error.to_string()))?;
        self.gone = Instant::now() + SILENCE;
        frame.data_ref().map_or(Ok(()), |bytes| self.parser.push(bytes))
    }
}

/// A stream of events that goes on where it was when its node comes back: nothing is missed, nothing comes twice.
pub struct ResumingEvents {
    client: Client,
    query: EventQuery,
    cursor: Option<u64>,
    events: Option<Events>,
    pause: Duration,
    away: Box<dyn FnMut(&Error) + Send>,
}

impl ResumingEvents {
    pub(crate) async fn open(client: Client, query: EventQuery) -> Result<Self> {
        let mut query = proven(&query)?;
        let events = client.events(&query).await?;
        let cursor = query.after;
        // A name is taken once: whoever takes it back from this stream keeps it.
        query.takeover = None;
        Ok(Self { client, query, cursor, events: Some(events), pause: PAUSES.0, away: Box::new(|_| ()) })
    }

    /// The same, telling of each time that the node goes away.
    #[must_use]
    pub fn on_away(mut self, tell: impl FnMut(&Error) + Send + 'static) -> Self {
        self.away = Box::new(tell);
        self
    }

    /// The next event, however long the node is away. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// What coming back does not mend: a refusal, or a node of another version.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let Some(events) = &mut self.events else {
                self.reopen().await?;
                continue;
            };
            let next = events.next().await;
            self.cursor = events.cursor().or(self.cursor);
            match next {
                Ok(event) => {
                    self.pause = PAUSES.0;
                    return Ok(event);
                }
                Err(error @ (Error::Lost(_) | Error::Unreachable { .. })) => {
                    (self.away)(&error);
                    self.events = None;
                }
                Err(error @ (Error::Problem(_) | Error::Incompatible(_))) => return Err(error),
            }
        }
    }

    /// As [`Events::cursor`].
    pub const fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// Opens the stream anew, or waits a little.
    async fn reopen(&mut self) -> Result<()> {
        let query = EventQuery { after: self.cursor, ..self.query.clone() };
        match self.client.events(&query).await {
            Ok(events) => self.events = Some(events),
            Err(error) if may_pass(&error) => {
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSES.1);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether trying again may help: the node is away, or is at work on the mesh, or another has its name for now.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Lost(_) | Error::Unreachable { .. } => true,
        Error::Problem(problem) => {
            use ProblemCode::{AppRegistered, Busy, MeshClosed};
            matches!(problem.code, Busy | AppRegistered | MeshClosed)
        }
        Error::Incompatible(_) => false,
    }
}

impl fmt::Debug for ResumingEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumingEvents").field("query", &self.query).field("cursor", &self.cursor).finish()
    }
}
