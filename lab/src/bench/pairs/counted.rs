//! What rounds of messages come to.

use std::time::Duration;

use serde::Serialize;
use waxwing_client::api::{MeshQuery, MessageState};

use super::super::spread::{Range, Spread, Spreads};
use super::super::stand::{Costs, Meter, Stand};
use super::{Pairs, Round, Run, Sent};
use crate::bench::Progress;
use crate::error::Result;

/// Of so many messages of a round at most, nodes are asked for their own timestamps.
const ASKED: usize = 500;

/// How long messages took, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stages {
    /// From the request to the node's answer (202), as the app has it. With batches it is of a request.
    pub accept: Spreads,
    /// From the sender's outbox to the broker's `accepted`, by the node's own timestamps, which have milliseconds; of some.
    pub broker_accept: Spreads,
    /// From the sender's outbox to the recipient's inbox, by their nodes' timestamps, which have milliseconds.
    pub delivery: Spreads,
    /// From the request to the verified receipt on the sender's stream, as the app has it.
    pub receipt: Spreads,
    /// From the request to the recipient app's stream, as the apps have it.
    pub end_to_end: Spreads,
}

/// What rounds of messages come to.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Messages, over all rounds.
    pub messages: usize,
    /// Messages a second that the senders' nodes had accepted, from the first request to the last answer.
    pub accepted_per_second: Range,
    /// Messages a second, from the first request to the last verified receipt.
    pub delivered_per_second: Range,
    /// How long they took.
    pub stages: Stages,
    /// Messages that are in no inbox, though their send was accepted.
    pub lost: usize,
    /// How often a message is in an inbox once more than it should.
    pub duplicates: usize,
    /// What they cost.
    #[serde(flatten)]
    pub costs: Costs,
}

/// Rounds of one kind.
#[derive(Default)]
pub(in crate::bench) struct Rounds {
    meter: Meter,
    rounds: Vec<One>,
    lost: usize,
    duplicates: usize,
}

struct One {
    messages: usize,
    accepted_per_second: f64,
    delivered_per_second: f64,
    /// As in [`Stages`].
    stages: [Spread; 5],
}

impl Rounds {
    /// Does one, and counts every message in the inboxes after.
    pub(in crate::bench) async fn add(
        &mut self,
        stand: &mut Stand,
        pairs: &Pairs,
        round: Round<'_>,
        progress: &impl Progress,
    ) -> Result<()> {
        self.meter.begin(stand).await?;
        let sent = pairs.run(round, progress).await?;
        self.meter.end(stand, sent.messages()).await?;
        let (lost, duplicates) = pairs.count(&sent).await?;
        self.lost += lost;
        self.duplicates += duplicates;
        let accepted = pairs.accepted(&sent).await?;
        self.rounds.push(One::of(sent, accepted));
        Ok(())
    }

    /// Messages a second, to the last receipt.
    pub(in crate::bench) fn delivered_per_second(&self) -> Range {
        Range::over(self.rounds.iter().map(|round| round.delivered_per_second))
    }

    /// All of them.
    pub(in crate::bench) fn figures(self) -> Figures {
        let stage = |n: usize| {
            let rounds: Vec<_> = self.rounds.iter().map(|round| round.stages[n]).collect();
            Spreads::over(&rounds)
        };
        Figures {
            messages: self.rounds.iter().map(|round| round.messages).sum(),
            accepted_per_second: Range::over(self.rounds.iter().map(|round| round.accepted_per_second)),
            delivered_per_second: self.delivered_per_second(),
            stages: Stages {
                accept: stage(0),
                broker_accept: stage(1),
                delivery: stage(2),
                receipt: stage(3),
                end_to_end: stage(4),
            },
            lost: self.lost,
            duplicates: self.duplicates,
            costs: self.meter.costs(),
        }
    }
}

impl One {
    fn of(sent: Sent, accepted: Vec<Duration>) -> Self {
        let (messages, began, runs) = (sent.messages(), sent.began, sent.runs);
        let last = |of: fn(&Run) -> tokio::time::Instant| runs.iter().map(of).max().unwrap_or(began);
        let rate = |last: tokio::time::Instant| messages as f64 / (last - began).as_secs_f64().max(1e-9);
        let (answered, receipted) = (last(|run| run.answered), last(|run| run.receipts.last));
        let mut times: [Vec<Duration>; 5] = Default::default();
        times[1] = accepted;
        for run in runs {
            times[0].extend(run.requests);
            times[2].extend(run.mailbox.stored);
            times[3].extend(run.receipts.took);
            times[4].extend(run.mailbox.took);
        }
        Self {
            messages,
            accepted_per_second: rate(answered),
            delivered_per_second: rate(receipted),
            stages: times.map(Spread::of),
        }
    }
}

impl Pairs {
    /// How long after it was queued a message was at the broker, by its node's own word; of some.
    async fn accepted(&self, sent: &Sent) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        for (pair, run) in self.pairs.iter().zip(&sent.runs) {
            let step = (run.sent * self.pairs.len()).div_ceil(ASKED).max(1);
            for message in (0..run.sent).step_by(step) {
                let id = run.ids.id(message)?;
                let status = pair.sender[0].status(&id, &MeshQuery::default()).await?;
                let at = |state| status.history.iter().find(|change| change.state == state);
                let queued = at(MessageState::Queued).map(|change| change.at);
                let accepted = at(MessageState::Accepted).map(|change| change.at);
                took.extend(accepted.zip(queued).map(|(accepted, queued)| accepted.since(queued)));
            }
        }
        Ok(took)
    }
}
