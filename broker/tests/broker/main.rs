//! The broker's promises, over raw links, against a real broker on port 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks the frames it is about")]
#![allow(unreachable_pub, missing_docs, missing_debug_implementations, reason = "modules of one binary")]

mod harness;

/// What is accepted, and what is not.
mod accept;
/// What operators are answered.
mod admin;
/// Copies of a store, and what a broker does with a damaged one.
mod backup;
/// Delivery: windows, order, tails, settlements.
mod delivery;
/// Founders and invites: what they may do before they are members.
mod entering;
/// What ends before it is delivered.
mod expiry;
/// Who follows a space: pages, waits, copies that are too old.
mod followers;
/// Bytes that are no frame, and frames that break the protocol.
mod frames;
/// Sealed-key lists: put whole, proven, and served to their holders alone.
mod keys;
/// Leases and lifetimes: what ends by itself, and what does not.
mod leases;
/// How fast nodes may go, how many there may be, and what they are told.
mod limits;
/// Pings, and links that are dead.
mod liveness;
/// The membership log: appended, paged, pushed.
mod log;
/// Who may log in, and what the others are told.
mod login;
/// A store that is lost or set back: marks, logs brought back, branches, the resume.
mod loss;
/// What members hand back after a loss.
mod offers;
/// Every limit, and one more.
mod plus_one;
/// A store on a server that restarts, is killed, is replaced by its standby, or is not what it must be.
mod postgres;
/// Prekeys: the newest of each member.
mod prekeys;
/// Copies of a node's state, and which of them may go on.
mod progress;
/// A message sealed anew.
mod reseal;
/// What a broker keeps over a restart, and on what it refuses to start.
mod restart;
/// Spaces: what members write there, and who may.
mod spaces;
/// How fast spaces are.
mod speed;
/// Connections that never log in.
mod strangers;
/// TLS under the links: certificates, and strangers who stall.
mod tls;
/// RFC 6455 and HTTP, byte by byte.
mod websocket;
