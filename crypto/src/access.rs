//! What lets an app use its node over TCP: a token, and what the node keeps of it.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::AccessDigest;
use crate::mac::{Secret, same};
use crate::secret_text;

/// What a token begins with.
const PREFIX: &str = "wwt1_";

/// A token of a node's local API: 32 random bytes. Whoever has it may do what it was made for.
#[derive(Clone)]
pub struct AccessToken(Secret);

impl AccessToken {
    /// Longest text, in bytes, that is worth reading.
    pub const MAX_TEXT: usize = 64;

    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(secret_text::generate(rng))
    }

    /// Takes exactly these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the token as text, to keep it or show it to its node.
    pub fn reveal(&self) -> Zeroizing<String> {
        secret_text::reveal(PREFIX, &self.0)
    }

    /// What a node keeps. The token cannot be found from it: it is random, and as long as the digest.
    pub fn digest(&self) -> AccessDigest {
        AccessDigest::from_bytes(Sha256::digest(self.0.as_slice()).into())
    }
}

impl AccessDigest {
    /// Whether it is of the same token as another. Takes the same time wherever they differ.
    pub fn is(&self, other: &Self) -> bool {
        same(self.as_bytes(), other.as_bytes())
    }
}

impl FromStr for AccessToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        secret_text::read(PREFIX, text, "access token").map(Self)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_nothing_else_is_one() {
        let token = AccessToken::from_bytes(&[0xa5; 32]);
        let text = token.reveal();
        assert!(text.len() <= AccessToken::MAX_TEXT && text.starts_with("wwt1_"));
        let read: AccessToken = format!(" {}\n", *text).parse().unwrap();
        assert!(read.digest().is(&token.digest()));
        for bad in ["", "wwt1_", "wwc1_AAAA", &text[..text.len() - 1], &format!("{}A", *text), &text[5..]] {
            assert_eq!(bad.parse::<AccessToken>().map(drop), Err(Error::Malformed("access token")), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "AccessToken(secret)");
    }

    #[test]
    fn a_digest_is_of_one_token_and_does_not_show_it() {
        let token = AccessToken::from_bytes(&[1; 32]);
        assert!(!token.digest().is(&AccessToken::from_bytes(&[2; 32]).digest()));
        // SHA-256 of 32 bytes 01.
        let known = "72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793";
        assert_eq!(token.digest().to_string(), known);
    }
}
