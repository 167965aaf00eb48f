//! Each limit of docs/protocol.md that a frame can reach: exactly so much is good, and one more is refused by the right
//! word, after which the link goes on or ends as documented.

use tokio_tungstenite::tungstenite::Message;
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    Code, Features, Hello, MemberHello, Outcome, PrekeyGet, Reason, Send, SendItem, ToBroker, ToNode, encode,
};

use crate::harness::{Broker, Dialled, Keys, Link, Mesh, item};

/// How one more is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refused {
    /// The item, and nothing else.
    Item(Outcome),
    /// The request. The link goes on.
    Request(Code),
    /// The link.
    Link(Reason),
}

/// What a frame is made of, so much of it.
type Make = fn(&Broker, &Keys, usize) -> Vec<u8>;

fn bytes(frame: &ToBroker) -> Vec<u8> {
    encode(frame).unwrap().to_vec()
}

fn items(broker: &Broker, to: &Keys, count: usize) -> Vec<u8> {
    let items = (0..count as u32).map(|n| item(&broker.clock, to, n)).collect();
    bytes(&ToBroker::Send(Send { req: 1, rows: 1, items }))
}

fn envelope(broker: &Broker, to: &Keys, size: usize) -> Vec<u8> {
    let items = vec![SendItem { env: vec![0; size].into(), ..item(&broker.clock, to, size as u32) }];
    bytes(&ToBroker::Send(Send { req: 1, rows: 1, items }))
}

fn nodes(_: &Broker, to: &Keys, count: usize) -> Vec<u8> {
    bytes(&ToBroker::PrekeyGet(PrekeyGet { req: 1, nodes: vec![to.id(); count] }))
}

/// A request with a field that nobody knows: a frame may have so many levels, and it is in the second.
fn levels(_: &Broker, _: &Keys, levels: usize) -> Vec<u8> {
    let inner = [&vec![0x91; levels - 3][..], &[0x90]].concat();
    [&b"\x81\xa7log.get\x83\xa3req\x01\xa5after\x01\xa1x"[..], &inner].concat()
}

/// A request made longer by such a field.
fn frame(_: &Broker, _: &Keys, size: usize) -> Vec<u8> {
    let head = b"\x81\xa7log.get\x83\xa3req\x01\xa5after\x01\xa1x\xc6";
    let rest = size - head.len() - 4;
    [&head[..], &(rest as u32).to_be_bytes(), &vec![0; rest]].concat()
}

const LIMITS: [(&str, usize, Make, Refused); 5] = [
    ("items of a send", limits::WINDOW_ITEMS, items, Refused::Request(Code::BadFrame)),
    ("bytes of an envelope", limits::ENVELOPE, envelope, Refused::Item(Outcome::TooLarge)),
    ("nodes of a prekey.get", limits::PREKEY_PAGE, nodes, Refused::Request(Code::BadFrame)),
    ("levels of nesting", 16, levels, Refused::Request(Code::BadFrame)),
    ("bytes of a frame", limits::FRAME, frame, Refused::Link(Reason::FrameTooLarge)),
];

/// Hands over a frame, and says how it was refused, if it was.
async fn refusal(link: &mut Link, bytes: Vec<u8>) -> Option<Refused> {
    link.raw(Message::Binary(bytes.into())).await;
    link.wait_for(|frame| match frame {
        ToNode::Sent(sent) => {
            let refused = sent.outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Accepted { .. }));
            Some(refused.map(|outcome| Refused::Item(*outcome)))
        }
        ToNode::Prekeys(_) | ToNode::Log(_) => Some(None),
        ToNode::Error(error) => Some(Some(Refused::Request(error.code))),
        ToNode::GoAway(goaway) => Some(Some(Refused::Link(goaway.reason))),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn exactly_so_much_is_good_and_one_more_is_refused_by_its_word() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    for (what, limit, make, refused) in LIMITS {
        let mut link = mesh.login(&broker, &alpha).await;
        assert_eq!(refusal(&mut link, make(&broker, &beta, limit)).await, None, "{what}: {limit}");
        let over = refusal(&mut link, make(&broker, &beta, limit + 1)).await;
        assert_eq!(over, Some(refused), "{what}: {}", limit + 1);
        if let Refused::Link(_) = refused {
            link.is_closed().await;
        } else {
            link.round_trip().await;
        }
    }
}

#[tokio::test]
async fn a_hello_asks_for_so_many_features_with_names_so_long() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let many = |count: usize| (0..count).fold(Features::default(), |all, n| all.with(format!("f{n}"), 1));
    let long = |length: usize| Features::default().with("f".repeat(length), 1);
    for (features, reason) in [
        (many(limits::FEATURES), Reason::Unsupported), // It is read, and there are no such features.
        (many(limits::FEATURES + 1), Reason::ProtocolViolation),
        (long(limits::FEATURE_NAME), Reason::Unsupported),
        (long(limits::FEATURE_NAME + 1), Reason::ProtocolViolation),
    ] {
        let dialled = Dialled::dial(&broker).await;
        let hello = mesh.member_hello(&broker, &dialled.challenge, &alpha);
        let hello = Hello::Member(MemberHello { features, ..hello });
        assert_eq!(dialled.login(hello, &alpha.signing).await.err().unwrap().reason, reason);
    }
}
