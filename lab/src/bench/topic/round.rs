//! One round: some publish to a topic that is new, and all who have subscribed read it to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use waxwing_client::api::{ProblemCode, PublishRequest, TopicAckRequest, TopicEvent};
use waxwing_client::{Client, TopicName};

use super::super::stand::Until;
use super::super::{PATIENCE, Progress};
use super::{Subscriber, TOPICS};
use crate::error::{Error, Result};

/// How often whoever waits looks how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// What a round is.
pub(super) struct Round<'a> {
    pub(super) name: &'a str,
    pub(super) until: Until,
    pub(super) size: usize,
}

/// What was said in one, and heard.
pub(super) struct Said {
    /// From the first request to the last answer.
    pub(super) published: Duration,
    /// From the first request to the last delivery.
    pub(super) delivered: Duration,
    pub(super) publishes: Vec<Duration>,
    pub(super) deliveries: Vec<Duration>,
    pub(super) rate_limited: usize,
    pub(super) lost: usize,
    pub(super) duplicates: usize,
}

/// What publishers and subscribers share.
struct Shared {
    topic: TopicName,
    until: Until,
    size: usize,
    began: Instant,
    /// When each message was asked for.
    asked: Mutex<Vec<Instant>>,
}

/// What one subscriber heard.
struct Heard {
    took: Vec<Duration>,
    duplicates: usize,
    last: Instant,
}

impl Round<'_> {
    /// Does it.
    pub(super) async fn run(
        &self,
        publishers: &[Client],
        subscribers: &mut Vec<Subscriber>,
        progress: &impl Progress,
    ) -> Result<Said> {
        progress.begin(self.name, self.until.steps());
        let shared = Arc::new(self.shared()?);
        let (told, total) = watch::channel(None);
        let mut reading = JoinSet::new();
        for mut subscriber in subscribers.drain(..) {
            let (shared, total) = (Arc::clone(&shared), total.clone());
            reading.spawn(async move { (subscriber.reads(&shared, total).await, subscriber) });
        }
        let mut publishing = JoinSet::new();
        for publisher in publishers {
            publishing.spawn(publishes(publisher.clone(), Arc::clone(&shared)));
        }
        let (mut publishes, mut rate_limited) = (Vec::new(), 0);
        while !publishing.is_empty() {
            if let Ok(Some(ended)) = timeout(LOOK, publishing.join_next()).await {
                let (took, limited) = joined(ended)??;
                publishes.extend(took);
                rate_limited += limited;
            }
            progress.done(self.until.step(shared.began, shared.begun()));
        }
        let published = shared.began.elapsed();
        let count = shared.begun();
        told.send_replace(Some(count));
        let (mut deliveries, mut lost, mut duplicates, mut last) = (Vec::new(), 0, 0, shared.began);
        while let Some(ended) = reading.join_next().await {
            let (heard, subscriber) = joined(ended)?;
            let heard = heard?;
            subscribers.push(subscriber);
            lost += count - heard.took.len().min(count);
            duplicates += heard.duplicates;
            last = last.max(heard.last);
            deliveries.extend(heard.took);
        }
        let delivered = last - shared.began;
        Ok(Said { published, delivered, publishes, deliveries, rate_limited, lost, duplicates })
    }

    fn shared(&self) -> Result<Shared> {
        let topic = format!("{TOPICS}{}", self.name.replace(' ', "-"));
        let topic = topic.parse().map_err(|_| Error::Unreadable(format!("{topic} is no topic")))?;
        let (until, size, began, asked) = (self.until, self.size, Instant::now(), Mutex::default());
        Ok(Shared { topic, until, size, began, asked })
    }
}

fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> Result<T> {
    ended.map_err(|err| Error::Unreadable(err.to_string()))
}

impl Shared {
    fn begun(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The next message to be published, from now on, unless the round is over.
    fn next(&self) -> Option<(usize, Instant)> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (n, now) = (asked.len(), Instant::now());
        if self.until.is_over(self.began, n) {
            return None;
        }
        asked.push(now);
        Some((n, now))
    }

    fn asked(&self, n: usize) -> Option<Instant> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(n).copied()
    }
}

/// Publishes one message after the other. Returns how long each took, and how often it was told to wait.
async fn publishes(client: Client, shared: Arc<Shared>) -> Result<(Vec<Duration>, usize)> {
    let (mut took, mut limited) = (Vec::new(), 0);
    while let Some((n, asked)) = shared.next() {
        let mut body = format!("{n} ");
        body.extend(std::iter::repeat_n('x', shared.size.saturating_sub(body.len())));
        let request = PublishRequest {
            topic: shared.topic.clone(),
            body: Some(body),
            body_base64: None,
            content_type: None,
            meta: None,
            ephemeral: false,
            client_message_id: None,
            mesh: None,
        };
        while let Err(error) = client.publish(&request).await {
            let problem = error.problem().filter(|problem| problem.code == ProblemCode::RateLimited);
            let Some(after) = problem.and_then(|problem| problem.retry_after_ms) else {
                return Err(error.into());
            };
            limited += 1;
            sleep(Duration::from_millis(after.get().into())).await;
        }
        took.push(asked.elapsed());
    }
    Ok((took, limited))
}

impl Subscriber {
    /// Reads until as many have come as there are, or nothing comes any more; then acknowledges them.
    async fn reads(&mut self, shared: &Shared, mut total: watch::Receiver<Option<usize>>) -> Result<Heard> {
        let mut heard = Heard { took: Vec::new(), duplicates: 0, last: shared.began };
        let (mut seen, mut through) = (Vec::new(), 0);
        while *total.borrow_and_update() != Some(heard.took.len()) {
            let event = tokio::select! {
                event = timeout(PATIENCE, self.stream.next()) => event,
                // An error is a publisher that has failed, which ends the round.
                changed = total.changed() => {
                    changed.map_err(|err| Error::Unreadable(err.to_string()))?;
                    continue;
                }
            };
            let Ok(event) = event else { break };
            let TopicEvent::Message(message) = event? else { continue };
            let number = message.body.as_deref().and_then(|body| body.split(' ').next()?.parse().ok());
            let asked = number.and_then(|n| shared.asked(n));
            let (Some(n), Some(asked)) = (number.filter(|_| message.topic == shared.topic), asked) else {
                heard.duplicates += 1;
                continue;
            };
            seen.resize(seen.len().max(n + 1), false);
            if std::mem::replace(&mut seen[n], true) {
                heard.duplicates += 1;
                continue;
            }
            heard.took.push(asked.elapsed());
            heard.last = Instant::now();
            through = message.seq;
        }
        if through > 0 {
            let topic = shared.topic.clone();
            self.client.topic_ack(&TopicAckRequest { topic, through, mesh: None }).await?;
        }
        Ok(heard)
    }
}
