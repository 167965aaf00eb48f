//! The recovery secret: an admin that is no node, kept by the founder on paper as 24 words (BIP-39, English).

use std::fmt;
use std::str::FromStr;

use bip39::{Language, Mnemonic};
use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use crate::keys::SigningKey;
use crate::mac::Secret;
use crate::membership::invite::derive;

/// Longest text that is looked at for words, in bytes: 24 words of at most 8 letters, and room for careless spacing.
const MAX_TEXT: usize = 1_024;

/// What stands on the founder's paper, 32 bytes. Shown once, stored nowhere.
pub struct RecoverySecret(Secret);

impl RecoverySecret {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// A fresh secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; Self::SIZE]);
        rng.fill_bytes(&mut *secret);
        Self(secret)
    }

    /// Takes the bytes of a secret.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the secret as 24 English words with single spaces between them, to print them once.
    #[expect(clippy::expect_used, reason = "BIP-39 takes 16, 20, 24, 28 or 32 bytes")]
    pub fn reveal_words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy(&*self.0).expect("32 bytes");
        let mut words = Zeroizing::new(String::with_capacity(24 * 9));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The key that acts as an admin.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&derive(&self.0, b"waxwing recovery signing v1\0"))
    }
}

impl fmt::Debug for RecoverySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoverySecret(secret)")
    }
}

/// Reads words in any case and with any spacing.
impl FromStr for RecoverySecret {
    type Err = RecoveryError;

    fn from_str(text: &str) -> Result<Self, RecoveryError> {
        if text.len() > MAX_TEXT || text.split_whitespace().count() != 24 {
            return Err(RecoveryError::Count);
        }
        let words = Zeroizing::new(text.to_ascii_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words).map_err(|err| match err {
            bip39::Error::UnknownWord(index) => RecoveryError::UnknownWord(index + 1),
            bip39::Error::BadWordCount(_) | bip39::Error::BadEntropyBitCount(_) => RecoveryError::Count,
            bip39::Error::InvalidChecksum | bip39::Error::AmbiguousLanguages(_) => RecoveryError::Checksum,
        })?;
        let (mut entropy, _) = mnemonic.to_entropy_array();
        let mut secret = Zeroizing::new([0; Self::SIZE]);
        secret.copy_from_slice(&entropy[..Self::SIZE]);
        entropy.zeroize();
        Ok(Self(secret))
    }
}

/// Why some words are no recovery secret. Names positions, never words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecoveryError {
    /// Too few or too many.
    #[error("there must be exactly 24 recovery words")]
    Count,
    /// The word at this position, counted from 1, is not in the list.
    #[error("recovery word {0} is not in the BIP-39 list; look for a misspelling")]
    UnknownWord(usize),
    /// All words are in the list, but not these together.
    #[error("the recovery words do not fit together; look for a wrong or misplaced word")]
    Checksum,
}
