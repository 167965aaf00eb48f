//! The apps of a run: one that sends and watches its receipts, and one at each other node that watches its mailbox.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use waxwing_client::api::{
    BatchOutcome, BatchRequest, EventBody, EventQuery, InboxQuery, MessageState, SendRequest,
};
use waxwing_client::{Client, ClientMessageId, Events};

use super::{Ledger, Mode, Plan, Sent};
use crate::bench::Progress;
use crate::error::{Error, Result};
use crate::mesh::Lab;

/// Messages in one request.
const BATCH: usize = 500;
/// Bytes of bodies in one request: half of what it may have, since JSON adds to them.
const BATCH_BYTES: usize = waxwing_protocol::limits::API_BATCH_BODY / 2;
/// Messages in one page of an inbox.
const PAGE: usize = 1_000;
/// Requests under way at once.
const REQUESTS: usize = 64;
/// Nothing has come for so long: nothing will.
const PATIENCE: Duration = Duration::from_secs(30);

/// The apps, connected.
pub(super) struct Run {
    sender: Client,
    recipients: Vec<String>,
    receipts: Mutex<Events>,
    mailboxes: Vec<(Client, Mutex<Events>)>,
    plan: Plan,
}

impl Run {
    /// Connects them.
    pub(super) async fn open(lab: &Lab, names: &[String], plan: &Plan) -> Result<Self> {
        let of = |kind: &str| EventQuery {
            app: Some("*".to_owned()),
            kind: Some(kind.to_owned()),
            ..EventQuery::default()
        };
        let sender = lab.client(&names[0]);
        let receipts = Mutex::new(sender.events(&of("receipt,outbox")).await?);
        let mut mailboxes = Vec::new();
        for name in &names[1..] {
            let client = lab.client(name);
            let events = Mutex::new(client.events(&of("message")).await?);
            mailboxes.push((client, events));
        }
        Ok(Self { sender, recipients: names[1..].to_vec(), receipts, mailboxes, plan: plan.clone() })
    }

    /// Sends so many, and waits until all have been seen and receipted, or nothing comes any more.
    pub(super) async fn send(&self, name: &str, count: usize, progress: &impl Progress) -> Result<Sent> {
        let ledger = Ledger::new(vec![None; count].into());
        let window = Arc::new(Semaphore::new(self.plan.window.max(1)));
        let began = Instant::now();
        let seen = async {
            let watched: Vec<_> =
                (0..self.mailboxes.len()).map(|n| self.watch(n, name, count, &ledger)).collect();
            futures_util::future::try_join_all(watched).await
        };
        let receipts = self.receipts(name, count, &window, progress);
        let (requests, last_receipt, seen) =
            tokio::try_join!(self.requests(name, count, &window, &ledger), receipts, seen)?;
        let copies = self.copies(name, count).await?;
        Ok(Sent {
            queued: requests.1.duration_since(began),
            receipted: last_receipt.duration_since(began),
            requests: requests.0,
            app_to_app: seen.into_iter().flatten().collect(),
            lost: copies.iter().filter(|copies| **copies == 0).count(),
            duplicates: copies.iter().map(|copies| copies.saturating_sub(1)).sum(),
        })
    }

    /// How often each message of a run is in an inbox.
    async fn copies(&self, name: &str, count: usize) -> Result<Vec<usize>> {
        let mut copies = vec![0; count];
        for (client, _) in &self.mailboxes {
            let mut query =
                InboxQuery { app: Some("*".to_owned()), limit: Some(PAGE), ..InboxQuery::default() };
            loop {
                let page = client.inbox(&query).await?;
                if page.items.is_empty() {
                    break;
                }
                let numbers = page.items.iter().filter_map(|item| number(name, &item.client_message_id));
                numbers.filter_map(|n| copies.get_mut(n).map(|count| *count += 1)).count();
                query.after = Some(page.next);
            }
        }
        Ok(copies)
    }

    /// How many of so many messages go to a recipient.
    fn share(&self, recipient: usize, count: usize) -> usize {
        (0..count).skip(recipient).step_by(self.recipients.len()).count()
    }

    /// Hands all messages to the node, as the window opens. Returns how long each request took, and when the last ended.
    async fn requests(
        &self,
        name: &str,
        count: usize,
        window: &Arc<Semaphore>,
        ledger: &Ledger,
    ) -> Result<(Vec<Duration>, Instant)> {
        let at_once = match self.plan.mode {
            Mode::Batch => BATCH.min(BATCH_BYTES / (self.plan.size + 512)).min(self.plan.window).max(1),
            Mode::Single => 1,
        };
        let (mut under_way, mut took) = (JoinSet::new(), Vec::new());
        for first in (0..count).step_by(at_once) {
            let last = count.min(first + at_once);
            let places = u32::try_from(last - first).unwrap_or(u32::MAX);
            let place = timeout(PATIENCE, window.acquire_many(places)).await;
            place.map_err(|_| stuck("receipts"))?.map_err(|err| Error::Unreadable(err.to_string()))?.forget();
            if under_way.len() >= self.requests_at_once() {
                took.extend(done(under_way.join_next().await)?);
            }
            let items = (first..last).map(|n| self.request(name, n)).collect::<Result<Vec<_>>>()?;
            let now = Instant::now();
            lock(ledger)[first..last].fill(Some(now));
            under_way.spawn(hand_over(self.sender.clone(), items, now));
        }
        while let Some(ended) = under_way.join_next().await {
            took.extend(done(Some(ended))?);
        }
        Ok((took, Instant::now()))
    }

    /// A batch follows the one before, so that the messages of a lane are handed over in order.
    const fn requests_at_once(&self) -> usize {
        match self.plan.mode {
            Mode::Batch => 1,
            Mode::Single => REQUESTS,
        }
    }

    fn request(&self, name: &str, n: usize) -> Result<SendRequest> {
        let mut body = format!("{n} ");
        body.extend(std::iter::repeat_n('x', self.plan.size.saturating_sub(body.len())));
        body.truncate(self.plan.size);
        Ok(SendRequest {
            to: self.recipients[n % self.recipients.len()].clone(),
            body: Some(body),
            client_message_id: Some(id(name, n)?),
            ..SendRequest::default()
        })
    }

    /// Counts receipts, and opens the window by each. Returns when the last came.
    async fn receipts(
        &self,
        name: &str,
        count: usize,
        window: &Semaphore,
        progress: &impl Progress,
    ) -> Result<Instant> {
        let mut events = self.receipts.lock().await;
        let mut receipted = 0;
        while receipted < count {
            let event = timeout(PATIENCE, events.next()).await.map_err(|_| stuck("receipts"))??;
            match event.body {
                EventBody::Receipt { client_message_id, state: MessageState::Delivered }
                    if number(name, &client_message_id).is_some() =>
                {
                    receipted += 1;
                    window.add_permits(1);
                    progress.done(receipted as u64);
                }
                EventBody::Outbox { client_message_id, state, reason } if state.is_end() => {
                    let reason = reason.unwrap_or_default();
                    return Err(Error::Unreadable(format!(
                        "{client_message_id} is {}: {reason}",
                        state.as_str()
                    )));
                }
                EventBody::Receipt { .. }
                | EventBody::Outbox { .. }
                | EventBody::Message { .. }
                | EventBody::Request { .. }
                | EventBody::Cancel { .. }
                | EventBody::BrokerStatus { .. }
                | EventBody::Lease { .. }
                | EventBody::Security { .. }
                | EventBody::PeerJoin { .. }
                | EventBody::PeerLeave { .. }
                | EventBody::AppJoin { .. }
                | EventBody::AppLeave { .. }
                | EventBody::State { .. }
                | EventBody::Claim { .. }
                | EventBody::Lagged
                | EventBody::System { .. } => {}
            }
        }
        Ok(Instant::now())
    }

    /// Watches a mailbox until its share has been seen. Returns how long each was on its way.
    async fn watch(
        &self,
        mailbox: usize,
        name: &str,
        count: usize,
        ledger: &Ledger,
    ) -> Result<Vec<Duration>> {
        let share = self.share(mailbox, count);
        let mut events = self.mailboxes[mailbox].1.lock().await;
        let mut took = Vec::with_capacity(share);
        while took.len() < share {
            let Ok(event) = timeout(PATIENCE, events.next()).await else {
                return Ok(took); // What is missing is counted as lost.
            };
            if let EventBody::Message { message } = event?.body
                && let Some(n) = number(name, &message.client_message_id)
                && let Some(asked) = lock(ledger).get_mut(n).and_then(Option::take)
            {
                took.push(asked.elapsed());
            }
        }
        Ok(took)
    }
}

/// Makes one request of these messages. Returns how long it took.
async fn hand_over(client: Client, items: Vec<SendRequest>, began: Instant) -> Result<Duration> {
    if let [item] = &items[..] {
        client.send(item).await?;
        return Ok(began.elapsed());
    }
    let answer = client.send_batch(&BatchRequest { items }).await?;
    let took = began.elapsed();
    match answer.items.into_iter().find_map(refusal) {
        None => Ok(took),
        Some(detail) => Err(Error::Unreadable(format!("a send was refused: {detail}"))),
    }
}

fn refusal(outcome: BatchOutcome) -> Option<String> {
    match outcome {
        BatchOutcome::Sent(_) => None,
        BatchOutcome::Refused(problem) => Some(problem.detail.unwrap_or(problem.title)),
    }
}

fn done(ended: Option<Result<Result<Duration>, tokio::task::JoinError>>) -> Result<Option<Duration>> {
    match ended {
        None => Ok(None),
        Some(Ok(took)) => took.map(Some),
        Some(Err(err)) => Err(Error::Unreadable(err.to_string())),
    }
}

/// The id of a message of a run.
pub(super) fn id(name: &str, n: usize) -> Result<ClientMessageId> {
    let id = format!("{name}-{n}");
    id.parse().map_err(|_| Error::Unreadable(format!("{id} is no id")))
}

/// Which message of a run has this id.
fn number(name: &str, id: &ClientMessageId) -> Option<usize> {
    id.as_str().strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

fn lock(ledger: &Ledger) -> MutexGuard<'_, Vec<Option<Instant>>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stuck(what: &str) -> Error {
    Error::Timeout { what: format!("more {what}"), within: PATIENCE }
}
