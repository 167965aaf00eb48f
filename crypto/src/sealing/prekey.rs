//! Prekeys: short-lived X-Wing keys that a node publishes so that others can open sessions to it while it is offline.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::error::{Error, Result};
use crate::id::{NodeId, Timestamp};
use crate::keys::{Purpose, SealingKey, SealingPublicKey, Signed, SigningKey, VerifyingKey};

/// Number of a prekey: the later of its creation in milliseconds and its predecessor's plus one, so that it rises
/// under a clock that does not.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PrekeyId(u64);

impl PrekeyId {
    /// The number after `last` at this time.
    pub fn next(last: Option<Self>, now: Timestamp) -> Self {
        Self(last.map_or(0, |last| last.0.saturating_add(1)).max(now.as_millis()))
    }

    /// Takes a number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The public half, as its node signed it. About 1.3 KiB on the wire.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Prekey {
    /// Whose it is.
    pub node: NodeId,
    /// Its number.
    pub id: PrekeyId,
    /// What to open sessions to.
    pub key: SealingPublicKey,
    /// When it was made, on its node's clock.
    pub created: Timestamp,
}

impl Prekey {
    /// Most bytes of an encoded prekey.
    pub const MAX: usize = 2 * 1024;

    /// Makes a prekey and its secret. `last` is the number of the one before.
    ///
    /// # Errors
    /// `Malformed` only if encoding fails.
    pub fn mint(
        rng: &mut impl CryptoRng,
        signing: &SigningKey,
        node: NodeId,
        last: Option<PrekeyId>,
        now: Timestamp,
    ) -> Result<(Signed, PrekeySecret)> {
        let secret = SealingKey::generate(rng);
        let prekey = Self { node, id: PrekeyId::next(last, now), key: secret.public()?, created: now };
        let bytes = rmp_serde::to_vec_named(&prekey).map_err(|_| Error::Malformed("prekey"))?;
        let secret = PrekeySecret { id: prekey.id, key: secret };
        Ok((Signed::new(signing, Purpose::Prekey, bytes), secret))
    }

    /// Believes a prekey if `node`'s current signing key signed it and it is that node's.
    ///
    /// # Errors
    /// `BadSignature` or `Malformed`.
    pub fn verify(signed: &Signed, node: NodeId, key: &VerifyingKey) -> Result<Self> {
        if signed.bytes.len() > Self::MAX {
            return Err(Error::TooLarge("prekey"));
        }
        let bytes = signed.verified(key, Purpose::Prekey)?;
        let prekey: Self = codec::exactly(bytes, "prekey")?;
        if prekey.node == node { Ok(prekey) } else { Err(Error::Malformed("prekey")) }
    }
}

/// The secret half of a prekey.
pub struct PrekeySecret {
    id: PrekeyId,
    pub(super) key: SealingKey,
}

impl PrekeySecret {
    /// The number of its public half.
    pub const fn id(&self) -> PrekeyId {
        self.id
    }

    /// Reveals the secret, to store it encrypted.
    pub fn reveal_seed(&self) -> zeroize::Zeroizing<[u8; SealingKey::SEED_SIZE]> {
        self.key.reveal_seed()
    }

    /// Takes a stored secret.
    ///
    /// # Errors
    /// `Malformed` if it does not have 32 bytes.
    pub fn from_seed(id: PrekeyId, seed: &[u8]) -> Result<Self> {
        let seed = seed.try_into().map_err(|_| Error::Malformed("prekey secret"))?;
        Ok(Self { id, key: SealingKey::from_seed(seed) })
    }
}

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeySecret({}, secret)", self.id.0)
    }
}
