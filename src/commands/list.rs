//! `waxwing mesh list`.

use serde::Serialize;
use waxwing_client::api::{ClosedMesh, Health, MeshHealth};
use waxwing_client::{Name, NodeId};
use waxwing_crypto::membership::Role;
use waxwing_node::list::{self, Listed};

use super::Context;
use crate::failure::Result;
use crate::logs;
use crate::output::{inline, table};

/// The state of a link when no node runs.
const NOT_RUNNING: &str = "not running";
/// The state of one whose mesh is closed.
const CLOSED: &str = "closed";

#[derive(Serialize)]
struct Meshes {
    /// Whether a node runs that serves them.
    running: bool,
    meshes: Vec<Mesh>,
}

/// One mesh. What cannot be known is left out, and the reason says why.
#[derive(Default, Serialize)]
struct Mesh {
    mesh: String,
    /// This node's name in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    link: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<u64>,
}

pub(crate) async fn run(context: &Context) -> Result<()> {
    logs::passing(context.verbose);
    let config = context.config()?;
    let meshes = match context.running(&config)? {
        Some(client) => Meshes::of(client.health().await?),
        None => {
            let meshes = list::list(&config).await?.into_iter().map(Mesh::from).collect();
            Meshes { running: false, meshes }
        }
    };
    if meshes.meshes.is_empty() {
        context.output.note("this node is in no mesh yet");
    }
    context.output.print(&meshes, || if meshes.meshes.is_empty() { String::new() } else { people(&meshes) })
}

impl Meshes {
    fn of(health: Health) -> Self {
        let mut meshes: Vec<Mesh> = health.meshes.into_iter().map(Mesh::from).collect();
        meshes.extend(health.closed.into_iter().map(Mesh::from));
        meshes.sort_by(|a, b| a.mesh.cmp(&b.mesh));
        Self { running: true, meshes }
    }
}

impl From<MeshHealth> for Mesh {
    fn from(mesh: MeshHealth) -> Self {
        Self {
            mesh: mesh.mesh.to_string(),
            node: Some(mesh.node),
            node_id: Some(mesh.node_id),
            role: mesh.role,
            broker: Some(mesh.broker),
            link: mesh.link.state.as_str(),
            reason: mesh.link.reason,
            members: Some(mesh.members),
            epoch: Some(mesh.epoch),
            unread: Some(mesh.inbox_unread),
        }
    }
}

impl From<ClosedMesh> for Mesh {
    fn from(closed: ClosedMesh) -> Self {
        let ClosedMesh { mesh, reason } = closed;
        Self { mesh: mesh.to_string(), link: CLOSED, reason: Some(reason), ..Self::default() }
    }
}

impl From<Listed> for Mesh {
    fn from(listed: Listed) -> Self {
        let mesh = Self { mesh: listed.mesh.to_string(), link: NOT_RUNNING, ..Self::default() };
        match listed.known {
            Ok(known) => Self {
                node: known.node,
                node_id: Some(known.node_id),
                role: known.role,
                broker: Some(known.broker),
                members: Some(known.members),
                epoch: Some(known.epoch),
                unread: Some(known.unread),
                ..mesh
            },
            Err(error) => Self { reason: Some(error.to_string()), ..mesh },
        }
    }
}

fn people(meshes: &Meshes) -> String {
    let mut rows = vec![
        ["MESH", "NODE", "ROLE", "LINK", "MEMBERS", "UNREAD", "EPOCH", "BROKER"].map(String::from).to_vec(),
    ];
    rows.extend(meshes.meshes.iter().map(Mesh::row));
    let mut text = table(&rows);
    for mesh in &meshes.meshes {
        if let Some(reason) = &mesh.reason {
            text.push_str(&format!("\n{} is {}: {}", mesh.mesh, mesh.link, inline(reason)));
        }
    }
    text
}

impl Mesh {
    fn row(&self) -> Vec<String> {
        fn shown(value: Option<&impl ToString>) -> String {
            value.map_or_else(|| "-".to_owned(), ToString::to_string)
        }
        vec![
            self.mesh.clone(),
            shown(self.node.as_ref()),
            shown(self.role.as_ref()),
            self.link.to_owned(),
            shown(self.members.as_ref()),
            shown(self.unread.as_ref()),
            shown(self.epoch.as_ref()),
            self.broker.as_deref().map_or_else(|| "-".to_owned(), inline),
        ]
    }
}
