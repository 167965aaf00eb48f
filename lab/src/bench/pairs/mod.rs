//! Apps in pairs: one that sends and watches its receipts, and one at another node that watches its mailbox.

mod counted;
mod ids;
mod pace;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::sync::{Mutex, watch as channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use waxwing_client::api::{BatchOutcome, BatchRequest, EventQuery, SendRequest};
use waxwing_client::{Client, Events};

pub(super) use self::counted::Rounds;
pub use self::counted::{Figures, Stages};
use self::ids::Ids;
pub(super) use self::pace::Pace;
use self::pace::{Shared, Ticket};
use self::watch::Watched;
use super::stand::{Stand, Until};
use super::{PATIENCE, Progress};
use crate::error::{Error, Result};

/// Messages in one request.
pub(super) const BATCH: usize = 500;

/// The apps, connected.
pub(super) struct Pairs {
    pairs: Vec<Arc<Pair>>,
    size: usize,
}

/// One that sends, and one that it sends to.
struct Pair {
    /// The sender, with a connection of its own for each.
    sender: Vec<Client>,
    to: String,
    receipts: Mutex<Events>,
    recipient: Client,
    mailbox: Mutex<Events>,
    /// How far the recipient's inbox has been counted.
    counted: AtomicU64,
}

/// What one round is to do.
#[derive(Clone, Copy)]
pub(super) struct Round<'a> {
    /// What it is called.
    pub(super) name: &'a str,
    /// When it has no more to begin.
    pub(super) until: Until,
    /// When each message is due.
    pub(super) pace: Pace,
    /// Messages in one request, if so many are due.
    pub(super) at_once: usize,
}

impl Pairs {
    /// Connects so many pairs of apps on each pair of nodes, each sender with so many connections.
    pub(super) async fn open(stand: &Stand, apps: usize, connections: usize, size: usize) -> Result<Self> {
        let mut pairs = Vec::new();
        for nodes in stand.names.chunks_exact(2) {
            for app in 1..=apps {
                pairs.push(Arc::new(Pair::open(stand, nodes, app, connections).await?));
            }
        }
        Ok(Self { pairs, size })
    }

    /// Has every pair do a round, and waits until all messages have been seen and receipted, or nothing comes any more.
    pub(super) async fn run(&self, round: Round<'_>, progress: &impl Progress) -> Result<Sent> {
        progress.begin(round.name, round.until.steps());
        let (done, began) = (AtomicUsize::new(0), Instant::now());
        let step = |more| {
            let done = done.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more;
            progress.done(round.until.step(began, done));
        };
        let runs = self.pairs.iter().enumerate().map(|(n, pair)| {
            let until = round.until.share(self.pairs.len(), n);
            let pace = round.pace.share(self.pairs.len());
            pair.run(Round { until, pace, ..round }, n, self.size, &step)
        });
        let runs = futures_util::future::try_join_all(runs).await?;
        Ok(Sent { began, runs })
    }

    /// How many messages of a round are in no inbox, and how often one is there once more than it should.
    pub(super) async fn count(&self, sent: &Sent) -> Result<(usize, usize)> {
        let (mut lost, mut duplicates) = (0, 0);
        for (pair, run) in self.pairs.iter().zip(&sent.runs) {
            let copies = pair.copies(run.ids, run.sent).await?;
            lost += copies.iter().filter(|copies| **copies == 0).count();
            duplicates += copies.iter().map(|copies| copies.saturating_sub(1)).sum::<usize>();
        }
        Ok((lost, duplicates))
    }
}

/// What the apps of a round saw.
pub(super) struct Sent {
    began: Instant,
    runs: Vec<Run>,
}

impl Sent {
    /// How many messages were sent.
    pub(super) fn messages(&self) -> usize {
        self.runs.iter().map(|run| run.sent).sum()
    }
}

/// What one pair saw.
struct Run {
    ids: Ids,
    sent: usize,
    /// When the node had answered for the last.
    answered: Instant,
    requests: Vec<std::time::Duration>,
    receipts: Watched,
    mailbox: Watched,
}

impl Pair {
    async fn open(stand: &Stand, nodes: &[String], app: usize, connections: usize) -> Result<Self> {
        let name = format!("app-{app}");
        let client = |node: &str| -> Result<Client> {
            let name = name.parse().map_err(|_| Error::Unreadable(format!("{name} is no name")))?;
            Ok(stand.lab.client(node).app(name))
        };
        let of = |kind: &str| EventQuery { kind: Some(kind.to_owned()), ..EventQuery::default() };
        let sender: Vec<_> = (0..connections.max(1)).map(|_| client(&nodes[0])).collect::<Result<_>>()?;
        let recipient = client(&nodes[1])?;
        Ok(Self {
            receipts: Mutex::new(client(&nodes[0])?.events(&of("receipt,outbox")).await?),
            mailbox: Mutex::new(recipient.events(&of("message")).await?),
            to: format!("{name}@{}", nodes[1]),
            counted: AtomicU64::new(0),
            sender,
            recipient,
        })
    }

    async fn run(
        self: &Arc<Self>,
        round: Round<'_>,
        n: usize,
        size: usize,
        step: &(impl Fn(usize) + Sync),
    ) -> Result<Run> {
        let ids = Ids::begin(n);
        let shared = Arc::new(Shared::new(round.until, round.pace, round.at_once));
        let (told, total) = channel::channel(None);
        let sending = async {
            let sent = self.send(ids, size, &shared).await?;
            told.send_replace(Some(shared.begun()));
            Ok(sent)
        };
        let ((requests, answered), receipts, mailbox) = tokio::try_join!(
            sending,
            self.receipts(ids, &shared, total.clone(), step),
            self.mailbox(ids, &shared, total)
        )?;
        Ok(Run { ids, sent: shared.begun(), answered, requests, receipts, mailbox })
    }

    /// Hands messages to the node, on all connections. Returns how long each request took, and when the last had ended.
    async fn send(
        self: &Arc<Self>,
        ids: Ids,
        size: usize,
        shared: &Arc<Shared>,
    ) -> Result<(Vec<std::time::Duration>, Instant)> {
        let mut connections = JoinSet::new();
        for connection in 0..self.sender.len() {
            let (pair, shared) = (Arc::clone(self), Arc::clone(shared));
            connections.spawn(async move {
                let mut took = Vec::new();
                while let Some(ticket) = shared.next().await? {
                    pair.hand_over(&pair.sender[connection], ids, size, &ticket).await?;
                    took.push(ticket.due.elapsed());
                }
                Ok::<_, Error>(took)
            });
        }
        let mut took = Vec::new();
        while let Some(ended) = connections.join_next().await {
            took.extend(ended.map_err(|err| Error::Unreadable(err.to_string()))??);
        }
        Ok((took, Instant::now()))
    }

    async fn hand_over(&self, client: &Client, ids: Ids, size: usize, ticket: &Ticket) -> Result<()> {
        let items = ticket.numbers.clone().map(|n| self.request(ids, n, size));
        let items = items.collect::<Result<Vec<_>>>()?;
        if let [item] = &items[..] {
            client.send(item).await?;
            return Ok(());
        }
        let answer = client.send_batch(&BatchRequest { items }).await?;
        match answer.items.into_iter().find_map(refusal) {
            None => Ok(()),
            Some(detail) => Err(Error::Unreadable(format!("a send was refused: {detail}"))),
        }
    }

    fn request(&self, ids: Ids, n: usize, size: usize) -> Result<SendRequest> {
        let mut body = format!("{n} ");
        body.extend(std::iter::repeat_n('x', size.saturating_sub(body.len())));
        body.truncate(size);
        let (to, body, client_message_id) = (self.to.clone(), Some(body), Some(ids.id(n)?));
        Ok(SendRequest { to, body, client_message_id, ..SendRequest::default() })
    }
}

fn refusal(outcome: BatchOutcome) -> Option<String> {
    match outcome {
        BatchOutcome::Sent(_) => None,
        BatchOutcome::Refused(problem) => Some(problem.detail.unwrap_or(problem.title)),
    }
}

fn stuck(what: &str) -> Error {
    Error::Timeout { what: format!("more {what}"), within: PATIENCE }
}
