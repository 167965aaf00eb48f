//! What lets somebody found a mesh on a broker that is closed: a token that its operator hands out, and a proof that one has
//! it.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::{CreationProof, MeshId};
use crate::mac::{Secret, hmac, same};
use crate::secret_text;

/// What a token begins with.
const PREFIX: &str = "wwc1_";
/// What a proof is made for, and nothing else.
const LABEL: &[u8] = b"waxwing creation v1\0";

/// A broker's creation token: whoever has it may found meshes there. It is never sent; a [`CreationProof`] is.
#[derive(Clone)]
pub struct CreationToken(Secret);

impl CreationToken {
    /// Longest text, in bytes, that is worth reading.
    pub const MAX_TEXT: usize = 128;

    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(secret_text::generate(rng))
    }

    /// Takes exactly these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the token as text, to keep it or hand it over.
    pub fn reveal(&self) -> Zeroizing<String> {
        secret_text::reveal(PREFIX, &self.0)
    }

    /// Proves to whoever gave this challenge, and knows the token, that one may found this mesh.
    pub fn prove(&self, nonce: &[u8; 32], mesh: MeshId) -> CreationProof {
        CreationProof::from_bytes(hmac(&*self.0, &[LABEL, nonce, mesh.as_bytes()]))
    }

    /// Whether this proves it. Takes the same time wherever they differ.
    pub fn is_proven(&self, proof: &CreationProof, nonce: &[u8; 32], mesh: MeshId) -> bool {
        same(self.prove(nonce, mesh).as_bytes(), proof.as_bytes())
    }
}

impl FromStr for CreationToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        secret_text::read(PREFIX, text, "creation token").map(Self)
    }
}

impl fmt::Debug for CreationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CreationToken(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESH: MeshId = MeshId::from_bytes([2; 16]);

    #[test]
    fn a_proof_is_worth_nothing_for_another_challenge_mesh_or_token() {
        let token = CreationToken::from_bytes(&[1; 32]);
        let proof = token.prove(&[3; 32], MESH);
        assert!(token.is_proven(&proof, &[3; 32], MESH));
        assert!(!token.is_proven(&proof, &[4; 32], MESH));
        assert!(!token.is_proven(&proof, &[3; 32], MeshId::from_bytes([5; 16])));
        assert!(!CreationToken::from_bytes(&[6; 32]).is_proven(&proof, &[3; 32], MESH));
        let mut bytes = *proof.as_bytes();
        bytes[31] ^= 1;
        assert!(!token.is_proven(&CreationProof::from_bytes(bytes), &[3; 32], MESH));
    }

    #[test]
    fn a_token_survives_its_text_and_nothing_else_is_one() {
        let token = CreationToken::from_bytes(&[0xa5; 32]);
        let text = token.reveal();
        assert!(text.len() <= CreationToken::MAX_TEXT && text.starts_with("wwc1_"));
        let read: CreationToken = format!(" {}\n", *text).parse().unwrap();
        assert_eq!(read.prove(&[3; 32], MESH), token.prove(&[3; 32], MESH));
        for bad in ["", "wwc1_", "ww1_AAAA", &text[..text.len() - 1], &format!("{}A", *text), &text[5..]] {
            assert_eq!(
                bad.parse::<CreationToken>().map(drop),
                Err(Error::Malformed("creation token")),
                "{bad}"
            );
        }
        assert_eq!(format!("{token:?}"), "CreationToken(secret)");
    }
}
