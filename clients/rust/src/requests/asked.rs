//! A request whose progress is looked at.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::{ACCEPT, HeaderValue};
use tokio::time::{Duration, timeout};
use waxwing_protocol::api::{CallAnswer, CallProgress, CallRequest, EVENT_STREAM, Problem};

use crate::Client;
use crate::call::{no_answer, refused};
use crate::connection::Stream;
use crate::error::{Error, Result};
use crate::events::{Lines, Text};

/// A node sends something every 15 s. One that has been silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);

/// A request under way. Whoever drops it waits no more, and the other side is told.
#[derive(Debug)]
pub struct Asked {
    stream: Stream,
    lines: Lines,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A note on the way.
    Progress(Box<CallProgress>),
    /// The answer: nothing comes after it.
    Answer(Box<CallAnswer>),
}

impl Client {
    /// As [`Client::ask`], telling how it goes.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, Step, api};
    /// # async fn example(node: Client) -> Result<(), waxwing_client::Error> {
    /// let request = api::CallRequest { to: "builder@lab".to_owned(), ..Default::default() };
    /// let mut asked = node.ask_closely(&request).await?;
    /// let answer = loop {
    ///     match asked.next().await? {
    ///         Step::Progress(note) => println!("{}", note.body.as_deref().unwrap_or_default()),
    ///         Step::Answer(answer) => break answer,
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::ask`], at once or later from [`Asked::next`].
    pub async fn ask_closely(&self, request: &CallRequest) -> Result<Asked> {
        let body = serde_json::to_vec(request).map_err(|error| Error::Incompatible(error.to_string()))?;
        let mut request = self.request(&Method::POST, "/v1/request", body.into())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let answered = timeout(self.timeout, self.pool.stream(request)).await;
        let (status, stream) = answered.unwrap_or_else(|_| Err(no_answer()))?;
        if status.is_success() {
            return Ok(Asked { stream, lines: Lines::default() });
        }
        let rest: Result<Bytes> =
            timeout(self.timeout, stream.rest()).await.unwrap_or_else(|_| Err(no_answer()));
        Err(refused(status, &rest?))
    }
}

impl Asked {
    /// What happens next. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// Why there is no answer, as for [`Client::ask`]; nothing comes after that either.
    pub async fn next(&mut self) -> Result<Step> {
        loop {
            while let Some(text) = self.lines.next()? {
                if let Some(step) = step(&text)? {
                    return Ok(step);
                }
            }
            let lost = |why: &str| Error::Lost(why.to_owned());
            let frame = timeout(SILENCE, self.stream.body.frame()).await;
            let frame = frame.map_err(|_| lost("the stream of the answer fell silent"))?;
            let frame = frame.ok_or_else(|| lost("the node ended the stream of the answer"))?;
            let frame = frame.map_err(|error| Error::Lost(error.to_string()))?;
            frame.data_ref().map_or(Ok(()), |bytes| self.lines.push(bytes))?;
        }
    }
}

/// What one block of the stream says. None if it is of a later version.
fn step(text: &Text) -> Result<Option<Step>> {
    let strange =
        |error: serde_json::Error| Error::Incompatible(format!("an answer cannot be read: {error}"));
    match text.kind.as_str() {
        "progress" => {
            serde_json::from_str(&text.data).map(|note| Some(Step::Progress(Box::new(note)))).map_err(strange)
        }
        "reply" => serde_json::from_str(&text.data)
            .map(|answer| Some(Step::Answer(Box::new(answer))))
            .map_err(strange),
        "problem" => {
            let problem: Problem = serde_json::from_str(&text.data).map_err(strange)?;
            Err(Error::Problem(Box::new(problem)))
        }
        _ => Ok(None),
    }
}
