//! Version and health.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::{LogHead, Role};
use waxwing_crypto::{MeshId, Name, NodeId, Timestamp};

/// `GET /v1/version`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Version {
    /// Version of the node.
    pub version: String,
    /// Version of the local API.
    pub api: u32,
}

/// `GET /v1/health`: whether the process lives, whether it can do its work, and how each mesh is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// The process answers. Always true in an answer.
    pub live: bool,
    /// Sends are stored (no disk is full) and every mesh may connect. A link that is down for the moment does not change this.
    pub ready: bool,
    /// Where apps with a token are listened to, beside the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub listen: Option<SocketAddr>,
    /// Per mesh.
    pub meshes: Vec<MeshHealth>,
    /// Those that are closed at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedMesh>,
}

/// A mesh that is being worked on, or could not be opened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClosedMesh {
    /// The mesh.
    pub mesh: Name,
    /// Why it is closed.
    pub reason: String,
}

/// One mesh of this node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MeshHealth {
    /// The mesh.
    pub mesh: Name,
    /// Its id, by which brokers know it.
    pub mesh_id: MeshId,
    /// This node's name in it.
    pub node: Name,
    /// This node's id in it.
    pub node_id: NodeId,
    /// What this node may do; none if its membership has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The broker.
    pub broker: String,
    /// The link.
    pub link: Link,
    /// Members of the mesh.
    pub members: u64,
    /// The epoch of its state key.
    pub epoch: u64,
    /// Messages accepted from apps and not yet at the broker.
    pub outbox_pending: u64,
    /// How long the first of them has waited for the broker, in seconds; 0 if there is none.
    #[serde(default)]
    pub outbox_oldest_seconds: u64,
    /// Messages at the broker without a receipt yet.
    pub outbox_unreceipted: u64,
    /// Bytes of both.
    #[serde(default)]
    pub outbox_bytes: u64,
    /// How full the outbox is by its caps on messages and on bytes, whichever is the more: percent.
    #[serde(default)]
    pub outbox_used: u64,
    /// Nothing can be stored: sends are refused with `disk_full`, and what comes in waits at the broker.
    #[serde(default)]
    pub disk_full: bool,
    /// Messages shown to apps and not acknowledged.
    pub inbox_unread: u64,
    /// Messages stored and waiting for earlier ones of their lane.
    pub inbox_held: u64,
    /// Boxes that did not open.
    pub quarantined: u64,
    /// Leases that apps of this node have.
    #[serde(default)]
    pub leases_held: u64,
    /// Leases that they wait for.
    #[serde(default)]
    pub leases_waiting: u64,
    /// Claims that they have.
    #[serde(default)]
    pub claims_held: u64,
    /// Keys of shared state that this node knows; none while nobody here has used state.
    #[serde(default)]
    pub state_keys: u64,
    /// Messages of topics that some app here has subscribed to and not acknowledged, each once.
    #[serde(default)]
    pub topic_backlog: u64,
    /// This node's clock minus the broker's, which is known from the last login, in milliseconds.
    pub clock_offset_ms: i64,
    /// The broker has lost its store, and an admin should say `waxwing mesh resume`: the ends of the logs that nodes have
    /// shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_wanted: Option<Vec<LogHead>>,
    /// The state key of that epoch.
    pub state_key: StateKeyHealth,
    /// What protects this node against running as a copy, if not everything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_warning: Option<String>,
    /// What an honest broker and honest peers would not do, and is not over. Empty when the mesh is healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
}

/// Something that an honest broker and honest peers would not do, for as long as it lasts. Its beginning is a `security`
/// event of the same name, its end one called `alarm_over`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Alarm {
    /// What: `log_mismatch`: this member's membership log is another one than this node's; `log_withheld`: the broker shows
    /// one of the two only the beginning of it; `log_rollback`: it shows this node another log than before, so that the mesh
    /// has stopped.
    pub what: String,
    /// The member with whom mail waits; none if it is about the broker alone. It need not be the one who lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Since when, on this node's clock.
    pub since: Timestamp,
    /// For people: which way mail waits, and the ends of both logs.
    pub detail: String,
}

/// How this node is with the mesh's newest state key: there is one per epoch, and a new epoch after everybody who goes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StateKeyHealth {
    /// Whether it is held.
    pub held: bool,
    /// Why it is not, or why a new epoch that is wanted is not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The link to the broker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Link {
    /// The state.
    pub state: LinkState,
    /// Since when, on this node's clock.
    pub since: Timestamp,
    /// Why it is down or stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Once it is stopped: what to make of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

impl Link {
    /// One that nobody has dialled yet.
    pub const fn down(since: Timestamp) -> Self {
        Self { state: LinkState::Down, since, reason: None, stop: None }
    }
}

/// A refusal for good, as a command fails that runs into it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stop {
    /// A stable word for programs: `stale_state`, `superseded`, `revoked`, `log_rollback` and so on.
    pub code: String,
    /// The exit code of such a command.
    pub exit: u8,
    /// What to do about it, where one step mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether messages can leave at this moment.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Logged in.
    Up,
    /// Not connected; trying.
    Down,
    /// Refused for good; the reason says why, and what to do.
    Stopped,
}

impl LinkState {
    /// The word people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Stopped => "stopped",
        }
    }
}
