use waxwing_protocol::limits;
use waxwing_protocol::link::Reason;

use crate::harness::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, Farewell, PING, PONG, Raw, TEXT, frame, frame_of,
};
use crate::harness::{Broker, Mesh};

/// What must follow.
#[derive(Clone)]
enum Then {
    /// The link goes on: it can log in, or get an answer.
    GoesOn,
    /// A pong with this payload, and the link goes on.
    Pong(&'static [u8]),
    /// The broker says why, and closes.
    Told(Reason),
    /// The broker answers the close with this payload, and closes.
    Closed(&'static [u8]),
}

use Then::{Closed, GoesOn, Pong, Told};

const VIOLATION: Then = Told(Reason::ProtocolViolation);
const TOO_LARGE: Then = Told(Reason::FrameTooLarge);
/// A frame of a later version: the broker answers `unsupported`, and the link goes on. Before login it is a violation.
const FRAME: &[u8] = b"\x81\xa5later\x80";

/// A normal close, with as much of a reason as a control frame has room for.
static LONGEST: [u8; 125] = {
    let mut payload = [b'r'; 125];
    payload[0] = 0x03;
    payload[1] = 0xe8;
    payload
};

/// What it is, the bytes, and what must follow.
type Row = (&'static str, Vec<u8>, Then);

/// What is the same before and after login.
#[rustfmt::skip]
fn always() -> Vec<Row> {
    let long = [7; 126];
    vec![
        // 5.1: a client masks every frame.
        ("a data frame without a mask", b"\x82\x01x".to_vec(), VIOLATION),
        ("a ping without a mask", b"\x89\x00".to_vec(), VIOLATION),
        // 5.2: bits and opcodes that nobody has given a meaning. The first of the bits is compression.
        ("bit 1, compression", frame(BINARY | 0x40, b"x"), VIOLATION),
        ("bit 2", frame(BINARY | 0x20, b"x"), VIOLATION),
        ("bit 3", frame(BINARY | 0x10, b"x"), VIOLATION),
        ("a compressed ping", frame(PING | 0x40, b""), VIOLATION),
        ("a close with bit 2", frame(CLOSE | 0x20, b""), VIOLATION),
        ("bit 1 on the second fragment", [frame(BINARY - FIN, b"x"), frame(CONTINUATION | 0x40, b"y")].concat(), VIOLATION),
        ("opcode 3", frame(0x83, b"x"), VIOLATION),
        ("opcode 3, to go on", frame(0x03, b"x"), VIOLATION),
        ("opcode 7", frame(0x87, b"x"), VIOLATION),
        ("opcode 11", frame(0x8b, b""), VIOLATION),
        ("opcode 12", frame(0x8c, b""), VIOLATION),
        ("opcode 15", frame(0x8f, b""), VIOLATION),
        // 5.2: lengths. Another than the shortest form is forbidden to senders; nothing depends on it, and it is read.
        ("a ping with its length in 16 bits", frame_of(PING, 126, 2, b"hi"), Pong(b"hi")),
        ("a ping with its length in 64 bits", frame_of(PING, 127, 2, b"hi"), Pong(b"hi")),
        ("a length of 64 bits, all set", frame_of(BINARY, 127, u64::MAX, b""), TOO_LARGE),
        ("a length with the highest bit set", frame_of(BINARY, 127, 1 << 63, b""), TOO_LARGE),
        ("a length just above the limit", frame_of(BINARY, 127, limits::FRAME as u64 + 1, b""), TOO_LARGE),
        ("a ping with a length of 64 bits", frame_of(PING, 127, u64::MAX, b""), TOO_LARGE),
        // 5.4: fragments.
        ("a continuation of nothing", frame(CONTINUATION, b"x"), VIOLATION),
        ("a continuation of nothing, to go on", frame(CONTINUATION - FIN, b"x"), VIOLATION),
        ("a message inside another", [frame(BINARY - FIN, b"x"), frame(BINARY, b"y")].concat(), VIOLATION),
        ("a text inside a message", [frame(BINARY - FIN, b"x"), frame(TEXT, b"y")].concat(), VIOLATION),
        ("a ping between fragments",
            [frame(BINARY - FIN, b"\x81"), frame(PING, b"in"), frame(CONTINUATION - FIN, &FRAME[1..])].concat(), Pong(b"in")),
        ("a close between fragments", [frame(BINARY - FIN, b"x"), frame(CLOSE, b"")].concat(), Closed(b"")),
        // 5.5: control frames are short, and whole.
        ("a ping in fragments", frame(PING - FIN, b"x"), VIOLATION),
        ("a close in fragments", frame(CLOSE - FIN, b""), VIOLATION),
        ("a ping of 126 bytes", frame(PING, &long), VIOLATION),
        ("a pong of 126 bytes", frame(PONG, &long), VIOLATION),
        ("a close of 126 bytes", frame(CLOSE, &long), VIOLATION),
        ("a ping of 125 bytes", frame(PING, &long[1..]), Pong(&[7; 125])),
        ("an empty ping", frame(PING, b""), Pong(b"")),
        ("a ping that is no text", frame(PING, b"\xff\x00\xfe"), Pong(b"\xff\x00\xfe")),
        ("three pings at once: the last is answered", [frame(PING, b"1"), frame(PING, b"2"), frame(PING, b"3")].concat(), Pong(b"3")),
        ("a pong nobody asked for", frame(PONG, b"hello"), GoesOn),
        // 5.5.1, 7.4: closing.
        ("a close", frame(CLOSE, b""), Closed(b"")),
        ("a close, and more behind it", [frame(CLOSE, b""), frame(BINARY, FRAME)].concat(), Closed(b"")),
        ("a close with a code", frame(CLOSE, b"\x03\xe8"), Closed(b"\x03\xe8")),
        ("a close with code and reason", frame(CLOSE, b"\x03\xe9bye"), Closed(b"\x03\xe9bye")),
        ("a close with an application's code", frame(CLOSE, b"\x13\x87"), Closed(b"\x13\x87")),
        ("a close with a library's code", frame(CLOSE, b"\x0b\xb8"), Closed(b"\x0b\xb8")),
        ("a close with the longest reason", frame(CLOSE, &LONGEST), Closed(&LONGEST)),
        ("a close with half a code", frame(CLOSE, b"\x03"), VIOLATION),
        ("a close whose reason is no UTF-8", frame(CLOSE, b"\x03\xe8\xff\xfe"), VIOLATION),
        ("a close with code 0", frame(CLOSE, b"\x00\x00"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 999", frame(CLOSE, b"\x03\xe7"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 1004, which has no meaning", frame(CLOSE, b"\x03\xec"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 1005, which is never sent", frame(CLOSE, b"\x03\xed"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 1006, which is never sent", frame(CLOSE, b"\x03\xee"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 1015, which is never sent", frame(CLOSE, b"\x03\xf7"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 1016, which is nobody's", frame(CLOSE, b"\x03\xf8"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 2999, which is nobody's", frame(CLOSE, b"\x0b\xb7"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 5000", frame(CLOSE, b"\x13\x88"), Closed(b"\x03\xeaProtocol violation")),
        ("a close with code 65535", frame(CLOSE, b"\xff\xff"), Closed(b"\x03\xeaProtocol violation")),
        // 5.6, 8.1: a link is binary.
        ("a text", frame(TEXT, b"hello"), VIOLATION),
        ("an empty text", frame(TEXT, b""), VIOLATION),
        ("a text that is no UTF-8", frame(TEXT, b"\xff\xfe"), VIOLATION),
        ("a text in fragments", [frame(TEXT - FIN, b"hel"), frame(CONTINUATION, b"lo")].concat(), VIOLATION),
        // What is no WebSocket at all.
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), VIOLATION),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), VIOLATION),
    ]
}

/// What only somebody who has logged in has room for, or can be answered.
#[rustfmt::skip]
fn after_login() -> Vec<Row> {
    let largest = vec![0; limits::FRAME];
    let half = &largest[..limits::FRAME / 2];
    let crumbs = [frame(BINARY - FIN, b""), frame(CONTINUATION - FIN, &[0; 100]).repeat(5_000), frame(CONTINUATION, b"")];
    vec![
        ("a message in one frame", frame(BINARY, FRAME), GoesOn),
        ("a message in three fragments",
            [frame(BINARY - FIN, &FRAME[..1]), frame(CONTINUATION - FIN, &FRAME[1..2]), frame(CONTINUATION, &FRAME[2..])].concat(), GoesOn),
        ("a pong between fragments",
            [frame(BINARY - FIN, &FRAME[..1]), frame(PONG, b"in"), frame(CONTINUATION, &FRAME[1..])].concat(), GoesOn),
        ("two messages in fragments, one after the other",
            [frame(BINARY - FIN, &FRAME[..3]), frame(CONTINUATION, &FRAME[3..])].concat().repeat(2), GoesOn),
        ("a message of empty fragments",
            [frame(BINARY - FIN, b""), frame(CONTINUATION - FIN, b"").repeat(1_000), frame(CONTINUATION, b"")].concat(), GoesOn),
        ("a message of many small fragments", crumbs.concat(), GoesOn),
        ("an empty message", frame(BINARY, b""), GoesOn),
        ("the largest message", frame(BINARY, &largest), GoesOn),
        ("the largest message in two fragments",
            [frame(BINARY - FIN, half), frame(CONTINUATION, half)].concat(), GoesOn),
        ("one byte more than the largest", frame(BINARY, &[&largest[..], &[0]].concat()), TOO_LARGE),
        ("one byte more in three fragments",
            [frame(BINARY - FIN, half), frame(CONTINUATION - FIN, half), frame(CONTINUATION, b"x")].concat(), TOO_LARGE),
        ("one byte more, and no end of fragments",
            [frame(BINARY - FIN, &largest), frame(CONTINUATION - FIN, b"x")].concat(), TOO_LARGE),
    ]
}

#[tokio::test]
async fn every_frame_that_rfc_6455_speaks_of_has_its_answer() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut bystander = mesh.login(&broker, &beta).await;
    let mut wrong = Vec::new();
    for (what, bytes, then) in always() {
        let (mut link, challenge) = Raw::dial(&broker).await;
        link.send(&bytes).await;
        wrong.extend(follow(&mut link, &then).await.map(|came| format!("{what}, before login: {came}")));
        if matches!(then, GoesOn) {
            link.login(&broker, &challenge, &mesh, &alpha).await;
        }
        bystander.round_trip().await;
    }
    for (what, bytes, then) in always().into_iter().chain(after_login()) {
        let (mut link, challenge) = Raw::dial(&broker).await;
        link.login(&broker, &challenge, &mesh, &alpha).await;
        link.send(&bytes).await;
        wrong.extend(follow(&mut link, &then).await.map(|came| format!("{what}: {came}")));
        if matches!(then, GoesOn) {
            link.round_trip().await;
        }
        bystander.round_trip().await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What came instead, if it was not this.
async fn follow(link: &mut Raw, then: &Then) -> Option<String> {
    let (reason, close) = match then {
        GoesOn => return None,
        Pong(payload) => return not_answered(link, payload).await,
        Told(reason) => (Some(*reason), &b""[..]),
        Closed(payload) => (None, *payload),
    };
    let farewell = link.farewell().await;
    (farewell != Farewell { reason, close: Some(close.to_vec()) }).then(|| format!("{farewell:?}"))
}

async fn not_answered(link: &mut Raw, payload: &[u8]) -> Option<String> {
    let mut came = Vec::new();
    while let Some((opcode, bytes)) = link.frame().await {
        if opcode == PONG && bytes == payload {
            return None;
        }
        came.push((opcode, bytes));
    }
    Some(format!("{came:x?}"))
}
