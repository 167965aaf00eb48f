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
const MAX: u64 = 8 * 1024;
/// Most sealing keys from before that are kept.
const FORMER_SEALING: usize = 16;

/// Who this node is in one mesh.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) mesh: MeshId,
    pub(crate) node: NodeId,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKey,
    pub(crate) storage: StorageKey,
    /// The signing key that stands in the log, until an update puts `signing` in its place.
    pub(crate) giving_up: Option<SigningKey>,
    /// Sealing keys from before, newest first: state keys may still have to be opened with them.
    pub(crate) former_sealing: Vec<SealingKey>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    giving_up: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_sealing: Vec<String>,
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
            giving_up: None,
            former_sealing: Vec::new(),
            signing,
        }
    }

    /// The same node with fresh keys for signing and sealing. If it has fresh keys already that are not in the log yet, or
    /// not known to be, it keeps those.
    pub(crate) fn renewed(self) -> Self {
        if self.giving_up.is_some() {
            return self;
        }
        let mut rng = crate::rng();
        let mut former_sealing = vec![self.sealing];
        former_sealing.extend(self.former_sealing.into_iter().take(FORMER_SEALING - 1));
        Self {
            signing: SigningKey::generate(&mut rng),
            sealing: SealingKey::generate(&mut rng),
            giving_up: Some(self.signing),
            former_sealing,
            ..self
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
            giving_up: self.giving_up.as_ref().map(|key| HEXLOWER.encode(&*key.reveal_seed())),
            former_sealing: self
                .former_sealing
                .iter()
                .map(|key| HEXLOWER.encode(&*key.reveal_seed()))
                .collect(),
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(|error| Error::Damaged(error.to_string()))?;
        home::write_private(&folder.join(FILE), &Zeroizing::new(text))
    }

    /// Reads the file.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        home::must_be_private(&path)?;
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
            giving_up: match &stored.giving_up {
                Some(seed) => Some(SigningKey::from_seed(&*secret(seed)?)),
                None => None,
            },
            former_sealing: stored
                .former_sealing
                .iter()
                .map(|seed| Ok(SealingKey::from_seed(&*secret(seed)?)))
                .collect::<Result<_>>()?,
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
    fn fresh_keys_are_kept_until_they_stand_in_the_log_however_often_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let before = Identity::mint(MeshId::from_bytes([3; 16]));
        let (node, old, storage) = (before.node, before.signing.public(), *before.storage.reveal());
        let renewed = before.renewed();
        let new = renewed.signing.public();
        assert_ne!(new, old);
        renewed.save(folder.path()).unwrap();
        let again = Identity::load(folder.path()).unwrap().renewed();
        assert_eq!((again.node, again.signing.public(), *again.storage.reveal()), (node, new, storage));
        assert_eq!(again.giving_up.as_ref().unwrap().public(), old);
        assert_eq!(again.former_sealing.len(), 1);
        let mut many = again;
        for _ in 0..2 * FORMER_SEALING {
            many.giving_up = None;
            many = many.renewed();
        }
        many.save(folder.path()).unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap().former_sealing.len(), FORMER_SEALING);
    }

    #[test]
    fn a_damaged_identity_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"schema\":1}", &"x".repeat(10_000)] {
            home::write_private(&folder.path().join(FILE), text.as_bytes()).unwrap();
            let error = Identity::load(folder.path()).unwrap_err();
            assert!(error.to_string().contains("identity.json is not an identity"), "{error}");
        }
    }
}
