//! One holder's slot of a list, and the proof that it is in it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::list::{KeyListHead, MAX_SLOTS};
use super::{SealedStateKeys, StateKeys, tree};
use crate::error::{Error, Result};
use crate::id::{Digest, MeshId, NodeId};
use crate::keys::{SealingKey, VerifyingKey};

const MALFORMED: Error = Error::Malformed("key slot");

/// For whom a slot is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A member.
    Node(NodeId),
    /// Whoever joins by the invite with this key.
    Invite(VerifyingKey),
}

impl Holder {
    /// 16 bytes of a node's id, or 32 of an invite's key: their length tells which.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Node(id) => id.as_bytes(),
            Self::Invite(key) => key.as_bytes(),
        }
    }
}

/// The new epoch's key, sealed to one holder. About 1.3 KiB.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Slot {
    /// For whom.
    #[serde(rename = "for")]
    pub holder: Holder,
    /// Digest of the sealing key that it is sealed to ([`SealingPublicKey::digest`](crate::SealingPublicKey::digest)):
    /// by it the holder, who may have changed keys since, finds the secret.
    pub to: Digest,
    /// The key.
    #[serde(rename = "box", deserialize_with = "one_key")]
    pub sealed: SealedStateKeys,
}

impl Slot {
    pub(super) fn leaf(&self) -> Digest {
        let holder = self.holder.as_bytes();
        // Of two possible lengths, so that one byte tells what follows.
        let kind = [holder.len() as u8];
        let parts =
            [&b"waxwing key slot v1\0"[..], &kind, holder, self.to.as_bytes(), self.sealed.as_bytes()];
        tree::leaf(&parts)
    }

    /// The keys of this slot: the list's own, and all earlier ones, which it opens. To be called on what
    /// [`ProvenSlot::verify`] has returned.
    ///
    /// # Errors
    /// `DoesNotOpen` if it is sealed to another key; `Malformed` if what an admin put in is not this epoch's key, or
    /// the earlier ones are none.
    pub fn open(&self, mesh: MeshId, head: &KeyListHead, key: &SealingKey) -> Result<StateKeys> {
        let own = self.sealed.open(key)?;
        let (epoch, newest) = own.newest();
        if epoch != head.epoch || own.iter().count() != 1 {
            return Err(MALFORMED);
        }
        let mut keys = head.earlier.open(mesh, epoch, newest)?;
        keys.push((epoch, newest.clone()));
        Ok(StateKeys(keys))
    }
}

/// A slot and the proof that it is in a list. What travels, both to the broker and from it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProvenSlot {
    /// Its place in the list, from 0.
    pub at: u64,
    /// The way to the root.
    pub path: ProofPath,
    /// The slot.
    pub slot: Slot,
}

impl ProvenSlot {
    /// The slot, if it is in the list of this mesh and head with this root.
    ///
    /// # Errors
    /// `BadProof` if it is not.
    pub fn verify(&self, mesh: MeshId, head: &KeyListHead, root: &Digest) -> Result<&Slot> {
        let top = tree::climb(self.slot.leaf(), self.at, head.slots, &self.path.0);
        let led = top.map(|top| head.root(mesh, &top));
        if head.slots <= MAX_SLOTS && led.as_ref() == Some(root) {
            Ok(&self.slot)
        } else {
            Err(Error::BadProof("key slot"))
        }
    }
}

/// The hashes beside the way from a slot to the root, lowest first. Travels as one byte string.
#[derive(Clone, Eq, PartialEq)]
pub struct ProofPath(pub(super) Vec<Digest>);

impl ProofPath {
    /// Most hashes: one per level of the largest tree.
    pub const MAX: usize = MAX_SLOTS.ilog2() as usize;

    /// Reads the hashes, one after another.
    ///
    /// # Errors
    /// `Malformed` if they are no whole hashes, or more than [`ProofPath::MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let hashes = bytes.chunks(Digest::SIZE).map(Digest::try_from).collect::<Result<Vec<_>>>();
        let hashes = hashes.map_err(|_| MALFORMED)?;
        if hashes.len() > Self::MAX { Err(MALFORMED) } else { Ok(Self(hashes)) }
    }

    /// The hashes, one after another.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }
}

impl fmt::Debug for ProofPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofPath({} hashes)", self.0.len())
    }
}

impl Serialize for ProofPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for ProofPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::from_bytes(&bytes).map_err(de::Error::custom)
    }
}

/// A box of one key: the earlier ones are the same for all, and travel once.
fn one_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SealedStateKeys, D::Error> {
    let sealed = SealedStateKeys::deserialize(deserializer)?;
    if sealed.as_bytes().len() == SealedStateKeys::ONE {
        Ok(sealed)
    } else {
        Err(de::Error::custom(MALFORMED))
    }
}
