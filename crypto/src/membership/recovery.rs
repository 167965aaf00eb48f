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

#[cfg(test)]
mod tests {
    use super::*;

    /// From the BIP-39 reference vectors (github.com/trezor/python-mnemonic, vectors.json).
    const PUBLISHED: [(&str, &str); 3] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
        ),
        (
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
        ),
        (
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel \
             tennis maple dilemma loan word shrug inflict delay length",
        ),
    ];

    fn secret(hex: &str) -> RecoverySecret {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        RecoverySecret::from_bytes(&bytes.try_into().unwrap())
    }

    #[test]
    fn the_words_are_those_of_bip_39() {
        for (hex, words) in PUBLISHED {
            assert_eq!(*secret(hex).reveal_words(), words);
            assert_eq!(*words.parse::<RecoverySecret>().unwrap().0, *secret(hex).0);
        }
    }

    #[test]
    fn case_and_spacing_do_not_count() {
        let (hex, words) = PUBLISHED[2];
        let careless = format!("\n  {}\t", words.to_uppercase().replace(' ', " \r\n "));
        assert_eq!(
            careless.parse::<RecoverySecret>().unwrap().signing_key().public(),
            secret(hex).signing_key().public()
        );
    }

    #[test]
    fn wrong_words_are_told_apart() {
        let error = |words: &str| words.parse::<RecoverySecret>().unwrap_err();
        let words = PUBLISHED[2].1;
        assert_eq!(error(""), RecoveryError::Count);
        assert_eq!(error(words.rsplit_once(' ').unwrap().0), RecoveryError::Count);
        assert_eq!(error(&format!("{words} art")), RecoveryError::Count);
        assert_eq!(error(&"a ".repeat(2_000)), RecoveryError::Count);
        assert_eq!(error(&words.replace("private dutch", "privates dutch")), RecoveryError::UnknownWord(3));
        assert_eq!(error(&words.replace("length", "lengths")), RecoveryError::UnknownWord(24));
        assert_eq!(error(&words.replace("hamster diagram", "diagram hamster")), RecoveryError::Checksum);
    }

    #[test]
    fn the_secret_is_not_the_key_and_prints_as_its_type() {
        let secret = RecoverySecret::from_bytes(&[5; 32]);
        assert_ne!(*secret.signing_key().reveal_seed(), [5; 32]);
        assert_eq!(format!("{secret:?}"), "RecoverySecret(secret)");
    }
}
