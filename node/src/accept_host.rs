//! `accept-host`: a person says that this host is the node's own from now on; and fresh keys without a move.
//!
//! Works on a state folder that no node is running on. The node gets new keys for signing and sealing, so that whatever
//! copy of it there is elsewhere holds dead ones as soon as the log has the new: the next link sees to that first.

use std::path::Path;

use waxwing_crypto::Name;
use waxwing_crypto::host::Verdict;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::host;
use crate::identity::Identity;
use crate::mesh::Admitted;
use crate::store::{self, meta};

/// One mesh that this host may not serve, and what speaks against it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Refusal {
    /// The mesh.
    pub mesh: Name,
    /// One line of cause.
    pub cause: String,
    /// Digests stored, 8 hex digits each; none if it was the broker that refused.
    pub stored: Vec<String>,
    /// Digests found here.
    pub found: Vec<String>,
}

/// The meshes that this host may not serve: all, or the one named. Either their own record of the host speaks against it,
/// or the broker has seen a newer state of the node.
///
/// # Errors
/// `NotFound` if the node is not in the mesh named.
pub async fn refusals(config: &Config, only: Option<&Name>) -> Result<Vec<Refusal>> {
    let home = Home::new(config.state.clone());
    let evidence = host::evidence(config.host_id.as_deref());
    let mut refusals = Vec::new();
    for mesh in meshes(&home, only)? {
        let folder = home.mesh(&mesh);
        let key = Identity::load(&folder)?.storage.keys().host_key();
        let by_record = match host::record(&folder)? {
            None => Some(("its host record is missing".into(), Vec::new(), Vec::new())),
            Some(Err(error)) => Some((error.to_string(), Vec::new(), Vec::new())),
            Some(Ok(record)) => match record.judge(&evidence, &key) {
                Verdict::Run { .. } => None,
                Verdict::Refuse { cause, stored, found } => {
                    let shown = |list: Vec<waxwing_crypto::host::Shown>| {
                        list.iter().map(ToString::to_string).collect()
                    };
                    Some((cause.to_string(), shown(stored), shown(found)))
                }
            },
        };
        let refusal = match by_record {
            Some(refusal) => Some(refusal),
            None => by_broker(&folder).await?.map(|cause| (cause, Vec::new(), Vec::new())),
        };
        if let Some((cause, stored, found)) = refusal {
            refusals.push(Refusal { mesh, cause, stored, found });
        }
    }
    Ok(refusals)
}

/// Why the broker has refused this state for good, if it has.
async fn by_broker(folder: &Path) -> Result<Option<String>> {
    let readers = store::open_to_read(&folder.join("node.db"));
    let refused = meta::text(&readers, meta::REFUSED).await?;
    readers.close().await;
    Ok(refused)
}

/// Binds a mesh's identity to this host, and gives it new keys.
///
/// # Errors
/// `AlreadyRunning` if a node runs on the state folder; `Database` or `File` if it cannot be written.
pub async fn accept(config: &Config, mesh: &Name) -> Result<()> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let folder = home.mesh(mesh);
    let identity = renew(&folder).await?;
    // Last: until it is written, this host is refused, and the command can be given again.
    let evidence = host::evidence(config.host_id.as_deref());
    host::bind(&folder, &identity.storage.keys().host_key(), &evidence).map(|_| ())
}

/// Gives this node new keys, without a move, in its only mesh or the one named. Says which.
///
/// # Errors
/// `AlreadyRunning` if a node runs on the state folder; `Usage` if it is not clear which mesh is meant; `NotFound` if it
/// is in none of this name; `WrongHost`; `Database` or `File` if it cannot be written.
pub async fn rotate(config: &Config, only: Option<&Name>) -> Result<Name> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let mesh = home.only(only)?;
    Admitted::check(&home, &mesh, &host::evidence(config.host_id.as_deref()))?;
    renew(&home.mesh(&mesh)).await?;
    Ok(mesh)
}

/// New keys in the place of the old: in the identity first, which decides; then in the database, which follows it whenever
/// it is opened. Nothing of the secrets that were shared with a copy is left.
pub(crate) async fn renew(folder: &Path) -> Result<Identity> {
    let identity = Identity::load(folder)?.renewed();
    identity.save(folder)?;
    let (mut db, readers) = store::open(&folder.join("node.db")).await?;
    store::renewal::begin_under(&mut db, &identity.signing.public()).await?;
    meta::remove(&mut db, meta::REFUSED).await?;
    store::close(db, readers).await?;
    Ok(identity)
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
