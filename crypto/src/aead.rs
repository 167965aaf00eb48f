//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): a message, a record, a cell at rest.
//!
//! As the draft defines it: HChaCha20 makes a key of the first 16 bytes of the nonce, and ChaCha20-Poly1305 (RFC 8439) does the rest
//! with the last 8. The latter is ring's, which takes a quarter of the time for 1 KiB that `chacha20poly1305` does. The key of one nonce,
//! which ring works with, is not wiped: it opens one text, of which its maker has copies that are not wiped either.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Length of a nonce, in bytes. Long enough to be random.
pub(crate) const NONCE: usize = 24;
/// Length of the tag behind a sealed text, in bytes.
pub(crate) const TAG: usize = 16;

/// Bytes of a nonce that go into the key.
const INTO_KEY: usize = 16;

/// Encrypts a text where it lies, and gives its tag.
#[expect(clippy::expect_used, reason = "texts are bounded far below the cipher's 256 GiB")]
pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> [u8; TAG] {
    let (key, nonce) = inner(key, nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).expect("short enough");
    let mut out = [0; TAG];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Decrypts what [`seal`] made, with its tag behind it, where it lies, and takes the tag off.
///
/// # Errors
/// `DoesNotOpen`, always the same whatever is wrong. `sealed` holds nothing of the text then.
pub(crate) fn open(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], sealed: &mut Vec<u8>) -> Result<()> {
    let (key, nonce) = inner(key, nonce);
    let length = key
        .open_in_place(nonce, Aad::from(aad), sealed)
        .map(|text| text.len())
        .map_err(|_| Error::DoesNotOpen)?;
    sealed.truncate(length);
    Ok(())
}

/// The key for one nonce, and what is left of that nonce.
#[expect(clippy::expect_used, reason = "ChaCha20-Poly1305 takes every key of 32 bytes")]
fn inner(key: &[u8; 32], nonce: &[u8; NONCE]) -> (LessSafeKey, Nonce) {
    let (mut first, mut last) = ([0; INTO_KEY], [0; 12]);
    first.copy_from_slice(&nonce[..INTO_KEY]);
    last[4..].copy_from_slice(&nonce[INTO_KEY..]);
    let key = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), &first.into())));
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("32 bytes");
    (LessSafeKey::new(key), Nonce::assume_unique_for_key(last))
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::XChaCha20Poly1305;
    use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
    use data_encoding::HEXLOWER_PERMISSIVE;

    use super::*;

    /// The draft, A.3.1.
    #[test]
    fn it_is_the_published_one() {
        let mut text =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it."
                .to_vec();
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; NONCE] = std::array::from_fn(|i| 0x40 + i as u8);
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let sealed = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
            731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
            2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
            21f9664c97637da9768812f615c68b13b52e";
        let tag = seal(&key, &nonce, &aad, &mut text);
        assert_eq!(text, HEXLOWER_PERMISSIVE.decode(sealed.as_bytes()).unwrap());
        assert_eq!(HEXLOWER_PERMISSIVE.encode(&tag), "c0875924c1c7987947deafd8780acf49");
    }

    #[test]
    fn it_is_the_same_as_another_implementation_at_any_length() {
        let (key, nonce, aad) = ([1; 32], std::array::from_fn(|i| i as u8), [2; 40]);
        let other = XChaCha20Poly1305::new(&key.into());
        for length in (0..600).chain([1_024, 4_096, 262_144]) {
            let text: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let aad = &aad[..length % 41];
            let expected = other.encrypt(&nonce.into(), Payload { msg: &text, aad }).unwrap();
            let mut sealed = text.clone();
            let tag = seal(&key, &nonce, aad, &mut sealed);
            sealed.extend_from_slice(&tag);
            assert_eq!(sealed, expected);
            open(&key, &nonce, aad, &mut sealed).unwrap();
            assert_eq!(sealed, text);
        }
    }

    #[test]
    fn another_bit_key_nonce_or_place_opens_nothing_and_leaves_nothing() {
        let (key, nonce, aad) = ([1; 32], [2; NONCE], [3; 5]);
        let text = b"what nobody else may read".to_vec();
        let mut sealed = text.clone();
        let tag = seal(&key, &nonce, &aad, &mut sealed);
        sealed.extend_from_slice(&tag);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            open(&key, &nonce, &aad, &mut changed).unwrap_err();
            assert_ne!(changed[..text.len()], text[..]);
        }
        for length in 0..sealed.len() {
            open(&key, &nonce, &aad, &mut sealed[..length].to_vec()).unwrap_err();
        }
        for at in 0..NONCE {
            let mut other = nonce;
            other[at] ^= 1;
            open(&key, &other, &aad, &mut sealed.clone()).unwrap_err();
        }
        open(&[4; 32], &nonce, &aad, &mut sealed.clone()).unwrap_err();
        open(&key, &nonce, &[3; 4], &mut sealed).unwrap_err();
    }
}
