//! X-Wing and XChaCha20-Poly1305 as this crate uses them are the published ones. (HPKE around X-Wing: `reference`.)

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER_PERMISSIVE;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem, Serializable as _};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use std::convert::Infallible;
use waxwing_crypto::SealingKey;

use super::support::bytes;

/// A random source that gives out these bytes, in this order, whatever the pieces.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Given {}

fn x_wing_vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/x_wing.json")).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

#[test]
fn x_wing_is_the_published_one() {
    let vectors = x_wing_vectors();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let seed: [u8; 32] = bytes(&vector["seed"]).try_into().unwrap();
        let public = SealingKey::from_seed(&seed).public().unwrap();
        assert_eq!(public.to_bytes(), bytes(&vector["pk"]));

        let public = <XWing as Kem>::PublicKey::from_bytes(&public.to_bytes()).unwrap();
        let mut randomness = Given(bytes(&vector["eseed"]));
        let (secret, enc) = XWing::encap_with_rng(&public, None, &mut randomness).unwrap();
        assert!(randomness.0.is_empty(), "all of it went in");
        assert_eq!(enc.to_bytes().to_vec(), bytes(&vector["ct"]));
        assert_eq!(secret.0.to_vec(), bytes(&vector["ss"]));

        let enc = <XWing as Kem>::EncappedKey::from_bytes(&bytes(&vector["ct"])).unwrap();
        let private = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
        assert_eq!(XWing::decap(&private, None, &enc).unwrap().0.to_vec(), bytes(&vector["ss"]));
    }
}

/// The last 32 bytes of an encapsulation are the sender's X25519 public key, whose secret is the second half of the
/// randomness.
#[test]
fn the_other_half_of_x_wing_is_x25519() {
    for vector in x_wing_vectors() {
        let secret: [u8; 32] = bytes(&vector["eseed"])[32..].try_into().unwrap();
        let point = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        assert_eq!(bytes(&vector["ct"])[1_088..], point);
    }
}

/// draft-irtf-cfrg-xchacha-03, A.3.1.
#[test]
fn xchacha20_poly1305_is_the_published_one() {
    let text =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
    let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
    let expected = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
        731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
        2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
        21f9664c97637da9768812f615c68b13b52e\
        c0875924c1c7987947deafd8780acf49";
    let cipher = XChaCha20Poly1305::new(&key.into());
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad }).unwrap();
    assert_eq!(sealed, HEXLOWER_PERMISSIVE.decode(expected.as_bytes()).unwrap());
}
