//! A node's keys in one mesh, as kept in `identity.json` (0600).

use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{MeshId, NodeId, SealingKey, SigningKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};
use crate::home;

/// Version of the file's form.
const SCHEMA: u32 = 1;
/// The file, in the mesh's folder.
const FILE: &str = "identity.json";
/// Nothing longer is read.
const MAX: u64 = 4 * 1024;

/// Who this node is in one mesh.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) mesh: MeshId,
    pub(crate) node: NodeId,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKey,
    pub(crate) storage: StorageKey,
}

/// The file's form. Secrets are hex, wiped when dropped.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u32,
    mesh: String,
    node: String,
    signing: String,
    sealing: String,
    storage: String,
}

impl Identity {
    /// Fresh keys, for a mesh whose id is known or will be set with [`Identity::in_mesh`].
    pub(crate) fn mint(mesh: MeshId) -> Self {
        let mut rng = crate::rng();
        let signing = SigningKey::generate(&mut rng);
        Self {
            mesh,
            node: signing.public().node_id(),
            sealing: SealingKey::generate(&mut rng),
            storage: StorageKey::generate(&mut rng),
            signing,
        }
    }

    /// The same keys in the mesh that their genesis has just made.
    pub(crate) fn in_mesh(self, mesh: MeshId) -> Self {
        Self { mesh, ..self }
    }

    /// Writes the file, whole and durable.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let stored = Stored {
            schema: SCHEMA,
            mesh: self.mesh.to_string(),
            node: self.node.to_string(),
            signing: HEXLOWER.encode(&*self.signing.reveal_seed()),
            sealing: HEXLOWER.encode(&*self.sealing.reveal_seed()),
            storage: HEXLOWER.encode(self.storage.reveal()),
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(|error| Error::Damaged(error.to_string()))?;
        home::write_private(&folder.join(FILE), &Zeroizing::new(text))
    }

    /// Reads the file.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let size = std::fs::metadata(&path).map_err(Error::file("cannot read", &path))?.len();
        let damaged = || Error::Damaged(format!("{} is not an identity", path.display()));
        if size > MAX {
            return Err(damaged());
        }
        let text = Zeroizing::new(std::fs::read(&path).map_err(Error::file("cannot read", &path))?);
        let stored: Stored = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if stored.schema != SCHEMA {
            return Err(Error::Incompatible(format!(
                "{} has schema {}, this waxwing knows {SCHEMA}: use a newer one",
                path.display(),
                stored.schema
            )));
        }
        let secret = |text: &str| -> Result<Zeroizing<[u8; 32]>> {
            let bytes = Zeroizing::new(HEXLOWER.decode(text.as_bytes()).map_err(|_| damaged())?);
            Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| damaged())?))
        };
        Ok(Self {
            mesh: stored.mesh.parse().map_err(|_| damaged())?,
            node: stored.node.parse().map_err(|_| damaged())?,
            signing: SigningKey::from_seed(&*secret(&stored.signing)?),
            sealing: SealingKey::from_seed(&*secret(&stored.sealing)?),
            storage: StorageKey::from_bytes(&*secret(&stored.storage)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::mint(MeshId::from_bytes([3; 16]));
        identity.save(folder.path()).unwrap();
        let loaded = Identity::load(folder.path()).unwrap();
        assert_eq!((loaded.mesh, loaded.node), (identity.mesh, identity.node));
        assert_eq!(loaded.signing.public(), identity.signing.public());
        assert_eq!(loaded.storage.reveal(), identity.storage.reveal());
        let shown = format!("{loaded:?}");
        assert!(!shown.contains(&HEXLOWER.encode(loaded.storage.reveal())), "{shown}");
    }

    #[test]
    fn a_damaged_identity_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"schema\":1}", &"x".repeat(10_000)] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = Identity::load(folder.path()).unwrap_err();
            assert!(error.to_string().contains("identity.json"), "{error}");
        }
    }
}
