//! Words by which two people see that their nodes mean each other.

use bip39::Language;
use sha2::{Digest as _, Sha256};

use crate::id::MeshId;
use crate::keys::VerifyingKey;

/// Bits that one word of the list stands for: it has 2,048.
const WORD_BITS: usize = 11;
/// Words shown.
const WORDS: usize = 6;

/// Six words from both signing keys, the same whichever side asks: the first 66 bits of SHA-256 over a domain string, the
/// mesh and the two keys, the lower first, as words of the English BIP-39 list. Whoever can put another key in the place of
/// one of them would have to try 2^65 keys for a pair with the same words.
pub fn peer_words(mesh: &MeshId, one: &VerifyingKey, other: &VerifyingKey) -> [&'static str; WORDS] {
    let mut keys = [one.as_bytes(), other.as_bytes()];
    keys.sort_unstable();
    let hash = Sha256::new()
        .chain_update(b"waxwing peer words v1\0")
        .chain_update(mesh.as_bytes())
        .chain_update(keys[0])
        .chain_update(keys[1])
        .finalize();
    let bit = |at: usize| usize::from(hash[at / 8] >> (7 - at % 8) & 1);
    let index = |word: usize| (0..WORD_BITS).fold(0, |index, at| index << 1 | bit(word * WORD_BITS + at));
    std::array::from_fn(|word| Language::English.word_list()[index(word)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    fn key(n: u8) -> VerifyingKey {
        SigningKey::from_seed(&[n; 32]).public()
    }

    #[test]
    fn both_sides_see_the_same_six_words_and_nobody_else_does() {
        let mesh = MeshId::from_bytes([7; 16]);
        let words = peer_words(&mesh, &key(1), &key(2));
        assert_eq!(words, peer_words(&mesh, &key(2), &key(1)));
        assert_ne!(words, peer_words(&mesh, &key(1), &key(3)));
        assert_ne!(words, peer_words(&MeshId::from_bytes([8; 16]), &key(1), &key(2)));
    }

    #[test]
    fn the_words_are_as_they_were() {
        let words = peer_words(&MeshId::from_bytes([7; 16]), &key(1), &key(2));
        assert_eq!(words.join(" "), "soup winter access snap track void");
    }
}
