//! Codes that a broker gives out and recognises when it is shown them: how far its store had come, and which meshes it
//! has served. Whoever does not have the broker's secret can neither make nor change one.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::MeshId;
use crate::mac::{Secret, Transcript, hmac, same};

/// What makes a mark: 32 bytes.
pub type MarkCode = [u8; 32];

/// What a member shows to a broker that has lost its store and lets nobody found meshes: 32 bytes. Whoever has it can
/// bring the mesh back there, so it is kept like a key.
#[derive(Clone, Deserialize, Eq, Serialize)]
#[serde(transparent)]
pub struct MeshPass(#[serde(with = "serde_bytes")] [u8; 32]);

impl MeshPass {
    /// Takes 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored.
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for MeshPass {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

/// Signs marks. Kept in the store that the marks are about, so that a copy of it recognises them.
#[derive(Clone)]
pub struct StoreSecret(Secret);

impl StoreSecret {
    /// Takes 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be stored.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The code of a mark: HMAC-SHA256 over the transcript "waxwing mark v1" with store id, run and number.
    pub fn code(&self, store: &[u8; 16], run: &[u8; 16], number: u64) -> MarkCode {
        let transcript = Transcript::new(b"waxwing mark v1").field(store).field(run).number(number);
        hmac(&*self.0, &[transcript.as_bytes()])
    }

    /// Whether this is the code of that mark. In constant time.
    pub fn verifies(&self, store: &[u8; 16], run: &[u8; 16], number: u64, code: &MarkCode) -> bool {
        same(&self.code(store, run, number), code)
    }
}

/// Makes mesh passes: what a member shows to a broker that has lost its store and lets nobody found meshes.
#[derive(Clone)]
pub struct PassKey(Secret);

impl PassKey {
    /// Takes 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A mesh's pass: HMAC-SHA256 over the transcript "waxwing mesh pass v1" with the mesh id.
    pub fn pass(&self, mesh: &MeshId) -> MeshPass {
        let transcript = Transcript::new(b"waxwing mesh pass v1").field(mesh.as_bytes());
        MeshPass(hmac(&*self.0, &[transcript.as_bytes()]))
    }

    /// Whether this is the mesh's pass. In constant time.
    pub fn admits(&self, mesh: &MeshId, pass: &MeshPass) -> bool {
        self.pass(mesh) == *pass
    }
}

impl fmt::Debug for MeshPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshPass(secret)")
    }
}

impl fmt::Debug for StoreSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreSecret(secret)")
    }
}

impl fmt::Debug for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_for_one_store_run_and_number() {
        let secret = StoreSecret::from_bytes([7; 32]);
        assert_eq!(secret.reveal(), &[7; 32], "as it is stored");
        let code = secret.code(&[1; 16], &[2; 16], 3);
        assert!(secret.verifies(&[1; 16], &[2; 16], 3, &code));
        assert!(!secret.verifies(&[9; 16], &[2; 16], 3, &code));
        assert!(!secret.verifies(&[1; 16], &[9; 16], 3, &code));
        assert!(!secret.verifies(&[1; 16], &[2; 16], 4, &code));
        assert!(!StoreSecret::from_bytes([8; 32]).verifies(&[1; 16], &[2; 16], 3, &code));
    }

    #[test]
    fn a_pass_holds_for_one_mesh_of_one_broker() {
        let key = PassKey::from_bytes([7; 32]);
        let (one, other) = (MeshId::from_bytes([1; 16]), MeshId::from_bytes([2; 16]));
        let pass = key.pass(&one);
        assert!(key.admits(&one, &pass));
        assert!(!key.admits(&other, &pass));
        assert!(!PassKey::from_bytes([8; 32]).admits(&one, &pass));
        assert!(!format!("{key:?}").contains('7'));
    }
}
