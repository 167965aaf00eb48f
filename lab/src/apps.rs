//! What apps do in tests: send until accepted, read by cursor, watch receipts. Each writes down what it saw.

use std::time::Duration;

use waxwing_client::{Client, Error as ClientError, Priority, api};

use crate::error::{Error, Result};
use crate::history::{Event, Key, Recorder};
use crate::wait::eventually;

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
        let request = request(to, id)?;
        let answer = eventually(within, &format!("{id} is accepted by {}", self.node), async || {
            match self.client.send(&request).await {
                Ok(answer) => Some(Ok(answer)),
                Err(ClientError::Unreachable { .. } | ClientError::Lost(_)) => None,
                // It is stopping.
                Err(ClientError::Problem(problem)) if problem.code == api::ProblemCode::MeshClosed => None,
                Err(error @ (ClientError::Problem(_) | ClientError::Incompatible(_))) => Some(Err(error)),
            }
        })
        .await??;
        self.record.push(accepted(&self.node, to, id));
        Ok(answer)
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
                read.extend(self.page().await?);
            }
            (read.len() >= count).then_some(())
        })
        .await;
        done.map(|()| read)
    }

    /// Reads every mailbox from the beginning, as an app without memory would, and writes nothing down.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn reread(&self) -> Result<Vec<api::InboxItem>> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|item: &api::InboxItem| item.id);
            let page = self.client.inbox(&query(after)).await?;
            if page.items.is_empty() {
                return Ok(all);
            }
            all.extend(page.items);
        }
    }

    /// One page, written down and acknowledged; none while the node is away or nothing is new.
    async fn page(&mut self) -> Option<Vec<api::InboxItem>> {
        let page = self.client.inbox(&query(Some(self.cursor))).await.ok()?;
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

fn query(after: Option<u64>) -> api::InboxQuery {
    api::InboxQuery { after, app: Some("*".to_owned()), limit: Some(1_000), ..Default::default() }
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
