//! Opening one envelope: find or open its session, believe the sender, decrypt. Authentic first; whether it is a
//! duplicate is the writer's question.

use std::time::Duration;

use tracing::debug;
use waxwing_crypto::sealing::{
    self, Header, Kind, NackReason, Opening, Parties, Plaintext, PrekeySecret, ReceivingSession,
};
use waxwing_crypto::storage::Place;
use waxwing_crypto::{Error as CryptoError, NodeId, SessionId};
use waxwing_protocol::limits;
use waxwing_protocol::link::Envelope;

use super::{Ended, Receiver, Work};
use crate::clock;
use crate::content::{Content, is_content_type, is_meta, is_thread};
use crate::requests::Live;
use crate::store::inbox::NewItem;
use crate::store::lanes::InLane;
use crate::store::prekeys;
use crate::store::sessions::{self, NewSession};
use crate::upkeep::prekey_place;
use crate::writer::ReceivedItem;

/// Sessions kept at hand. The rest are in the database.
const SESSIONS: usize = 1_024;

impl Receiver<'_> {
    pub(super) async fn try_open(
        &mut self,
        delivered: &Envelope,
        work: &mut Work,
    ) -> Result<ReceivedItem, Refusal> {
        let mesh = &self.context.mesh;
        if delivered.env.len() > limits::ENVELOPE {
            return Err(Refusal::Nack(NackReason::TooLarge));
        }
        let envelope =
            sealing::Envelope::decode(&delivered.env).map_err(|_| Refusal::Nack(NackReason::BadSeal))?;
        self.know_session(delivered, &envelope, work).await?;
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
        if !is_of_this_version(&plaintext) {
            return Err(Refusal::Nack(NackReason::UnsupportedVersion));
        }
        let live = if plaintext.kind.is_live() {
            let live = Live::read(delivered.from, delivered.exp, &plaintext);
            Some(Box::new(live.ok_or(Refusal::Nack(NackReason::UnsupportedVersion))?))
        } else {
            None
        };
        let signer = *session.signer().as_bytes();
        Ok(self.item(delivered, signer, plaintext, live))
    }

    fn item(
        &self,
        delivered: &Envelope,
        signer: [u8; 32],
        plaintext: Plaintext,
        live: Option<Box<Live>>,
    ) -> ReceivedItem {
        let mesh = &self.context.mesh;
        let reads = plaintext.reply_to.clone().filter(|_| plaintext.kind == Kind::Read);
        // What nobody waits for any more is not begun. All that follows a request finds out by itself.
        let grace = if plaintext.kind == Kind::Request { Duration::ZERO } else { limits::EXPIRY_GRACE };
        let content = Content {
            content_type: plaintext.content_type,
            body: plaintext.body,
            meta: plaintext.meta,
            reply_to: plaintext.reply_to,
            thread: None,
        };
        let expired = mesh.clock.broker_now().since(delivered.exp) > grace;
        let blocked = mesh.blocks(&delivered.from).then_some(NackReason::Blocked);
        ReceivedItem {
            new: NewItem {
                cursor: None,
                lane: InLane { sender: delivered.from, signer, priority: delivered.pri },
                counter: plaintext.counter,
                content: match &live {
                    Some(_) => Vec::new(),
                    None => content.seal_incoming(&mesh.keys, &delivered.from, &plaintext.id),
                },
                client_id: plaintext.id,
                from_app: plaintext.from_app,
                to_app: plaintext.to_app,
                thread: plaintext.thread,
                sent_at: plaintext.sent_at,
                received_at: clock::now(),
                late: false,
                wants_read: plaintext.wants_read,
                receipt: plaintext.receipt_secret.receipt(&delivered.id),
            },
            content,
            void: plaintext.void,
            unwelcome: blocked.or(expired.then_some(NackReason::ExpiredHere)),
            reads,
            live,
        }
    }

    /// Makes sure that an envelope's session is at hand: known, in the database, or opened by the envelope itself.
    async fn know_session(
        &mut self,
        delivered: &Envelope,
        envelope: &sealing::Envelope,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let from = delivered.from;
        if self.sessions.contains_key(&envelope.session) {
            return Ok(());
        }
        let mesh = &self.context.mesh;
        if let Some(sealed) = sessions::find(mesh.db.brief(), from, envelope.session).await? {
            let secret = mesh.keys.open(session_place(&envelope.session), &sealed)?;
            self.keep(from, ReceivingSession::restore(envelope.session, &secret)?);
            return Ok(());
        }
        let Some(signed) =
            envelope.opening.as_ref().filter(|signed| Opening::session_id(signed) == envelope.session)
        else {
            return Err(Refusal::Nack(NackReason::UnknownSession));
        };
        let (opening, signer) = self.believe(delivered, signed).await?;
        let secret = prekeys::secret(mesh.db.brief(), opening.prekey).await?;
        let secret = secret.ok_or(Refusal::Nack(NackReason::UnknownPrekey))?;
        let secret = mesh.keys.open(prekey_place(&opening.prekey.as_u64().to_be_bytes()), &secret)?;
        let prekey = PrekeySecret::from_seed(opening.prekey, &secret)?;
        let parties = Parties { mesh: mesh.identity.mesh, from, to: mesh.identity.node };
        let session = Opening::accept(signed, &parties, &signer, &prekey).map_err(|error| match error {
            CryptoError::BadSignature(_)
            | CryptoError::Malformed(_)
            | CryptoError::DoesNotOpen
            | CryptoError::BadProof(_)
            | CryptoError::TooLarge(_)
            | CryptoError::SessionEnded
            | CryptoError::NoKey
            | CryptoError::Elsewhere(_)
            | CryptoError::NotAllowed(_) => Refusal::Nack(NackReason::BadSeal),
        })?;
        debug!(peer = %from, session = %session.id(), "a peer opened a session");
        work.delivered.sessions.push(self.stored(from, &session)?);
        self.keep(from, session);
        Ok(())
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
}

/// Whether it has what its kind wants, in a form that an app may have written.
fn is_of_this_version(plaintext: &Plaintext) -> bool {
    let Plaintext { kind, to_app, reply_to, content_type, meta, thread, .. } = plaintext;
    let (addressed, written) = match kind {
        Kind::Message => (true, true),
        Kind::Request => (to_app.is_some(), true),
        Kind::Progress | Kind::Reply | Kind::Refusal => (reply_to.is_some(), true),
        Kind::Read | Kind::Cancel => (reply_to.is_some(), false),
    };
    let well = is_content_type(content_type) && is_meta(meta) && thread.as_deref().is_none_or(is_thread);
    addressed && (well || !written)
}

/// Why an envelope is not stored.
pub(super) enum Refusal {
    /// The sender is told.
    Nack(NackReason),
    /// The link cannot go on.
    Ended(Ended),
}

impl From<waxwing_sqlite::Error> for Refusal {
    fn from(error: waxwing_sqlite::Error) -> Self {
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
