//! From the broker to the inbox: open, verify, store, and only then settle.
//!
//! Deliveries are worked on in stretches: whatever has arrived is opened, stored in one transaction, and settled with
//! one frame. A box that does not open is refused by a signed nack and never stored as a message.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use waxwing_crypto::membership::Roster;
use waxwing_crypto::sealing::{
    self, Header, Nack, NackReason, Opening, Parties, Plaintext, PrekeySecret, ReceivingSession,
};
use waxwing_crypto::storage::Place;
use waxwing_crypto::{Error as CryptoError, NodeId, SessionId, WireId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Deliver, Delivery, Envelope, Notice, NoticeKind, Settle, Settlement, ToBroker};

use super::Ended;
use super::connection::{self, Context};
use crate::clock;
use crate::content::Content;
use crate::store::inbox::NewItem;
use crate::store::lanes::InLane;
use crate::store::outbox::{self, Sent};
use crate::store::prekeys;
use crate::store::quarantine::Quarantined;
use crate::store::sessions::{self, NewSession};
use crate::upkeep::prekey_place;
use crate::writer::{Delivered, News, ReceivedItem, Stored};

/// Most deliveries worked on as one.
const STRETCH: usize = limits::WINDOW_ITEMS;
/// Most envelope bytes worked on as one.
const STRETCH_BYTES: usize = limits::WINDOW_BYTES;
/// Sessions kept at hand. The rest are in the database.
const SESSIONS: usize = 1_024;

/// Works on deliveries until the link ends.
pub(super) async fn run(context: &Context, mut deliveries: mpsc::Receiver<Deliver>) -> Ended {
    let mut receiver = Receiver { context, sessions: HashMap::new(), settled: 0 };
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
        let stored = context.mesh.writer.received(work.delivered).await;
        // Not settled, so the broker keeps it: a new link is given it again.
        let mut stored = stored.map_err(|error| Ended::Lost(error.to_string()))?.into_iter();
        let mut items = Vec::with_capacity(work.answers.len());
        for answer in work.answers {
            items.push(match answer {
                Answer::Nack(nack) => nack,
                Answer::Stored { from, id, seal } => match stored.next() {
                    Some(Stored::Received(receipt)) => Settlement::Receipt(receipt),
                    Some(Stored::Expired) => self.nack(from, id, seal, NackReason::ExpiredHere)?,
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

    async fn try_open(&mut self, delivered: &Envelope, work: &mut Work) -> Result<ReceivedItem, Refusal> {
        let mesh = &self.context.mesh;
        if delivered.env.len() > limits::ENVELOPE {
            return Err(Refusal::Nack(NackReason::TooLarge));
        }
        let envelope =
            sealing::Envelope::decode(&delivered.env).map_err(|_| Refusal::Nack(NackReason::BadSeal))?;
        self.know_session(delivered.from, &envelope, work).await?;
        let (owner, session) =
            self.sessions.get(&envelope.session).ok_or(Refusal::Nack(NackReason::UnknownSession))?;
        // For every box, not only the opening: a key that no longer speaks for its node opens nothing.
        let speaks = mesh
            .roster(|roster| roster.member(&delivered.from).is_some_and(|m| m.signing == *session.signer()));
        if *owner != delivered.from || !speaks {
            return Err(Refusal::Nack(NackReason::UnknownSender));
        }
        let header = Header {
            mesh: mesh.identity.mesh,
            from: delivered.from,
            to: mesh.identity.node,
            id: delivered.id,
            priority: delivered.pri,
            expires: delivered.exp,
        };
        let plaintext = match session.open(&header, &envelope) {
            Ok(plaintext) => plaintext,
            Err(CryptoError::Malformed(_)) => return Err(Refusal::Nack(NackReason::UnsupportedVersion)),
            Err(_) => return Err(Refusal::Nack(NackReason::BadSeal)),
        };
        if plaintext.body.len() > limits::BODY || plaintext.meta.len() > limits::META {
            return Err(Refusal::Nack(NackReason::TooLarge));
        }
        let signer = *session.signer().as_bytes();
        Ok(self.item(delivered, signer, plaintext))
    }

    fn item(&self, delivered: &Envelope, signer: [u8; 32], plaintext: Plaintext) -> ReceivedItem {
        let mesh = &self.context.mesh;
        let content = Content {
            content_type: plaintext.content_type,
            body: plaintext.body,
            meta: plaintext.meta,
            reply_to: plaintext.reply_to,
            thread: None,
        };
        let expired = mesh.clock.broker_now().since(delivered.exp) > limits::EXPIRY_GRACE;
        ReceivedItem {
            new: NewItem {
                cursor: None,
                lane: InLane { sender: delivered.from, signer, priority: delivered.pri },
                counter: plaintext.counter,
                content: content.seal_incoming(&mesh.keys, &delivered.from, &plaintext.id),
                client_id: plaintext.id,
                from_app: plaintext.from_app,
                to_app: plaintext.to_app,
                thread: plaintext.thread,
                sent_at: plaintext.sent_at,
                received_at: clock::now(),
                late: false,
                receipt: plaintext.receipt_secret.receipt(&delivered.id),
            },
            void: plaintext.void,
            expired,
        }
    }

    /// Makes sure that an envelope's session is at hand: known, in the database, or opened by the envelope itself.
    async fn know_session(
        &mut self,
        from: NodeId,
        envelope: &sealing::Envelope,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        if self.sessions.contains_key(&envelope.session) {
            return Ok(());
        }
        let mesh = &self.context.mesh;
        if let Some(sealed) = sessions::find(&mesh.db, from, envelope.session).await? {
            let secret = mesh.keys.open(session_place(&envelope.session), &sealed)?;
            self.keep(from, ReceivingSession::restore(envelope.session, &secret)?);
            return Ok(());
        }
        let Some(signed) =
            envelope.opening.as_ref().filter(|signed| Opening::session_id(signed) == envelope.session)
        else {
            return Err(Refusal::Nack(NackReason::UnknownSession));
        };
        let opening = Opening::peek(signed).map_err(|_| Refusal::Nack(NackReason::BadSeal))?;
        self.know_log(&opening).await?;
        let signer = mesh.roster(|roster| roster.member(&from).map(|member| member.signing));
        let signer = signer.ok_or(Refusal::Nack(NackReason::UnknownSender))?;
        let secret = prekeys::secret(&mesh.db, opening.prekey).await?;
        let secret = secret.ok_or(Refusal::Nack(NackReason::UnknownPrekey))?;
        let secret = mesh.keys.open(prekey_place(&opening.prekey.as_u64().to_be_bytes()), &secret)?;
        let prekey = PrekeySecret::from_seed(opening.prekey, &secret)?;
        let parties = Parties { mesh: mesh.identity.mesh, from, to: mesh.identity.node };
        let session = Opening::accept(signed, &parties, &signer, &prekey).map_err(|error| match error {
            // Perhaps it has changed its key, and this node does not know yet.
            CryptoError::BadSignature(_) => Refusal::Nack(NackReason::UnknownSender),
            CryptoError::Malformed(_)
            | CryptoError::DoesNotOpen
            | CryptoError::TooLarge(_)
            | CryptoError::SessionEnded
            | CryptoError::NotAllowed(_) => Refusal::Nack(NackReason::BadSeal),
        })?;
        debug!(peer = %from, session = %session.id(), "a peer opened a session");
        work.delivered.sessions.push(self.stored(from, &session)?);
        self.keep(from, session);
        Ok(())
    }

    /// Compares the log that an opening names with this node's, fetching what is new first.
    async fn know_log(&self, opening: &Opening) -> Result<(), Refusal> {
        let mesh = &self.context.mesh;
        if opening.log.seq > mesh.roster(|roster| roster.head().seq) {
            match self.context.calls.fetch_log(mesh).await {
                Ok(()) => {}
                Err(error) => return Err(Refusal::Ended(connection::ended(error))),
            }
        }
        match mesh.roster(|roster| roster.hash_at(opening.log.seq)) {
            None => Err(Refusal::Nack(NackReason::UnknownSender)),
            Some(hash) if hash == opening.log.hash => Ok(()),
            Some(_) => {
                warn!(peer = %opening.from, seq = opening.log.seq, "log_mismatch: a peer holds another membership log");
                Err(Refusal::Nack(NackReason::LogMismatch))
            }
        }
    }

    fn stored(&self, sender: NodeId, session: &ReceivingSession) -> Result<NewSession, Refusal> {
        let id = session.id();
        let secret = self.context.mesh.keys.seal(&mut crate::rng(), session_place(&id), &session.reveal()?);
        Ok(NewSession { id, sender, opened_at: clock::now(), not_after: session.not_after(), secret })
    }

    fn keep(&mut self, from: NodeId, session: ReceivingSession) {
        if self.sessions.len() >= SESSIONS {
            self.sessions.clear();
        }
        self.sessions.insert(session.id(), (from, session));
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

    /// Verifies what the broker reports of messages this node sent. What does not verify is dropped, and said.
    async fn news(&self, notices: &[Notice]) -> Result<Vec<News>, Ended> {
        if notices.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: sqlx::Error| Ended::Database(error.to_string());
        let ids: Vec<WireId> = notices.iter().map(|notice| notice.id).collect();
        let mut db = self.context.mesh.db.acquire().await.map_err(failed)?;
        let sent = outbox::by_wire_id(&mut db, &ids).await.map_err(failed)?;
        drop(db);
        let mut news = Vec::with_capacity(notices.len());
        let mut refetch = false;
        for notice in notices {
            let Some(sent) = sent.get(&notice.id) else {
                warn!(id = %notice.id, "the broker reports on a message that this node never sent");
                continue;
            };
            refetch |= self.verify(&notice.kind, sent, &mut news);
        }
        if refetch {
            self.context.log_wanted.notify_one();
        }
        Ok(news)
    }

    /// Notes one verified notice. True if the log should be fetched before the message is sealed again.
    fn verify(&self, kind: &NoticeKind, sent: &Sent, news: &mut Vec<News>) -> bool {
        let context = self.context;
        let mesh = &context.mesh;
        match kind {
            NoticeKind::Delivered { receipt } => {
                let secret =
                    mesh.keys.receipt_secret(&sent.lane.recipient, &sent.client_id, &sent.fingerprint);
                if !secret.verify(&sent.wire_id, receipt) {
                    warn!(id = %sent.wire_id, "a receipt does not verify: the message is not taken for delivered");
                    return false;
                }
                context.peers.receipted(sent.lane.recipient, &sent.wire_id);
                news.push(News::Delivered { row: sent.row });
                if let Some(ranges) = context.told.take(&sent.wire_id) {
                    news.push(News::Told { lane: sent.lane, ranges });
                }
                false
            }
            NoticeKind::Nack { nack } => {
                let signer =
                    mesh.roster(|roster| roster.former(&sent.lane.recipient).map(|member| member.signing));
                let verified =
                    signer.map(|signer| Nack::verify(nack, &signer, mesh.identity.node, sent.wire_id));
                let Some(Ok(nack)) = verified else {
                    warn!(id = %sent.wire_id, "a nack does not verify: it is ignored");
                    return false;
                };
                if nack.seal < sent.seal {
                    return false;
                }
                info!(id = %sent.wire_id, reason = %nack.reason, "a recipient refused a message");
                context.peers.end(sent.lane.recipient);
                news.push(News::Refused {
                    row: sent.row,
                    lane: sent.lane,
                    seal: nack.seal,
                    reason: nack.reason,
                    current: sent.seal,
                });
                matches!(nack.reason, NackReason::UnknownSender | NackReason::LogMismatch)
            }
            NoticeKind::Expired => {
                news.push(News::Ended { row: sent.row, reason: "expired" });
                false
            }
            NoticeKind::RevokedRecipient => {
                news.push(News::Ended { row: sent.row, reason: "revoked_recipient" });
                false
            }
        }
    }
}

/// Why an envelope is not stored.
enum Refusal {
    /// The sender is told.
    Nack(NackReason),
    /// The link cannot go on.
    Ended(Ended),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Ended(Ended::Database(error.to_string()))
    }
}

impl From<CryptoError> for Refusal {
    /// Our own stored secrets do not open: this disk is damaged.
    fn from(error: CryptoError) -> Self {
        Self::Ended(Ended::Database(error.to_string()))
    }
}

/// Where a session's secret is encrypted for.
fn session_place(id: &SessionId) -> Place<'_> {
    Place { table: "session", column: "secret", row: id.as_bytes() }
}
