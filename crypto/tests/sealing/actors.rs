//! Two nodes of a mesh, and what they say to each other.

use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{
    Envelope, Header, Kind, Opening, Parties, Plaintext, Prekey, PrekeyId, PrekeySecret, ReceiptSecret,
    ReceivingSession, SendingSession,
};
use waxwing_crypto::storage::{StorageKey, StorageKeys};
use waxwing_crypto::{Digest, MeshId, NodeId, Priority, Signed, SigningKey, Timestamp, WireId};

use super::support::Seeded;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(crate) const MESH: MeshId = MeshId::from_bytes([0x4d; 16]);

/// The end of the sender's log.
pub(crate) const LOG: LogHead = LogHead { seq: 7, hash: Digest::from_bytes([0x4c; 32]) };

/// A node's keys.
pub(crate) struct Actor {
    pub(crate) signing: SigningKey,
    pub(crate) storage: StorageKeys,
    pub(crate) node: NodeId,
}

impl Actor {
    pub(crate) fn new(n: u8) -> Self {
        let signing = SigningKey::from_seed(&[n; 32]);
        let node = signing.public().node_id();
        Self { signing, storage: StorageKey::from_bytes(&[n; 32]).keys(), node }
    }
}

/// A sender, a recipient, and the recipient's prekey.
pub(crate) struct Pair {
    pub(crate) sender: Actor,
    pub(crate) recipient: Actor,
    pub(crate) parties: Parties,
    pub(crate) prekey: Prekey,
    pub(crate) secret: PrekeySecret,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let (sender, recipient) = (Actor::new(1), Actor::new(2));
        let parties = Parties { mesh: MESH, from: sender.node, to: recipient.node };
        let (signed, secret) =
            Prekey::mint(&mut Seeded::new(3), &recipient.signing, recipient.node, None, NOW).unwrap();
        let prekey = Prekey::verify(&signed, recipient.node, &recipient.signing.public()).unwrap();
        Self { sender, recipient, parties, prekey, secret }
    }

    /// A session opened with this random source.
    pub(crate) fn open(&self, rng: &mut Seeded, now: Timestamp) -> SendingSession {
        let Self { sender, parties, prekey, .. } = self;
        SendingSession::open(rng, &sender.storage, &sender.signing, parties, prekey, LOG, now).unwrap()
    }

    /// A session, its opening, and the recipient's end.
    pub(crate) fn session(&self, seed: u8) -> (SendingSession, Signed, ReceivingSession) {
        let mut session = self.open(&mut Seeded::new(seed), NOW);
        let opening = opening_of(&mut session, &self.header(0));
        let received = self.accept(&opening).unwrap();
        (session, opening, received)
    }

    /// What the recipient makes of an opening.
    pub(crate) fn accept(&self, opening: &Signed) -> waxwing_crypto::error::Result<ReceivingSession> {
        Opening::accept(opening, &self.parties, &self.sender.signing.public(), &self.secret)
    }

    pub(crate) fn header(&self, n: u8) -> Header {
        Header {
            mesh: self.parties.mesh,
            from: self.parties.from,
            to: self.parties.to,
            id: WireId::from_bytes([n; 16]),
            priority: Priority::Next,
            expires: Timestamp::from_millis(NOW.as_millis() + 604_800_000),
        }
    }

    /// What the recipient does with the bytes of an envelope, knowing no session yet.
    pub(crate) fn receive(&self, header: &Header, bytes: &[u8]) -> Option<Plaintext> {
        let envelope = Envelope::decode(bytes).ok()?;
        let opening = envelope.opening.as_ref()?;
        self.accept(opening).ok()?.open(header, &envelope).ok()
    }
}

/// The opening that a session sends with its first messages.
pub(crate) fn opening_of(session: &mut SendingSession, header: &Header) -> Signed {
    session.seal(&mut Seeded::new(0), header, &plaintext(b""), NOW, true).unwrap().opening.unwrap()
}

/// A message with little in it but a body.
pub(crate) fn plaintext(body: &[u8]) -> Plaintext {
    Plaintext {
        id: "m-1".parse().unwrap(),
        counter: 1,
        void: Vec::new(),
        receipt_secret: ReceiptSecret::from_bytes([0x5e; 16]),
        from_app: None,
        to_app: None,
        kind: Kind::Message,
        content_type: "text/plain".into(),
        body: bytes::Bytes::copy_from_slice(body),
        meta: bytes::Bytes::new(),
        reply_to: None,
        thread: None,
        wants_read: false,
        sent_at: NOW,
    }
}

/// A prekey's secret of this number that is not the one minted.
pub(crate) fn other_secret(id: PrekeyId) -> PrekeySecret {
    PrekeySecret::from_seed(id, &[0x99; 32]).unwrap()
}
