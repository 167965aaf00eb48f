//! Keys, the membership log, sealing, receipts and storage keys: everything in Waxwing that is done with a secret.
//!
//! This crate is pure. It does no I/O, reads no clock and spawns nothing: the random source and the time are passed
//! in, so every result can be repeated in a test.
//!
//! What it promises: a message sealed here can be read by one node and nobody else, a change of one bit is noticed,
//! who may speak in a mesh is decided by one state machine that everybody runs, and a secret is wiped when dropped
//! and never printed. What it does not: hide who writes to whom, when, and how much (the size class remains).
//!
//! | for | primitive | why this one |
//! |---|---|---|
//! | signatures | Ed25519, verified strictly | small, deterministic, everywhere |
//! | signatures of records | the same, with the cofactor | can be checked many at once |
//! | opening a session | HPKE (RFC 9180), X-Wing KEM | secret if either X25519 or ML-KEM-768 holds |
//! | sealing a message or a record, data at rest | XChaCha20-Poly1305 | a nonce long enough to be random |
//! | receipts, wire ids, fingerprints, ids of names | HMAC-SHA256 | only who holds the key can make or test one |
//! | the chain of the membership log | SHA-256 | |
//!
//! Start with [`membership`] (who is in), then [`sealing`] (what travels) and [`space`] (what is kept for
//! everybody), then [`storage`] and [`host`] (what stays on a machine).

mod access;
mod aead;
mod batch;
mod codec;
mod creation;
pub mod error;
pub mod host;
pub mod id;
pub mod keys;
mod low_order;
mod mac;
pub mod mark;
pub mod membership;
mod peer_words;
pub mod priority;
#[cfg(feature = "schema")]
mod schema;
pub mod sealing;
mod secret_text;
pub mod space;
pub mod state_key;
pub mod storage;

pub use access::AccessToken;
pub use creation::CreationToken;
pub use error::{Error, Result};
pub use id::{
    AccessDigest, ChangeId, ClientMessageId, CreationProof, Digest, Fingerprint, KeyId, MeshId, Name, NodeId,
    Pin, Receipt, SessionId, SpaceId, Timestamp, WireId,
};
pub use keys::{Purpose, SealingKey, SealingPublicKey, Signature, Signed, SigningKey, VerifyingKey};
pub use peer_words::peer_words;
pub use priority::Priority;
