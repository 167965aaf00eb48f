//! Ed25519: the published vectors, the strictness cases, and one purpose per signature.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use data_encoding::HEXLOWER;
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha512};
use waxwing_crypto::{Error, Purpose, Signature, Signed, SigningKey, VerifyingKey};

const PURPOSES: [(Purpose, &str); 5] = [
    (Purpose::Membership, "waxwing membership v1\0"),
    (Purpose::Prekey, "waxwing prekey v1\0"),
    (Purpose::Opening, "waxwing opening v1\0"),
    (Purpose::Nack, "waxwing nack v1\0"),
    (Purpose::Login, "waxwing login v1\0"),
];

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

/// RFC 8032, 7.1, tests 1 to 3: seed, public key, message, signature.
const RFC_8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn ed25519_is_the_published_one() {
    for [seed, public, message, signature] in RFC_8032 {
        let key = SigningKey::from_seed(&unhex(seed));
        assert_eq!(*key.reveal_seed(), unhex(seed));
        assert_eq!(key.public().as_bytes(), &unhex::<32>(public));
        assert_eq!(VerifyingKey::from_bytes(&unhex::<32>(public)), Ok(key.public()));
        let signed = ed25519_dalek::SigningKey::from_bytes(&unhex(seed));
        let signed = signed.sign(&HEXLOWER.decode(message.as_bytes()).unwrap());
        assert_eq!(signed.to_bytes(), unhex(signature));
    }
}

#[test]
fn a_signature_covers_its_purposes_domain_and_the_bytes() {
    let (key, plain) = (SigningKey::from_seed(&[7; 32]), ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    for (purpose, domain) in PURPOSES {
        let expected = plain.sign(&[domain.as_bytes(), b"bytes"].concat()).to_bytes();
        assert_eq!(key.sign(purpose, b"bytes").as_bytes(), &expected);
    }
}

#[test]
fn a_signature_made_for_one_purpose_is_worth_nothing_for_another() {
    let key = SigningKey::from_seed(&[7; 32]);
    for (made_for, _) in PURPOSES {
        let signed = Signed::new(&key, made_for, b"bytes".to_vec());
        for (asked_for, _) in PURPOSES {
            let verified = signed.verified(&key.public(), asked_for);
            assert_eq!(verified.is_ok(), made_for == asked_for, "{made_for:?} {asked_for:?}");
        }
        assert_eq!(signed.verified(&key.public(), made_for), Ok(&b"bytes"[..]));
    }
}

#[test]
fn no_changed_bit_of_a_signature_or_of_what_it_covers_passes() {
    let key = SigningKey::from_seed(&[7; 32]);
    let signature = key.sign(Purpose::Nack, b"bytes");
    for bit in 0..512 {
        let mut changed = *signature.as_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = Signature::from_bytes(&changed).unwrap();
        assert_eq!(key.public().verify(Purpose::Nack, b"bytes", &changed), BAD, "bit {bit}");
    }
    for bytes in [&b"byte"[..], b"bytes ", b"Bytes", b""] {
        assert_eq!(key.public().verify(Purpose::Nack, bytes, &signature), BAD);
    }
    let other = SigningKey::from_seed(&[8; 32]).public();
    assert_eq!(other.verify(Purpose::Nack, b"bytes", &signature), BAD);
    for size in [0, 63, 65] {
        assert_eq!(Signature::from_bytes(&vec![0; size]), Err(Error::Malformed("signature")));
    }
}

const BAD: Result<(), Error> = Err(Error::BadSignature("nack"));
const NO_KEY: Result<VerifyingKey, Error> = Err(Error::Malformed("signing key"));

/// A signature as somebody makes it who does not keep to the rules: from any scalar, key point and nonce point.
struct Odd {
    key: EdwardsPoint,
    nonce: CompressedEdwardsY,
    s: [u8; 32],
}

impl Odd {
    /// With `r + k a` for the scalar, whatever torsion the points have.
    fn new(key_torsion: EdwardsPoint, r: Scalar, nonce: EdwardsPoint, bytes: &[u8]) -> Self {
        let a = Scalar::from(0x1234_5678_9abc_def1_u64);
        let key = ED25519_BASEPOINT_POINT * a + key_torsion;
        let nonce = nonce.compress();
        let s = (r + challenge(&nonce, &key, bytes) * a).to_bytes();
        Self { key, nonce, s }
    }

    fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let key = VerifyingKey::from_bytes(self.key.compress().as_bytes())?;
        let signature = [self.nonce.to_bytes(), self.s].concat();
        key.verify(Purpose::Nack, bytes, &Signature::from_bytes(&signature)?)
    }
}

fn challenge(nonce: &CompressedEdwardsY, key: &EdwardsPoint, bytes: &[u8]) -> Scalar {
    let hash = Sha512::new()
        .chain_update(nonce.as_bytes())
        .chain_update(key.compress().as_bytes())
        .chain_update(b"waxwing nack v1\0")
        .chain_update(bytes)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn identity() -> EdwardsPoint {
    EIGHT_TORSION[0]
}

#[test]
fn a_scalar_that_is_not_reduced_is_refused() {
    let r = Scalar::from(99_u64);
    let odd = Odd::new(identity(), r, ED25519_BASEPOINT_POINT * r, b"x");
    assert_eq!(odd.verify(b"x"), Ok(()), "a good one, to compare with");
    // s + L and s + 8 L, where L = 2^252 + 27742317777372353535851937790883648493.
    let order: [u8; 32] = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for times in [1_u16, 8] {
        let mut s = odd.s;
        let mut carry = 0;
        for (byte, add) in s.iter_mut().zip(order) {
            let sum = u16::from(*byte) + times * u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(Odd { s, ..odd }.verify(b"x"), BAD, "{times}");
    }
}

#[test]
fn a_nonce_point_of_small_order_is_refused() {
    // With the identity for a nonce the equation holds: only strictness refuses it.
    assert_eq!(Odd::new(identity(), Scalar::ZERO, identity(), b"x").verify(b"x"), BAD);
    for torsion in EIGHT_TORSION {
        for message in 0..16_u8 {
            let odd = Odd::new(identity(), Scalar::ZERO, torsion, &[message]);
            assert_eq!(odd.verify(&[message]), BAD);
        }
    }
    // The identity, as no encoder would write it: y = p + 1.
    let mut nonce = [0xff; 32];
    (nonce[0], nonce[31]) = (0xee, 0x7f);
    let mut odd = Odd::new(identity(), Scalar::ZERO, identity(), b"x");
    odd.nonce = CompressedEdwardsY(nonce);
    odd.s = (challenge(&odd.nonce, &odd.key, b"x") * Scalar::from(0x1234_5678_9abc_def1_u64)).to_bytes();
    assert_eq!(odd.verify(b"x"), BAD);
}

/// What holds only after multiplication by the cofactor is refused, or two verifiers could disagree.
#[test]
fn what_holds_only_up_to_torsion_is_refused() {
    let r = Scalar::from(99_u64);
    for torsion in &EIGHT_TORSION[1..] {
        let odd = Odd::new(identity(), r, ED25519_BASEPOINT_POINT * r + torsion, b"x");
        assert_eq!(odd.verify(b"x"), BAD, "in the nonce");
    }
    let of_order_8 = EIGHT_TORSION[1];
    let mut refused = 0;
    for message in 0..32_u8 {
        let odd = Odd::new(of_order_8, r, ED25519_BASEPOINT_POINT * r, &[message]);
        let k = challenge(&odd.nonce, &odd.key, &[message]);
        let holds = k.to_bytes()[0].is_multiple_of(8);
        assert_eq!(odd.verify(&[message]).is_ok(), holds, "in the key, {message}");
        refused += u8::from(!holds);
    }
    assert!(refused > 16);
}

#[test]
fn a_key_of_small_order_is_refused() {
    for torsion in EIGHT_TORSION {
        assert_eq!(VerifyingKey::from_bytes(torsion.compress().as_bytes()), NO_KEY);
    }
}

#[test]
fn a_key_with_two_encodings_is_refused_in_the_second() {
    let mut decodable = 0;
    for y in 0..19 {
        for sign in [0, 0x80] {
            // y + p, where p = 2^255 - 19.
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed + y, 0x7f | sign);
            assert_eq!(VerifyingKey::from_bytes(&bytes), NO_KEY, "{bytes:02x?}");
            let point = CompressedEdwardsY(bytes).decompress();
            decodable += u8::from(point.is_some_and(|point| !point.is_small_order()));
        }
    }
    assert!(decodable > 4, "most of them would decode to a good key: {decodable}");
    // Zero has no sign: y = 1 and y = -1 with the sign bit set.
    let (mut one, mut minus_one) = ([0; 32], [0xff; 32]);
    (one[0], one[31]) = (1, 0x80);
    minus_one[0] = 0xec;
    assert_eq!(VerifyingKey::from_bytes(&one), NO_KEY);
    assert_eq!(VerifyingKey::from_bytes(&minus_one), NO_KEY);
}

#[test]
fn what_is_no_point_or_has_another_length_is_no_key() {
    let no_point = (0..=255).filter(|y| CompressedEdwardsY([*y; 32]).decompress().is_none());
    let refused = no_point.map(|y| assert_eq!(VerifyingKey::from_bytes(&[y; 32]), NO_KEY)).count();
    assert!(refused > 64);
    let good = SigningKey::from_seed(&[7; 32]).public();
    for size in [0, 31] {
        assert_eq!(VerifyingKey::from_bytes(&good.as_bytes()[..size]), NO_KEY);
    }
    assert_eq!(VerifyingKey::from_bytes(&[good.as_bytes(), &[0][..]].concat()), NO_KEY);
}

#[test]
fn a_nodes_id_follows_from_its_first_key_alone() {
    let [one, two] = [7, 8].map(|n| SigningKey::from_seed(&[n; 32]).public());
    assert_ne!(one.node_id(), two.node_id());
    assert_eq!(VerifyingKey::from_bytes(one.as_bytes()).unwrap().node_id(), one.node_id());
}
