//! The broker's promises, over raw links, against a real broker on port 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the frames it is about"
)]
#![allow(unreachable_pub, missing_docs, reason = "modules of one binary")]

mod harness;

/// What is accepted, and what is not.
mod accept;
