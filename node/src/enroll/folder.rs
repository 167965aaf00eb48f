//! Where a mesh's state is prepared.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use waxwing_crypto::host::Evidence;
use waxwing_crypto::membership::{NewMember, SignedEntry};
use waxwing_crypto::{MeshId, Name};
use waxwing_protocol::BrokerUrl;

use crate::epochs::Sealed;
use crate::error::{Error, Result};
use crate::home::{self, Home};
use crate::host;
use crate::identity::Identity;
use crate::store::{self, log, meta};

/// A folder in which a mesh's state is prepared. Removed when dropped, unless it is finished or must be taken up again.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    keep: AtomicBool,
}

impl Folder {
    /// An empty folder, whatever was there.
    pub(super) fn fresh(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(Error::file("cannot remove", &path))?;
        }
        Self::resume(path)
    }

    /// The folder of an earlier attempt, or an empty one.
    pub(super) fn resume(path: PathBuf) -> Result<Self> {
        home::private_folder(&path)?;
        Ok(Self { path, keep: AtomicBool::new(false) })
    }

    /// The identity of an earlier attempt, or a new one.
    pub(super) fn identity(&self, mesh: MeshId) -> Result<Identity> {
        match Identity::load(&self.path) {
            Ok(identity) if identity.mesh == mesh => Ok(identity),
            _ => {
                let identity = Identity::mint(mesh);
                identity.save(&self.path)?;
                Ok(identity)
            }
        }
    }

    /// Binds an identity to this host, and says who it will be in the log.
    pub(super) fn bind(&self, identity: &Identity, name: Name, evidence: &Evidence) -> Result<NewMember> {
        let record = host::bind(&self.path, &identity.storage.keys().host_key(), evidence)?;
        Ok(NewMember {
            name,
            signing: identity.signing.public(),
            sealing: identity.sealing.public()?,
            host: record.commitment(),
        })
    }

    /// Makes the database, and puts everything in its place.
    pub(super) async fn finish(
        self,
        home: &Home,
        mesh: &Name,
        broker: &BrokerUrl,
        entries: &[SignedEntry],
        secrets: &Sealed,
    ) -> Result<()> {
        self.keep(true);
        let database = self.path.join("node.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
        }
        let (mut db, readers) = store::open(&database).await?;
        log::put(&mut db, 1, entries).await?;
        meta::set_text(&mut db, meta::BROKER, &broker.to_string()).await?;
        secrets.write(&mut db).await?;
        store::close(db, readers).await?;
        let path = home.mesh(mesh);
        let meshes = path.parent().unwrap_or(Path::new("/"));
        home::private_folder(meshes)?;
        std::fs::rename(&self.path, &path).map_err(Error::file("cannot make", &path))?;
        home::sync_folder(meshes)
    }
}

impl Folder {
    /// Whether what is in it must be taken up again: something in it may be in the log already.
    pub(super) fn keep(&self, keep: bool) {
        self.keep.store(keep, Ordering::Relaxed);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !*self.keep.get_mut() {
            // Nothing in it is of use to anybody: it was refused.
            let _ = std::fs::remove_dir_all(&self.path);
        }
        // Nor is the folder around it, if there is no other in it.
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}
