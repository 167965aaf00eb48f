//! Bytes that are no entry, or not the one that was signed.

use super::*;
use crate::membership::{MAX_ENTRY, NewEpoch, Reason};

/// One entry of a kind that has optional fields, lists and nested maps.
fn example() -> (Mesh, SignedEntry) {
    let mut mesh = Mesh::with_members(11..=11);
    let revoke = Revoke {
        target: Target::Node(id(11)),
        reason: "stolen".parse().unwrap(),
        epoch: Some(NewEpoch { n: 2, keys: digest(5) }),
    };
    let signed = sign(&mesh.entry(Body::Revoke(revoke)), &[FOUNDER]);
    mesh.apply(signed.clone()).unwrap();
    let prefix = mesh.log.len() - 1;
    mesh.roster = Roster::replay(&mesh.log[..prefix]).unwrap();
    (mesh, signed)
}

fn with_bytes(signed: &SignedEntry, bytes: Vec<u8>) -> SignedEntry {
    SignedEntry { bytes: bytes.into(), signatures: signed.signatures.clone() }
}

#[test]
fn every_truncation_is_refused() {
    let (mut mesh, signed) = example();
    for cut in 0..signed.bytes.len() {
        let cut = with_bytes(&signed, signed.bytes[..cut].to_vec());
        assert_eq!(mesh.apply(cut), Err(Error::Malformed("entry")));
    }
    let join = mesh.log[2].clone();
    for cut in (0..join.bytes.len()).step_by(7) {
        assert_eq!(with_bytes(&join, join.bytes[..cut].to_vec()).parse(), Err(Error::Malformed("entry")));
    }
}

#[test]
fn every_single_bit_flip_is_refused() {
    let (mesh, signed) = example();
    for bit in 0..signed.bytes.len() * 8 {
        let mut bytes = signed.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(with_bytes(&signed, bytes).verify().is_err(), "bit {bit}");
    }
    drop(mesh);
}

#[test]
fn nothing_may_follow_an_entry_in_its_bytes() {
    let (_, signed) = example();
    let longer = with_bytes(&signed, [&signed.bytes[..], &[0xc0]].concat());
    assert_eq!(longer.parse(), Err(Error::Malformed("entry")));
}

#[test]
fn more_than_the_limit_is_not_looked_at() {
    let (_, signed) = example();
    let padded = |len: usize| {
        let mut bytes = signed.bytes.to_vec();
        bytes.resize(len, 0);
        with_bytes(&signed, bytes).parse()
    };
    assert_eq!(padded(MAX_ENTRY), Err(Error::Malformed("entry")));
    assert_eq!(padded(MAX_ENTRY + 1), Err(Error::TooLarge("entry")));
}

#[test]
fn the_largest_invite_fits_into_an_entry() {
    let mut rng = UnwrapErr(SysRng);
    let mut keys = StateKeys::found(&mut rng);
    for epoch in 2..=StateKeys::MAX as u64 {
        keys.add(epoch, crate::state_key::StateKey::generate(&mut rng)).unwrap();
    }
    let state_keys = keys.seal_to(&sealing(), &mut rng).unwrap();
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |invite| invite.state_keys = state_keys), &[FOUNDER]);
    assert!((42_096..MAX_ENTRY).contains(&mesh.log[1].bytes.len()));
}

#[test]
fn an_unknown_field_or_body_is_refused() {
    let (_, signed) = example();
    let renamed = |from: &str, to: &str| {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let found = signed.bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = signed.bytes.to_vec();
        bytes[found..found + from.len()].copy_from_slice(to);
        with_bytes(&signed, bytes).parse()
    };
    for (from, to) in [("revoke", "invoke"), ("reason", "season"), ("signers", "singers"), ("epoch", "epics")]
    {
        assert_eq!(renamed(from, to), Err(Error::Malformed("entry")), "{from}");
    }
}

#[test]
fn an_entry_names_one_or_two_signers() {
    let (mesh, _) = example();
    let entry = mesh.entry(leave(11));
    for signers in [&[][..], &[11, 12, 13], &[11, 12, 13, 14]] {
        assert_eq!(sign(&entry, signers).parse(), Err(Error::Malformed("entry")));
    }
    assert_eq!(sign(&entry, &[11, 12]).parse().unwrap().signers, [public(11), public(12)]);
}

#[test]
fn a_reason_is_short_and_can_be_shown() {
    assert_eq!("ü".repeat(128).parse::<Reason>().unwrap().as_str().len(), Reason::MAX);
    for bad in [&"ü".repeat(129), "a\nb", "\u{1b}[31m", "a\0"] {
        assert_eq!(bad.parse::<Reason>(), Err(Error::Malformed("reason")));
    }
}

#[test]
fn an_entry_survives_its_own_encoding() {
    let (mesh, signed) = example();
    for signed in mesh.log.iter().chain([&signed]) {
        let wire = rmp_serde::to_vec_named(signed).unwrap();
        assert_eq!(&rmp_serde::from_slice::<SignedEntry>(&wire).unwrap(), signed);
        assert_eq!(rmp_serde::to_vec_named(&signed.parse().unwrap()).unwrap(), signed.bytes);
    }
}
