//! How names become what a broker sees of them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::name::{KeyName, SpaceName};
use crate::id::{KeyId, MeshId, SpaceId};
use crate::mac::{Secret, Transcript, hmac};
use crate::state_key::StateKeys;

/// What makes ids of names: the same for all members of a mesh, for as long as it lives, and known to nobody else. Whoever has
/// it not cannot tell whether two ids of two meshes are of one name, nor test a guess.
#[derive(Clone)]
pub struct NamingKey(Secret);

impl NamingKey {
    /// A mesh's naming key: HKDF-SHA256 of its first state key, which every member has.
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes (RFC 5869, 2.3)")]
    pub fn of(mesh: MeshId, keys: &StateKeys) -> Self {
        let (_, first) = keys.first();
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, first.reveal())
            .expand_multi_info(&[b"waxwing naming v1\0", mesh.as_bytes()], &mut *key)
            .expect("32 bytes");
        Self(key)
    }

    /// What a broker sees of a space's name.
    pub fn space(&self, name: &SpaceName) -> SpaceId {
        let input = Transcript::new(b"waxwing space id v1").field(name.as_str().as_bytes());
        SpaceId::from_bytes(hmac(&*self.0, &[input.as_bytes()]))
    }

    /// What a broker sees of a key's name. Of no use in another space: there the same name has another id.
    pub fn key(&self, space: &SpaceName, name: &KeyName) -> KeyId {
        let input = Transcript::new(b"waxwing key id v1")
            .field(space.as_str().as_bytes())
            .field(name.as_str().as_bytes());
        KeyId::from_bytes(hmac(&*self.0, &[input.as_bytes()]))
    }
}

impl fmt::Debug for NamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamingKey(secret)")
    }
}
