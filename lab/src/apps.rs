//! What apps do in tests: send until accepted, read by cursor, watch receipts. Each writes down what it saw.

use std::time::Duration;

use tokio::time::sleep;
use waxwing_client::{Client, Error as ClientError, Priority, api};

use crate::error::{Error, Result};
use crate::history::{Event, Key, Recorder};
use crate::wait::eventually;

/// Before a node that is away is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// An app that sends in order: each message is tried until its node has answered for it, before the next is begun.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The node it is on.
    pub node: String,
    /// That node.
    pub client: Client,
    /// Where it writes down what it saw.
    pub record: Recorder,
}

impl Sender {
    /// Sends a message under this id, again and again while its node is away.
    ///
    /// # Errors
    /// A refusal, or `Timeout` if the node does not come back.
    pub async fn send(&self, to: &str, id: &str, within: Duration) -> Result<api::SendAnswer> {
        self.hand_over(&request(to, id)?, within).await
    }

    /// The same with any message that has an id.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub async fn hand_over(&self, message: &api::SendRequest, within: Duration) -> Result<api::SendAnswer> {
        let answer = self.patiently(within, async || self.client.send(message).await).await?;
        self.record.push(acceptance(&self.node, message));
        Ok(answer)
    }

    /// The same with several in one request: all of them again, until there is an answer.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub async fn hand_over_batch(&self, messages: Vec<api::SendRequest>, within: Duration) -> Result<()> {
        let batch = api::BatchRequest { items: messages };
        let answer = self.patiently(within, async || self.client.send_batch(&batch).await).await?;
        for (message, outcome) in batch.items.iter().zip(answer.items) {
            match outcome {
                api::BatchOutcome::Sent(_) => self.record.push(acceptance(&self.node, message)),
                api::BatchOutcome::Refused(problem) => {
                    return Err(ClientError::Problem(Box::new(problem)).into());
                }
            }
        }
        Ok(())
    }

    /// Asks until there is an answer, while the node is away or stopping.
    async fn patiently<T>(
        &self,
        within: Duration,
        ask: impl AsyncFn() -> Result<T, ClientError>,
    ) -> Result<T> {
        let what = format!("a message is accepted by {}", self.node);
        let answer = eventually(within, &what, async || {
            match ask().await {
                Ok(answer) => Some(Ok(answer)),
                Err(ClientError::Unreachable { .. } | ClientError::Lost(_)) => None,
                // It is stopping.
                Err(ClientError::Problem(problem)) if problem.code == api::ProblemCode::MeshClosed => None,
                Err(error @ (ClientError::Problem(_) | ClientError::Incompatible(_))) => Some(Err(error)),
            }
        });
        Ok(answer.await??)
    }

    /// Opens the stream of what becomes of its messages. The answer watches it, across restarts of its node, for as long as it is let.
    ///
    /// # Errors
    /// If the node is not there to begin with, or refuses.
    pub async fn watch(&self) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
        let (app, kind) = (Some("*".to_owned()), Some("receipt,outbox".to_owned()));
        let query = api::EventQuery { after: Some(0), app, kind, ..Default::default() };
        let mut events = self.client.events_resuming(&query).await?;
        let Self { node, record, .. } = self.clone();
        Ok(async move {
            loop {
                let event = events.next().await?;
                let key = |id: waxwing_client::ClientMessageId| Key::new(&node, id.as_str());
                if let api::EventBody::Receipt { client_message_id, state: api::MessageState::Delivered } =
                    event.body
                {
                    let at = event.at.as_millis();
                    record.push(Event::Delivered { key: key(client_message_id), at });
                } else if let api::EventBody::Outbox { client_message_id, state, reason } = event.body
                    && state.is_end()
                {
                    let (key, reason) = (key(client_message_id), reason.unwrap_or_default());
                    record.push(Event::Ended { key, state, reason });
                }
            }
        })
    }

    /// Waits until its node calls this message delivered, or has given it up.
    ///
    /// # Errors
    /// `Timeout` if it does neither.
    pub async fn settled(&self, id: &str, within: Duration) -> Result<api::SendStatus> {
        let key = Key::new(&self.node, id);
        let id = parse(id)?;
        let status = eventually(within, &format!("{id} is settled"), async || {
            let status = self.client.status(&id, &api::MeshQuery::default()).await.ok()?;
            is_final(status.state).then_some(status)
        })
        .await?;
        self.record.push(
            match status.history.iter().find(|change| change.state == api::MessageState::Delivered) {
                Some(change) => Event::Delivered { key, at: change.at.as_millis() },
                None => Event::Ended {
                    key,
                    state: status.state,
                    reason: status.reason.clone().unwrap_or_default(),
                },
            },
        );
        Ok(status)
    }
}

/// An app that reads its node's inbox by cursor, and acknowledges what it has read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The node it is on.
    pub node: String,
    /// That node.
    pub client: Client,
    /// Where it writes down what it saw.
    pub record: Recorder,
    /// The last message it has seen.
    pub cursor: u64,
}

impl Reader {
    /// Reads on until it has seen this many messages more, across restarts of its node.
    ///
    /// # Errors
    /// `Timeout` if they do not come.
    pub async fn read(&mut self, count: usize, within: Duration) -> Result<Vec<api::InboxItem>> {
        let mut read = Vec::new();
        let what = format!("{count} messages at {}", self.node);
        let done = eventually(within, &what, async || {
            if read.len() < count {
                read.extend(self.page(None).await?);
            }
            (read.len() >= count).then_some(())
        })
        .await;
        done.map(|()| read)
    }

    /// Reads on as messages come, across restarts of its node, for as long as it is let.
    pub async fn follow(&mut self) {
        loop {
            if self.page(Some("5s")).await.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Reads every mailbox from the beginning, as an app without memory would, and writes nothing down.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn reread(&self) -> Result<Vec<api::InboxItem>> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|item: &api::InboxItem| item.id);
            let page = self.client.inbox(&query(after, None)).await?;
            if page.items.is_empty() {
                return Ok(all);
            }
            all.extend(page.items);
        }
    }

    /// One page, written down and acknowledged; none while the node is away or nothing is new, also not after this wait.
    async fn page(&mut self, wait: Option<&str>) -> Option<Vec<api::InboxItem>> {
        let page = self.client.inbox(&query(Some(self.cursor), wait)).await.ok()?;
        for item in &page.items {
            self.record.push(Event::Shown {
                key: Key::new(item.from.as_str(), item.client_message_id.as_str()),
                to: self.node.clone(),
                place: item.id,
                stored_at: item.received_at.as_millis(),
                late: item.late,
            });
        }
        self.cursor = page.items.last()?.id;
        let through =
            api::AckRequest { through: Some(self.cursor), app: Some("*".to_owned()), ..Default::default() };
        if self.client.ack(&through).await.is_ok() {
            for item in &page.items {
                let key = Key::new(item.from.as_str(), item.client_message_id.as_str());
                self.record.push(Event::Acknowledged { key, to: self.node.clone() });
            }
        }
        Some(page.items)
    }
}

/// The event of a message in the default priority that a node has answered for.
pub fn accepted(from: &str, to: &str, id: &str) -> Event {
    // Lanes are between nodes: the app in an address has no part in them.
    let to = to.rsplit('@').next().unwrap_or(to).to_owned();
    Event::Accepted { key: Key::new(from, id), to, priority: Priority::default().as_str().to_owned() }
}

/// The event of any message that a node has answered for.
fn acceptance(from: &str, message: &api::SendRequest) -> Event {
    let id =
        message.client_message_id.as_ref().map(waxwing_client::ClientMessageId::as_str).unwrap_or_default();
    let mut event = accepted(from, &message.to, id);
    if let Event::Accepted { priority, .. } = &mut event {
        message.priority.unwrap_or_default().as_str().clone_into(priority);
    }
    event
}

/// A small message under this id.
///
/// # Errors
/// If it is no id.
pub fn request(to: &str, id: &str) -> Result<api::SendRequest> {
    Ok(api::SendRequest {
        to: to.to_owned(),
        body: Some(format!("the body of {id}")),
        client_message_id: Some(parse(id)?),
        ..Default::default()
    })
}

fn parse(id: &str) -> Result<waxwing_client::ClientMessageId> {
    id.parse().map_err(|err| Error::Unreadable(format!("{id}: {err}")))
}

fn query(after: Option<u64>, wait: Option<&str>) -> api::InboxQuery {
    let (app, wait) = (Some("*".to_owned()), wait.map(str::to_owned));
    api::InboxQuery { after, app, wait, limit: Some(1_000), ..Default::default() }
}

const fn is_final(state: api::MessageState) -> bool {
    match state {
        api::MessageState::Queued | api::MessageState::Inflight | api::MessageState::Accepted => false,
        api::MessageState::Delivered
        | api::MessageState::Read
        | api::MessageState::Dead
        | api::MessageState::Expired
        | api::MessageState::Aborted => true,
    }
}
