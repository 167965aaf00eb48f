//! Tests of the sealed-key list: who opens what, and what is found out.

use getrandom::{SysRng, rand_core::UnwrapErr};
use proptest::prelude::*;

use super::*;
use crate::id::{Digest, MeshId, NodeId};
use crate::keys::SigningKey;

const MESH: MeshId = MeshId::from_bytes([7; 16]);

fn secret(n: u8) -> SealingKey {
    SealingKey::from_seed(&[n; 32])
}

fn holder(n: u8) -> Holder {
    if n % 3 == 2 {
        Holder::Invite(SigningKey::from_seed(&[n; 32]).public())
    } else {
        Holder::Node(NodeId::from_bytes([n; 16]))
    }
}

/// A list of so many slots, of the newest of these epochs.
fn list(held: &[u64], slots: u8) -> KeyList {
    let holders: Vec<_> = (0..slots).map(|n| (holder(n), secret(n).public().unwrap())).collect();
    KeyList::seal(MESH, &keys(held), &holders, &mut UnwrapErr(SysRng)).unwrap()
}

fn slot(list: &KeyList, at: usize) -> ProvenSlot {
    list.slots().nth(at).unwrap()
}

const BAD: Error = Error::BadProof("key slot");

#[test]
fn every_holder_opens_its_own_slot_and_has_all_keys() {
    let list = list(&[1, 2, 5], 6);
    for at in 0..6 {
        let proven = slot(&list, at);
        let own = proven.verify(MESH, list.head(), &list.root()).unwrap();
        assert_eq!((own.holder, own.to), (holder(at as u8), secret(at as u8).public().unwrap().digest()));
        let opened = own.open(MESH, list.head(), &secret(at as u8)).unwrap();
        assert_eq!(epochs(&opened), [1, 2, 5]);
        assert_eq!(opened.get(2).unwrap().reveal(), &[2; 32]);
    }
}

#[test]
fn nobody_opens_anothers_slot() {
    let list = list(&[1, 2], 4);
    for at in 0..4 {
        for other in (0..8).filter(|other| *other != at as u8) {
            let opened = slot(&list, at).slot.open(MESH, list.head(), &secret(other));
            assert_eq!(opened.map(|_| ()), Err(Error::DoesNotOpen), "{at} by {other}");
        }
    }
}

#[test]
fn the_earlier_keys_open_to_nobody_without_the_new_one() {
    let list = list(&[1, 2, 3], 1);
    for old in 1..=2 {
        let opened = list.head().earlier.open(MESH, 3, &StateKey::from_bytes(&[old; 32]));
        assert!(opened.is_err());
    }
}

#[test]
fn a_slot_of_an_earlier_list_or_of_another_mesh_is_found_out() {
    let (old, new) = (list(&[1, 2], 4), list(&[1, 2, 3], 4));
    let proven = slot(&old, 1);
    assert_eq!(proven.verify(MESH, old.head(), &new.root()), Err(BAD));
    assert_eq!(proven.verify(MESH, new.head(), &new.root()), Err(BAD));
    assert_eq!(proven.verify(MeshId::from_bytes([8; 16]), old.head(), &old.root()), Err(BAD));
    let claimed = KeyListHead { epoch: 3, ..old.head().clone() };
    assert_eq!(proven.verify(MESH, &claimed, &old.root()), Err(BAD));
}

#[test]
fn earlier_keys_of_another_list_are_found_out() {
    let (one, two) = (list(&[1, 2], 2), list(&[1, 2], 2));
    let mixed = KeyListHead { earlier: two.head().earlier.clone(), ..one.head().clone() };
    assert_eq!(slot(&one, 0).verify(MESH, &mixed, &one.root()), Err(BAD));
}

#[test]
fn an_admin_that_seals_the_wrong_epoch_is_found_out() {
    let list = list(&[1, 2], 1);
    let claimed = KeyListHead { epoch: 3, ..list.head().clone() };
    let opened = slot(&list, 0).slot.open(MESH, &claimed, &secret(0));
    assert_eq!(opened.map(|_| ()), Err(Error::Malformed("key slot")));
}

#[test]
fn a_list_has_a_slot_at_least_and_a_bounded_number() {
    let (held, rng) = (keys(&[1, 2]), &mut UnwrapErr(SysRng));
    assert!(KeyList::seal(MESH, &held, &[], rng).is_err());
    let key = secret(0).public().unwrap();
    let many = vec![(holder(0), key); KeyList::MAX_SLOTS as usize + 1];
    assert_eq!(KeyList::seal(MESH, &held, &many, rng).map(|_| ()), Err(Error::TooLarge("key list")));
}

#[test]
fn a_slot_travels_and_one_that_is_too_large_does_not() {
    let list = list(&[1, 2], 5);
    let bytes = rmp_serde::to_vec_named(&slot(&list, 4)).unwrap();
    assert_eq!(rmp_serde::from_slice::<ProvenSlot>(&bytes).unwrap(), slot(&list, 4));
    let many = keys(&[1, 2]).seal_to(&secret(0).public().unwrap(), &mut UnwrapErr(SysRng)).unwrap();
    let wrong = Slot { sealed: many, ..slot(&list, 4).slot };
    assert!(rmp_serde::from_slice::<Slot>(&rmp_serde::to_vec_named(&wrong).unwrap()).is_err());
    assert!(ProofPath::from_bytes(&[0; 16 * 32]).is_ok());
    assert!(ProofPath::from_bytes(&[0; 17 * 32]).is_err());
    assert!(ProofPath::from_bytes(&[0; 33]).is_err());
    assert_eq!(EarlierKeys::MAX, 40_960);
    for (length, ok) in [
        (0, false),
        (39, false),
        (40, true),
        (41, false),
        (80, true),
        (EarlierKeys::MAX, true),
        (EarlierKeys::MAX + 40, false),
    ] {
        assert_eq!(EarlierKeys::from_bytes(vec![0; length].into()).is_ok(), ok, "{length}");
    }
}

#[test]
fn earlier_keys_open_for_their_own_mesh_and_epoch_alone() {
    let list = list(&[1, 2, 5], 1);
    let open = |mesh, epoch| {
        let opened = list.head().earlier.open(mesh, epoch, &StateKey::from_bytes(&[5; 32]));
        opened.map(|earlier| earlier.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>())
    };
    assert_eq!(open(MESH, 5), Ok(vec![1, 2]));
    for (mesh, epoch) in [(MeshId::from_bytes([8; 16]), 5), (MESH, 6), (MESH, 1 << 40)] {
        assert_eq!(open(mesh, epoch), Err(Error::Malformed("earlier state keys")), "{mesh:?} {epoch}");
    }
}

#[test]
fn nothing_of_a_list_prints_a_key() {
    let list = list(&[1], 1);
    assert_eq!(format!("{list:?}"), "KeyList(epoch 1, 1 slots)");
    assert_eq!(format!("{:?}", list.head().earlier), "EarlierKeys(40 bytes)");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is changed about a slot, its place, its proof or the head: it is found out.
    #[test]
    fn whatever_is_changed_is_found_out(slots in 1_u8..20, at in 0_usize..20, what in 0_usize..9, byte in 0_usize..1_176, bit in 0_u32..8) {
        let list = list(&[1, 2], slots);
        let at = at % usize::from(slots);
        let (mut proven, mut head) = (slot(&list, at), list.head().clone());
        let flip = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = byte % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes
        };
        match what {
            0 => proven.at ^= 1 << bit,
            1 => proven.slot.sealed = SealedStateKeys::from_bytes(flip(proven.slot.sealed.as_bytes()).into()).unwrap(),
            2 => proven.slot.to = Digest::try_from(&flip(proven.slot.to.as_bytes())[..]).unwrap(),
            3 => proven.slot.holder = Holder::Node(NodeId::from_bytes([0xff; 16])),
            4 => proven.slot.holder = holder(slots),
            5 if !proven.path.0.is_empty() => proven.path = ProofPath::from_bytes(&flip(&proven.path.to_bytes())).unwrap(),
            6 => head.slots ^= 1 << bit,
            7 => head.epoch ^= 1 << bit,
            _ => head.earlier = EarlierKeys::from_bytes(flip(head.earlier.as_bytes()).into()).unwrap(),
        }
        prop_assert_eq!(proven.verify(MESH, &head, &list.root()), Err(BAD));
    }

    /// A slot shown with the proof of another is found out.
    #[test]
    fn swapped_slots_are_found_out(slots in 2_u8..20, one in 0_usize..20, other in 0_usize..20) {
        let list = list(&[1], slots);
        let (one, other) = (one % usize::from(slots), other % usize::from(slots));
        prop_assume!(one != other);
        let swapped = ProvenSlot { slot: slot(&list, other).slot, ..slot(&list, one) };
        prop_assert_eq!(swapped.verify(MESH, list.head(), &list.root()), Err(BAD));
    }
}
