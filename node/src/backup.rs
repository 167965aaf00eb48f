//! A backup of a node, while it runs or not: a folder laid out as the state folder is, which can be put in its place.
//!
//! Each database is one moment of it, copied by SQLite over a connection that only reads. Its keys are copied after it: a
//! database follows newer keys, but older keys could not go on with a newer database. Tokens are not in it: one that was
//! revoked since would be good again.

use std::fs;
use std::path::{Path, PathBuf};

use waxwing_crypto::Name;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::{self, Home};
use crate::store;

/// What was copied.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Copied {
    /// The mesh.
    pub mesh: Name,
    /// Bytes of its database.
    pub bytes: u64,
}

/// Copies every mesh of a state folder, or the one named, to a folder that must not exist.
///
/// # Errors
/// `Conflict` if it exists; `NotFound` if the node is in no mesh; `Damaged` if a database is; `File` or `Database` if it
/// cannot be read or written. The folder is not there then.
pub async fn backup(config: &Config, only: Option<&Name>, to: &Path) -> Result<Vec<Copied>> {
    let home = Home::new(config.state.clone());
    let meshes = if only.is_some() { vec![home.only(only)?] } else { home.meshes()? };
    if meshes.is_empty() {
        return Err(Error::NotFound("this node is in no mesh: there is nothing to copy".into()));
    }
    let taken = || Error::Conflict(format!("{} is there already: name a folder that is not", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(taken());
    }
    // Nobody begins to write while this reads; a node that runs already may.
    let _lock = if home.running()?.is_some() { None } else { Some(home.lock()?) };
    let partial = partial(to);
    let made = async {
        make(&home, &meshes, &partial).await.and_then(|copied| {
            fs::rename(&partial, to).map_err(Error::file("cannot make", to))?;
            to.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), home::sync_folder)?;
            Ok(copied)
        })
    }
    .await;
    if made.is_err() {
        // What is not whole is of no use to anybody.
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

/// Where it is made before it takes its name. One that was killed leaves its own behind, which is in nobody's way.
fn partial(to: &Path) -> PathBuf {
    let mut path = to.as_os_str().to_owned();
    path.push(format!(".{}.partial", std::process::id()));
    path.into()
}

async fn make(home: &Home, meshes: &[Name], to: &Path) -> Result<Vec<Copied>> {
    let copies = Home::new(to.to_path_buf());
    let mut copied = Vec::with_capacity(meshes.len());
    for mesh in meshes {
        let (from, to) = (home.mesh(mesh), copies.mesh(mesh));
        home::private_folder(&to)?;
        let database = to.join("node.db");
        store::copy(&from.join("node.db"), &database).await?;
        for file in ["identity.json", "host.json"] {
            let content = fs::read(from.join(file)).map_err(Error::file("cannot read", &from.join(file)))?;
            home::write_private(&to.join(file), &zeroize::Zeroizing::new(content))?;
        }
        let bytes = fs::metadata(&database).map_err(Error::file("cannot look at", &database))?.len();
        copied.push(Copied { mesh: mesh.clone(), bytes });
    }
    home::sync_folder(&to.join("meshes"))?;
    home::sync_folder(to)?;
    Ok(copied)
}
