//! Mesh state keys: one random 256-bit key per epoch, from which everything that all members may read is keyed.
//!
//! Whoever is admitted receives *all* keys that there are, so that a newcomer can read what is kept. Genesis and invite
//! entries carry them in a box sealed to one sealing key ([`SealedStateKeys`]: HPKE, RFC 9180, base mode, single shot;
//! X-Wing, HKDF-SHA256, ChaCha20-Poly1305). For everybody else they lie in a list beside the log, one slot per member
//! and open invite ([`KeyList`]).
//!
//! A box says nothing about who made it. The entry that carries it is signed, or it is proven to be in the list that a
//! signed entry names ([`ProvenSlot`]): nobody else, the broker included, can hand out a key that members will use.
//!
//! ```text
//! an admin's node   StateKeys::next (a fresh key) -> KeyList::seal -> the parts to the broker, the root into an entry
//! broker            ProvenSlot::verify: keeps what belongs to the root it is said to belong to, and nothing else
//! every node        its own slot -> verify -> Slot::open -> StateKeys::absorb
//! ```

mod keys;
mod list;
mod sealed;
mod slot;
#[cfg(test)]
mod tests;
mod tree;

pub use keys::{StateKey, StateKeys};
pub use list::{EarlierKeys, KeyList, KeyListHead};
pub use sealed::SealedStateKeys;
pub use slot::{Holder, ProofPath, ProvenSlot, Slot};
