//! `accept-host`: a person says that this host is the node's own from now on.
//!
//! Works on a state folder that no node is running on. The old host's copy, if there is one, still holds the same keys:
//! only one of the two may run.

use sqlx::Connection as _;
use waxwing_crypto::Name;
use waxwing_crypto::host::Verdict;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::identity::Identity;
use crate::{host, store};

/// One mesh that refuses this host, and what speaks against it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Refusal {
    /// The mesh.
    pub mesh: Name,
    /// One line of cause.
    pub cause: String,
    /// Digests stored, 8 hex digits each.
    pub stored: Vec<String>,
    /// Digests found here.
    pub found: Vec<String>,
}

/// The meshes that refuse this host: all, or the one named.
///
/// # Errors
/// `NotFound` if the node is not in the mesh named.
pub fn refusals(config: &Config, only: Option<&Name>) -> Result<Vec<Refusal>> {
    let home = Home::new(config.state.clone());
    let evidence = host::evidence(config.host_id.as_deref());
    let mut refusals = Vec::new();
    for mesh in meshes(&home, only)? {
        let folder = home.mesh(&mesh);
        let key = Identity::load(&folder)?.storage.keys().host_key();
        let (cause, stored, found) = match host::record(&folder)? {
            None => ("its host record is missing".into(), Vec::new(), Vec::new()),
            Some(Err(error)) => (error.to_string(), Vec::new(), Vec::new()),
            Some(Ok(record)) => match record.judge(&evidence, &key) {
                Verdict::Run { .. } => continue,
                Verdict::Refuse { cause, stored, found } => {
                    let shown = |list: Vec<waxwing_crypto::host::Shown>| {
                        list.iter().map(ToString::to_string).collect()
                    };
                    (cause.to_string(), shown(stored), shown(found))
                }
            },
        };
        refusals.push(Refusal { mesh, cause, stored, found });
    }
    Ok(refusals)
}

/// Binds a mesh's identity to this host, and drops its sessions and prekeys: what was sealed to the old host's is sealed
/// anew by its senders.
///
/// # Errors
/// `AlreadyRunning` if a node runs on the state folder; `Database` or `File` if it cannot be written.
pub async fn accept(config: &Config, mesh: &Name) -> Result<()> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let folder = home.mesh(mesh);
    let identity = Identity::load(&folder)?;
    let (mut db, readers) = store::open(&folder.join("node.db")).await?;
    let mut tx = db.begin().await?;
    store::sessions::drop_all(&mut *tx).await?;
    store::prekeys::drop_all(&mut *tx).await?;
    tx.commit().await?;
    store::close(db, readers).await?;
    // Last: until it is written, this host is refused, and the command can be given again.
    let evidence = host::evidence(config.host_id.as_deref());
    host::bind(&folder, &identity.storage.keys().host_key(), &evidence).map(|_| ())
}

fn meshes(home: &Home, only: Option<&Name>) -> Result<Vec<Name>> {
    let mut meshes = home.meshes()?;
    if let Some(only) = only {
        meshes.retain(|mesh| mesh == only);
        if meshes.is_empty() {
            return Err(Error::NotFound(format!("this node is in no mesh called {only}")));
        }
    }
    Ok(meshes)
}
