//! What an envelope hides, binds and refuses.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use waxwing_crypto::sealing::{CounterRange, Envelope, Header, Plaintext, ReceiptSecret};
use waxwing_crypto::{ClientMessageId, Error, MeshId, Name, NodeId, Priority, Timestamp, WireId};

use super::actors::{NOW, Pair, plaintext};
use super::support::Seeded;

static PAIR: LazyLock<Pair> = LazyLock::new(Pair::new);

const DOES_NOT_OPEN: Option<Error> = Some(Error::DoesNotOpen);

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9-]{0,62}".prop_map(|text| text.parse().unwrap())
}

fn message_id() -> impl Strategy<Value = ClientMessageId> {
    "[A-Za-z0-9._:-]{1,128}".prop_map(|text| text.parse().unwrap())
}

fn counters() -> impl Strategy<Value = (u64, Vec<CounterRange>)> {
    (2..=u64::MAX).prop_flat_map(|counter| {
        let range = (1..counter).prop_flat_map(move |first| (Just(first), first..counter));
        let range = range.prop_map(|(first, last)| CounterRange::new(first, last).unwrap());
        (Just(counter), proptest::collection::vec(range, 0..=64))
    })
}

fn any_plaintext() -> impl Strategy<Value = Plaintext> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from);
    let names = (proptest::option::of(name()), proptest::option::of(name()));
    let thread = (proptest::option::of(message_id()), proptest::option::of("\\PC{0,40}"));
    let text = ("[ -~]{0,255}", bytes(5_000), bytes(500), any::<u64>());
    (message_id(), counters(), any::<[u8; 16]>(), names, thread, text).prop_map(
        |(id, (counter, void), secret, (from_app, to_app), (reply_to, thread), text)| {
            let (content_type, body, meta, sent_at) = text;
            let receipt_secret = ReceiptSecret::from_bytes(secret);
            let sent_at = Timestamp::from_millis(sent_at);
            let rest = plaintext(b"");
            let ids = Plaintext { id, counter, void, receipt_secret, from_app, to_app, ..rest };
            Plaintext { content_type, body, meta, reply_to, thread, sent_at, ..ids }
        },
    )
}

fn any_header() -> impl Strategy<Value = Header> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>());
    (ids, 0_u8..3, any::<u64>()).prop_map(|((mesh, from, to, id), priority, expires)| Header {
        mesh: MeshId::from_bytes(mesh),
        from: NodeId::from_bytes(from),
        to: NodeId::from_bytes(to),
        id: WireId::from_bytes(id),
        priority: Priority::try_from(priority).unwrap(),
        expires: Timestamp::from_millis(expires),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens_and_nothing_is_lost(plaintext in any_plaintext(), header in any_header(), seed: u8) {
        let (mut session, _, received) = PAIR.session(seed);
        let envelope = session.seal(&mut Seeded::new(seed), &header, &plaintext, NOW, seed % 2 == 0).unwrap();
        let travelled = Envelope::decode(&envelope.encode().unwrap()).unwrap();
        prop_assert_eq!(&travelled, &envelope);
        prop_assert_eq!(received.open(&header, &travelled).unwrap(), plaintext);
    }

    #[test]
    fn no_bytes_are_taken_for_an_envelope_that_opens(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(PAIR.receive(&PAIR.header(1), &bytes), None);
    }
}

/// The opening and all: a message from a sender never heard of before.
fn first_envelope() -> (Header, Envelope) {
    let (mut session, ..) = PAIR.session(4);
    let header = PAIR.header(1);
    let envelope = session.seal(&mut Seeded::new(5), &header, &plaintext(b"attack at dawn"), NOW, true);
    (header, envelope.unwrap())
}

#[test]
fn no_single_flipped_bit_of_an_envelope_goes_unnoticed() {
    let (header, envelope) = first_envelope();
    let bytes = envelope.encode().unwrap();
    assert_eq!(PAIR.receive(&header, &bytes), Some(plaintext(b"attack at dawn")));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(PAIR.receive(&header, &changed), None, "bit {bit}");
    }
}

/// Where the session is known, the opening is not looked at; every other bit counts.
#[test]
fn no_single_flipped_bit_of_a_later_envelope_goes_unnoticed() {
    let (mut session, _, received) = PAIR.session(4);
    let header = PAIR.header(1);
    let envelope = session.seal(&mut Seeded::new(5), &header, &plaintext(b"x"), NOW, false).unwrap();
    let bytes = envelope.encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = Envelope::decode(&changed).and_then(|envelope| received.open(&header, &envelope));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn truncated_and_extended_envelopes_and_boxes_fail() {
    let (header, envelope) = first_envelope();
    let bytes = envelope.encode().unwrap();
    for cut in 0..bytes.len() {
        assert_eq!(Envelope::decode(&bytes[..cut]).err(), Some(Error::Malformed("envelope")), "{cut}");
    }
    for more in [&[0][..], &[0xc0], &bytes] {
        assert!(Envelope::decode(&[&bytes, more].concat()).is_err());
    }
    let received = PAIR.session(4).2;
    let open = |sealed: &[u8]| {
        let envelope = Envelope { sealed: Bytes::copy_from_slice(sealed), ..envelope.clone() };
        received.open(&header, &envelope).err()
    };
    for cut in 0..envelope.sealed.len() {
        assert_eq!(open(&envelope.sealed[..cut]), DOES_NOT_OPEN, "{cut}");
    }
    for more in [&[0][..], &[0; 16]] {
        assert_eq!(open(&[&envelope.sealed, more].concat()), DOES_NOT_OPEN);
        assert_eq!(open(&[more, &envelope.sealed].concat()), DOES_NOT_OPEN);
    }
}

#[test]
fn every_field_that_the_broker_sees_is_bound() {
    let (header, envelope) = first_envelope();
    let received = PAIR.session(4).2;
    assert!(received.open(&header, &envelope).is_ok());
    for changed in [
        Header { mesh: MeshId::from_bytes([0; 16]), ..header },
        Header { from: header.to, ..header },
        Header { to: header.from, ..header },
        Header { from: header.to, to: header.from, ..header },
        Header { id: WireId::from_bytes([2; 16]), ..header },
        Header { priority: Priority::Now, ..header },
        Header { priority: Priority::Low, ..header },
        Header { expires: Timestamp::from_millis(header.expires.as_millis() + 1), ..header },
        Header { expires: Timestamp::from_millis(0), ..header },
    ] {
        assert_eq!(received.open(&changed, &envelope).err(), DOES_NOT_OPEN, "{changed:?}");
    }
}

#[test]
fn huge_declared_lengths_cost_nothing() {
    let session = [&[0xa1, b's', 0xc4, 16][..], &[0; 16]].concat();
    for bomb in [
        &[0xc6, 0xff, 0xff, 0xff, 0xff][..],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xc9, 0xff, 0xff, 0xff, 0xff, 0],
    ] {
        for field in [&b"\xa1b"[..], b"\xa1n", b"\xa1o", b"\xa1x"] {
            let bytes = [&[0x82][..], &session, field, bomb, &[1; 64]].concat();
            assert!(Envelope::decode(&bytes).is_err(), "{field:?} {bomb:?}");
        }
        assert!(Envelope::decode(bomb).is_err());
    }
    let deep = [&[0x81, 0xa1, b'x'][..], &vec![0x91; 300 * 1024]].concat();
    assert!(Envelope::decode(&deep).is_err());
}

/// As after a snapshot: the source says the same for every message.
#[test]
fn a_repeating_random_source_never_uses_a_nonce_for_two_texts() {
    let (mut session, ..) = PAIR.session(4);
    let mut nonces = HashSet::new();
    for n in 0..200_u8 {
        let texts = [plaintext(&[n]), Plaintext { counter: 2, ..plaintext(&[n]) }];
        for text in texts {
            let envelope = session.seal(&mut Seeded::new(5), &PAIR.header(1), &text, NOW, false).unwrap();
            assert!(nonces.insert(envelope.nonce), "{n}");
        }
        let header = PAIR.header(2 + n % 100);
        let elsewhere = session.seal(&mut Seeded::new(5), &header, &plaintext(&[n]), NOW, false).unwrap();
        assert!(nonces.insert(elsewhere.nonce), "the header goes in too");
    }
}

#[test]
fn equal_messages_look_different() {
    let (mut session, ..) = PAIR.session(4);
    let mut rng = Seeded::new(5);
    let mut seal = || session.seal(&mut rng, &PAIR.header(1), &plaintext(&[7; 100]), NOW, false).unwrap();
    let (one, two) = (seal(), seal());
    assert!(one.nonce != two.nonce && one.sealed != two.sealed);
}

#[test]
fn sizes_fall_into_few_classes_that_cost_12_percent_at_most() {
    let (mut session, ..) = PAIR.session(4);
    let mut size = |body: usize| {
        let text = plaintext(&vec![7; body]);
        session.seal(&mut Seeded::new(5), &PAIR.header(1), &text, NOW, false).unwrap().sealed.len()
    };
    let sizes: Vec<_> = (0..4_096).map(&mut size).collect();
    assert!(sizes.is_sorted());
    let classes: HashSet<_> = sizes.iter().collect();
    assert!(classes.len() < 90, "{} classes for 4,096 lengths", classes.len());
    let bare = sizes[0];
    for (body, size) in sizes.iter().enumerate() {
        assert!((*size as f64) <= (bare + body) as f64 * 1.12 + 16.0, "{body} -> {size}");
    }
    assert!(size(262_144) < 262_144 * 112 / 100 + 400);
}

#[test]
fn an_envelope_of_the_largest_message_is_below_what_a_broker_takes() {
    let (mut session, ..) = PAIR.session(4);
    let range = CounterRange::new(u64::MAX - 2, u64::MAX - 1).unwrap();
    let longest = "x".repeat(128);
    let text = Plaintext {
        id: longest.parse().unwrap(),
        counter: u64::MAX,
        void: vec![range; 64],
        from_app: Some("a".repeat(63).parse().unwrap()),
        to_app: Some("b".repeat(63).parse().unwrap()),
        content_type: "c".repeat(255),
        meta: vec![b'm'; 16 * 1024].into(),
        reply_to: Some(longest.parse().unwrap()),
        thread: Some(longest),
        ..plaintext(&vec![0xff; 256 * 1024])
    };
    let envelope = session.seal(&mut Seeded::new(5), &PAIR.header(1), &text, NOW, true).unwrap();
    let size = envelope.encode().unwrap().len();
    assert!(size <= 320 * 1024, "{size}");
}
