//! Host binding: what ties a node's identity to one machine, on the machine itself.
//!
//! The node gathers [`Evidence`] at every start. The first run writes a [`HostRecord`] ([`HostRecord::observe`]); every
//! later one asks it ([`HostRecord::judge`]) whether this is still the same host. The threat is accident first (a
//! cloned image, a restored backup, a copied home), theft second: whoever can read the record can also copy the
//! machine id. What looks like the same host is left to progress, which the broker compares.
//!
//! Raw values are never kept, sent or printed: a record holds HMACs under the node's host key, which are worth nothing
//! to anybody without it, and people are shown the first 8 hex digits of those.

mod evidence;
mod judge;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

pub use evidence::{Evidence, is_hardware};
pub use judge::{Cause, Shown, Verdict, Warning};
pub use record::{HostRecord, HostRecordError, Source};

use crate::id::Digest;
use crate::mac::{Secret, hmac};

/// What the digests of host evidence are made under, 32 bytes: a child of the storage key.
pub struct HostKey(Secret);

impl HostKey {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// Takes the bytes of a key.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The digest of one piece of evidence, under a label that keeps one kind from being taken for another.
    fn digest(&self, label: &[u8], evidence: &[u8]) -> Digest {
        Digest::from_bytes(hmac(&*self.0, &[label, evidence]))
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(secret)")
    }
}
