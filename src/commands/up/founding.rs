//! Founding the mesh of `waxwing up`.

use serde::Serialize;
use waxwing_client::{Name, NodeId};
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
    mesh: Name,
    broker: String,
    node: Option<Name>,
) -> Result<Founded> {
    let created =
        enroll::create(config, enroll::Create { mesh, broker, plaintext: false, creation: None, node })
            .await?;
    Ok(Founded {
        mesh: created.mesh,
        node: created.node,
        node_id: created.node_id,
        recovery_words: created.recovery_words.reveal().to_owned(),
        invite: None,
    })
}

impl Founded {
    /// The recovery words, as they are written down.
    pub(super) fn words(&self) -> String {
        mesh::recovery(&self.recovery_words)
    }

    /// What to do next.
    pub(super) fn next(&self, context: &Context) -> String {
        format!(
            "\nThat last line lets one more node into {}, within a day: on this machine, with a --state of its own. Hand it \
             over privately.\nnext: {}",
            self.mesh,
            context.command(&format!("send {} 'hello'", self.node))
        )
    }
}
