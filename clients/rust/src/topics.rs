//! Topics: publishing, subscribing, and the stream of what one has subscribed to.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::time::{Duration, timeout};
use waxwing_protocol::api::{self, TopicEvent};

use crate::call::{no_answer, refused};
use crate::connection::Stream;
use crate::error::{Error, Result};
use crate::events::Lines;
use crate::{Client, query};

/// A node sends something every 15 s. One that has been silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);

impl Client {
    /// The topics of the mesh, and who has subscribed, as far as the node knows.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn topics(&self, query: &api::TopicsQuery) -> Result<api::Topics> {
        self.get("/v1/topics", query).await
    }

    /// Publishes a message to a topic, which is made by its first one. Answered once the broker has stored it.
    ///
    /// # Errors
    /// [`Error::Problem`] with `offline` (nothing was published), `unanswered` (it may have been: repeat it with the same id),
    /// `rate_limited` (when to come again stands in it), `too_large`, `too_many_topics`, `idempotency_key_reused`.
    pub async fn publish(&self, request: &api::PublishRequest) -> Result<api::PublishAnswer> {
        self.patient(true).post("/v1/topics/publish", request).await
    }

    /// Has the node keep for this app what is published from now on, or what is kept already.
    ///
    /// # Errors
    /// [`Error::Problem`] with `offline` if where "now" is cannot be told, `unknown_topic`, `malformed`.
    pub async fn subscribe(&self, request: &api::SubscribeRequest) -> Result<api::SubscribeAnswer> {
        self.patient(true).post("/v1/topics/subscribe", request).await
    }

    /// Ends a subscription of this app.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_subscribed`.
    pub async fn unsubscribe(&self, request: &api::UnsubscribeRequest) -> Result<()> {
        let body = serde_json::to_vec(request).map_err(|err| Error::Incompatible(err.to_string()))?;
        let (status, body) = self.call(&Method::POST, "/v1/topics/unsubscribe", body.into()).await?;
        if status.is_success() { Ok(()) } else { Err(refused(status, &body)) }
    }

    /// What this app has subscribed to, how far it has come, and what was passed over.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn subscriptions(&self, query: &api::MeshQuery) -> Result<api::Subscriptions> {
        self.get("/v1/topics/subscriptions", query).await
    }

    /// What this app has subscribed to, from behind what it has acknowledged: one stream, which ends with the node. A new one goes on
    /// where the app has come to.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut stream = node.topic_stream(&api::TopicStreamQuery::default()).await?;
    /// loop {
    ///     if let api::TopicEvent::Message(message) = stream.next().await? {
    ///         println!("{}: {}", message.topic, message.body.as_deref().unwrap_or("(not text)"));
    ///         let (topic, through) = (message.topic.clone(), message.seq);
    ///         node.topic_ack(&api::TopicAckRequest { topic, through, mesh: None }).await?;
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Problem`] with `busy`; [`Error::Unreachable`].
    pub async fn topic_stream(&self, query: &api::TopicStreamQuery) -> Result<TopicStream> {
        let path = query::with_query("/v1/topics/stream", query)?;
        let request = self.request(&Method::GET, &path, Bytes::new())?;
        let answered = timeout(self.timeout, self.pool.stream(request)).await;
        let (status, stream) = answered.unwrap_or_else(|_| Err(no_answer()))?;
        if status.is_success() {
            return Ok(TopicStream { stream, lines: Lines::default() });
        }
        let rest = timeout(self.timeout, stream.rest()).await;
        Err(refused(status, &rest.unwrap_or_else(|_| Err(no_answer()))?))
    }

    /// Says that this app has dealt with everything in a topic up to a message. What is not acknowledged comes again.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_subscribed`, `malformed` for a place that is not there yet.
    pub async fn topic_ack(&self, request: &api::TopicAckRequest) -> Result<api::TopicAckAnswer> {
        self.post("/v1/topics/ack", request).await
    }

    /// What is kept of a topic. It changes nothing, and takes no subscription.
    ///
    /// # Errors
    /// [`Error::Problem`] with `unknown_topic`.
    pub async fn topic_history(&self, query: &api::HistoryQuery) -> Result<api::TopicHistory> {
        self.patient(true).get("/v1/topics/history", query).await
    }

    /// Says how long a topic keeps its messages, those published from now on.
    ///
    /// # Errors
    /// [`Error::Problem`] with `offline`, `malformed`, `conflict` if somebody else does so at the same moment.
    pub async fn topic_retention(&self, request: &api::RetentionRequest) -> Result<api::Topic> {
        self.patient(true).post("/v1/topics/retention", request).await
    }
}

/// One open stream of what an app has subscribed to.
#[derive(Debug)]
pub struct TopicStream {
    stream: Stream,
    lines: Lines,
}

impl TopicStream {
    /// What comes next. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// The stream has no end of its own, so how it ended is an error: [`Error::Lost`] when the node stopped or fell
    /// silent, [`Error::Incompatible`] if it says what this client does not understand.
    pub async fn next(&mut self) -> Result<TopicEvent> {
        loop {
            while let Some(text) = self.lines.next()? {
                // A later version's kind is passed over.
                if matches!(text.kind.as_str(), "message" | "lagged" | "dead") {
                    let event = serde_json::from_str(&text.data);
                    return event
                        .map_err(|error| Error::Incompatible(format!("an event cannot be read: {error}")));
                }
            }
            let frame = timeout(SILENCE, self.stream.body.frame()).await;
            let frame = frame.map_err(|_| Error::Lost("the stream of topics fell silent".to_owned()))?;
            let frame = frame.ok_or_else(|| Error::Lost("the node ended the stream of topics".to_owned()))?;
            let frame = frame.map_err(|error| Error::Lost(error.to_string()))?;
            if let Some(bytes) = frame.data_ref() {
                self.lines.push(bytes)?;
            }
        }
    }
}
