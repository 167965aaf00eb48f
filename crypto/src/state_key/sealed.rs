//! All keys in a box for one recipient.

use std::fmt;

use bytes::Bytes;
use hpke::{OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, de};
use zeroize::Zeroizing;

use super::StateKeys;
use crate::error::{Error, Result};
use crate::keys::{SealingKey, SealingPublicKey, encapsulation};

const MALFORMED: Error = Error::Malformed("state keys");

impl StateKeys {
    /// Seals all keys for one recipient. Costs an encapsulation.
    ///
    /// # Errors
    /// `Malformed` if the recipient's key cannot be encapsulated to; none that exists is such a key.
    pub fn seal_to(&self, recipient: &SealingPublicKey, rng: &mut impl CryptoRng) -> Result<SealedStateKeys> {
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            recipient.kem(),
            &info(recipient),
            &self.to_bytes(),
            &[],
            rng,
        )
        .map_err(|_| Error::Malformed("sealing key"))?;
        Ok(SealedStateKeys([&*enc.to_bytes(), &ciphertext].concat().into()))
    }
}

/// State keys sealed to one sealing key: 1,120 bytes of encapsulation, 40 per key, 16 of tag. Travels as one byte
/// string.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SealedStateKeys(Bytes);

impl SealedStateKeys {
    /// Length of the encapsulated key, in bytes.
    const ENC: usize = 1_120;
    /// Length of the tag, in bytes.
    const TAG: usize = 16;
    /// Length of a box of one key, in bytes.
    pub const ONE: usize = Self::ENC + StateKeys::STRIDE + Self::TAG;

    /// Accepts bytes of a length that a box of 1 to [`StateKeys::MAX`] keys has.
    ///
    /// # Errors
    /// `Malformed` for any other length.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        let keys = bytes.len().checked_sub(Self::ENC + Self::TAG).ok_or(MALFORMED)?;
        let fits = keys.is_multiple_of(StateKeys::STRIDE)
            && (1..=StateKeys::MAX).contains(&(keys / StateKeys::STRIDE));
        if fits { Ok(Self(bytes)) } else { Err(MALFORMED) }
    }

    /// The box as it travels.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Opens a box that was sealed to this key's public half.
    ///
    /// # Errors
    /// `DoesNotOpen` if it was sealed to another key or has been changed; `Malformed` if what its maker put in is no
    /// list of rising epochs.
    pub fn open(&self, key: &SealingKey) -> Result<StateKeys> {
        let (enc, ciphertext) = self.0.split_at(Self::ENC);
        let enc = encapsulation(enc)?;
        let secret = key.expand()?;
        let plaintext = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &secret,
            &enc,
            &info(&key.public()?),
            ciphertext,
            &[],
        )
        .map_err(|_| Error::DoesNotOpen)?;
        StateKeys::from_bytes(&Zeroizing::new(plaintext))
    }
}

impl fmt::Debug for SealedStateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedStateKeys({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for SealedStateKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(Bytes::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// HPKE's `info`: what the box is for, and to whom it is sealed. Not the mesh: a genesis entry carries such a box,
/// and its own hash is the mesh's id.
fn info(recipient: &SealingPublicKey) -> Vec<u8> {
    [b"waxwing state keys v1\0".as_slice(), recipient.digest().as_bytes()].concat()
}
