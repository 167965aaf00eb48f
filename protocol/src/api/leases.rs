//! Leases: something that one app has at a time, or several that only read, with a token that rises with each that is granted.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, NodeId, Timestamp};

/// `POST /v1/leases/acquire`: asks for a lease, or for more time on one that the app has.
///
/// One app holds, or stands in line for, a lease once: asking again is the same request, so repeating it does no harm.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AcquireRequest {
    /// What it is of: 1 to 256 bytes without control characters, compared exactly. Instead of it: `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It is of a file or folder of a repository: its path from the repository's root, or a whole path under `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// With `file`: what the repository is called everywhere, as its URL. Default: the one that the app is registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// With `file`: where the repository is on this host, so that links in it are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// How long, as `30s` (1s to 24h). Default 5m. A registered app's leases are renewed by its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// How long to stand in line for it, as `10m` (at most 24h). Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// How long the answer may take of that, as `0s`: then it is `queued`, and the app is told when it is its turn, or asks
    /// again. At most 60s, and that by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_within: Option<String>,
    /// Alone (default), or with others who only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LeaseMode>,
    /// What happens to it when the app's node, or the app itself, is away. Default `grace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// What for, for people. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// How a lease is held.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseMode {
    /// By one.
    #[default]
    Exclusive,
    /// With others who hold it so, until somebody waits to have it alone.
    Shared,
}

/// What happens to a lease when its holder is away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It ends 45 s after the broker has given its node up, or the node its app.
    #[default]
    Grace,
    /// It ends when its time is over, and not before.
    Hold,
    /// It ends as soon as the broker has given its node up, or the node its app.
    Release,
}

/// What became of an [`AcquireRequest`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AcquireState {
    /// The app has it.
    Acquired,
    /// The app had it, and has it for longer.
    Extended,
    /// The app stands in line.
    Queued,
    /// Others have it, and the app does not wait, or has waited for as long as it wanted to.
    Locked,
}

impl AcquireState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::Extended => "extended",
            Self::Queued => "queued",
            Self::Locked => "locked",
        }
    }
}

/// Answers `POST /v1/leases/acquire`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AcquireAnswer {
    /// The mesh.
    pub mesh: Name,
    /// What it is of, as other requests name it.
    pub name: String,
    /// What became of it.
    pub state: AcquireState,
    /// When `acquired`, `extended` or `queued`: the fencing token. Whoever gets it after has a higher one, so what is protected
    /// refuses all lower ones than it has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// When `acquired` or `extended`: milliseconds from now on for which the app certainly has it, even if it hears nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// The node renews it, since the app is registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewed: bool,
    /// When `queued`: how many have to end before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// When `queued` or `locked`: who has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<LeaseHolder>,
}

/// Who has a lease, or stands in line for it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LeaseHolder {
    /// Its token.
    pub token: u64,
    /// The app; absent if its node says so in a way that this one does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// Which of several of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// Its node.
    pub node: Name,
    /// The node's id.
    pub node_id: NodeId,
    /// How.
    pub mode: LeaseMode,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When it was asked for, on the broker's clock.
    pub since: Timestamp,
    /// Milliseconds until its time is over, unless it is renewed or released before.
    pub remaining: u64,
}

/// `POST /v1/leases/renew`: more time on a lease that the app has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// What it is of.
    pub name: String,
    /// Its token.
    pub token: u64,
    /// How long from now on. Default: as long as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Answers `POST /v1/leases/renew`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RenewAnswer {
    /// What it is of.
    pub name: String,
    /// Its token: the same as before.
    pub token: u64,
    /// Milliseconds from now on for which the app certainly has it.
    pub remaining: u64,
}

/// `POST /v1/leases/release`: gives a lease, or a place in line, back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// What it is of.
    pub name: String,
    /// Its token.
    pub token: u64,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Answers `POST /v1/leases/release`: it is released, by the broker's commit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReleaseAnswer {
    /// What it was of.
    pub name: String,
    /// The token that it had.
    pub token: u64,
}

/// Parameters of `GET /v1/leases/check`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct CheckQuery {
    /// What it is of.
    pub name: String,
    /// The fencing token that somebody has shown.
    pub fence: u64,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Whether a token counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// Whoever has it has the lease.
    Held,
    /// Whoever has it stands in line.
    Queued,
    /// It counts no more, or never did.
    Ended,
    /// There is no link to the broker, so nobody here can say.
    Unknown,
}

impl TokenState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Queued => "queued",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
        }
    }
}

/// Answers `GET /v1/leases/check`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CheckAnswer {
    /// Whether the token counts.
    pub state: TokenState,
    /// When `held`: milliseconds for which it certainly does, as far as nobody revokes or releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// The highest token that is held now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
}

/// Parameters of `GET /v1/leases`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct LeasesQuery {
    /// Of this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of what begins like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// That this app has, or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Leases that somebody has, by name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Leases {
    /// The mesh.
    pub mesh: Name,
    /// At most 1,000.
    pub leases: Vec<Lease>,
    /// There are more: ask for fewer of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// What is said is so now: there is a link.
    pub current: bool,
    /// When that was so last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// One lease.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lease {
    /// What it is of.
    pub name: String,
    /// Who has it: one, or several who share it.
    pub holders: Vec<LeaseHolder>,
    /// Who stands in line, the next one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<LeaseHolder>,
}

/// `POST /v1/leases/revoke`: takes a lease from whoever has it. For admins, and for what this node's own apps have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeLeaseRequest {
    /// What it is of.
    pub name: String,
    /// Only from whoever has this token. Default: everybody who has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Answers `POST /v1/leases/revoke`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RevokedLease {
    /// What it is of.
    pub name: String,
    /// The tokens that count no more; none if nobody had it.
    pub revoked: Vec<u64>,
}

/// What an event of a lease is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseNews {
    /// It is this app's turn.
    Granted,
    /// It ends soon, and nobody renews it.
    Expiring,
    /// It is over: whoever had it must stop.
    Lost,
}

/// Why a lease is over, or a place in line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Its time is over.
    Expired,
    /// Its node was without a link for too long.
    Disconnected,
    /// The registration of its app has ended.
    Unregistered,
    /// An admin has taken it away.
    Revoked,
    /// The broker has lost its store.
    StoreLost,
}

impl LeaseEnd {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Unregistered => "unregistered",
            Self::Revoked => "revoked",
            Self::StoreLost => "store_lost",
        }
    }
}
