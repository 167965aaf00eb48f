//! Founding the mesh of `waxwing up`.

use serde::Serialize;
use waxwing_client::api::CreateAnswer;
use waxwing_client::{Client, Name, NodeId};
use waxwing_node::{Config, enroll};

use crate::commands::{Context, mesh};
use crate::failure::Result;

/// A mesh that was founded just now.
#[derive(Serialize)]
pub(super) struct Founded {
    pub(super) mesh: Name,
    node: Name,
    node_id: NodeId,
    recovery_words: String,
    /// Lets one more node in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invite: Option<String>,
}

pub(super) async fn found(
    config: &Config,
    running: Option<&Client>,
    mesh: Name,
    broker: String,
    node: Option<Name>,
) -> Result<Founded> {
    let create = enroll::Create { mesh, broker, plaintext: false, creation: None, node };
    let CreateAnswer { mesh, node, node_id, recovery_words } = mesh::found(config, running, create).await?;
    Ok(Founded { mesh, node, node_id, recovery_words, invite: None })
}

impl Founded {
    /// The recovery words, as they are written down.
    pub(super) fn words(&self) -> String {
        mesh::recovery(&self.recovery_words)
    }

    /// What to do next.
    pub(super) fn next(&self, context: &Context, meshes: usize) -> String {
        let mesh = if meshes > 1 { format!("--mesh {} ", self.mesh) } else { String::new() };
        format!(
            "\nThat last line lets one more node into {}, within a day: on this machine, with a --state of its own. Hand it \
             over privately.\nnext: {}",
            self.mesh,
            context.command(&format!("send {mesh}{} 'hello'", self.node))
        )
    }
}
