//! Records of spaces: a second implementation to compare with, properties, and what a broker and a member would try.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

/// A space, two members, and what they say in it.
mod actors;
/// Bytes that must never change.
mod golden;
/// What names become.
mod names;
/// What opens, for which place, and what does not.
mod record;
/// A second implementation, written from the documentation, that must agree; with it a member seals what it likes.
mod reference;
/// Who has said it: one by one and many at once.
mod signed;
/// What a writer may say, and how much.
mod statement;
#[path = "../support/mod.rs"]
mod support;
