//! X-Wing as this crate uses it is the published one. (HPKE around it: `reference`; XChaCha20-Poly1305: `src/aead.rs`.)

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
