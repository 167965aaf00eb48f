//! Frames from outside: told apart if unknown, refused if damaged, never a panic, never more memory than they have bytes.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

mod examples;

use std::collections::BTreeSet;
use std::fmt::Debug;

use examples::variants;
use proptest::prelude::*;
use waxwing_crypto::sealing::{Nack, Prekey};
use waxwing_crypto::{Purpose, Signed};
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    DecodeError, Deliver, Delivery, Frame, Hello, Notice, NoticeKind, PeerPrekey, Prekeys, Send, Settle,
    Settlement, ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, decode, encode,
};

/// What the bytes become, with the frame's type out of the way.
type Decode = fn(&[u8]) -> Result<(), DecodeError>;

fn decodes<F: Frame>(bytes: &[u8]) -> Result<(), DecodeError> {
    decode::<F>(bytes).map(|_| ())
}

/// Each example of each direction, encoded, with its decoder.
fn encoded() -> Vec<(&'static str, Vec<u8>, Decode)> {
    fn of<F: Frame>(
        examples: Vec<(&'static str, F)>,
    ) -> impl Iterator<Item = (&'static str, Vec<u8>, Decode)> {
        examples
            .into_iter()
            .map(|(name, frame)| (name, encode(&frame).unwrap().to_vec(), decodes::<F> as Decode))
    }
    of(examples::to_node_login())
        .chain(of(examples::to_broker_login()))
        .chain(of(examples::to_broker()))
        .chain(of(examples::to_node()))
        .collect()
}

/// Each direction's decoder with its names.
const DIRECTIONS: [(Decode, &[&str]); 4] = [
    (decodes::<ToNodeLogin>, ToNodeLogin::NAMES),
    (decodes::<ToBrokerLogin>, ToBrokerLogin::NAMES),
    (decodes::<ToBroker>, ToBroker::NAMES),
    (decodes::<ToNode>, ToNode::NAMES),
];

/// Bytes of `{name: body}`.
fn named(name: &str, body: &[u8]) -> Vec<u8> {
    [&[0x81, 0xd9, name.len() as u8], name.as_bytes(), body].concat()
}

fn is_bad(result: &Result<(), DecodeError>) -> bool {
    matches!(result, Err(DecodeError::BadFrame(_)))
}

#[test]
fn every_frame_there_is_has_its_name_in_the_list_and_an_example() {
    fn check<F: Frame + Debug>(examples: &[(&str, F)]) {
        let listed: BTreeSet<_> = F::NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed.len(), F::NAMES.len(), "no name twice");
        assert_eq!(variants::<F>(), listed, "NAMES is what serde knows");
        let first_key = |frame: &F| {
            let bytes = encode(frame).unwrap();
            let length = usize::from(bytes[1] & 0x1f);
            String::from_utf8(bytes[2..2 + length].to_vec()).unwrap()
        };
        let shown: BTreeSet<_> = examples.iter().map(|(_, frame)| first_key(frame)).collect();
        assert_eq!(shown, listed, "every frame has an example");
    }
    check(&examples::to_node_login());
    check(&examples::to_broker_login());
    check(&examples::to_broker());
    check(&examples::to_node());
}

#[test]
fn every_frame_survives_its_bytes() {
    for (name, bytes, decode) in encoded() {
        assert_eq!(decode(&bytes), Ok(()), "{name}");
    }
}

#[test]
fn an_unknown_name_is_told_from_damage() {
    for (decode, names) in DIRECTIONS {
        for name in ["sennd", "", "Send", "send ", "space.put", "ü"] {
            assert_eq!(
                decode(&named(name, &[0x80])),
                Err(DecodeError::Unsupported(name.to_owned())),
                "{name}"
            );
            // Whatever comes behind it, even if it is cut off: it is not ours to judge.
            assert_eq!(decode(&named(name, &[])), Err(DecodeError::Unsupported(name.to_owned())), "{name}");
        }
        for (_, others) in DIRECTIONS {
            for name in others.iter().filter(|name| !names.contains(name)) {
                assert_eq!(decode(&named(name, &[0x80])), Err(DecodeError::Unsupported((*name).to_owned())));
            }
        }
        let long = "x".repeat(200);
        assert_eq!(decode(&named(&long, &[0x80])), Err(DecodeError::Unsupported("x".repeat(64))));
    }
}

#[test]
fn what_is_no_map_of_one_name_is_a_bad_frame() {
    let send = encode(&examples::to_broker()[0].1).unwrap();
    let body = &send[6..];
    for bytes in [
        b"".to_vec(),
        b"\x80".to_vec(),
        b"\x81".to_vec(),
        b"\xc0".to_vec(),
        b"\x91\xa4send".to_vec(),
        b"\xa4send".to_vec(),
        [b"\x82\xa4send", body, b"\xa4sent\x80"].concat(),
        [b"\x82\xa4send", body].concat(),
        [b"\xde\x00\x01\xa4send", body].concat(),
        [b"\xdf\x00\x00\x00\x01\xa4send", body].concat(),
        [b"\x81\xc4\x04send", body].concat(),
        [b"\x81\xda\x00\x04send", body].concat(),
        [b"\x81\x01", body].concat(),
        b"\x81\xa4sen".to_vec(),
        b"\x81\xd9\xffsend".to_vec(),
        b"\x81\xa2\xff\xfe\x80".to_vec(),
        send[1..].to_vec(),
        b"{\"send\":{}}".to_vec(),
    ] {
        assert!(is_bad(&decodes::<ToBroker>(&bytes)), "{bytes:x?}");
    }
}

#[test]
fn a_body_of_another_form_is_a_bad_frame() {
    for (decode, names) in DIRECTIONS {
        for name in names {
            for body in [
                &b""[..],
                b"\xc0",
                b"\xc3",
                b"\x05",
                b"\xa1x",
                b"\x80",
                b"\x90",
                b"\x81\xa3req\xa1x",
                b"\xc1",
            ] {
                assert!(is_bad(&decode(&named(name, body))), "{name} {body:x?}");
            }
        }
    }
}

#[test]
fn a_frame_cut_anywhere_or_with_a_byte_behind_it_is_a_bad_frame() {
    for (name, bytes, decode) in encoded() {
        for cut in 0..bytes.len() {
            assert!(is_bad(&decode(&bytes[..cut])), "{name} cut at {cut}");
        }
        for more in [&[0xc0][..], &[0x00], &bytes] {
            assert!(is_bad(&decode(&[&bytes, more].concat())), "{name} and more");
        }
    }
}

#[test]
fn unknown_fields_are_ignored() {
    for (name, bytes, decode) in encoded() {
        let body = 2 + usize::from(bytes[1] & 0x1f);
        assert_eq!(bytes[body] & 0xf0, 0x80, "{name} has a map of a few fields");
        let (head, fields) = (&bytes[..body], &bytes[body + 1..]);
        for extra in
            [&b"\xa2zz\xc0"[..], b"\xa2zz\x82\x01\x91\xc3\xa1a\xcb\0\0\0\0\0\0\0\0", b"\xa2zz\xc4\x03abc"]
        {
            let more = [head, &[bytes[body] + 1], extra, fields].concat();
            assert_eq!(decode(&more), Ok(()), "{name}");
        }
    }
    // And deeper down: in an item of a delivery and of a `settle`.
    let notice = b"\x81\xa7deliver\x82\xa5items\x91\x81\xa6notice\x84\xa1n\x01\xa2id\xc4\x10";
    let bytes = [&notice[..], &[7; 16], b"\xa4kind\xa7expired\xa2zz\xc0\xa4tail\xc3"].concat();
    assert_eq!(decodes::<ToNode>(&bytes), Ok(()));
}

#[test]
fn a_field_twice_is_a_bad_frame() {
    assert!(is_bad(&decodes::<ToNode>(b"\x81\xa4done\x82\xa3req\x01\xa3req\x01")));
    assert!(decodes::<ToNode>(b"\x81\xa4done\x81\xa3req\x01").is_ok());
}

#[test]
fn numbers_out_of_range_are_a_bad_frame() {
    for number in [&b"\xff"[..], b"\xd0\x80", b"\xca\x3f\x80\0\0", b"\xcb\x3f\xf0\0\0\0\0\0\0"] {
        assert!(is_bad(&decodes::<ToNode>(&[b"\x81\xa4done\x81\xa3req", number].concat())), "{number:x?}");
    }
    let send = encode(&examples::to_broker()[0].1).unwrap().to_vec();
    let priority = send.windows(4).position(|window| window == b"\xa3pri").unwrap() + 4;
    for number in [3, 127] {
        let mut changed = send.clone();
        changed[priority] = number;
        assert!(is_bad(&decodes::<ToBroker>(&changed)), "priority {number}");
    }
}

/// Arrays, maps, strings and byte strings that say they are far longer than the frame.
const BOMBS: [&[u8]; 6] = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x00",
    b"\xdc\xff\xff",
];

#[test]
fn huge_declared_lengths_are_refused_at_once() {
    for (decode, names) in DIRECTIONS {
        for name in names {
            for bomb in BOMBS {
                assert!(is_bad(&decode(&named(name, bomb))), "{name}");
                for field in
                    ["items", "outcomes", "nodes", "entries", "prekeys", "detail", "nonce", "b", "zz"]
                {
                    let body =
                        [&[0x82, 0xa3][..], b"req\x01", &[0xa0 + field.len() as u8], field.as_bytes(), bomb];
                    let padded = [&body.concat()[..], &[0x01; 100]].concat();
                    assert!(is_bad(&decode(&named(name, &padded))), "{name} {field}");
                }
            }
        }
    }
}

#[test]
fn nesting_is_bounded() {
    for (decode, names) in DIRECTIONS {
        for name in names {
            for nest in [&b"\x91"[..], b"\x81\x01", b"\x81\xa1a", b"\xdd\x00\x00\x00\x01"] {
                for depth in [64, 5_000, 200_000] {
                    let bomb = nest.repeat(depth);
                    assert!(is_bad(&decode(&named(name, &bomb))), "{name}");
                    let field = [b"\x81\xa2zz", &bomb[..]].concat();
                    assert!(is_bad(&decode(&named(name, &field))), "{name}");
                }
            }
        }
    }
}

#[test]
fn more_than_a_frame_may_have_is_too_large_both_ways() {
    for (decode, names) in DIRECTIONS {
        for name in names {
            assert_eq!(
                decode(&named(name, &vec![0xc0; limits::FRAME])),
                Err(DecodeError::TooLarge),
                "{name}"
            );
        }
    }
    let mut frame = send_of(1, limits::FRAME - 200);
    let size = encode(&frame).unwrap().len();
    assert!(size <= limits::FRAME);
    let ToBroker::Send(send) = &mut frame else { unreachable!() };
    send.items[0].env = vec![1; limits::FRAME - 200 + limits::FRAME - size].into();
    assert_eq!(encode(&frame).unwrap().len(), limits::FRAME, "exactly");
    assert_eq!(decodes::<ToBroker>(&encode(&frame).unwrap()), Ok(()));
    let ToBroker::Send(send) = &mut frame else { unreachable!() };
    send.items[0].env = vec![1; send.items[0].env.len() + 1].into();
    assert_eq!(encode(&frame), Err(DecodeError::TooLarge));
}

/// As many items, with as many bytes of envelopes in all.
fn send_of(items: usize, bytes: usize) -> ToBroker {
    let Some((_, ToBroker::Send(send))) = examples::to_broker().into_iter().next() else { unreachable!() };
    let mut item = send.items[0].clone();
    (item.seal, item.env) = (u32::MAX, vec![1; bytes / items].into());
    ToBroker::Send(Send { req: u64::MAX, rows: u64::MAX, items: vec![item; items] })
}

#[test]
fn the_fullest_frames_that_the_limits_allow_fit() {
    let fits = |size: usize| assert!(size <= limits::FRAME, "{size}");
    for items in [2, limits::WINDOW_ITEMS] {
        fits(encode(&send_of(items, limits::FRAME_ENVELOPES)).unwrap().len());
    }
    let signed = |purpose, size| Signed::new(&examples::key(), purpose, vec![1; size]);
    let nack = signed(Purpose::Nack, Nack::MAX);
    let settle =
        Settle { through: u64::MAX, items: vec![Settlement::Nack(nack.clone()); limits::WINDOW_ITEMS] };
    fits(encode(&ToBroker::Settle(settle)).unwrap().len());
    let id = waxwing_crypto::WireId::from_bytes([1; 16]);
    let notice = Delivery::Notice(Notice { n: u64::MAX, id, kind: NoticeKind::Nack { nack } });
    let deliver = Deliver { items: vec![notice; limits::WINDOW_ITEMS], tail: true };
    fits(encode(&ToNode::Deliver(deliver)).unwrap().len());
    let node = waxwing_crypto::NodeId::from_bytes([1; 16]);
    let prekey = PeerPrekey { node, prekey: Some(signed(Purpose::Prekey, Prekey::MAX)) };
    let prekeys = Prekeys { req: u64::MAX, prekeys: vec![prekey; limits::PREKEY_PAGE] };
    fits(encode(&ToNode::Prekeys(prekeys)).unwrap().len());
}

#[test]
fn a_hello_is_exactly_one_value() {
    let ToBrokerLogin::Hello(signed) = examples::to_broker_login().swap_remove(0).1 else { panic!() };
    for cut in 0..signed.bytes.len() {
        let cut = Signed { bytes: signed.bytes.slice(..cut), ..signed.clone() };
        assert_eq!(Hello::peek(&cut), Err(DecodeError::BadFrame("hello")));
    }
    let more = Signed { bytes: [&signed.bytes[..], &[0xc0]].concat().into(), ..signed };
    assert_eq!(Hello::peek(&more), Err(DecodeError::BadFrame("hello")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), pick: prop::sample::Index) {
        for (decode, names) in DIRECTIONS {
            let _ = decode(&bytes);
            let _ = decode(&named(names[pick.index(names.len())], &bytes));
        }
    }

    #[test]
    fn no_changed_byte_makes_a_panic(pick: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        let encoded = encoded();
        let (_, bytes, decode) = &encoded[pick.index(encoded.len())];
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = byte;
        let _ = decode(&changed);
    }
}
