//! The labels of metrics and the words they may have.

use prometheus_client::encoding::EncodeLabelSet;
use waxwing_crypto::Priority;
use waxwing_protocol::link::{Change, ChangeOutcome, EndedBy, NoticeKind, Outcome, Reason, Settlement};

use crate::link::End;

/// Defines labels of one word each.
macro_rules! label {
    ($(#[doc = $doc:literal] $name:ident { $field:ident })*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
        pub(super) struct $name {
            pub(super) $field: &'static str,
        }
    )*};
}

label! {
    /// Why.
    ByReason { reason }
    /// Of what kind.
    ByKind { kind }
    /// Which way.
    ByDirection { direction }
    /// How urgent.
    ByPriority { priority }
    /// Which file.
    ByFile { file }
    /// Which version.
    ByVersion { version }
}

/// What became of an item, and how urgent it was.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ByOutcome {
    pub(super) outcome: &'static str,
    pub(super) priority: &'static str,
}

/// What kind of change, and what became of it.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ByChange {
    pub(super) kind: &'static str,
    pub(super) outcome: &'static str,
}

/// Of what kind a link is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A member's.
    Member,
    /// Somebody's who founds a mesh or joins it.
    Entering,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Member, Self::Entering];

    /// As a label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Entering => "entering",
        }
    }
}

/// The word for an outcome.
pub(super) const fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Duplicate { .. } => "duplicate",
        Outcome::IdReused => "id_reused",
        Outcome::UnknownRecipient => "unknown_recipient",
        Outcome::RevokedRecipient => "revoked_recipient",
        Outcome::TooLarge => "too_large",
        Outcome::TtlTooLong => "ttl_too_long",
        Outcome::Expired => "expired",
        Outcome::BadItem => "bad_item",
        Outcome::QueueFull => "queue_full",
        Outcome::RateLimited { .. } => "rate_limited",
        Outcome::Behind => "behind",
    }
}

/// The word for a settlement.
pub(super) const fn settlement(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Receipt(_) => "receipt",
        Settlement::Nack(_) => "nack",
    }
}

/// The word for a notice.
pub(super) const fn notice(kind: &NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Delivered { .. } => "delivered",
        NoticeKind::Nack { .. } => "nack",
        NoticeKind::Expired => "expired",
        NoticeKind::RevokedRecipient => "revoked_recipient",
    }
}

/// The word for a change of a space.
pub(super) const fn change(change: &Change) -> &'static str {
    match change {
        Change::Put(_) => "put",
        Change::Append(_) => "append",
        Change::Touch(_) => "touch",
        Change::Delete(_) => "delete",
    }
}

/// The word for what became of it.
pub(super) const fn change_outcome(outcome: &ChangeOutcome) -> &'static str {
    match outcome {
        ChangeOutcome::Applied { .. } => "applied",
        ChangeOutcome::Touched { .. } => "touched",
        ChangeOutcome::Conflict { .. } => "conflict",
        ChangeOutcome::NotFound => "not_found",
        ChangeOutcome::NotYours => "not_yours",
        ChangeOutcome::TooLarge => "too_large",
        ChangeOutcome::Full => "full",
        ChangeOutcome::IdReused => "id_reused",
        ChangeOutcome::BadChange => "bad_change",
    }
}

/// The word for why a record has ended.
pub(super) const fn ended_by(why: EndedBy) -> &'static str {
    match why {
        EndedBy::Lifetime => "lifetime",
        EndedBy::Lease => "lease",
        EndedBy::Goodbye => "goodbye",
    }
}

impl End {
    /// The word for it.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Told(reason, _) => reason.as_str(),
            Self::NotYet(_) => Reason::Unauthenticated.as_str(),
            Self::Failed(_) => "failed",
        }
    }
}

pub(super) fn links() -> impl Iterator<Item = ByKind> {
    Kind::ALL.into_iter().map(|kind| ByKind { kind: kind.as_str() })
}

pub(super) fn connection_refusals() -> impl Iterator<Item = ByReason> {
    ["bad_upgrade", "bad_http", "bad_tls", "cannot_accept"].into_iter().map(|reason| ByReason { reason })
}

/// The ends that happen in the life of every broker. Others appear with their first.
pub(super) fn ends() -> impl Iterator<Item = ByReason> {
    let told = [Reason::Restarting, Reason::Replaced, Reason::ProtocolViolation, Reason::Unauthenticated];
    let told = told.map(Reason::as_str);
    ["gone", "silent", "failed"].into_iter().chain(told).map(|reason| ByReason { reason })
}

pub(super) fn outcomes() -> impl Iterator<Item = ByOutcome> {
    let words =
        ["accepted", "duplicate", "expired", "queue_full", "rate_limited", "behind", "unknown_recipient"];
    words.into_iter().flat_map(|outcome| {
        Priority::ALL.into_iter().map(move |priority| ByOutcome { outcome, priority: priority.as_str() })
    })
}

pub(super) fn priorities() -> impl Iterator<Item = ByPriority> {
    Priority::ALL.into_iter().map(|priority| ByPriority { priority: priority.as_str() })
}

pub(super) fn settles() -> impl Iterator<Item = ByKind> {
    ["receipt", "nack"].into_iter().map(|kind| ByKind { kind })
}

pub(super) fn notices() -> impl Iterator<Item = ByKind> {
    ["delivered", "nack", "expired", "revoked_recipient"].into_iter().map(|kind| ByKind { kind })
}

pub(super) fn changes() -> impl Iterator<Item = ByChange> {
    let words = [
        ("put", "applied"),
        ("put", "conflict"),
        ("append", "applied"),
        ("touch", "touched"),
        ("delete", "applied"),
    ];
    words.into_iter().map(|(kind, outcome)| ByChange { kind, outcome })
}

pub(super) fn record_ends() -> impl Iterator<Item = ByReason> {
    ["lifetime", "lease", "goodbye"].into_iter().map(|reason| ByReason { reason })
}

pub(super) fn sweeps() -> impl Iterator<Item = ByReason> {
    ["expired", "revoked", "forgotten", "key_slots", "space_ends", "space_changes"]
        .into_iter()
        .map(|reason| ByReason { reason })
}
