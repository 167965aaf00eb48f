//! Tests of the keys and their boxes.

mod lists;

use getrandom::{SysRng, rand_core::UnwrapErr};

use super::*;
use crate::error::Error;
use crate::keys::SealingKey;

const MALFORMED: Error = Error::Malformed("state keys");

fn keys(epochs: &[u64]) -> StateKeys {
    let list = epochs.iter().map(|&epoch| (epoch, StateKey::from_bytes(&[epoch as u8; 32])));
    StateKeys(list.collect())
}

fn recipient() -> SealingKey {
    SealingKey::from_seed(&[1; 32])
}

fn sealed(keys: &StateKeys) -> SealedStateKeys {
    keys.seal_to(&recipient().public().unwrap(), &mut UnwrapErr(SysRng)).unwrap()
}

fn epochs(keys: &StateKeys) -> Vec<u64> {
    keys.iter().map(|(epoch, _)| epoch).collect()
}

#[test]
fn the_recipient_opens_all_keys() {
    let sealed = sealed(&keys(&[1, 2, 7]));
    assert_eq!(sealed.as_bytes().len(), 1_120 + 3 * 40 + 16);
    let opened = sealed.open(&recipient()).unwrap();
    assert_eq!(epochs(&opened), [1, 2, 7]);
    assert_eq!(opened.get(7).unwrap().reveal(), &[7; 32]);
    assert!(opened.get(3).is_none());
    assert_eq!((opened.first().0, opened.newest().0), (1, 7));
}

#[test]
fn nobody_else_opens_them() {
    let sealed = sealed(&keys(&[1]));
    assert_eq!(sealed.open(&SealingKey::from_seed(&[2; 32])).map(|_| ()), Err(Error::DoesNotOpen));
}

#[test]
fn a_changed_box_does_not_open() {
    let bytes = sealed(&keys(&[1])).as_bytes().to_vec();
    // One bit of each byte: every part of both KEM ciphertexts, the box and its tag.
    for at in (0..bytes.len()).filter(|at| at % 9 == 0 || *at >= 1_088) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let changed = SealedStateKeys::from_bytes(changed.into()).unwrap();
        assert_eq!(changed.open(&recipient()).map(|_| ()), Err(Error::DoesNotOpen), "byte {at}");
    }
}

#[test]
fn a_box_has_the_length_of_1_to_1024_keys() {
    let of = |len: usize| SealedStateKeys::from_bytes(vec![0; len].into()).map(|_| ());
    for good in [1_176, 1_216, 42_096] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    for bad in [0, 1_135, 1_136, 1_175, 1_177, 42_095, 42_136, 1 << 20] {
        assert_eq!(of(bad), Err(MALFORMED), "{bad}");
    }
    let travelled = rmp_serde::to_vec(&sealed(&keys(&[1]))).unwrap();
    assert_eq!(travelled[..3], [0xc5, 0x04, 0x98], "bin 16");
    assert!(rmp_serde::from_slice::<SealedStateKeys>(&travelled).is_ok());
    assert!(rmp_serde::from_slice::<SealedStateKeys>(&[0xc4, 1, 0]).is_err());
}

#[test]
fn epochs_that_do_not_rise_are_refused_even_from_an_admin() {
    for wrong in [&[2, 1][..], &[1, 1], &[1, 3, 2]] {
        assert_eq!(sealed(&keys(wrong)).open(&recipient()).map(|_| ()), Err(MALFORMED));
    }
}

#[test]
fn a_later_epoch_is_added_and_no_other() {
    let mut keys = keys(&[1, 2]);
    for epoch in [0, 1, 2] {
        assert_eq!(keys.add(epoch, StateKey::from_bytes(&[0; 32])), Err(MALFORMED));
    }
    keys.add(4, StateKey::from_bytes(&[4; 32])).unwrap();
    assert_eq!(epochs(&keys), [1, 2, 4]);
}

#[test]
fn the_first_key_and_the_newest_1023_are_kept() {
    let mut keys = keys(&[1]);
    for epoch in 2..=StateKeys::MAX as u64 + 5 {
        keys.add(epoch, StateKey::from_bytes(&[0; 32])).unwrap();
    }
    let kept = epochs(&keys);
    assert_eq!((kept.len(), kept[0], kept[1], keys.newest().0), (StateKeys::MAX, 1, 7, 1_029));
    assert_eq!(epochs(&sealed(&keys).open(&recipient()).unwrap()), kept);
}

#[test]
fn keys_print_as_their_type() {
    assert_eq!(format!("{:?}", keys(&[1])), "StateKeys([(1, StateKey(secret))])");
}

#[test]
fn keys_survive_being_written_and_nothing_else_is_read() {
    let held = keys(&[1, 2, 9]);
    assert_eq!(epochs(&StateKeys::from_bytes(&held.to_bytes()).unwrap()), [1, 2, 9]);
    for bad in [&[][..], &[0; 39], &[0; 41], &[0; 80], &[0; 40 * 1_025]] {
        assert!(StateKeys::from_bytes(bad).is_err(), "{}", bad.len());
    }
}

#[test]
fn what_others_hold_is_taken_and_what_is_held_stays() {
    let mut held = keys(&[1, 2, 4]);
    assert!(held.absorb(&keys(&[1, 3, 5])).is_empty());
    assert_eq!(epochs(&held), [1, 2, 3, 4, 5]);
    let forged = StateKeys(vec![(1, StateKey::from_bytes(&[9; 32])), (6, StateKey::from_bytes(&[6; 32]))]);
    assert_eq!(held.absorb(&forged), [1]);
    assert_eq!((held.get(1).unwrap().reveal(), held.newest().0), (&[1; 32], 6));
}

#[test]
fn what_is_taken_leaves_no_more_than_may_be_held() {
    let mut held = keys(&[1]);
    let others: Vec<_> = (2..=StateKeys::MAX as u64 + 3).collect();
    held.absorb(&keys(&others));
    let kept = epochs(&held);
    assert_eq!((kept.len(), kept[0], kept[1]), (StateKeys::MAX, 1, 5));
}

#[test]
fn epochs_of_another_log_are_forgotten_and_the_first_never() {
    for (from, left) in [(9, &[1, 2, 4][..]), (4, &[1, 2]), (3, &[1, 2]), (2, &[1]), (1, &[1]), (0, &[1])] {
        let mut held = keys(&[1, 2, 4]);
        held.forget_from(from);
        assert_eq!(epochs(&held), left, "{from}");
    }
}
