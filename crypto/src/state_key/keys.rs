//! The keys themselves, as a node holds them.

use std::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::mac::same;

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
pub struct StateKeys(pub(super) Vec<(u64, StateKey)>);

impl StateKeys {
    /// Most keys kept: 1,024, so that a box of them (42,096 bytes) fits into an entry.
    pub const MAX: usize = 1_024;

    /// The epoch that the genesis entry begins.
    pub const FIRST_EPOCH: u64 = 1;

    /// Bytes per key in the sealed form: the epoch, big-endian, and the key.
    pub(super) const STRIDE: usize = 8 + StateKey::SIZE;

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

    /// These keys and a fresh one for a later epoch.
    ///
    /// # Errors
    /// `Malformed` if the epoch is not later than the newest.
    pub fn next(&self, epoch: u64, rng: &mut impl CryptoRng) -> Result<Self> {
        let mut keys = self.clone();
        keys.add(epoch, StateKey::generate(rng))?;
        Ok(keys)
    }

    /// Takes those of another's keys that are not held here. Where both hold another key for one epoch, the one held
    /// here stays: returns these epochs, since somebody is wrong about them.
    pub fn absorb(&mut self, others: &Self) -> Vec<u64> {
        let mut differ = Vec::new();
        for (epoch, key) in &others.0 {
            match self.0.binary_search_by_key(epoch, |(epoch, _)| *epoch) {
                Ok(at) if same(self.0[at].1.reveal(), key.reveal()) => {}
                Ok(_) => differ.push(*epoch),
                Err(at) => self.0.insert(at, (*epoch, key.clone())),
            }
        }
        while self.0.len() > Self::MAX {
            self.0.remove(1);
        }
        differ
    }

    /// Forgets the keys of this epoch and all later ones, except the mesh's first: another log has taken the place of
    /// the one in which they began.
    pub fn forget_from(&mut self, epoch: u64) {
        let kept = self.0.partition_point(|(held, _)| *held < epoch).max(1);
        self.0.truncate(kept);
    }

    /// All keys as bytes, to be encrypted: each epoch, big-endian, and its key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        plaintext(&self.0)
    }

    /// What [`StateKeys::to_bytes`] has made.
    ///
    /// # Errors
    /// `Malformed` if it is no list of 1 to [`StateKeys::MAX`] rising epochs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let keys = read(bytes)?;
        if keys.is_empty() || keys.len() > Self::MAX { Err(MALFORMED) } else { Ok(Self(keys)) }
    }
}

/// Keys as bytes.
pub(super) fn plaintext(keys: &[(u64, StateKey)]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(keys.len() * StateKeys::STRIDE));
    for (epoch, key) in keys {
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(key.reveal());
    }
    bytes
}

/// Keys from bytes, of rising epochs.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(u64, StateKey)>> {
    let mut keys: Vec<(u64, StateKey)> = Vec::with_capacity(bytes.len() / StateKeys::STRIDE);
    for entry in bytes.chunks(StateKeys::STRIDE) {
        let (epoch, key) = entry.split_first_chunk::<8>().ok_or(MALFORMED)?;
        let epoch = u64::from_be_bytes(*epoch);
        let key = key.try_into().map_err(|_| MALFORMED)?;
        if keys.last().is_some_and(|(last, _)| *last >= epoch) {
            return Err(MALFORMED);
        }
        keys.push((epoch, StateKey::from_bytes(key)));
    }
    Ok(keys)
}
