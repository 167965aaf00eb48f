//! Prekeys: whose they are, which is newer, and what is no key.

use waxwing_crypto::sealing::{Prekey, PrekeyId, PrekeySecret};
use waxwing_crypto::{Error, Purpose, SealingKey, SealingPublicKey, Signed, Timestamp};

use super::actors::{Actor, NOW, Pair};
use super::support::Seeded;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn a_prekey_is_believed_only_as_its_own_nodes_and_signed_by_its_key() {
    let (owner, other) = (Actor::new(2), Actor::new(9));
    let (signed, secret) = Prekey::mint(&mut Seeded::new(3), &owner.signing, owner.node, None, NOW).unwrap();
    let prekey = Prekey::verify(&signed, owner.node, &owner.signing.public()).unwrap();
    assert_eq!((prekey.node, prekey.id, prekey.created), (owner.node, secret.id(), NOW));
    assert!(signed.bytes.len() <= Prekey::MAX);

    let bad = Some(Error::BadSignature("prekey"));
    assert_eq!(Prekey::verify(&signed, owner.node, &other.signing.public()).err(), bad);
    // Signed by its owner, shown as somebody else's.
    let shown_as_others = Prekey::verify(&signed, other.node, &owner.signing.public());
    assert_eq!(shown_as_others.err(), Some(Error::Malformed("prekey")));
    for purpose in [Purpose::Membership, Purpose::Opening, Purpose::Nack, Purpose::Login] {
        let signed = Signed::new(&owner.signing, purpose, signed.bytes.to_vec());
        assert_eq!(Prekey::verify(&signed, owner.node, &owner.signing.public()).err(), bad, "{purpose:?}");
    }
    for (size, error) in
        [(Prekey::MAX, Error::Malformed("prekey")), (Prekey::MAX + 1, Error::TooLarge("prekey"))]
    {
        let long = Signed::new(&owner.signing, Purpose::Prekey, vec![0; size]);
        assert_eq!(Prekey::verify(&long, owner.node, &owner.signing.public()).err(), Some(error));
    }
}

#[test]
fn no_changed_byte_of_a_prekey_passes() {
    let owner = Actor::new(2);
    let (signed, _) = Prekey::mint(&mut Seeded::new(3), &owner.signing, owner.node, None, NOW).unwrap();
    for i in 0..signed.bytes.len() {
        let mut bytes = signed.bytes.to_vec();
        bytes[i] ^= 0x10;
        let changed = Signed { bytes: bytes.into(), ..signed.clone() };
        let verified = Prekey::verify(&changed, owner.node, &owner.signing.public());
        assert_eq!(verified.err(), Some(Error::BadSignature("prekey")), "{i}");
    }
}

#[test]
fn prekey_numbers_rise_under_a_clock_that_does_not() {
    let first = PrekeyId::next(None, at(1_000));
    assert_eq!(first.as_u64(), 1_000);
    assert_eq!(PrekeyId::next(Some(first), at(1_000)).as_u64(), 1_001);
    assert_eq!(PrekeyId::next(Some(first), at(5)).as_u64(), 1_001, "a clock set back");
    assert_eq!(PrekeyId::next(Some(first), at(9_000)).as_u64(), 9_000);
    let last = PrekeyId::from_u64(u64::MAX);
    assert_eq!(PrekeyId::next(Some(last), at(1)), last, "ends, and does not start again");
}

#[test]
fn a_stored_prekey_secret_opens_what_it_did() {
    let pair = Pair::new();
    let (_, opening, received) = pair.session(4);
    let seed = pair.secret.reveal_seed();
    let secret = PrekeySecret::from_seed(pair.prekey.id, &*seed).unwrap();
    assert_eq!(SealingKey::from_seed(&seed).public().unwrap(), pair.prekey.key);
    let again = waxwing_crypto::sealing::Opening::accept(
        &opening,
        &pair.parties,
        &pair.sender.signing.public(),
        &secret,
    );
    assert_eq!(*again.unwrap().reveal().unwrap(), *received.reveal().unwrap());
    for size in [0, 31, 33, 64] {
        let secret = PrekeySecret::from_seed(pair.prekey.id, &vec![1; size]);
        assert_eq!(secret.err(), Some(Error::Malformed("prekey secret")), "{size}");
    }
}

#[test]
fn what_is_no_x_wing_key_is_refused() {
    let malformed = Some(Error::Malformed("sealing key"));
    let good = SealingKey::from_seed(&[1; 32]).public().unwrap().to_bytes();
    assert_eq!(good.len(), SealingPublicKey::SIZE);
    assert_eq!(SealingPublicKey::from_bytes(&good).unwrap().to_bytes(), good);
    for size in [0, 31, 32, 1_215] {
        assert_eq!(SealingPublicKey::from_bytes(&good[..size]).err(), malformed, "{size}");
    }
    assert_eq!(SealingPublicKey::from_bytes(&[&good[..], &[0]].concat()).err(), malformed);
    // ML-KEM's modulus check (FIPS 203, 7.2): each 12 bits of the first 1,152 bytes are below 3,329.
    for at in [0, 3, 600, 1_149] {
        let mut bad = good.clone();
        bad[at..at + 3].copy_from_slice(&[0xff; 3]);
        assert_eq!(SealingPublicKey::from_bytes(&bad).err(), malformed, "{at}");
    }
    // An X25519 half with which every shared secret is zero.
    for first in [0, 1] {
        let mut bad = good.clone();
        bad[1_184..].fill(0);
        bad[1_184] = first;
        assert_eq!(SealingPublicKey::from_bytes(&bad).err(), malformed, "{first}");
    }
}
