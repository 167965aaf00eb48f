//! What came back about messages this node sent: the broker's outcomes, receipts and nacks.

use tracing::info;
use waxwing_crypto::sealing::{CounterRange, Kind, NackReason};
use waxwing_crypto::{ClientMessageId, NodeId, Timestamp};
use waxwing_protocol::api::{MessageState, Voucher};
use waxwing_sqlite::Connection;

use super::{Effects, SWEEP};
use crate::signals::{Back, Woken};
use crate::store::OutLane;
use crate::store::outbox::{self, Accepted, Affected};

/// Apps are told once a recipient has refused so many seals of one message.
const MANY_NACKS: i64 = 5;

/// The broker's answer to one item that a link handed over.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    /// It is in the recipient's queue.
    Accepted(Accepted),
    /// It never will be.
    Refused {
        /// Our row.
        row: i64,
        /// The seal that was refused.
        seal: u32,
        /// The broker's word.
        reason: &'static str,
    },
    /// Not now: it stays pending.
    Later {
        /// Our row.
        row: i64,
    },
}

/// Verified news of a message on its way.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Its receipt verifies.
    Delivered {
        /// Our row.
        row: i64,
    },
    /// Messages of this lane that told the recipient of void counters have been received.
    Told {
        /// The lane.
        lane: OutLane,
        /// What they told.
        ranges: Vec<CounterRange>,
    },
    /// The recipient refused one seal of it, by a signature that holds.
    Refused {
        /// Our row.
        row: i64,
        /// Its lane.
        lane: OutLane,
        /// The seal refused.
        seal: u32,
        /// Why.
        reason: NackReason,
        /// The row's seal when the nack was checked; if it is higher by now, the nack is old.
        current: u32,
    },
    /// It ended in the queue. The broker's word.
    Ended {
        /// Our row.
        row: i64,
        /// Why.
        reason: &'static str,
    },
}

/// Notes the broker's outcomes.
pub(super) async fn apply(
    db: &mut Connection,
    answered: &[Answered],
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let mut accepted = Vec::with_capacity(answered.len());
    for answer in answered {
        match answer {
            Answered::Accepted(row) => {
                effects.landed.push(row.row);
                accepted.push(*row);
            }
            Answered::Refused { row, seal, reason } => {
                info!(row, reason, "the broker refused a message");
                effects.landed.push(*row);
                let killed = outbox::kill(db, *row, Some(*seal), reason, Voucher::Broker, now).await?;
                effects.tell_end(killed, reason);
            }
            Answered::Later { row } => effects.landed.push(*row),
        }
    }
    outbox::accept(db, &accepted, now).await
}

/// Notes news that the link has verified.
pub(super) async fn note(
    db: &mut Connection,
    news: &[News],
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let mut delivered = Vec::with_capacity(news.len());
    for item in news {
        match item {
            News::Delivered { row } => delivered.push(*row),
            News::Told { lane, ranges } => outbox::told(db, *lane, ranges).await?,
            News::Refused { row, lane, seal, reason, current } if reason.is_resealable() => {
                let resealed = outbox::reseal(db, *row, (*seal).max(*current) + 1).await?;
                let nacks =
                    resealed.as_ref().map_or(0, |message| u32::try_from(message.nacks).unwrap_or(u32::MAX));
                effects.wake.push((*lane, Woken::Table(Some(Back { row: *row, nacks }))));
                if let Some(message) = resealed.filter(|message| message.nacks == MANY_NACKS) {
                    effects.tell_sender(message, MessageState::Queued, Some(reason.as_str()));
                }
            }
            News::Refused { row, reason, .. } => {
                let killed = outbox::kill(db, *row, None, reason.as_str(), Voucher::Recipient, now).await?;
                effects.tell_end(killed, reason.as_str());
            }
            News::Ended { row, reason } => {
                let killed = outbox::kill(db, *row, None, reason, Voucher::Broker, now).await?;
                effects.tell_end(killed, reason);
            }
        }
    }
    for message in outbox::deliver(db, &delivered, now).await? {
        effects.tell_sender(message, MessageState::Delivered, None);
    }
    Ok(())
}

/// Notes a read receipt. What is read was delivered, whatever has become of its receipt: both are told.
pub(super) async fn note_read(
    db: &mut Connection,
    id: &ClientMessageId,
    recipient: NodeId,
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let Some(row) = outbox::sent_to(db, id, recipient).await? else { return Ok(()) };
    for message in outbox::deliver(db, &[row], now).await? {
        effects.tell_sender(message, MessageState::Delivered, None);
    }
    if let Some(message) = outbox::mark_read(db, row, now).await? {
        effects.tell_sender(message, MessageState::Read, None);
    }
    Ok(())
}

/// Ends messages that ran out of time here, and tells of them; says how many. Of those without an answer from the broker
/// nobody knows whether they have arrived.
pub(super) async fn expire(
    db: &mut Connection,
    now: Timestamp,
    unanswered: &[i64],
    effects: &mut Effects,
) -> waxwing_sqlite::Result<u64> {
    outbox::doubt(&mut *db, unanswered, Some(now), None).await?;
    let expired = outbox::expire(db, now, SWEEP).await?;
    let count = expired.len() as u64;
    for mut message in expired {
        // The state says all of it otherwise.
        let reason = message.reason.take().filter(|reason| reason != MessageState::Expired.as_str());
        effects.tell_sender(message, MessageState::Expired, reason.as_deref());
    }
    Ok(count)
}

impl Effects {
    /// Tells the app that sent it that a message has ended.
    pub(super) fn tell_end(&mut self, killed: Option<Affected>, reason: &str) {
        let state = if reason == "expired" { MessageState::Expired } else { MessageState::Dead };
        if let Some(mut message) = killed {
            let said = message.reason.take().filter(|_| message.kind == Kind::Message);
            self.tell_sender(message, state, Some(said.as_deref().unwrap_or(reason)));
        }
    }
}
