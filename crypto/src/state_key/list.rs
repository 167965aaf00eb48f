//! The sealed-key list of an epoch: one slot per member and open invite, and the earlier keys once for all.
//!
//! A slot holds the new epoch's key alone. The earlier ones are in one box under that key, so that a list of 10,000
//! slots has 18 MB and not 1,024 times the keys.

use std::fmt;

use bytes::Bytes;
use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::keys::{plaintext, read};
use super::tree::Tree;
use super::{Holder, ProofPath, ProvenSlot, Slot, StateKey, StateKeys};
use crate::aead::{self, NONCE, TAG};
use crate::error::{Error, Result};
use crate::id::{Digest, MeshId};
use crate::keys::SealingPublicKey;
use crate::mac::{Secret, Transcript};

/// Most slots of a list.
pub(super) const MAX_SLOTS: u64 = 65_536;

const MALFORMED: Error = Error::Malformed("earlier state keys");

/// What a list is, beside its slots. With the tree over these it makes the root.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyListHead {
    /// The epoch whose key is in the slots.
    pub epoch: u64,
    /// How many slots there are.
    pub slots: u64,
    /// The keys before it.
    pub earlier: EarlierKeys,
}

impl KeyListHead {
    pub(super) fn root(&self, mesh: MeshId, top: &Digest) -> Digest {
        let hash = Sha256::new_with_prefix(b"waxwing key list v1\0")
            .chain_update(mesh.as_bytes())
            .chain_update(self.epoch.to_be_bytes())
            .chain_update(self.slots.to_be_bytes())
            .chain_update(Sha256::digest(&self.earlier.0))
            .chain_update(top.as_bytes());
        Digest::from_bytes(hash.finalize().into())
    }
}

/// A whole list, as who makes it holds it.
pub struct KeyList {
    mesh: MeshId,
    head: KeyListHead,
    slots: Vec<Slot>,
    tree: Tree,
}

impl KeyList {
    /// Most slots: 65,536, which makes a proof of 16 hashes.
    pub const MAX_SLOTS: u64 = MAX_SLOTS;

    /// Seals the newest of these keys to each holder, and the earlier ones under it. Costs an encapsulation per holder,
    /// about 0.2 ms.
    ///
    /// # Errors
    /// `TooLarge` for more holders than [`KeyList::MAX_SLOTS`]; `Malformed` for none.
    pub fn seal(
        mesh: MeshId,
        keys: &StateKeys,
        holders: &[(Holder, SealingPublicKey)],
        rng: &mut impl CryptoRng,
    ) -> Result<Self> {
        let count = holders.len() as u64;
        if count > MAX_SLOTS {
            return Err(Error::TooLarge("key list"));
        }
        if count == 0 {
            return Err(Error::Malformed("key list"));
        }
        let (epoch, newest) = keys.newest();
        let own = StateKeys(vec![(epoch, newest.clone())]);
        let slot = |(holder, key): &(Holder, SealingPublicKey)| {
            Ok(Slot { holder: *holder, to: key.digest(), sealed: own.seal_to(key, rng)? })
        };
        let slots = holders.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let earlier = EarlierKeys::seal(mesh, keys, rng)?;
        let tree = Tree::new(slots.iter().map(Slot::leaf).collect());
        Ok(Self { mesh, head: KeyListHead { epoch, slots: count, earlier }, slots, tree })
    }

    /// What the list is, beside its slots.
    pub fn head(&self) -> &KeyListHead {
        &self.head
    }

    /// What an entry names: a list with another slot, place, number of slots, epoch or mesh has another root.
    pub fn root(&self) -> Digest {
        self.head.root(self.mesh, &self.tree.root())
    }

    /// The slots, each with the proof that it is in the list.
    pub fn slots(&self) -> impl Iterator<Item = ProvenSlot> {
        let proven = |(at, slot): (usize, &Slot)| ProvenSlot {
            at: at as u64,
            path: ProofPath(self.tree.path(at)),
            slot: slot.clone(),
        };
        self.slots.iter().enumerate().map(proven)
    }
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyList(epoch {}, {} slots)", self.head.epoch, self.head.slots)
    }
}

/// The keys before an epoch, under that epoch's: a nonce, 40 bytes per key, a tag. Travels as one byte string.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct EarlierKeys(Bytes);

impl EarlierKeys {
    /// Longest, in bytes: with the newest, [`StateKeys::MAX`] keys.
    pub const MAX: usize = NONCE + TAG + (StateKeys::MAX - 1) * StateKeys::STRIDE;

    /// Accepts bytes of a length that a box of less than [`StateKeys::MAX`] keys has.
    ///
    /// # Errors
    /// `Malformed` for any other length.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        let keys = bytes.len().checked_sub(NONCE + TAG).ok_or(MALFORMED)?;
        let fits = keys.is_multiple_of(StateKeys::STRIDE) && bytes.len() <= Self::MAX;
        if fits { Ok(Self(bytes)) } else { Err(MALFORMED) }
    }

    /// The box as it travels.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    fn seal(mesh: MeshId, keys: &StateKeys, rng: &mut impl CryptoRng) -> Result<Self> {
        let (epoch, newest) = keys.newest();
        let mut text = plaintext(&keys.0[..keys.0.len() - 1]);
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let tag = aead::seal(&key(newest), &nonce, &associated(mesh, epoch), &mut text);
        Ok(Self([&nonce[..], &text, &tag].concat().into()))
    }

    /// The keys, oldest first, all of epochs before this one.
    pub(super) fn open(&self, mesh: MeshId, epoch: u64, newest: &StateKey) -> Result<Vec<(u64, StateKey)>> {
        let (nonce, text) = self.0.split_first_chunk().ok_or(Error::DoesNotOpen)?;
        let mut text = Zeroizing::new(text.to_vec());
        aead::open(&key(newest), nonce, &associated(mesh, epoch), &mut text).map_err(|_| MALFORMED)?;
        let keys = read(&text)?;
        if keys.last().is_some_and(|(last, _)| *last >= epoch) { Err(MALFORMED) } else { Ok(keys) }
    }
}

impl fmt::Debug for EarlierKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EarlierKeys({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for EarlierKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(Bytes::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes (RFC 5869, 2.3)")]
fn key(newest: &StateKey) -> Secret {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, newest.reveal())
        .expand(b"waxwing earlier state keys v1\0", &mut *key)
        .expect("32 bytes");
    key
}

fn associated(mesh: MeshId, epoch: u64) -> Vec<u8> {
    let transcript = Transcript::new(b"waxwing earlier state keys v1").field(mesh.as_bytes()).number(epoch);
    transcript.as_bytes().to_vec()
}
