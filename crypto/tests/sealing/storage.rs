//! What is kept on disk, and the codes that only a node can compute.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use waxwing_crypto::storage::{Place, Request, StorageKey, StorageKeys, canonical_json};
use waxwing_crypto::{ClientMessageId, Error, Fingerprint, Name, NodeId, Priority};

use super::support::Seeded;

const PLACE: Place<'_> = Place { table: "outbox", column: "body", row: b"m-1" };

fn keys() -> StorageKeys {
    StorageKey::from_bytes(&[1; 32]).keys()
}

fn id(text: &str) -> ClientMessageId {
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_comes_back_from_its_place(value in proptest::collection::vec(any::<u8>(), 0..2_000), seed: u8) {
        let sealed = keys().seal(&mut Seeded::new(seed), PLACE, &value);
        prop_assert_eq!(sealed.len(), value.len() + 40);
        prop_assert_eq!(&**keys().open(PLACE, &sealed).unwrap(), &value);
    }
}

#[test]
fn a_value_moved_to_another_table_column_or_row_does_not_open() {
    let sealed = keys().seal(&mut Seeded::new(2), PLACE, b"secret");
    for place in [
        Place { table: "inbox", ..PLACE },
        Place { column: "meta", ..PLACE },
        Place { row: b"m-2", ..PLACE },
        Place { row: b"", ..PLACE },
        // The same letters, cut elsewhere.
        Place { table: "outboxb", column: "ody", ..PLACE },
        Place { column: "bodym", row: b"-1", ..PLACE },
    ] {
        assert_eq!(keys().open(place, &sealed).err(), Some(Error::DoesNotOpen), "{place:?}");
    }
    let other = StorageKey::from_bytes(&[2; 32]).keys();
    assert_eq!(other.open(PLACE, &sealed).err(), Some(Error::DoesNotOpen));
}

#[test]
fn no_changed_bit_and_no_other_length_of_a_value_opens() {
    let sealed = keys().seal(&mut Seeded::new(2), PLACE, b"secret");
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys().open(PLACE, &changed).err(), Some(Error::DoesNotOpen), "bit {bit}");
    }
    for cut in 0..sealed.len() {
        assert_eq!(keys().open(PLACE, &sealed[..cut]).err(), Some(Error::DoesNotOpen), "{cut}");
    }
    assert_eq!(keys().open(PLACE, &[&sealed[..], &[0]].concat()).err(), Some(Error::DoesNotOpen));
}

#[test]
fn a_value_sealed_twice_looks_different() {
    let mut rng = Seeded::new(2);
    let [one, two] = [(); 2].map(|()| keys().seal(&mut rng, PLACE, b"secret"));
    assert!(one[..24] != two[..24] && one[24..] != two[24..]);
}

fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn child(label: &[u8]) -> [u8; 32] {
    let mut child = [0; 32];
    Hkdf::<Sha256>::new(None, &[1; 32]).expand(label, &mut child).unwrap();
    child
}

/// A label and an empty field, then each field, all with 4 bytes of length before them.
fn fields(label: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut out = [label, &[0; 4]].concat();
    for field in fields {
        out.extend((field.len() as u32).to_be_bytes());
        out.extend(*field);
    }
    out
}

#[test]
fn each_code_has_a_key_of_its_own_derived_from_the_storage_key() {
    let (fp, node) = (Fingerprint::from_bytes([3; 32]), NodeId::from_bytes([4; 16]));
    let wire = hmac(&child(b"waxwing wire id v1"), b"m-1");
    assert_eq!(keys().wire_id(&id("m-1")).as_bytes(), &wire[..16]);

    let shown = fields(b"waxwing broker fingerprint v1", &[b"m-1", fp.as_bytes()]);
    let shown = hmac(&child(b"waxwing fingerprint v1"), &shown);
    assert_eq!(keys().broker_fingerprint(&id("m-1"), &fp).as_bytes(), &shown);

    let secret = fields(b"waxwing receipt secret v1", &[node.as_bytes(), b"m-1", fp.as_bytes()]);
    let secret = &hmac(&child(b"waxwing receipt v1"), &secret)[..16];
    let secret = waxwing_crypto::sealing::ReceiptSecret::from_bytes(secret.try_into().unwrap());
    assert_eq!(keys().receipt_secret(&node, &id("m-1"), &fp), secret);
}

#[test]
fn a_wire_id_begins_with_the_time_that_its_message_id_says_and_differs_within_it() {
    let wire = |text: &str| *keys().wire_id(&id(text)).as_bytes();
    let (one, two) = (wire("01ARZ3NDEKTSV4RRFFQ69G5FAV"), wire("01ARZ3NDEKTSV4RRFFQ69G5FAW"));
    let code = hmac(&child(b"waxwing wire id v1"), b"01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(one[..6], 1_469_922_850_259_u64.to_be_bytes()[2..]);
    assert_eq!(one[6..], code[..10], "nothing else of it is there");
    assert_eq!(one[..6], two[..6]);
    assert_ne!(one, two);
    assert_eq!(wire("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")[..6], [0x01, 0x7F, 0x22, 0xE2, 0x79, 0xB0]);
}

#[test]
fn equal_messages_have_different_fingerprints_at_the_broker() {
    let fp = keys().fingerprint(&request());
    let shown = ["m-1", "m-2"].map(|name| keys().broker_fingerprint(&id(name), &fp));
    assert_ne!(shown[0], shown[1]);
    assert!(shown[0] != fp, "and never the node's own");
    assert_ne!(keys().wire_id(&id("m-1")), keys().wire_id(&id("m-2")));
    assert_ne!(keys().wire_id(&id("m-1")), StorageKey::from_bytes(&[2; 32]).keys().wire_id(&id("m-1")));
}

fn request() -> Request<'static> {
    Request {
        kind: "message",
        from_app: None,
        to: NodeId::from_bytes([5; 16]),
        to_app: None,
        reply_to: None,
        thread: None,
        priority: Priority::Next,
        content_type: "text/plain",
        meta: b"",
        body: b"hello",
    }
}

#[test]
fn the_fingerprint_is_what_the_documentation_says() {
    let (absent, sub) = ([0], Sha256::digest(b"hello"));
    let input = fields(
        b"waxwing request fingerprint v1",
        &[
            &1_u64.to_be_bytes(),
            b"message",
            &absent,
            &[5; 16],
            &absent,
            &absent,
            &absent,
            &1_u64.to_be_bytes(),
            b"text/plain",
            b"",
            &sub,
        ],
    );
    let expected = hmac(&child(b"waxwing fingerprint v1"), &input);
    assert_eq!(keys().fingerprint(&request()).as_bytes(), &expected);
}

#[test]
fn whatever_a_recipient_would_see_differently_has_another_fingerprint() {
    let app: Name = "a".parse().unwrap();
    let (reply, request) = (id("a"), request());
    let variants = [
        request,
        Request { kind: "read", ..request },
        Request { from_app: Some(&app), ..request },
        Request { to: NodeId::from_bytes([6; 16]), ..request },
        Request { to_app: Some(&app), ..request },
        Request { reply_to: Some(&reply), ..request },
        Request { thread: Some("a"), ..request },
        Request { thread: Some(""), ..request },
        Request { priority: Priority::Now, ..request },
        Request { priority: Priority::Low, ..request },
        Request { content_type: "text/plain ", ..request },
        Request { content_type: "text/plai", meta: b"n", ..request },
        Request { meta: b"{}", ..request },
        Request { body: b"hello ", ..request },
        Request { body: b"", ..request },
    ];
    for (i, one) in variants.iter().enumerate() {
        for (j, other) in variants.iter().enumerate() {
            assert_eq!(keys().fingerprint(one) == keys().fingerprint(other), i == j, "{i} {j}");
        }
    }
    let elsewhere = StorageKey::from_bytes(&[2; 32]).keys();
    assert_ne!(elsewhere.fingerprint(&request), keys().fingerprint(&request), "keyed");
}

#[test]
fn metadata_has_one_form_whatever_its_order_and_spelling() {
    let one = canonical_json(&serde_json::from_str(r#"{ "b": 1.0, "a": "\u00e9" }"#).unwrap()).unwrap();
    let two = canonical_json(&serde_json::from_str(r#"{"a":"é","b":1}"#).unwrap()).unwrap();
    assert_eq!(one, two);
    assert_eq!(one, r#"{"a":"é","b":1}"#.as_bytes());
    // RFC 8785, 3.2.2 and 3.2.3: numbers as in ECMAScript, keys in the order of their UTF-16 units.
    let value = json!({ "numbers": [1e30, 4.5, 2e-3, 1e-27], "\u{fb33}": 1, "\u{1f600}": 2, "1": 3 });
    let expected = "{\"1\":3,\"numbers\":[1e+30,4.5,0.002,1e-27],\"\u{1f600}\":2,\"\u{fb33}\":1}";
    assert_eq!(canonical_json(&value).unwrap(), expected.as_bytes());
}
