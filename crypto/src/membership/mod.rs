//! The membership log: who belongs to a mesh, decided by everybody alike.
//!
//! A mesh is an append-only, hash-chained log of signed entries, and [`Roster`] is the one state machine over it.
//! Nodes and broker run the same machine, so nobody has to take the broker's word: its only power is to put appends
//! in order.
//!
//! ```text
//! founder      signs a genesis (Roster::found); its hash names the mesh
//! writer       Roster::entry (fills in mesh, seq, prev, at) -> Entry::sign -> append; durable before it is sent
//! broker       Roster::apply, commit, push to everybody; refuses an entry that is not at the head, then the
//!              writer fetches what is new and signs again
//! reader       SignedEntry::verify (bounds, form, signatures) -> the rules (Rule) -> the roster changes,
//!              or, on any error, does not
//! ```
//!
//! Invariants: the bytes of an entry decide all it does (they name the keys that signed them, so its hash covers
//! them too); nothing but the log enters the state; a key or id that ever stood in the log never gets a second
//! owner.

mod body;
mod change;
mod check;
mod entry;
mod epochs;
mod invite;
mod near;
mod recovery;
mod roster;
mod rule;
#[cfg(test)]
mod tests;
mod token;

pub use body::{
    Body, Genesis, Grant, Join, Leave, NewEpoch, NewInvite, NewMember, Reason, Resume, Revoke, Role, Target,
    Update,
};
pub use entry::{Entry, LogHead, MAX_ENTRY, SignedEntry};
pub use invite::{Invite, InviteSeed};
pub use recovery::{RecoveryError, RecoverySecret};
pub use roster::{MAX_CLOCK_SKEW, Member, Roster, Standing};
pub use rule::Rule;
pub use token::{InviteToken, TokenError};
