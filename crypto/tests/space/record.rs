//! What opens, for which place, and what does not.

use bytes::Bytes;
use proptest::prelude::*;
use waxwing_crypto::space::{Condition, Frame, Operation, SEALED_MAX, Stands, Statement, epoch_of};
use waxwing_crypto::{Error, MeshId, NodeId, Purpose, Signed};

use super::actors::{EPOCH, MESH, Scene, key_name, keys, space};
use super::reference::Target;
use super::support::Seeded;

const ELSEWHERE: Error = Error::Elsewhere("record");
const MALFORMED: Error = Error::Malformed("record");

#[test]
fn what_is_sealed_opens_for_another_member_and_says_the_same() {
    let scene = Scene::new();
    let append = Statement { operation: Operation::Append, stands: Stands::Appended, ..scene.put(b"x") };
    let own = Statement { stands: Stands::Own, ..scene.full() };
    let delete = Statement { operation: Operation::Delete, ..scene.put(b"") };
    for statement in [scene.put(b""), scene.full(), own, append, delete, scene.tombstone()] {
        let sealed = scene.seal(&statement);
        assert_eq!(epoch_of(&sealed), Ok(EPOCH));
        let opened = scene.open(&sealed, &scene.frame(&statement)).unwrap();
        assert_eq!((opened.epoch(), opened.log_seq()), (EPOCH, statement.log_seq));
        assert_eq!(opened.unverified(), &statement);
        assert_eq!(opened.verify(&scene.alpha.public()), Ok(statement));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_said_comes_through(
        name in "[^\\p{Cc}]{1,40}",
        value in proptest::collection::vec(any::<u8>(), 0..3_000),
        seq in any::<u64>(),
        counters in (1..=u64::MAX, 1..=u64::MAX, any::<u64>()),
        times in (any::<Option<u64>>(), any::<Option<u64>>()),
    ) {
        let scene = Scene::new();
        let statement = Statement {
            name: name.parse().unwrap(),
            value: value.into(),
            when: Condition::Seq(seq),
            version: counters.0,
            counter: counters.1,
            log_seq: counters.2,
            ttl: times.0,
            bound: times.1,
            ..scene.full()
        };
        let sealed = scene.seal(&statement);
        let opened = scene.open(&sealed, &scene.frame(&statement)).unwrap();
        prop_assert_eq!(opened.verify(&scene.alpha.public()), Ok(statement));
    }

    #[test]
    fn bytes_that_nobody_sealed_do_not_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let scene = Scene::new();
        let frame = scene.frame(&scene.put(b""));
        prop_assert!(scene.open(&bytes, &frame).is_err());
        let sealed = [&EPOCH.to_be_bytes()[..], &bytes].concat();
        prop_assert!(scene.open(&sealed, &frame).is_err());
        prop_assert!(scene.open(&Target::of(&scene, frame).seal(&bytes), &frame).is_err());
    }
}

#[test]
fn no_record_with_a_changed_bit_opens() {
    let scene = Scene::new();
    let statement = scene.put(b"hello");
    let (sealed, frame) = (scene.seal(&statement), scene.frame(&statement));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = scene.open(&changed, &frame).unwrap_err();
        // The first epoch is one whose key is held.
        let expected = match epoch_of(&changed) {
            Ok(1 | EPOCH) => Error::DoesNotOpen,
            _ => Error::NoKey,
        };
        assert_eq!(error, expected, "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(scene.open(&sealed[..length], &frame).is_err(), "{length}");
    }
    assert!(scene.open(&[&sealed[..], &[0]].concat(), &frame).is_err());
}

/// What a broker could say of a record instead of the truth.
fn lies(scene: &Scene, frame: Frame) -> [(&'static str, Frame); 5] {
    [
        ("another key", Frame { key: scene.space.key(&key_name("other")), ..frame }),
        ("another operation", Frame { operation: Operation::Delete, ..frame }),
        ("an append", Frame { operation: Operation::Append, stands: Stands::Appended, ..frame }),
        ("another standing", Frame { stands: Stands::Own, ..frame }),
        ("another writer", Frame { writer: scene.beta_id(), ..frame }),
    ]
}

#[test]
fn a_broker_cannot_show_a_record_as_something_else() {
    let scene = Scene::new();
    let sealed = scene.seal(&scene.full());
    for (lie, frame) in lies(&scene, scene.frame(&scene.full())) {
        assert_eq!(scene.open(&sealed, &frame).unwrap_err(), Error::DoesNotOpen, "{lie}");
    }
}

#[test]
fn a_broker_cannot_show_a_record_in_another_space_mesh_or_epoch() {
    let scene = Scene::new();
    let statement = scene.full();
    let sealed = scene.seal(&statement);
    let mut other_epoch = sealed.to_vec();
    other_epoch[..8].copy_from_slice(&1_u64.to_be_bytes());
    let frame = scene.frame(&statement);
    assert_eq!(scene.open(&other_epoch, &frame).unwrap_err(), Error::DoesNotOpen);
    let other_mesh = MeshId::from_bytes([0x4e; 16]);
    for other in [space(MESH, &scene.keys, "other"), space(other_mesh, &scene.keys, "team")] {
        for key in [frame.key, other.key(&statement.name)] {
            let frame = Frame { key, ..frame };
            assert_eq!(other.open(&sealed, &frame, &scene.keys).unwrap_err(), Error::DoesNotOpen);
        }
    }
}

/// A member can open what alpha has sealed, and seal alpha's signed words again for any place. They say themselves for what they
/// are.
#[test]
fn a_member_cannot_transplant_what_another_has_signed() {
    let scene = Scene::new();
    let frame = scene.frame(&scene.full());
    let target = Target::of(&scene, frame);
    let words = target.content(&scene.seal(&scene.full()));
    assert!(scene.open(&target.seal(&words), &frame).is_ok(), "where they belong, to compare with");
    for (lie, frame) in lies(&scene, frame) {
        let sealed = Target { frame, ..target }.seal(&words);
        assert_eq!(scene.open(&sealed, &frame).unwrap_err(), ELSEWHERE, "{lie}");
    }
    let sealed = Target { epoch: 1, ..target }.seal(&words);
    assert_eq!(scene.open(&sealed, &frame).unwrap_err(), ELSEWHERE, "another epoch");
    let other_mesh = MeshId::from_bytes([0x4e; 16]);
    for (mesh, name) in [(MESH, "other"), (other_mesh, "team")] {
        let other = space(mesh, &scene.keys, name);
        let frame = Frame { key: other.key(&key_name("plan")), ..frame };
        let sealed = Target { mesh, space: other.id(), frame, ..target }.seal(&words);
        assert_eq!(other.open(&sealed, &frame, &scene.keys).unwrap_err(), ELSEWHERE, "{name}");
    }
}

/// A member signs for a key another name than the one that makes this key.
#[test]
fn a_member_cannot_put_a_record_under_the_key_of_another_name() {
    let scene = Scene::new();
    let statement = scene.put(b"hello");
    let mut target = Target::of(&scene, scene.frame(&statement));
    let words: Signed = rmp_serde::from_slice(&target.content(&scene.seal(&statement))).unwrap();
    let other = scene.space.key(&key_name("other"));
    let (key, bytes) = (target.frame.key, words.bytes.to_vec());
    let at = bytes.windows(32).position(|window| window == key.as_bytes()).unwrap();
    let bytes = [&bytes[..at], other.as_bytes(), &bytes[at + 32..]].concat();
    let signed = Signed::new(&scene.alpha, Purpose::Record, bytes);
    target.frame.key = other;
    let sealed = target.seal(&rmp_serde::to_vec_named(&signed).unwrap());
    assert_eq!(scene.open(&sealed, &target.frame).unwrap_err(), ELSEWHERE);
}

#[test]
fn a_member_without_the_epochs_key_knows_that_it_lacks_it() {
    let scene = Scene::new();
    let statement = scene.put(b"hello");
    let (sealed, frame) = (scene.seal(&statement), scene.frame(&statement));
    assert_eq!(scene.space.open(&sealed, &frame, &keys(1)).unwrap_err(), Error::NoKey);
    assert!(scene.space.open(&sealed, &frame, &keys(3)).is_ok());
    let rng = &mut Seeded::new(5);
    assert_eq!(scene.space.seal(&statement, EPOCH, &keys(1), &scene.alpha, rng), Err(Error::NoKey));
}

#[test]
fn records_of_several_epochs_open_one_after_the_other() {
    let scene = Scene::new();
    let (statement, rng) = (scene.put(b"hello"), &mut Seeded::new(5));
    let frame = scene.frame(&statement);
    let sealed = [1, 2].map(|of| scene.space.seal(&statement, of, &scene.keys, &scene.alpha, rng).unwrap());
    let mut opener = scene.space.opener(&scene.keys);
    for epoch in [1, 2, 2, 1, 1] {
        let opened = opener.open(&sealed[epoch - 1], &frame).unwrap();
        assert_eq!((opened.epoch(), opened.unverified()), (epoch as u64, &statement));
    }
}

/// Two machines that are copies of one, or one set back to a snapshot.
#[test]
fn a_random_source_that_repeats_uses_no_nonce_for_two_texts() {
    let scene = Scene::new();
    let nonce = |statement: &Statement| scene.seal(statement)[8..32].to_vec();
    let statement = scene.put(b"hello");
    let others = [
        Statement { value: Bytes::from_static(b"hellp"), ..statement.clone() },
        Statement { counter: 2, ..statement.clone() },
        Statement { stands: Stands::Own, ..statement.clone() },
        Statement { writer: NodeId::from_bytes([9; 16]), ..statement.clone() },
        Statement { name: key_name("plans"), ..statement.clone() },
    ];
    assert_eq!(nonce(&statement), nonce(&statement), "nothing else goes in");
    for other in others {
        assert_ne!(nonce(&statement), nonce(&other), "{other:?}");
    }
    let again = scene.space.seal(&statement, EPOCH, &scene.keys, &scene.alpha, &mut Seeded::new(6)).unwrap();
    assert_ne!(nonce(&statement), again[8..32]);
}

#[test]
fn what_opens_and_is_no_record_is_malformed() {
    let scene = Scene::new();
    let statement = scene.put(b"hello");
    let frame = scene.frame(&statement);
    let target = Target::of(&scene, frame);
    let good = target.content(&scene.seal(&statement));
    let deep = [b"\x82\xa1b\xc4\x00\xa1z", &[0x91; 100_000][..], &[0xc0]].concat();
    for bad in [&b""[..], b"\xc0", b"\x80", &good[..good.len() - 1], &[&good[..], &[0xc0]].concat(), &deep] {
        assert_eq!(scene.open(&target.seal(bad), &frame).unwrap_err(), MALFORMED);
    }
    for padded in [&b""[..], &[0; 3], &[0, 0, 0, 9, 1]] {
        let error = scene.open(&target.seal_padded([1; 24], padded), &frame).unwrap_err();
        assert_eq!(error, Error::Malformed("padding"));
    }
    for short in [0, 7, 8, 47] {
        assert_eq!(scene.open(&vec![0; short], &frame).unwrap_err(), MALFORMED, "{short}");
        assert_eq!(epoch_of(&vec![0; short]), Err(MALFORMED));
    }
    assert_eq!(epoch_of(&[1; 48]), Ok(0x0101_0101_0101_0101));
    let large = vec![0; SEALED_MAX + 1];
    assert_eq!(scene.open(&large, &frame).unwrap_err(), Error::TooLarge("record"));
    assert_eq!(scene.open(&large[1..], &frame).unwrap_err(), Error::NoKey);
}
