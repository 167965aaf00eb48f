//! A mesh's broker is somewhere else from now on, or has another key: a person says so.
//!
//! Works on a mesh's folder that nobody uses: no node is running on it, or it has closed the mesh. Nothing is asked of the new broker here: the next login shows whether it
//! has the mesh, or wants to be given its log.

use std::path::PathBuf;

use waxwing_crypto::Name;
use waxwing_protocol::BrokerUrl;

use crate::config::Config;
use crate::error::Result;
use crate::home::Home;
use crate::host;
use crate::link::dial::check_url;
use crate::mesh::Admitted;
use crate::store::{self, meta};

/// What a mesh's broker was, and is.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The mesh.
    pub mesh: Name,
    /// Where it was dialled, with the pin if it had one.
    pub before: String,
    /// Where it is dialled from now on.
    pub after: BrokerUrl,
}

/// Has this node dial another URL for a mesh: its only one, or the one named. `plaintext` as in `enroll::Create`.
///
/// # Errors
/// `Usage` for a URL that cannot be, or if it is not clear which mesh is meant; `NotFound` or `UnknownMesh`;
/// `AlreadyRunning`; `WrongHost`; `Database`.
pub async fn move_broker(config: &Config, only: Option<&Name>, url: &str, plaintext: bool) -> Result<Moved> {
    let after = check_url(url, plaintext)?;
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let mesh = home.only(only)?;
    Admitted::check(&home, &mesh, &host::evidence(config.host_id.as_deref()))?;
    dial_at(home.mesh(&mesh), mesh, after).await
}

/// The same in a mesh's folder that nobody uses.
pub(crate) async fn dial_at(folder: PathBuf, mesh: Name, after: BrokerUrl) -> Result<Moved> {
    let (mut db, readers) = store::open(&folder.join("node.db")).await?;
    let before = meta::text(&mut db, meta::BROKER).await?.unwrap_or_default();
    meta::set_text(&mut db, meta::BROKER, &after.to_string()).await?;
    store::close(db, readers).await?;
    Ok(Moved { mesh, before, after })
}
