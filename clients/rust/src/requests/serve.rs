//! Serving an app: its requests as they come, and a loop that answers them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use waxwing_crypto::ClientMessageId;
use waxwing_protocol::api::{EventBody, EventQuery, ProblemCode, ReplyError, ReplyRequest, RequestItem};

use crate::Client;
use crate::error::{Error, Result};
use crate::events::ResumingEvents;

/// What an app answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The body as text. This or `body_base64`; neither is an empty body.
    pub body: Option<String>,
    /// The body as base64.
    pub body_base64: Option<String>,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Metadata.
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
}

impl From<String> for Reply {
    fn from(body: String) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

impl From<&str> for Reply {
    fn from(body: &str) -> Self {
        body.to_owned().into()
    }
}

/// The requests of an app, as they come, while it is registered.
#[derive(Debug)]
pub struct Requests {
    client: Client,
    events: ResumingEvents,
}

impl Client {
    /// Registers this client's app, as `query` says more of it, and takes its requests from now on; also those that come when
    /// the node has been away. Instances of one app are served in turn.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, Reply, api};
    /// # async fn example(node: Client) -> Result<(), waxwing_client::Error> {
    /// let node = node.app("clock".parse().unwrap());
    /// let requests = node.serve(&api::EventQuery::default()).await?;
    /// // Ends only when it cannot go on: another has taken the name, say.
    /// let Err(error) = requests.answer_all(8, |request| async move {
    ///     match request.body.as_deref() {
    ///         Some("time") => Ok(Reply::from("noon")),
    ///         _ => Err(api::ReplyError { code: Some("unknown".to_owned()), ..Default::default() }),
    ///     }
    /// }).await;
    /// # Err(error)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::events`].
    pub async fn serve(&self, query: &EventQuery) -> Result<Requests> {
        let query =
            EventQuery { register: Some(1), kind: Some("request,cancel,system".to_owned()), ..query.clone() };
        Ok(Requests { client: self.clone(), events: self.events_resuming(&query).await? })
    }
}

/// What comes to an app that is served.
#[derive(Clone, Debug, PartialEq)]
pub enum Asks {
    /// Somebody asks.
    Request(Box<RequestItem>),
    /// He waits no more.
    Cancel(ClientMessageId),
}

impl Requests {
    /// The next request, or the end of one that was given before. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// What coming back does not mend: a refusal, a node of another version, or `superseded`: another has taken the app's name.
    pub async fn next(&mut self) -> Result<Asks> {
        loop {
            let event = self.events.next().await?;
            if let EventBody::Request { request } = event.body {
                return Ok(Asks::Request(request));
            } else if let EventBody::Cancel { request, .. } = event.body {
                return Ok(Asks::Cancel(request));
            }
        }
    }

    /// Answers every request with what `answer` makes of it, so many at once; the others wait. What nobody waits for any more
    /// is dropped at its next `.await`. A panic is answered with the code `internal`.
    ///
    /// # Errors
    /// As for [`Requests::next`], and when an answer cannot be handed to the node at all.
    pub async fn answer_all<A, F>(mut self, at_once: usize, answer: A) -> Result<Infallible>
    where
        A: Fn(RequestItem) -> F,
        F: Future<Output = Result<Reply, ReplyError>> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(at_once.max(1)));
        let mut tasks = JoinSet::new();
        let mut under_way: HashMap<ClientMessageId, AbortHandle> = HashMap::new();
        loop {
            tokio::select! {
                asks = self.next() => match asks? {
                    Asks::Request(request) => {
                        let id = request.id.clone();
                        let answered = answered(self.client.clone(), Arc::clone(&room), id.clone(), answer(*request));
                        under_way.insert(id, tasks.spawn(answered));
                    }
                    Asks::Cancel(id) => {
                        if let Some(task) = under_way.remove(&id) {
                            task.abort();
                        }
                    }
                },
                Some(_) = tasks.join_next() => under_way.retain(|_, task| !task.is_finished()),
            }
        }
    }
}

/// Makes an answer when there is room, and hands it to the node.
async fn answered<F>(client: Client, room: Arc<Semaphore>, id: ClientMessageId, answer: F)
where
    F: Future<Output = Result<Reply, ReplyError>> + Send + 'static,
{
    // It is never closed.
    let _room = room.acquire_owned().await;
    // A task of its own, so that its panic is an answer as well; and it ends with this one.
    let mut making = JoinSet::new();
    making.spawn(answer);
    let made = making.join_next().await;
    let to = ReplyRequest::to(id);
    let reply = match made {
        Some(Ok(Ok(Reply { body, body_base64, content_type, meta }))) => {
            ReplyRequest { body, body_base64, content_type, meta, ..to }
        }
        Some(Ok(Err(error))) => ReplyRequest { error: Some(error), ..to },
        Some(Err(_)) | None => {
            let error = ReplyError { code: Some("internal".to_owned()), message: None };
            ReplyRequest { error: Some(error), ..to }
        }
    };
    let request = reply.request.clone();
    if let Err(Error::Problem(problem)) = client.reply(&reply).await
        && problem.code != ProblemCode::UnknownRequest
    {
        // The node does not take this answer, too large say: whoever waits is told so, and not left to wait.
        let error = ReplyError { code: Some("unanswerable".to_owned()), message: problem.detail.clone() };
        let _ = client.reply(&ReplyRequest { error: Some(error), ..ReplyRequest::to(request) }).await;
    }
}
