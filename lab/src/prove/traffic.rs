//! What the apps of one node do: hand over messages, one by one, again, and in batches.

use std::time::Duration;

use waxwing_client::{Priority, api};

use crate::apps::{self, Sender};
use crate::chance::Chance;
use crate::error::Result;

/// A node that does not answer for so long, whatever was done to it, does not come back.
const WITHIN: Duration = Duration::from_secs(90);
/// Messages in a batch, at most.
const BATCH: u64 = 5;
/// A body of this many bytes takes several packets, and a page of the database.
const LARGE: usize = 20_000;

/// An app that sends, and what it has sent so far.
#[derive(Debug)]
pub(super) struct Writing {
    sender: Sender,
    others: Vec<String>,
    /// Requests beside each fault.
    requests: usize,
    chance: Chance,
    sent: usize,
    /// Requests that were made again under the same id, though they had been answered.
    pub(super) repeated: usize,
}

impl Writing {
    pub(super) const fn new(sender: Sender, others: Vec<String>, requests: usize, chance: Chance) -> Self {
        Self { sender, others, requests, chance, sent: 0, repeated: 0 }
    }

    /// Sends a few messages, each until its node has answered for it.
    pub(super) async fn burst(&mut self) -> Result<()> {
        for _ in 0..self.requests {
            let kind = self.chance.below(4);
            if kind == 0 {
                let items =
                    (0..1 + self.chance.below(BATCH)).map(|_| self.message()).collect::<Result<_>>()?;
                self.sender.hand_over_batch(items, WITHIN).await?;
                continue;
            }
            let message = self.message()?;
            self.sender.hand_over(&message, WITHIN).await?;
            if kind == 1 {
                self.sender.hand_over(&message, WITHIN).await?;
                self.repeated += 1;
            }
        }
        Ok(())
    }

    fn message(&mut self) -> Result<api::SendRequest> {
        self.sent += 1;
        let to = usize::try_from(self.chance.below(self.others.len() as u64)).unwrap_or_default();
        let message = apps::request(&self.others[to], &format!("{}-{}", self.sender.node, self.sent))?;
        let priority = match self.chance.below(4) {
            0 => Priority::Now,
            1 => Priority::Low,
            _ => Priority::Next,
        };
        let body = if self.chance.below(16) == 0 { Some("x".repeat(LARGE)) } else { message.body };
        Ok(api::SendRequest { priority: Some(priority), body, ..message })
    }
}
