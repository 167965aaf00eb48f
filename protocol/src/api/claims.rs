//! Claims: "this is mine to act on", once, by one app of the mesh.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, Timestamp};

use super::{Author, LeaseHolder, OnDisconnect};

/// `POST /v1/claims/try`: asks to be the one who acts on something.
///
/// One app has a claim once: asking again is the same request, and gives it more time.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// On what: 1 to 256 bytes without control characters, compared exactly.
    pub key: String,
    /// How long, as `30m` (1s to 24h; 30m is the default). A registered app's claims are renewed by its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// How long to wait for whoever has it to be done with it or give it up, as `30s` (at most 60s). Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// What happens to it when the app's node, or the app itself, is away. Default `hold`: it is the app's to its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// What for, for people. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// How a claim stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// The app that asks has it: it is the one to act.
    Claimed,
    /// Another has it.
    Held,
    /// Somebody has acted: there is nothing left to do.
    Done,
}

impl ClaimState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Held => "held",
            Self::Done => "done",
        }
    }
}

/// That somebody has acted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Completion {
    /// What came of it, as he says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Who.
    pub by: Author,
    /// When, on the broker's clock.
    pub at: Timestamp,
    /// The token of his claim.
    pub token: u64,
    /// Until when this is known, on the broker's clock: then the key can be claimed again.
    pub until: Timestamp,
}

/// Answers `POST /v1/claims/try`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClaimAnswer {
    /// The mesh.
    pub mesh: Name,
    /// On what.
    pub key: String,
    /// What became of it.
    pub state: ClaimState,
    /// When `claimed`: the fencing token. Whoever claims the same after has a higher one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// When `claimed`: milliseconds from now on for which the app certainly has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// The node renews it, since the app is registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewed: bool,
    /// When `held`: by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<LeaseHolder>,
    /// When `done`: what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Completion>,
}

/// `POST /v1/claims/complete`: says that the app has acted. Whoever asks within 24 hours is told so.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompleteRequest {
    /// On what.
    pub key: String,
    /// The token of its claim.
    pub token: u64,
    /// What came of it, for whoever comes later. At most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Answers `POST /v1/claims/complete`. Repeated, it is the same answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CompleteAnswer {
    /// On what.
    pub key: String,
    /// What stands there for whoever comes later.
    pub completion: Completion,
}

/// `POST /v1/claims/abandon`: gives a claim up, so that another can have it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AbandonRequest {
    /// On what.
    pub key: String,
    /// The token of its claim.
    pub token: u64,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Answers `POST /v1/claims/abandon`: it is free, by the broker's commit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AbandonAnswer {
    /// On what.
    pub key: String,
    /// The token that it had.
    pub token: u64,
}

/// Parameters of `GET /v1/claims`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct ClaimsQuery {
    /// On this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// On what begins like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// That this app has, or has completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Claims that somebody has, or is done with, by key. Asking changes nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Claims {
    /// The mesh.
    pub mesh: Name,
    /// At most 1,000.
    pub claims: Vec<Claim>,
    /// There are more: ask for fewer of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// What is said is so now: there is a link.
    pub current: bool,
    /// When that was so last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// One claim.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Claim {
    /// On what.
    pub key: String,
    /// `held` or `done`.
    pub state: ClaimState,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<LeaseHolder>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Completion>,
}
