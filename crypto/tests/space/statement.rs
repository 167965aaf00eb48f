//! What a writer may say, and how much.

use bytes::Bytes;
use waxwing_crypto::space::{Condition, Operation, SEALED_MAX, Stands, Statement, VALUE_MAX};
use waxwing_crypto::{Error, Purpose, Signed};

use super::actors::{EPOCH, Scene};
use super::reference::Target;
use super::support::Seeded;

fn seal(scene: &Scene, statement: &Statement) -> Result<Bytes, Error> {
    scene.space.seal(statement, EPOCH, &scene.keys, &scene.alpha, &mut Seeded::new(5))
}

#[test]
fn the_largest_record_fits_and_a_byte_more_does_not() {
    let scene = Scene::new();
    let mut statement = Statement {
        name: "n".repeat(1_024).parse().unwrap(),
        app: Some("a".repeat(63).parse().unwrap()),
        value: vec![7; VALUE_MAX].into(),
        ..scene.full()
    };
    let sealed = scene.seal(&statement);
    assert!(sealed.len() <= SEALED_MAX, "{}", sealed.len());
    let opened = scene.open(&sealed, &scene.frame(&statement)).unwrap();
    assert_eq!(opened.verify(&scene.alpha.public()).as_ref(), Ok(&statement));
    statement.value = vec![7; VALUE_MAX + 1].into();
    assert_eq!(seal(&scene, &statement), Err(Error::TooLarge("value")));
}

/// Statements whose parts do not go together, by what is wrong.
fn unsound(scene: &Scene) -> Vec<(&'static str, Statement)> {
    let (put, tombstone) = (scene.put(b""), scene.tombstone());
    let append = Statement { operation: Operation::Append, stands: Stands::Appended, ..put.clone() };
    vec![
        ("a put stands beside others", Statement { stands: Stands::Appended, ..put.clone() }),
        ("an append is shared", Statement { stands: Stands::Shared, ..append.clone() }),
        ("an append is its writer's own", Statement { stands: Stands::Own, ..append.clone() }),
        ("an append replaces", Statement { when: Condition::Seq(1), ..append.clone() }),
        ("an append takes another away", Statement { of: tombstone.of, ..append }),
        ("a put takes another away", Statement { of: tombstone.of, ..put.clone() }),
        ("which one is not said", Statement { of: None, ..tombstone.clone() }),
        ("the shared one needs no telling", Statement { stands: Stands::Shared, ..tombstone.clone() }),
        ("a tombstone has a lifetime", Statement { ttl: Some(1), ..tombstone.clone() }),
        ("a tombstone is bound", Statement { bound: Some(1), ..tombstone }),
        ("versions begin at 1", Statement { version: 0, ..put.clone() }),
        ("counters begin at 1", Statement { counter: 0, ..put }),
    ]
}

#[test]
fn parts_that_do_not_go_together_are_not_sealed() {
    let scene = Scene::new();
    for (wrong, statement) in unsound(&scene) {
        assert_eq!(seal(&scene, &statement), Err(Error::Malformed("record")), "{wrong}");
    }
}

/// Puts other bytes in the place of those that stand there once.
fn with(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    let [at] = places[..] else { unreachable!("{from:x?} stands there {} times", places.len()) };
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// A member that signs what this version would not.
#[test]
fn parts_that_do_not_go_together_are_not_believed_whoever_signs_them() {
    let scene = Scene::new();
    let statement = scene.put(b"hello");
    let frame = scene.frame(&statement);
    let target = Target::of(&scene, frame);
    let words: Signed = rmp_serde::from_slice(&target.content(&scene.seal(&statement))).unwrap();
    let open = |bytes: Vec<u8>| {
        let signed = Signed::new(&scene.alpha, Purpose::Record, bytes);
        scene.open(&target.seal(&rmp_serde::to_vec_named(&signed).unwrap()), &frame)
    };
    assert!(open(words.bytes.to_vec()).is_ok(), "to compare with");
    for (wrong, from, to) in [
        ("another version of the construction", &b"\xa1v\x01"[..], &b"\xa1v\x02"[..]),
        ("versions begin at 1", b"\xa3ver\x01", b"\xa3ver\x00"),
        ("counters begin at 1", b"\xa3ctr\x01", b"\xa3ctr\x00"),
        ("an append is shared", b"\xa2op\xa3put", b"\xa2op\xa6append"),
        ("a put stands beside others", b"\xa2st\xa6shared", b"\xa2st\xa8appended"),
        ("no such operation", b"\xa2op\xa3put", b"\xa2op\xa3get"),
        ("a name is no line", b"\xa4plan", b"\xa4pla\n"),
        ("a name is not empty", b"\xa4plan", b"\xa0"),
        ("a value is bytes", b"\xc4\x05hello", b"\x05"),
        ("a life has 16 bytes", b"\xa4life\xc4\x10\x11", b"\xa4life\xc4\x0f"),
        ("a field is not there", b"\xa3log\x03", b"\xa3lug\x03"),
        ("a field stands twice", b"\xa3log\x03", b"\xa3ctr\x01"),
    ] {
        let error = open(with(&words.bytes, from, to)).unwrap_err();
        assert_eq!(error, Error::Malformed("record"), "{wrong}");
    }
    let large = [b"\xc6\x00\x04\x00\x01", &[7; VALUE_MAX + 1][..]].concat();
    let error = open(with(&words.bytes, b"\xc4\x05hello", &large)).unwrap_err();
    assert_eq!(error, Error::Malformed("record"));
}
