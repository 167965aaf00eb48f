//! The chain: what founds a mesh, and what continues a log.

use super::*;
use crate::membership::{LogHead, MAX_CLOCK_SKEW};
use crate::storage::StorageKey;
use crate::{MeshId, Purpose};

#[test]
fn a_genesis_founds_a_mesh_named_by_its_hash() {
    let Mesh { roster, log, .. } = Mesh::found();
    assert_eq!(roster.mesh().as_bytes(), &log[0].hash().as_bytes()[..16]);
    assert_eq!((roster.name().as_str(), roster.recovery()), ("mesh", &public(RECOVERY)));
    assert_eq!(roster.head(), LogHead { seq: 1, hash: log[0].hash() });
    let founder = roster.member(&id(FOUNDER)).unwrap();
    assert_eq!((founder.role, founder.name.as_str(), founder.invite), (Role::Admin, "founder", None));
    assert_eq!((roster.epoch(), roster.epoch_keys(), roster.wants_epoch()), (1, None, false));
}

#[test]
fn a_roster_that_was_kept_comes_back_for_its_mesh_place_and_key_alone() {
    let Mesh { roster, .. } = Mesh::with_members(11..=12);
    let keys = StorageKey::from_bytes(&[1; 32]).keys();
    let (mesh, head, kept) = (roster.mesh(), roster.head(), keys.keep_roster(&roster));
    assert_eq!(keys.kept_roster(mesh, head, &kept), Ok(roster));
    let no = Err(Error::DoesNotOpen);
    assert_eq!(keys.kept_roster(MeshId::from_bytes([9; 16]), head, &kept), no);
    for other in [LogHead { seq: head.seq + 1, ..head }, LogHead { hash: digest(9), ..head }] {
        assert_eq!(keys.kept_roster(mesh, other, &kept), no);
    }
    assert_eq!(StorageKey::from_bytes(&[2; 32]).keys().kept_roster(mesh, head, &kept), no);
    for at in 0..kept.len() {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        assert_eq!(keys.kept_roster(mesh, head, &changed), no, "byte {at}");
    }
    for cut in [0, 31, 32, kept.len() - 1] {
        assert_eq!(keys.kept_roster(mesh, head, &kept[..cut]), no, "cut to {cut}");
    }
}

#[test]
fn a_genesis_is_signed_by_the_founder_alone() {
    let wrong = Err(Error::NotAllowed(Rule::WrongSigners));
    assert_eq!(Roster::found(at(START), genesis(), &key(3)).map(|_| ()), wrong);
    assert_eq!(Roster::found(at(START), genesis(), &key(RECOVERY)).map(|_| ()), wrong);
    let entry = Mesh::found().log[0].parse().unwrap();
    assert_eq!(Roster::genesis(&sign(&entry, &[FOUNDER, RECOVERY])).map(|_| ()), wrong);
}

#[test]
fn the_recovery_key_is_not_the_founders() {
    let genesis = Genesis { recovery: public(FOUNDER), ..genesis() };
    assert_eq!(
        Roster::found(at(START), genesis, &key(FOUNDER)).map(|_| ()),
        Err(Error::NotAllowed(Rule::KeyUsed))
    );
}

#[test]
fn only_a_genesis_that_is_the_first_and_follows_nothing_begins_a_log() {
    let not_genesis = Err(Error::NotAllowed(Rule::NotGenesis));
    assert_eq!(Roster::replay([]).map(|_| ()), not_genesis);
    let first = Mesh::found().log[0].parse().unwrap();
    let changes: [fn(&mut Entry); 4] = [
        |entry| entry.seq = 2,
        |entry| entry.mesh = MeshId::from_bytes([1; 16]),
        |entry| entry.prev = digest(1),
        |entry| entry.body = leave(FOUNDER),
    ];
    for change in changes {
        let mut entry = first.clone();
        change(&mut entry);
        assert_eq!(Roster::genesis(&sign(&entry, &[FOUNDER])).map(|_| ()), not_genesis);
    }
}

#[test]
fn a_mesh_is_founded_once() {
    let mut mesh = Mesh::found();
    let again = mesh.log[0].clone();
    assert_eq!(mesh.apply(again), Err(Error::NotAllowed(Rule::GenesisAgain)));
    mesh.refuses(Body::Genesis(genesis()), &[FOUNDER], Rule::GenesisAgain);
}

#[test]
fn an_entry_continues_the_head_and_nothing_else() {
    let mut mesh = Mesh::with_members(11..=12);
    let body = || invite(50, |_| ());
    let late = sign(&mesh.entry(body()), &[FOUNDER]);
    let changes: [fn(&mut Entry); 4] = [
        |entry| entry.seq += 1,
        |entry| entry.seq -= 1,
        |entry| entry.prev = digest(1),
        |entry| entry.prev = Digest::from_bytes([0; 32]),
    ];
    for change in changes {
        let mut entry = mesh.entry(body());
        change(&mut entry);
        assert_eq!(mesh.apply(sign(&entry, &[FOUNDER])), Err(Error::NotAllowed(Rule::NotAtHead)));
    }
    for entry in mesh.log.clone().into_iter().skip(1) {
        assert_eq!(mesh.apply(entry), Err(Error::NotAllowed(Rule::NotAtHead)), "replayed");
    }
    mesh.append(invite(51, |_| ()), &[FOUNDER]);
    assert_eq!(mesh.apply(late), Err(Error::NotAllowed(Rule::NotAtHead)), "somebody was faster");
}

#[test]
fn an_entry_of_another_mesh_is_refused() {
    let mut mesh = Mesh::found();
    let mut entry = mesh.entry(invite(50, |_| ()));
    entry.mesh = MeshId::from_bytes([7; 16]);
    assert_eq!(mesh.apply(sign(&entry, &[FOUNDER])), Err(Error::NotAllowed(Rule::OtherMesh)));
}

#[test]
fn time_may_stand_still_but_not_go_back() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    let mut entry = mesh.entry(invite(51, |_| ()));
    entry.at = at(START - 1);
    assert_eq!(mesh.apply(sign(&entry, &[FOUNDER])), Err(Error::NotAllowed(Rule::BackInTime)));
    // A writer whose clock is behind dates its entry as the head.
    mesh.now = START - 1;
    assert_eq!(mesh.entry(leave(FOUNDER)).at, at(START));
    mesh.append(invite(51, |_| ()), &[FOUNDER]);
    assert_eq!(mesh.roster.at(), at(START));
    mesh.now = START + 5;
    mesh.append(invite(52, |_| ()), &[FOUNDER]);
    assert_eq!((mesh.roster.at(), MAX_CLOCK_SKEW.as_secs()), (at(START + 5), 300));
}

#[test]
fn a_signature_that_does_not_hold_is_refused() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    let good = sign(&mesh.entry(join(11, "n11", 50)), &[50, 11]);
    let bad = Err(Error::BadSignature("entry"));
    let malformed = Err(Error::Malformed("entry"));

    let mut swapped = good.clone();
    swapped.signatures.reverse();
    assert_eq!(mesh.apply(swapped), bad);
    for signature in 0..2 {
        let mut forged = good.clone();
        forged.signatures[signature] = key(99).sign(Purpose::Membership, &good.bytes);
        assert_eq!(mesh.apply(forged), bad);
        let mut other_purpose = good.clone();
        other_purpose.signatures[signature] = key([50, 11][signature]).sign(Purpose::Login, &good.bytes);
        assert_eq!(mesh.apply(other_purpose), bad);
        let mut missing = good.clone();
        missing.signatures.remove(signature);
        assert_eq!(mesh.apply(missing), malformed);
    }
    let mut more = good.clone();
    more.signatures.push(good.signatures[0]);
    assert_eq!(mesh.apply(more), malformed);
    assert_eq!(mesh.apply(SignedEntry { signatures: vec![], ..good.clone() }), malformed);
    assert_eq!(mesh.apply(good), Ok(()));
}

#[test]
fn hashes_are_known_for_every_entry_and_no_other() {
    let mesh = Mesh::with_members(11..=12);
    for (seq, entry) in (1..).zip(&mesh.log) {
        assert_eq!(mesh.roster.hash_at(seq), Some(entry.hash()));
    }
    assert_eq!(mesh.roster.hash_at(0), None);
    assert_eq!(mesh.roster.hash_at(mesh.log.len() as u64 + 1), None);
    assert_eq!(mesh.roster.hash_at(u64::MAX), None);
}

#[test]
fn a_replay_and_a_snapshot_give_the_same_roster() {
    let mut mesh = Mesh::with_members(11..=13);
    mesh.append(rotate(11, 61), &[11, 61]);
    mesh.append(grant(12, Role::Admin), &[FOUNDER]);
    mesh.append(revoke(13), &[12]);
    assert_eq!(Roster::replay(&mesh.log).unwrap(), mesh.roster);
    let snapshot = mesh.roster.snapshot();
    assert_eq!(Roster::restore(&snapshot).unwrap(), mesh.roster);
    for cut in 0..snapshot.len() {
        assert_eq!(Roster::restore(&snapshot[..cut]), Err(Error::Malformed("roster")));
    }
}

#[test]
fn two_logs_share_what_comes_before_they_part() {
    let one = Mesh::with_members(11..=14);
    let before = Roster::replay(&one.log[..3]).unwrap();
    assert_eq!(one.roster.shared_with(&before), 3, "one is a part of the other");
    assert_eq!(before.shared_with(&one.roster), 3);
    assert_eq!(one.roster.shared_with(&one.roster), one.log.len() as u64);
    assert!(one.roster.holds(before.head()) && !before.holds(one.roster.head()));
    let mut other = before.clone();
    for n in 60..70 {
        let entry = other.entry(at(START), invite(n, |_| ()));
        other.apply(&sign(&entry, &[FOUNDER])).unwrap();
    }
    assert_eq!((one.roster.shared_with(&other), other.shared_with(&one.roster)), (3, 3));
}

#[test]
fn who_acts_for_a_mesh_is_a_live_admins_current_key_or_the_recovery_key() {
    let mut mesh = Mesh::with_members(11..=12);
    mesh.append(grant(11, Role::Admin), &[FOUNDER]);
    let acts = |mesh: &Mesh, n| mesh.roster.is_admin_key(&public(n));
    assert!(acts(&mesh, FOUNDER) && acts(&mesh, RECOVERY) && acts(&mesh, 11) && !acts(&mesh, 12));
    mesh.append(rotate(11, 40), &[11, 40]);
    assert!(!acts(&mesh, 11) && acts(&mesh, 40));
    mesh.append(revoke(11), &[FOUNDER]);
    assert!(!acts(&mesh, 40) && !acts(&mesh, 99));
}
