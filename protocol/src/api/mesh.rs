//! Who is in a mesh, and how others come in.

use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::{LogHead, Role};
use waxwing_crypto::{Name, NodeId, Timestamp};

use super::Profile;

/// Names the mesh of a request without other parameters.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct MeshQuery {
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `GET /v1/peers`: the members of a mesh, by name, and who of them is there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Peers {
    /// The mesh.
    pub mesh: Name,
    /// Its members, this node included.
    pub peers: Vec<Peer>,
    /// Who is there is known as it is now: there is a link.
    pub current: bool,
    /// When that was so last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// One member.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Peer {
    /// Its name.
    pub node: Name,
    /// Its id.
    pub id: NodeId,
    /// What it may do.
    pub role: Role,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// It is there: linked to the broker, or has not been away for longer than a lease.
    pub online: bool,
    /// Since when it is, on the broker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// If it is not: until when it was, on the broker's clock; absent if this node has never seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it says of itself. Not shown of whoever is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Its apps, by name. Not shown of whoever is blocked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<PeerApp>,
    /// Set on this node itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub this: bool,
    /// Its mail is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
}

/// An app of a member, in short. `GET /v1/apps?scope=mesh` says more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PeerApp {
    /// Its name.
    pub name: Name,
    /// Which of several of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// What service it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// `POST /v1/peers/block`, `POST /v1/peers/allow`, `POST /v1/peers/verify`: about one member.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    /// Its name.
    pub node: Name,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Whether a member's mail is refused from now on. Mail refused ends at its sender, with the reason `blocked`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PeerAnswer {
    /// The mesh.
    pub mesh: Name,
    /// The member's name.
    pub node: Name,
    /// Its id.
    pub id: NodeId,
    /// Whether its mail is refused now.
    pub blocked: bool,
}

/// What two people compare to see that their nodes mean each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VerifyAnswer {
    /// The mesh.
    pub mesh: Name,
    /// The member's name.
    pub node: Name,
    /// Its id.
    pub id: NodeId,
    /// Six words, from the signing keys of both nodes: the same on both sides, if each has the other's true key.
    pub words: [String; 6],
}

/// `POST /v1/mesh/invite`: lets somebody in.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// What the newcomer may do (default `member`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How many nodes may use it (default 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// How long it lasts, as `24h` (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The only name the newcomer may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A new invite.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InviteAnswer {
    /// What the newcomer passes to `waxwing join`. Whoever holds it can join: it is a secret.
    pub token: String,
    /// The mesh.
    pub mesh: Name,
    /// When it ends, on the broker's clock.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for InviteAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InviteAnswer({}, token hidden)", self.mesh)
    }
}

/// `POST /v1/mesh/resume`: after the broker has lost its store, says that the log held by this node is the right one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A mesh that was resumed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ResumeAnswer {
    /// The mesh.
    pub mesh: Name,
    /// Where the log ended that goes on.
    pub head: LogHead,
}

/// `POST /v1/mesh/grant`: gives a member another role. For admins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The member's name.
    pub node: Name,
    /// What it may do from now on.
    pub role: Role,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `POST /v1/mesh/revoke`: ends a node's membership for good. For admins. Its links end, what waits for it goes back to
/// its senders, and the invite that it joined by admits nobody any more, nor do those that it made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The member's name.
    pub node: Name,
    /// Why, for the log: everybody in the mesh can read it. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A member whose role or membership was changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MemberAnswer {
    /// The mesh.
    pub mesh: Name,
    /// The member's name.
    pub node: Name,
    /// Its id.
    pub id: NodeId,
}
