//! Who has said it: one by one and many at once, with the same outcome.

use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};
use waxwing_crypto::space::{Opened, Statement, verify_all};
use waxwing_crypto::{Error, Purpose, Result, Signature, Signed, VerifyingKey};

use super::actors::Scene;
use super::reference::Target;
use super::support::Seeded;

const BAD: Error = Error::BadSignature("record");

/// One by one, and beside others.
fn verify(scene: &Scene, opened: impl Fn() -> Opened, key: &VerifyingKey) -> Result<Statement> {
    let alone = opened().verify(key);
    let good = || (good(scene, 1), scene.alpha.public());
    let beside = verify_all(vec![good(), (opened(), *key), good(), (opened(), *key)], &mut Seeded::new(1));
    assert!(beside[0].is_ok() && beside[2].is_ok(), "one bad record takes no good one with it");
    assert_eq!((&beside[1], &beside[3]), (&alone, &alone), "one by one and many at once differ");
    alone
}

fn good(scene: &Scene, counter: u64) -> Opened {
    let statement = Statement { counter, ..scene.put(b"hello") };
    scene.open(&scene.seal(&statement), &scene.frame(&statement)).unwrap()
}

#[test]
fn a_record_is_believed_of_its_writers_key_alone() {
    let scene = Scene::new();
    assert!(verify(&scene, || good(&scene, 7), &scene.alpha.public()).is_ok());
    assert_eq!(verify(&scene, || good(&scene, 7), &scene.beta.public()), Err(BAD));
}

/// Beta seals and signs a record that says it is alpha's; with a broker that says so too, it opens.
#[test]
fn a_member_cannot_write_as_another_even_with_the_broker() {
    let scene = Scene::new();
    let statement = scene.put(b"by alpha");
    let opened = || {
        let rng = &mut Seeded::new(5);
        let sealed = scene.space.seal(&statement, 2, &scene.keys, &scene.beta, rng).unwrap();
        scene.open(&sealed, &scene.frame(&statement)).unwrap()
    };
    assert_eq!(verify(&scene, opened, &scene.alpha.public()), Err(BAD));
}

/// What alpha has signed.
fn words(scene: &Scene) -> Signed {
    let statement = scene.put(b"hello");
    let target = Target::of(scene, scene.frame(&statement));
    rmp_serde::from_slice(&target.content(&scene.seal(&statement))).unwrap()
}

/// Seals it again for its place, and opens that.
fn reseal(scene: &Scene, words: &Signed) -> Result<Opened> {
    let target = Target::of(scene, scene.frame(&scene.put(b"hello")));
    scene.open(&target.seal(&rmp_serde::to_vec_named(words).unwrap()), &target.frame)
}

/// With these 64 bytes for a signature.
fn with_signature(scene: &Scene, nonce: &[u8], s: &[u8]) -> Opened {
    let signature = Signature::from_bytes(&[nonce, s].concat()).unwrap();
    reseal(scene, &Signed { signature, ..words(scene) }).unwrap()
}

#[test]
fn no_changed_bit_of_the_signature_or_of_what_is_signed_is_believed() {
    let scene = Scene::new();
    let (words, key) = (words(&scene), scene.alpha.public());
    for bit in 0..512 {
        let mut signature = *words.signature.as_bytes();
        signature[bit / 8] ^= 1 << (bit % 8);
        let (nonce, s) = signature.split_at(32);
        assert_eq!(verify(&scene, || with_signature(&scene, nonce, s), &key), Err(BAD), "bit {bit}");
    }
    let mut readable = 0;
    for bit in 0..words.bytes.len() * 8 {
        let mut bytes = words.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match reseal(&scene, &Signed { bytes: bytes.into(), ..words }) {
            Ok(opened) => {
                assert_eq!(opened.verify(&key), Err(BAD), "bit {bit}");
                readable += 1;
            }
            Err(error) => assert!(matches!(error, Error::Malformed(_) | Error::Elsewhere(_)), "{error}"),
        }
    }
    assert!(readable > 200, "many of them can be read: {readable}");
}

#[test]
fn a_signature_for_another_purpose_is_not_believed() {
    let scene = Scene::new();
    let other = Signed::new(&scene.alpha, Purpose::Opening, words(&scene).bytes.to_vec());
    let opened = || reseal(&scene, &other).unwrap();
    assert_eq!(verify(&scene, opened, &scene.alpha.public()), Err(BAD));
}

#[test]
fn of_many_exactly_the_bad_ones_are_refused() {
    let scene = Scene::new();
    for (count, bad) in [(0, &[][..]), (1, &[][..]), (1, &[0]), (300, &[]), (300, &[0, 127, 128, 299])] {
        let keys = [scene.alpha.public(), scene.beta.public()];
        let opened =
            (0..count).map(|n| (good(&scene, n as u64 + 1), keys[usize::from(bad.contains(&n))])).collect();
        let outcomes = verify_all(opened, &mut Seeded::new(1));
        assert_eq!(outcomes.len(), count);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let counter = outcome.map(|statement| statement.counter);
            let expected = if bad.contains(&n) { Err(BAD) } else { Ok(n as u64 + 1) };
            assert_eq!(counter, expected, "{n} of {count}");
        }
    }
}

/// Two bad signatures of one member whose errors are each other's opposite: a plain sum would be right.
#[test]
fn two_wrongs_make_no_right() {
    let scene = Scene::new();
    let (words, key) = (words(&scene), scene.alpha.public());
    let (nonce, s) = words.signature.as_bytes().split_at(32);
    let s = Scalar::from_canonical_bytes(s.try_into().unwrap()).unwrap();
    for seed in 0..8 {
        let wrong = |add: Scalar| (with_signature(&scene, nonce, (s + add).as_bytes()), key);
        let pair = vec![wrong(Scalar::ONE), wrong(-Scalar::ONE)];
        assert_eq!(verify_all(pair, &mut Seeded::new(seed)), [Err(BAD), Err(BAD)]);
    }
}

fn secret() -> Scalar {
    Scalar::from_bytes_mod_order([0x5a; 32])
}

/// A signature as a member makes it with its own key who does not keep to the rules: for any nonce point and torsion.
struct Odd {
    key: EdwardsPoint,
    nonce: CompressedEdwardsY,
    s: [u8; 32],
}

impl Odd {
    fn new(scene: &Scene, key_torsion: EdwardsPoint, r: u8, nonce: CompressedEdwardsY) -> Self {
        let key = ED25519_BASEPOINT_POINT * secret() + key_torsion;
        let hash = Sha512::new()
            .chain_update(nonce.as_bytes())
            .chain_update(key.compress().as_bytes())
            .chain_update(b"waxwing record v1\0")
            .chain_update(&words(scene).bytes)
            .finalize();
        let s = Scalar::from(r) + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret();
        Self { key, nonce, s: s.to_bytes() }
    }

    fn verify(&self, scene: &Scene) -> Result<Statement> {
        let key = VerifyingKey::from_bytes(self.key.compress().as_bytes())?;
        verify(scene, || with_signature(scene, self.nonce.as_bytes(), &self.s), &key)
    }
}

fn nonce(r: u8) -> EdwardsPoint {
    ED25519_BASEPOINT_POINT * Scalar::from(r)
}

fn none() -> EdwardsPoint {
    EIGHT_TORSION[0]
}

/// With its own key a member can make a signature that holds only with the cofactor. What matters is that all verifiers say
/// the same of it, whatever it is checked with: [`verify`] does both. Two that cancel out are no exception.
#[test]
fn a_members_signature_with_torsion_is_the_same_to_everybody() {
    let scene = Scene::new();
    for torsion in EIGHT_TORSION {
        for r in 1..8 {
            let odd = Odd::new(&scene, none(), r, (nonce(r) + torsion).compress());
            assert_eq!(odd.verify(&scene), Ok(scene.put(b"hello")), "in the nonce");
            let odd = Odd::new(&scene, torsion, r, nonce(r).compress());
            assert_eq!(odd.verify(&scene), Ok(scene.put(b"hello")), "in the key");
        }
    }
}

#[test]
fn a_scalar_that_is_not_reduced_is_not_believed() {
    let scene = Scene::new();
    let mut odd = Odd::new(&scene, none(), 9, nonce(9).compress());
    assert!(odd.verify(&scene).is_ok(), "to compare with");
    // L = 2^252 + 27742317777372353535851937790883648493, little endian.
    let order = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14";
    let order = [&order[..], &[0; 15], &[0x10]].concat();
    let mut carry = 0;
    for (byte, add) in odd.s.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(odd.verify(&scene), Err(BAD));
}

#[test]
fn a_nonce_point_of_small_order_is_not_believed() {
    let scene = Scene::new();
    for torsion in EIGHT_TORSION {
        assert_eq!(Odd::new(&scene, none(), 0, torsion.compress()).verify(&scene), Err(BAD));
    }
}
