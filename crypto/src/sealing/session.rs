//! Sessions: one KEM and one signature, shared by up to 2^20 messages in one direction between two nodes.

use std::fmt;
use std::time::Duration;

use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::envelope::{Envelope, Header};
use super::hedge::HedgedRng;
use super::plaintext::Plaintext;
use super::prekey::{Prekey, PrekeyId, PrekeySecret};
use crate::aead::{self, NONCE};
use crate::codec;
use crate::error::{Error, Result};
use crate::id::{MeshId, NodeId, SessionId, Timestamp};
use crate::keys::{Purpose, Signed, SigningKey, VerifyingKey, encapsulation};
use crate::mac::{Secret, Transcript, first, hmac};
use crate::membership::LogHead;
use crate::storage::StorageKeys;

/// A sender stops using a session after this long.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A sender stops using a session after this many messages.
pub const SESSION_MESSAGES: u32 = 1 << 20;

/// Length of an X-Wing encapsulation, in bytes.
const ENC: usize = 1_120;

/// What a sender says when it opens a session. Travels as [`Signed`] bytes, about 1.4 KiB.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Opening {
    /// Version of the construction.
    #[serde(rename = "v")]
    pub version: u8,
    /// The mesh.
    pub mesh: MeshId,
    /// Sender node.
    pub from: NodeId,
    /// Recipient node.
    pub to: NodeId,
    /// The recipient's prekey it was opened to.
    pub prekey: PrekeyId,
    /// X-Wing encapsulation, 1,120 bytes.
    #[serde(with = "serde_bytes")]
    pub enc: Vec<u8>,
    /// When, on the sender's clock.
    pub created: Timestamp,
    /// When the sender stops sealing with it. Binds the sender only: mail may wait longer.
    pub not_after: Timestamp,
    /// The end of the sender's membership log.
    pub log: LogHead,
}

impl Opening {
    /// Most bytes of an encoded opening.
    pub const MAX: usize = 2 * 1024;

    /// Reads an opening whose signature has *not* been checked: enough to find the sender and the prekey. Only
    /// [`Opening::accept`] makes it worth believing.
    ///
    /// # Errors
    /// `Malformed` or `TooLarge`.
    pub fn peek(signed: &Signed) -> Result<Self> {
        if signed.bytes.len() > Self::MAX {
            return Err(Error::TooLarge("opening"));
        }
        codec::exactly(&signed.bytes, "opening")
    }

    /// The session an opening makes: the first 16 bytes of SHA-256 over its signed bytes.
    pub fn session_id(signed: &Signed) -> SessionId {
        SessionId::from_bytes(first(&Sha256::digest(&signed.bytes).into()))
    }

    /// The recipient's end of the session, if the sender's current signing key signed the opening, it is for these
    /// parties, and the prekey is the one named. About 230 µs.
    ///
    /// # Errors
    /// `BadSignature`, `Malformed`, or `DoesNotOpen` if the encapsulation is damaged.
    pub fn accept(
        signed: &Signed,
        parties: &Parties,
        signer: &VerifyingKey,
        prekey: &PrekeySecret,
    ) -> Result<ReceivingSession> {
        signed.verified(signer, Purpose::Opening)?;
        let opening = Self::peek(signed)?;
        let meant = opening.version == super::VERSION
            && opening.parties() == *parties
            && opening.prekey == prekey.id();
        if !meant {
            return Err(Error::Malformed("opening"));
        }
        let enc = encapsulation(&opening.enc)?;
        let context: AeadCtxR<ChaCha20Poly1305, HkdfSha256, XWing> =
            hpke::setup_receiver(&OpModeR::Base, &prekey.key.expand()?, &enc, opening.info().as_bytes())
                .map_err(|_| Error::DoesNotOpen)?;
        let keys = SessionKeys::export(|label, out| context.export(label, out))?;
        Ok(ReceivingSession {
            id: Self::session_id(signed),
            signer: *signer,
            not_after: opening.not_after,
            keys,
        })
    }

    fn parties(&self) -> Parties {
        Parties { mesh: self.mesh, from: self.from, to: self.to }
    }

    /// HPKE's `info`: a label, and every field but the encapsulation.
    fn info(&self) -> Transcript {
        Transcript::new(b"waxwing session v1")
            .field(&[self.version])
            .field(self.mesh.as_bytes())
            .field(self.from.as_bytes())
            .field(self.to.as_bytes())
            .number(self.prekey.as_u64())
            .number(self.created.as_millis())
            .number(self.not_after.as_millis())
            .number(self.log.seq)
            .field(self.log.hash.as_bytes())
    }
}

/// The two ends of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parties {
    /// The mesh.
    pub mesh: MeshId,
    /// Sender node.
    pub from: NodeId,
    /// Recipient node.
    pub to: NodeId,
}

/// The sender's end. Lives in memory only: a restart opens a new one.
pub struct SendingSession {
    id: SessionId,
    opening: Signed,
    prekey: PrekeyId,
    log: LogHead,
    not_after: Timestamp,
    sealed: u32,
    keys: SessionKeys,
}

impl SendingSession {
    /// Opens a session to a prekey that [`Prekey::verify`] has accepted. About 140 µs.
    ///
    /// The KEM's randomness is HMAC(hedge key, OS random ‖ info): a machine whose random source repeats after a snapshot
    /// still gets different secrets for different openings, and a source that somebody else knows is of no use to him.
    ///
    /// # Errors
    /// `Malformed` if the prekey is not the recipient's.
    pub fn open(
        rng: &mut impl CryptoRng,
        storage: &StorageKeys,
        signing: &SigningKey,
        parties: &Parties,
        prekey: &Prekey,
        log: LogHead,
        now: Timestamp,
    ) -> Result<Self> {
        if prekey.node != parties.to {
            return Err(Error::Malformed("prekey"));
        }
        let not_after = now.plus(SESSION_LIFETIME);
        let mut opening = Opening {
            version: super::VERSION,
            mesh: parties.mesh,
            from: parties.from,
            to: parties.to,
            prekey: prekey.id,
            enc: Vec::with_capacity(ENC),
            created: now,
            not_after,
            log,
        };
        let info = opening.info();
        let mut rng = HedgedRng::new(rng, storage.hedge(), info.as_bytes());
        let (enc, context): (_, AeadCtxS<ChaCha20Poly1305, HkdfSha256, XWing>) =
            hpke::setup_sender_with_rng(&OpModeS::Base, prekey.key.kem(), info.as_bytes(), &mut rng)
                .map_err(|_| Error::Malformed("prekey"))?;
        opening.enc.extend_from_slice(&enc.to_bytes());
        let bytes = rmp_serde::to_vec_named(&opening).map_err(|_| Error::Malformed("opening"))?;
        let opening = Signed::new(signing, Purpose::Opening, bytes);
        let keys = SessionKeys::export(|label, out| context.export(label, out))?;
        Ok(Self {
            id: Opening::session_id(&opening),
            opening,
            prekey: prekey.id,
            log,
            not_after,
            sealed: 0,
            keys,
        })
    }

    /// The session.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The prekey it was opened to.
    pub const fn prekey(&self) -> PrekeyId {
        self.prekey
    }

    /// The end of the log that its opening names.
    pub const fn log(&self) -> LogHead {
        self.log
    }

    /// Whether it may seal another message at this time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.not_after && self.sealed < SESSION_MESSAGES
    }

    /// Seals one message. `with_opening` until a receipt shows that the recipient has the session. About 3 µs for 1 KiB.
    ///
    /// # Errors
    /// `SessionEnded` when [`SendingSession::is_live`] is false.
    pub fn seal(
        &mut self,
        rng: &mut impl CryptoRng,
        header: &Header,
        plaintext: &Plaintext,
        now: Timestamp,
        with_opening: bool,
    ) -> Result<Envelope> {
        if !self.is_live(now) {
            return Err(Error::SessionEnded);
        }
        self.sealed += 1;
        let mut text = plaintext.encode()?;
        let aad = header.aad(&self.id);
        let nonce = self.keys.nonce(rng, aad.as_bytes(), &text);
        let tag = aead::seal(&self.keys.message, &nonce, aad.as_bytes(), &mut text);
        text.extend_from_slice(&tag);
        let sealed = std::mem::take(&mut *text).into();
        Ok(Envelope { session: self.id, opening: with_opening.then(|| self.opening.clone()), nonce, sealed })
    }
}

impl fmt::Debug for SendingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendingSession({}, {} sealed)", self.id, self.sealed)
    }
}

/// The recipient's end.
pub struct ReceivingSession {
    id: SessionId,
    signer: VerifyingKey,
    not_after: Timestamp,
    keys: SessionKeys,
}

/// The stored form of a [`ReceivingSession`], to be encrypted at rest.
#[derive(Deserialize, Serialize)]
struct StoredSession {
    signer: VerifyingKey,
    not_after: Timestamp,
    #[serde(with = "serde_bytes")]
    message: [u8; 32],
    #[serde(with = "serde_bytes")]
    nonce: [u8; 32],
}

/// These are copies of what [`Secret`] keeps.
impl Drop for StoredSession {
    fn drop(&mut self) {
        self.message.zeroize();
        self.nonce.zeroize();
    }
}

impl ReceivingSession {
    /// The session.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The signing key that opened it. Its box is worth believing only while this is the sender's current key.
    pub const fn signer(&self) -> &VerifyingKey {
        &self.signer
    }

    /// When the sender stops sealing with it, on the sender's clock.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Opens one message.
    ///
    /// # Errors
    /// `DoesNotOpen`, always the same whatever is wrong; `Malformed` if it opens and is no message this version knows.
    pub fn open(&self, header: &Header, envelope: &Envelope) -> Result<Plaintext> {
        if envelope.session != self.id {
            return Err(Error::DoesNotOpen);
        }
        let mut text = Zeroizing::new(envelope.sealed.to_vec());
        aead::open(&self.keys.message, &envelope.nonce, header.aad(&self.id).as_bytes(), &mut text)?;
        Plaintext::decode(&text)
    }

    /// Reveals the session, to store it encrypted.
    ///
    /// # Errors
    /// `Malformed` only if encoding fails.
    pub fn reveal(&self) -> Result<Zeroizing<Vec<u8>>> {
        let stored = StoredSession {
            signer: self.signer,
            not_after: self.not_after,
            message: *self.keys.message,
            nonce: *self.keys.nonce,
        };
        rmp_serde::to_vec_named(&stored).map(Zeroizing::new).map_err(|_| Error::Malformed("session"))
    }

    /// Takes a stored session.
    ///
    /// # Errors
    /// `Malformed` if it is none.
    pub fn restore(id: SessionId, bytes: &[u8]) -> Result<Self> {
        let stored: StoredSession = rmp_serde::from_slice(bytes).map_err(|_| Error::Malformed("session"))?;
        let keys =
            SessionKeys { message: Zeroizing::new(stored.message), nonce: Zeroizing::new(stored.nonce) };
        Ok(Self { id, signer: stored.signer, not_after: stored.not_after, keys })
    }
}

impl fmt::Debug for ReceivingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceivingSession({})", self.id)
    }
}

/// What both ends derive from HPKE's exporter (RFC 9180, 5.3).
struct SessionKeys {
    message: Secret,
    nonce: Secret,
}

impl SessionKeys {
    fn export(export: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>) -> Result<Self> {
        let key = |label: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            export(label, &mut *key).map_err(|_| Error::DoesNotOpen)?;
            Ok(key)
        };
        Ok(Self { message: key(b"waxwing message key v1")?, nonce: key(b"waxwing nonce key v1")? })
    }

    /// HMAC-SHA256(nonce key, OS random ‖ AAD ‖ plaintext), first 24 bytes. A forked machine whose random source
    /// repeats cannot use one nonce for two texts.
    fn nonce(&self, rng: &mut impl CryptoRng, aad: &[u8], text: &[u8]) -> [u8; NONCE] {
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        first(&hmac(&*self.nonce, &[&random, aad, text]))
    }
}

#[cfg(test)]
mod tests;
