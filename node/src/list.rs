//! The meshes of a state folder that no node is running on, as far as they can be told from the folder. Nothing is changed.

use waxwing_crypto::membership::{Role, Roster};
use waxwing_crypto::{Name, NodeId};

use crate::config::Config;
use crate::error::Result;
use crate::home::Home;
use crate::identity::Identity;
use crate::store::{self, inbox, log, meta, outbox};

/// A mesh that this host has a folder of.
#[derive(Debug)]
pub struct Listed {
    /// The mesh.
    pub mesh: Name,
    /// What is known of it, or what is wrong with the folder.
    pub known: Result<Known>,
}

/// What a mesh's folder tells.
#[derive(Clone, Debug)]
pub struct Known {
    /// This node's name in it; none if its membership has ended.
    pub node: Option<Name>,
    /// This node's id in it.
    pub node_id: NodeId,
    /// What this node may do.
    pub role: Option<Role>,
    /// The broker.
    pub broker: String,
    /// Members of the mesh.
    pub members: u64,
    /// The epoch of its state key.
    pub epoch: u64,
    /// Messages shown to apps and not acknowledged.
    pub unread: u64,
    /// Messages stored and waiting for earlier ones.
    pub held: u64,
    /// Messages of this node that were not delivered yet.
    pub undelivered: u64,
}

/// Every mesh of a state folder, by name.
///
/// # Errors
/// `File` if the folder cannot be read. What is wrong with one mesh is in its place.
pub async fn list(config: &Config) -> Result<Vec<Listed>> {
    let home = Home::new(config.state.clone());
    let mut listed = Vec::new();
    for mesh in home.meshes()? {
        let known = look(&home, &mesh).await;
        listed.push(Listed { mesh, known });
    }
    Ok(listed)
}

async fn look(home: &Home, mesh: &Name) -> Result<Known> {
    let folder = home.mesh(mesh);
    let node_id = Identity::load(&folder)?.node;
    let db = store::look(&folder.join("node.db"));
    let roster = Roster::replay(&log::after(&db, 0).await?)?;
    let own = roster.member(&node_id);
    let (unread, held) = inbox::counts(&db).await?;
    let load = outbox::load(&db).await?;
    let known = Known {
        node: own.map(|member| member.name.clone()),
        node_id,
        role: own.map(|member| member.role),
        broker: meta::text(&db, meta::BROKER).await?.unwrap_or_default(),
        members: roster.members().count() as u64,
        epoch: roster.epoch(),
        unread,
        held,
        undelivered: load.pending + load.unreceipted,
    };
    db.close().await;
    Ok(known)
}
