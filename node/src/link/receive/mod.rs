//! From the broker to the inbox: open, verify, store, and only then settle.
//!
//! Deliveries are worked on in stretches: whatever has arrived is opened, stored in one transaction, and settled with
//! one frame. A box that does not open is refused by a signed nack and never stored as a message.

mod belief;
mod news;
mod open;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tracing::info;
use waxwing_crypto::membership::Roster;
use waxwing_crypto::sealing::{Nack, NackReason, ReceivingSession};
use waxwing_crypto::{NodeId, SessionId, WireId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Deliver, Delivery, Envelope, Notice, Settle, Settlement, ToBroker};

use self::belief::InVain;
use self::open::Refusal;
use super::Ended;
use super::connection::Context;
use crate::store::quarantine::Quarantined;
use crate::writer::{Delivered, Stored};

/// Most deliveries worked on as one.
const STRETCH: usize = limits::WINDOW_ITEMS;
/// Most envelope bytes worked on as one.
const STRETCH_BYTES: usize = limits::WINDOW_BYTES;

/// Works on deliveries until the link ends.
pub(super) async fn run(context: &Context, mut deliveries: mpsc::Receiver<Deliver>) -> Ended {
    let mut receiver = Receiver { context, sessions: HashMap::new(), in_vain: InVain::default(), settled: 0 };
    loop {
        match receiver.stretch(&mut deliveries).await {
            Ok(()) => {}
            Err(ended) => return ended,
        }
    }
}

struct Receiver<'a> {
    context: &'a Context,
    sessions: HashMap<SessionId, (NodeId, ReceivingSession)>,
    in_vain: InVain,
    /// The last delivery settled.
    settled: u64,
}

/// What one stretch will become.
#[derive(Default)]
struct Work {
    delivered: Delivered,
    /// One per envelope, in delivery order.
    answers: Vec<Answer>,
    notices: Vec<Notice>,
}

/// What to answer for one envelope.
enum Answer {
    /// What the writer says of the next item stored.
    Stored { from: NodeId, id: WireId, seal: u32 },
    /// A refusal.
    Nack(Settlement),
}

impl Receiver<'_> {
    async fn stretch(&mut self, deliveries: &mut mpsc::Receiver<Deliver>) -> Result<(), Ended> {
        let mut deliver = deliveries.recv().await.ok_or_else(|| Ended::Lost("this link is ending".into()))?;
        let mut work = Work::default();
        let (mut through, mut count, mut bytes) = (self.settled, 0, 0);
        let tail = loop {
            for delivery in deliver.items {
                if delivery.number() != through + 1 {
                    return Err(Ended::Lost("the broker's deliveries are not numbered in order".into()));
                }
                through += 1;
                count += 1;
                match delivery {
                    Delivery::Envelope(envelope) => {
                        bytes += envelope.env.len();
                        self.open(&envelope, &mut work).await?;
                    }
                    Delivery::Notice(notice) => work.notices.push(notice),
                }
            }
            if count >= STRETCH || bytes >= STRETCH_BYTES {
                break deliver.tail;
            }
            match deliveries.try_recv() {
                Ok(next) => deliver = next,
                Err(_) => break deliver.tail,
            }
        };
        if !tail {
            self.context.mesh.set_caught_up(false);
        }
        if count > 0 {
            self.store_and_settle(work, through).await?;
            self.context.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        if tail {
            self.context.mesh.set_caught_up(true);
        }
        Ok(())
    }

    /// Commits a stretch, then says so.
    async fn store_and_settle(&mut self, mut work: Work, through: u64) -> Result<(), Ended> {
        let context = self.context;
        work.delivered.news = self.news(&work.notices).await?;
        work.delivered.through = through;
        let stored = context.mesh.writer.received(work.delivered).await;
        // Not settled, so the broker keeps it: a new link is given it again.
        let mut stored = stored.map_err(|error| Ended::Lost(error.to_string()))?.into_iter();
        let mut items = Vec::with_capacity(work.answers.len());
        for answer in work.answers {
            items.push(match answer {
                Answer::Nack(nack) => nack,
                Answer::Stored { from, id, seal } => match stored.next() {
                    Some(Stored::Received(receipt)) => Settlement::Receipt(receipt),
                    Some(Stored::Refused(reason)) => self.nack(from, id, seal, reason)?,
                    None => return Err(Ended::Database("the writer gave too few answers".into())),
                },
            });
        }
        self.settled = through;
        let settle = ToBroker::Settle(Settle { through, items });
        context.out.send(settle).await.map_err(|_| Ended::Lost("this link is ending".into()))
    }

    /// Opens one envelope, and notes what is to be stored and answered.
    async fn open(&mut self, envelope: &Envelope, work: &mut Work) -> Result<(), Ended> {
        let (from, id, seal) = (envelope.from, envelope.id, envelope.seal);
        match self.try_open(envelope, work).await {
            Ok(item) => {
                work.delivered.items.push(item);
                work.answers.push(Answer::Stored { from, id, seal });
                Ok(())
            }
            Err(Refusal::Nack(reason)) => {
                info!(%from, %id, %reason, "an envelope was refused");
                if reason == NackReason::BadSeal {
                    let size = envelope.env.len() as u64;
                    work.delivered.quarantined.push(Quarantined {
                        sender: from,
                        wire_id: id,
                        seal,
                        reason,
                        size,
                    });
                }
                work.answers.push(Answer::Nack(self.nack(from, id, seal, reason)?));
                Ok(())
            }
            Err(Refusal::Ended(ended)) => Err(ended),
        }
    }

    fn nack(&self, to: NodeId, id: WireId, seal: u32, reason: NackReason) -> Result<Settlement, Ended> {
        let mesh = &self.context.mesh;
        let log = matches!(reason, NackReason::LogMismatch | NackReason::UnknownSender)
            .then(|| mesh.roster(Roster::head));
        let nack = Nack { to, id, seal, reason, log };
        nack.sign(&mesh.identity.signing)
            .map(Settlement::Nack)
            .map_err(|error| Ended::Lost(error.to_string()))
    }
}
