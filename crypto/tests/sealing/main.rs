//! Sealing, keys and storage keys: published vectors, a second implementation to compare with, properties, and what an
//! attacker would try.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

/// Two nodes, and what they say to each other.
mod actors;
/// What an envelope hides, binds and refuses.
mod envelope;
/// Bytes that must never change.
mod golden;
/// Ed25519: the published vectors, strictness, one purpose per signature.
mod keys;
/// What stands in a message: counters, void ranges, text.
mod plaintext;
/// Prekeys: whose they are, which is newer, what is no key.
mod prekey;
/// The published vectors of the parts.
mod published;
/// Receipts that only the two ends can make, nacks that only the recipient can.
mod receipt;
/// A second implementation, written from the documentation, that must agree.
mod reference;
/// No secret is ever printed.
mod secrets;
/// Openings: for whom they are good, and for whom not.
mod session;
/// What is kept on disk, and the codes that only a node can compute.
mod storage;
#[path = "../support/mod.rs"]
mod support;
