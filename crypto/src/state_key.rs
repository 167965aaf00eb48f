//! Mesh state keys: one random 256-bit key per epoch, from which everything that all members may read is keyed.
//!
//! Whoever is admitted receives *all* keys that there are, sealed to its sealing key (HPKE, RFC 9180, base mode,
//! single shot; X-Wing, HKDF-SHA256, ChaCha20-Poly1305), so that a newcomer can read what is kept. Genesis and
//! invite entries carry such a box; for everybody else it lies in the list whose hash an epoch entry names.
//!
//! A box says nothing about who made it. The entry that carries it is signed, or its hash stands in one that is.

use std::fmt;

use bytes::Bytes;
use hpke::{OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::{SealingKey, SealingPublicKey, encapsulation};

const MALFORMED: Error = Error::Malformed("state keys");

/// One epoch's key. Secret.
#[derive(Clone)]
pub struct StateKey(Zeroizing<[u8; 32]>);

impl StateKey {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; Self::SIZE]);
        rng.fill_bytes(&mut *key);
        Self(key)
    }

    /// Wraps the bytes of a key, as read from where it was stored.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the key, to derive others from it or to store it.
    pub fn reveal(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(secret)")
    }
}

/// The state keys of a mesh, oldest first: at least one, epochs strictly rising.
#[derive(Clone, Debug)]
pub struct StateKeys(Vec<(u64, StateKey)>);

impl StateKeys {
    /// Most keys kept: 1,024, so that a box of them (42,096 bytes) fits into an entry.
    pub const MAX: usize = 1_024;

    /// The epoch that the genesis entry begins.
    pub const FIRST_EPOCH: u64 = 1;

    /// Bytes per key in the sealed form: the epoch, big-endian, and the key.
    const STRIDE: usize = 8 + StateKey::SIZE;

    /// The keys of a new mesh: one, for the first epoch.
    pub fn found(rng: &mut impl CryptoRng) -> Self {
        Self(vec![(Self::FIRST_EPOCH, StateKey::generate(rng))])
    }

    /// Adds the key of a later epoch. When [`StateKeys::MAX`] are held, the second oldest goes: what was sealed in
    /// its epoch can no longer be read. The oldest stays, because the mesh's naming key is derived from it.
    ///
    /// # Errors
    /// `Malformed` if the epoch is not later than the newest.
    pub fn add(&mut self, epoch: u64, key: StateKey) -> Result<()> {
        if epoch <= self.newest().0 {
            return Err(MALFORMED);
        }
        if self.0.len() == Self::MAX {
            self.0.remove(1);
        }
        self.0.push((epoch, key));
        Ok(())
    }

    /// The key of one epoch, if it is held.
    pub fn get(&self, epoch: u64) -> Option<&StateKey> {
        let at = self.0.binary_search_by_key(&epoch, |(epoch, _)| *epoch).ok()?;
        Some(&self.0[at].1)
    }

    /// The first epoch and its key, from which the naming key is derived.
    pub fn first(&self) -> (u64, &StateKey) {
        let (epoch, key) = &self.0[0];
        (*epoch, key)
    }

    /// The newest epoch and its key, under which to seal.
    pub fn newest(&self) -> (u64, &StateKey) {
        let (epoch, key) = &self.0[self.0.len() - 1];
        (*epoch, key)
    }

    /// All epochs and their keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &StateKey)> {
        self.0.iter().map(|(epoch, key)| (*epoch, key))
    }

    /// Seals all keys for one recipient. Costs an encapsulation.
    ///
    /// # Errors
    /// `Malformed` if the recipient's key cannot be encapsulated to; none that exists is such a key.
    pub fn seal_to(&self, recipient: &SealingPublicKey, rng: &mut impl CryptoRng) -> Result<SealedStateKeys> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(self.0.len() * Self::STRIDE));
        for (epoch, key) in &self.0 {
            plaintext.extend_from_slice(&epoch.to_be_bytes());
            plaintext.extend_from_slice(key.reveal());
        }
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            recipient.kem(),
            &info(recipient),
            &plaintext,
            &[],
            rng,
        )
        .map_err(|_| Error::Malformed("sealing key"))?;
        Ok(SealedStateKeys([&*enc.to_bytes(), &ciphertext].concat().into()))
    }

    fn from_plaintext(plaintext: &[u8]) -> Result<Self> {
        let mut keys = Vec::with_capacity(plaintext.len() / Self::STRIDE);
        for entry in plaintext.chunks(Self::STRIDE) {
            let (epoch, key) = entry.split_first_chunk::<8>().ok_or(MALFORMED)?;
            let epoch = u64::from_be_bytes(*epoch);
            let key = key.try_into().map_err(|_| MALFORMED)?;
            if keys.last().is_some_and(|(last, _)| *last >= epoch) {
                return Err(MALFORMED);
            }
            keys.push((epoch, StateKey::from_bytes(key)));
        }
        if keys.is_empty() { Err(MALFORMED) } else { Ok(Self(keys)) }
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
        StateKeys::from_plaintext(&Zeroizing::new(plaintext))
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
    let recipient = Sha256::digest(recipient.to_bytes());
    [b"waxwing state keys v1\0".as_slice(), &recipient].concat()
}

#[cfg(test)]
mod tests {
    use getrandom::{SysRng, rand_core::UnwrapErr};

    use super::*;

    fn keys(epochs: &[u64]) -> StateKeys {
        let list = epochs.iter().map(|&epoch| (epoch, StateKey::from_bytes(&[epoch as u8; 32])));
        StateKeys(list.collect())
    }

    fn recipient() -> SealingKey {
        SealingKey::from_seed(&[1; 32])
    }

    fn sealed(keys: &StateKeys) -> SealedStateKeys {
        keys.seal_to(&recipient().public().unwrap(), &mut UnwrapErr(SysRng)).unwrap()
    }

    fn epochs(keys: &StateKeys) -> Vec<u64> {
        keys.iter().map(|(epoch, _)| epoch).collect()
    }

    #[test]
    fn the_recipient_opens_all_keys() {
        let sealed = sealed(&keys(&[1, 2, 7]));
        assert_eq!(sealed.as_bytes().len(), 1_120 + 3 * 40 + 16);
        let opened = sealed.open(&recipient()).unwrap();
        assert_eq!(epochs(&opened), [1, 2, 7]);
        assert_eq!(opened.get(7).unwrap().reveal(), &[7; 32]);
        assert!(opened.get(3).is_none());
        assert_eq!((opened.first().0, opened.newest().0), (1, 7));
    }

    #[test]
    fn nobody_else_opens_them() {
        let sealed = sealed(&keys(&[1]));
        assert_eq!(sealed.open(&SealingKey::from_seed(&[2; 32])).map(|_| ()), Err(Error::DoesNotOpen));
    }

    #[test]
    fn a_changed_box_does_not_open() {
        let bytes = sealed(&keys(&[1])).0.to_vec();
        // One bit of each byte: every part of both KEM ciphertexts, the box and its tag.
        for at in (0..bytes.len()).filter(|at| at % 9 == 0 || *at >= 1_088) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let changed = SealedStateKeys::from_bytes(changed.into()).unwrap();
            assert_eq!(changed.open(&recipient()).map(|_| ()), Err(Error::DoesNotOpen), "byte {at}");
        }
    }

    #[test]
    fn a_box_has_the_length_of_1_to_1024_keys() {
        let of = |len: usize| SealedStateKeys::from_bytes(vec![0; len].into()).map(|_| ());
        for good in [1_176, 1_216, 42_096] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in [0, 1_135, 1_136, 1_175, 1_177, 42_095, 42_136, 1 << 20] {
            assert_eq!(of(bad), Err(MALFORMED), "{bad}");
        }
        let travelled = rmp_serde::to_vec(&sealed(&keys(&[1]))).unwrap();
        assert_eq!(travelled[..3], [0xc5, 0x04, 0x98], "bin 16");
        assert!(rmp_serde::from_slice::<SealedStateKeys>(&travelled).is_ok());
        assert!(rmp_serde::from_slice::<SealedStateKeys>(&[0xc4, 1, 0]).is_err());
    }

    #[test]
    fn epochs_that_do_not_rise_are_refused_even_from_an_admin() {
        for wrong in [&[2, 1][..], &[1, 1], &[1, 3, 2]] {
            assert_eq!(sealed(&keys(wrong)).open(&recipient()).map(|_| ()), Err(MALFORMED));
        }
    }

    #[test]
    fn a_later_epoch_is_added_and_no_other() {
        let mut keys = keys(&[1, 2]);
        for epoch in [0, 1, 2] {
            assert_eq!(keys.add(epoch, StateKey::from_bytes(&[0; 32])), Err(MALFORMED));
        }
        keys.add(4, StateKey::from_bytes(&[4; 32])).unwrap();
        assert_eq!(epochs(&keys), [1, 2, 4]);
    }

    #[test]
    fn the_first_key_and_the_newest_1023_are_kept() {
        let mut keys = keys(&[1]);
        for epoch in 2..=StateKeys::MAX as u64 + 5 {
            keys.add(epoch, StateKey::from_bytes(&[0; 32])).unwrap();
        }
        let kept = epochs(&keys);
        assert_eq!((kept.len(), kept[0], kept[1], keys.newest().0), (StateKeys::MAX, 1, 7, 1_029));
        assert_eq!(epochs(&sealed(&keys).open(&recipient()).unwrap()), kept);
    }

    #[test]
    fn keys_print_as_their_type() {
        assert_eq!(format!("{:?}", keys(&[1])), "StateKeys([(1, StateKey(secret))])");
    }
}
