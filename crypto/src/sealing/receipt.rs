//! What comes back: a receipt that only the two ends can compute, or a nack that the recipient signs.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec;
use crate::error::{Error, Result};
use crate::id::{NodeId, Receipt, WireId};
use crate::keys::{Purpose, Signed, SigningKey, VerifyingKey};
use crate::mac::{first, hmac, same};
use crate::membership::LogHead;

/// 16 bytes inside a message that only its sender and whoever opened it know.
#[derive(Clone, Eq, PartialEq)]
pub struct ReceiptSecret(Zeroizing<[u8; 16]>);

impl ReceiptSecret {
    /// Length in bytes.
    pub const SIZE: usize = 16;

    /// Takes 16 bytes.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn reveal(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// The proof that the message with this wire id was opened: HMAC-SHA256(secret, wire id), first 16 bytes.
    pub fn receipt(&self, id: &WireId) -> Receipt {
        Receipt::from_bytes(first(&hmac(&*self.0, &[id.as_bytes()])))
    }

    /// Whether `receipt` proves it. Constant time.
    pub fn verify(&self, id: &WireId, receipt: &Receipt) -> bool {
        same(self.receipt(id).as_bytes(), receipt.as_bytes())
    }
}

impl fmt::Debug for ReceiptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSecret(secret)")
    }
}

/// A recipient's refusal of one seal of one message. Travels signed with [`Purpose::Nack`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Nack {
    /// The sender it is for.
    pub to: NodeId,
    /// The message.
    pub id: WireId,
    /// The seal that was refused; one for an older seal than the sender's row is ignored.
    pub seal: u32,
    /// Why.
    pub reason: NackReason,
    /// The end of the recipient's log, with `log_mismatch` and `unknown_sender`.
    pub log: Option<LogHead>,
}

/// Why an envelope was refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NackReason {
    /// The session is not known, and no opening came with the envelope.
    UnknownSession,
    /// The opening is for a prekey whose secret is gone.
    UnknownPrekey,
    /// The sender is no member of the recipient's log, or the session's key is no longer its.
    UnknownSender,
    /// The two logs differ at the opening's position.
    LogMismatch,
    /// The box does not open.
    BadSeal,
    /// Larger than a message may be.
    TooLarge,
    /// The plaintext is of a version or kind that the recipient does not know.
    UnsupportedVersion,
    /// Its expiry has passed at the recipient too.
    ExpiredHere,
    /// A person there has said that no mail of this sender is wanted.
    Blocked,
}

impl NackReason {
    /// Whether the sender should seal the message anew; otherwise it is dead.
    pub const fn is_resealable(self) -> bool {
        match self {
            Self::UnknownSession
            | Self::UnknownPrekey
            | Self::UnknownSender
            | Self::LogMismatch
            | Self::BadSeal => true,
            Self::TooLarge | Self::UnsupportedVersion | Self::ExpiredHere | Self::Blocked => false,
        }
    }

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSession => "unknown_session",
            Self::UnknownPrekey => "unknown_prekey",
            Self::UnknownSender => "unknown_sender",
            Self::LogMismatch => "log_mismatch",
            Self::BadSeal => "bad_seal",
            Self::TooLarge => "too_large",
            Self::UnsupportedVersion => "unsupported_version",
            Self::ExpiredHere => "expired_here",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for NackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Nack {
    /// Most bytes of an encoded nack.
    pub const MAX: usize = 512;

    /// Signs this nack.
    ///
    /// # Errors
    /// `Malformed` only if encoding fails.
    pub fn sign(&self, key: &SigningKey) -> Result<Signed> {
        let bytes = rmp_serde::to_vec_named(self).map_err(|_| Error::Malformed("nack"))?;
        Ok(Signed::new(key, Purpose::Nack, bytes))
    }

    /// Believes a nack if the recipient's current signing key signed it and it is for this message of this sender.
    ///
    /// # Errors
    /// `BadSignature` or `Malformed`.
    pub fn verify(signed: &Signed, key: &VerifyingKey, to: NodeId, id: WireId) -> Result<Self> {
        if signed.bytes.len() > Self::MAX {
            return Err(Error::TooLarge("nack"));
        }
        let bytes = signed.verified(key, Purpose::Nack)?;
        let nack: Self = codec::exactly(bytes, "nack")?;
        if nack.to == to && nack.id == id { Ok(nack) } else { Err(Error::Malformed("nack")) }
    }
}
