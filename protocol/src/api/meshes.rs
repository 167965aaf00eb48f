//! Which meshes a node is in: founded, joined, moved and left while it runs.

use std::fmt;

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, NodeId};

/// `POST /v1/mesh/join`: enters a mesh by an invite.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The invite's token. Whoever holds it can join: it is a secret.
    pub token: String,
    /// The name to take (default: the invite's, else this host's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Whether a link without TLS may leave this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A mesh that was joined.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinAnswer {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it.
    pub node: Name,
    /// This node's id in it.
    pub node_id: NodeId,
    /// Where its broker is dialled.
    pub broker: String,
}

/// `POST /v1/mesh/create`: founds a mesh with this node as its first admin.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Its name.
    pub name: Name,
    /// The broker's URL, with its pin if it has one.
    pub broker: String,
    /// This node's name in it (default: this host's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// What a broker that is closed wants of a founder. It is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_token: Option<String>,
    /// Whether a link without TLS may leave this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

impl fmt::Debug for CreateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (&self.name, &self.broker, &self.node);
        f.debug_tuple("CreateRequest").field(&shown).finish_non_exhaustive()
    }
}

/// A mesh that was founded.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateAnswer {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it.
    pub node: Name,
    /// This node's id in it.
    pub node_id: NodeId,
    /// Twenty-four words that appoint an admin when every admin's host is lost. Kept nowhere: they are said once, here.
    pub recovery_words: String,
}

impl fmt::Debug for CreateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateAnswer")
            .field("mesh", &self.mesh)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/mesh/broker`: this node dials the mesh's broker elsewhere from now on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BrokerRequest {
    /// Where, with its pin if it has one.
    pub url: String,
    /// Whether a link without TLS may leave this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Where a mesh's broker was, and is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BrokerAnswer {
    /// The mesh.
    pub mesh: Name,
    /// Where it was dialled.
    pub before: String,
    /// Where it is dialled from now on.
    pub broker: String,
}

/// `POST /v1/mesh/leave`: ends this node's own membership, and deletes its keys and mail in the mesh.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaveRequest {
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A mesh that was left.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LeaveAnswer {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it, if it was a member still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// This node's id in it.
    pub node_id: NodeId,
    /// Messages deleted that nobody had read.
    pub unread: u64,
    /// Messages deleted that were not delivered yet.
    pub undelivered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let name: Name = "home".parse().unwrap();
        let join = JoinRequest { token: "ww1_secret".into(), ..JoinRequest::default() };
        let create = CreateRequest {
            name: name.clone(),
            broker: "ws://127.0.0.1:7900".into(),
            node: None,
            creation_token: Some("wwc1_secret".into()),
            plaintext: false,
        };
        let created = CreateAnswer {
            mesh: name.clone(),
            node: name,
            node_id: NodeId::from_bytes([1; 16]),
            recovery_words: "secret words".into(),
        };
        let shown = format!("{join:?} {create:?} {created:?}");
        assert!(!shown.contains("secret") && shown.contains("home"), "{shown}");
    }
}

/// `POST /v1/mesh/rotate-keys`: gives this node new keys for signing and sealing. Whoever has copied the old ones can do
/// nothing with them from then on. The mesh is closed for a moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A node that has new keys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RotateAnswer {
    /// The mesh.
    pub mesh: Name,
    /// Whether they stand in the mesh's log. If not yet, they will as soon as the broker can be reached: until then this
    /// node cannot log in, and the old keys are good for whoever has them.
    pub in_log: bool,
}
