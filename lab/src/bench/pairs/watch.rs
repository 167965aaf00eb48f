//! What the apps of a pair see on their streams.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use waxwing_client::Events;
use waxwing_client::api::{EventBody, InboxQuery, MessageState};

use super::super::PATIENCE;
use super::ids::Ids;
use super::pace::Shared;
use super::{Pair, stuck};
use crate::error::{Error, Result};

/// Messages in one page of an inbox.
const PAGE: usize = 1_000;

/// How many messages there are in all, once that is known.
type Total = watch::Receiver<Option<usize>>;

/// What was seen on a stream.
pub(super) struct Watched {
    /// How long each message took until it was, as the apps have it.
    pub(super) took: Vec<Duration>,
    /// From the sender's outbox to the recipient's inbox, by their nodes' clocks.
    pub(super) stored: Vec<Duration>,
    /// When the last was.
    pub(super) last: Instant,
}

impl Watched {
    fn begin() -> Self {
        Self { took: Vec::new(), stored: Vec::new(), last: Instant::now() }
    }

    fn saw(&mut self, took: Duration) {
        self.took.push(took);
        self.last = Instant::now();
    }
}

impl Pair {
    /// Counts receipts, each of which opens the window.
    pub(super) async fn receipts(
        &self,
        ids: Ids,
        shared: &Shared,
        mut total: Total,
        step: &(impl Fn(usize) + Sync),
    ) -> Result<Watched> {
        let mut events = self.receipts.lock().await;
        let mut watched = Watched::begin();
        loop {
            let event = match next(&mut events, watched.took.len(), &mut total).await? {
                Next::Event(event) => event,
                Next::Over => return Ok(watched),
                Next::Silence => return Err(stuck("receipts")),
            };
            if let EventBody::Receipt { client_message_id, state: MessageState::Delivered } = &event
                && let Some(took) = ids.number(client_message_id).and_then(|n| shared.receipted(n))
            {
                watched.saw(took);
                step(1);
            } else if let EventBody::Outbox { client_message_id, state, reason } = event
                && state.is_end()
            {
                let (state, reason) = (state.as_str(), reason.unwrap_or_default());
                return Err(Error::Unreadable(format!("{client_message_id} is {state}: {reason}")));
            }
        }
    }

    /// Watches the recipient's mailbox. What does not come is counted as lost, later.
    pub(super) async fn mailbox(&self, ids: Ids, shared: &Shared, mut total: Total) -> Result<Watched> {
        let mut events = self.mailbox.lock().await;
        let mut watched = Watched::begin();
        loop {
            let event = match next(&mut events, watched.took.len(), &mut total).await? {
                Next::Event(event) => event,
                Next::Over | Next::Silence => return Ok(watched),
            };
            if let EventBody::Message { message } = event
                && let Some(took) = ids.number(&message.client_message_id).and_then(|n| shared.seen(n))
            {
                watched.saw(took);
                watched.stored.push(message.received_at.since(message.sent_at));
            }
        }
    }

    /// How often each message of a round is in the recipient's inbox.
    pub(super) async fn copies(&self, ids: Ids, count: usize) -> Result<Vec<usize>> {
        let mut copies = vec![0; count];
        let mut after = self.counted.load(Ordering::Relaxed);
        loop {
            let query = InboxQuery { after: Some(after), limit: Some(PAGE), ..InboxQuery::default() };
            let page = self.recipient.inbox(&query).await?;
            if page.items.is_empty() {
                self.counted.store(after, Ordering::Relaxed);
                return Ok(copies);
            }
            let numbers = page.items.iter().filter_map(|item| ids.number(&item.client_message_id));
            numbers.filter_map(|n| copies.get_mut(n).map(|count| *count += 1)).count();
            after = page.next;
        }
    }
}

enum Next {
    Event(EventBody),
    /// All that there are have been seen.
    Over,
    /// Nothing has come for so long that nothing will.
    Silence,
}

/// What comes next on a stream on which so many have been seen.
async fn next(events: &mut Events, seen: usize, total: &mut Total) -> Result<Next> {
    loop {
        if *total.borrow_and_update() == Some(seen) {
            return Ok(Next::Over);
        }
        tokio::select! {
            event = timeout(PATIENCE, events.next()) => {
                return match event {
                    Ok(event) => Ok(Next::Event(event?.body)),
                    Err(_) => Ok(Next::Silence),
                };
            }
            // An error is a sender that has failed, which ends the round.
            changed = total.changed() => changed.map_err(|_| stuck("messages"))?,
        }
    }
}
