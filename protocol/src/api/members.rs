//! Everybody whom a mesh's log knows, the invites that are open, and the admin of last resort.

use std::fmt;

use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::{Role, Standing};
use waxwing_crypto::{Name, NodeId, Timestamp};
use zeroize::Zeroizing;

/// What to list of a mesh's members.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct MembersQuery {
    /// Also those that were revoked, or have left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `GET /v1/members`: the members of a mesh in the order in which they joined, as its log has them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Members {
    /// The mesh.
    pub mesh: Name,
    /// They.
    pub members: Vec<Member>,
}

/// One member, or former member.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Member {
    /// Its name.
    pub node: Name,
    /// Its id.
    pub id: NodeId,
    /// What it may do, or might.
    pub role: Role,
    /// `live`, `revoked` or `left`.
    pub standing: Standing,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// Whose invite it joined by. Absent for the founder, and for who came by an invite of the recovery words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_by: Option<Name>,
    /// When it last said that it is on another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_at: Option<Timestamp>,
    /// When its membership ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Set on the founder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub founder: bool,
    /// Set on this node itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub this: bool,
}

/// `GET /v1/mesh/invites`: the invites of a mesh that let somebody in at this moment, oldest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invites {
    /// The mesh.
    pub mesh: Name,
    /// They.
    pub invites: Vec<OpenInvite>,
}

/// An invite that lets somebody in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpenInvite {
    /// Its public key, in hex: what `waxwing invite revoke` takes, or the beginning of it. No secret.
    pub key: String,
    /// What those may do who join by it.
    pub role: Role,
    /// How many more may join.
    pub left: u32,
    /// How many might in all.
    pub uses: u32,
    /// When it ends, on the broker's clock.
    pub expires_at: Timestamp,
    /// The only name it admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The admin that made it. Absent: the recovery words did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Name>,
    /// When it was made.
    pub made_at: Timestamp,
}

/// `POST /v1/mesh/invite/revoke`: ends an invite for good. For admins. Those who joined by it stay.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeInviteRequest {
    /// The beginning of its public key in hex, at least 4 digits, or all of it.
    pub key: String,
    /// Why, for the log: everybody in the mesh can read it. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// An invite that was revoked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RevokedInvite {
    /// The mesh.
    pub mesh: Name,
    /// Its public key, in hex.
    pub key: String,
}

/// `POST /v1/mesh/recover`: makes a member an admin by the mesh's recovery words, whoever else is one.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The twenty-four words. They are a secret, and wiped after use.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub words: Zeroizing<String>,
    /// The member; by default this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

impl fmt::Debug for RecoverRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoverRequest").field("node", &self.node).finish_non_exhaustive()
    }
}
