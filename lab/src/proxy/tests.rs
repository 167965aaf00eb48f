//! Between a node and a broker that say what the test tells them to.

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::{Digest, MeshId, SigningKey};
use waxwing_protocol::link::{
    Done, Features, Hello, LogGet, MemberHello, Progress, ToBroker, ToBrokerLogin, ToNode, encode,
};

use super::*;

type Socket = WebSocketStream<TcpStream>;

const NODE: NodeId = NodeId::from_bytes([7; 16]);

/// A proxy, and both ends of one link through it, after the node's hello.
async fn linked() -> (Proxy, Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start().await.unwrap();
    proxy.set_broker(Some(listener.local_addr().unwrap()));
    let dial = async {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        link::dial(stream, proxy.address).await.unwrap()
    };
    let answer = async { link::answer(listener.accept().await.unwrap().0).await.unwrap() };
    let (mut node, mut broker) = tokio::join!(dial, answer);
    send(&mut node, hello()).await;
    receive(&mut broker).await;
    (proxy, node, broker)
}

fn hello() -> Bytes {
    let hello = Hello::Member(MemberHello {
        progress: Progress::default(),
        mark: None,
        nonce: [0; 32],
        url: "ws://127.0.0.1".to_owned(),
        mesh: MeshId::from_bytes([1; 16]),
        node: NODE,
        head: LogHead { seq: 1, hash: Digest::from_bytes([2; 32]) },
        version: 0,
        features: Features::needed(),
    });
    encode(&ToBrokerLogin::Hello(hello.sign(&SigningKey::from_seed(&[3; 32])).unwrap())).unwrap()
}

fn ask(req: u64) -> Bytes {
    encode(&ToBroker::LogGet(LogGet { req, after: 0 })).unwrap()
}

fn done(req: u64) -> Bytes {
    encode(&ToNode::Done(Done { req })).unwrap()
}

async fn send(socket: &mut Socket, bytes: Bytes) {
    socket.send(Message::Binary(bytes)).await.unwrap();
}

/// The next frame, or none if the link has ended.
async fn receive(socket: &mut Socket) -> Option<Bytes> {
    match socket.next().await {
        Some(Ok(Message::Binary(bytes))) => Some(bytes),
        _ => None,
    }
}

#[tokio::test]
async fn frames_pass_verbatim_both_ways_and_are_known_by_name_and_node() {
    let (proxy, mut node, mut broker) = linked().await;
    send(&mut node, ask(1)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(1)));
    send(&mut broker, done(1)).await;
    assert_eq!(receive(&mut node).await, Some(done(1)));
    send(&mut node, Bytes::from_static(b"not a frame")).await;
    assert_eq!(receive(&mut broker).await.unwrap(), "not a frame");
    let seen: Vec<_> = proxy.captured().iter().map(|frame| (frame.node, frame.frame.name())).collect();
    assert_eq!(seen, ["hello", "log.get", "done", "unreadable"].map(|name| (Some(NODE), name)));
}

#[tokio::test]
async fn from_and_to_a_node_that_is_parted_nothing_comes_through_until_it_is_not_and_then_all_in_order() {
    let (proxy, mut node, mut broker) = linked().await;
    let others = proxy.part(NodeId::from_bytes([8; 16]));
    send(&mut node, ask(1)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(1)));
    let parted = proxy.part(NODE);
    for n in 2..4 {
        send(&mut node, ask(n)).await;
        send(&mut broker, done(n)).await;
    }
    // The first each way is read, and the other behind it.
    let read = async || (proxy.captured().len() == 4).then_some(());
    crate::eventually(CONNECT_WITHIN, "the proxy has the first of it", read).await.unwrap();
    assert!(receive(&mut node).now_or_never().is_none() && receive(&mut broker).now_or_never().is_none());
    drop((parted, others));
    for n in 2..4 {
        assert_eq!(receive(&mut broker).await, Some(ask(n)));
        assert_eq!(receive(&mut node).await, Some(done(n)));
    }
}

#[tokio::test]
async fn a_held_frame_waits_with_all_that_follows_it_while_the_other_direction_goes_on() {
    let (proxy, mut node, mut broker) = linked().await;
    let hold = proxy.hold(When::named(NODE, "log.get"));
    send(&mut node, ask(1)).await;
    send(&mut node, ask(2)).await;
    let held = hold.held().await.unwrap();
    send(&mut broker, done(9)).await;
    assert_eq!(receive(&mut node).await, Some(done(9)));
    held.release();
    assert_eq!(receive(&mut broker).await, Some(ask(1)));
    assert_eq!(receive(&mut broker).await, Some(ask(2)));
}

#[tokio::test]
async fn a_frame_held_when_its_sender_is_gone_was_never_sent() {
    let (proxy, mut node, mut broker) = linked().await;
    let hold = proxy.hold(When::named(NODE, "log.get"));
    send(&mut node, ask(1)).await;
    let held = hold.held().await.unwrap();
    drop(node);
    assert_eq!(receive(&mut broker).await, None);
    held.release();
}

#[tokio::test]
async fn frames_are_dropped_rewritten_and_cut_once() {
    let (proxy, mut node, mut broker) = linked().await;
    let dropped = proxy.drop_next(When::named(NODE, "log.get"));
    send(&mut node, ask(1)).await;
    send(&mut node, ask(2)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(2)));
    dropped.happened().await.unwrap();

    let rewritten = proxy.rewrite_next(When::named(NODE, "done"), |frame| vec![frame.clone(), frame]);
    send(&mut broker, done(2)).await;
    assert_eq!((receive(&mut node).await, receive(&mut node).await), (Some(done(2)), Some(done(2))));
    rewritten.happened().await.unwrap();

    let cut = proxy.cut_at(When::named(NODE, "log.get"));
    send(&mut node, ask(3)).await;
    assert_eq!((receive(&mut node).await, receive(&mut broker).await), (None, None));
    cut.happened().await.unwrap();
}

#[tokio::test]
async fn a_standing_rule_applies_to_every_frame_until_it_is_withdrawn() {
    let (proxy, mut node, mut broker) = linked().await;
    let standing = proxy.rewrite_all(When::named(NODE, "log.get"), |_| Vec::new());
    send(&mut node, ask(1)).await;
    send(&mut node, ask(2)).await;
    // Both have passed the rule once this has arrived.
    send(&mut node, done(3)).await;
    assert_eq!(receive(&mut broker).await, Some(done(3)));
    drop(standing);
    send(&mut node, ask(4)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(4)));
}

#[tokio::test]
async fn a_withdrawn_rule_and_a_rule_of_another_node_apply_to_nothing() {
    let (proxy, mut node, mut broker) = linked().await;
    drop(proxy.hold(When::named(NODE, "log.get")));
    let _other = proxy.hold(When::named(NodeId::from_bytes([8; 16]), "log.get"));
    send(&mut node, ask(1)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(1)));
}

#[tokio::test]
async fn without_a_broker_links_are_refused_and_existing_ones_can_be_cut() {
    let (proxy, mut node, _broker) = linked().await;
    proxy.set_broker(None);
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    assert!(link::dial(stream, proxy.address).await.is_none());
    proxy.cut_links();
    assert_eq!(receive(&mut node).await, None);
}

#[tokio::test]
async fn one_node_is_cut_and_the_others_are_not() {
    let (proxy, mut node, mut broker) = linked().await;
    proxy.cut(NodeId::from_bytes([8; 16]));
    send(&mut node, ask(1)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(1)));
    proxy.cut(NODE);
    assert_eq!((receive(&mut node).await, receive(&mut broker).await), (None, None));
}

#[tokio::test]
async fn one_end_of_a_half_open_link_notices_nothing_until_it_is_told() {
    for (end, node_keeps) in [(Direction::ToNode, true), (Direction::ToBroker, false)] {
        let (proxy, node, broker) = linked().await;
        let half = proxy.half_open(NODE, end);
        let (mut keeps, mut loses) = if node_keeps { (node, broker) } else { (broker, node) };
        assert_eq!(receive(&mut loses).await, None);
        send(&mut keeps, ask(1)).await;
        assert!(keeps.next().now_or_never().is_none(), "nothing comes, and it has not ended");
        drop(half);
        assert_eq!(receive(&mut keeps).await, None);
    }
}

#[tokio::test]
async fn a_silent_link_goes_on_with_what_was_said_meanwhile_its_end_too() {
    let (proxy, mut node, mut broker) = linked().await;
    let silence = proxy.weather(NODE, Weather { silent: true, ..Weather::default() });
    send(&mut node, ask(1)).await;
    send(&mut node, ask(2)).await;
    drop(node);
    // Somebody who is refused meanwhile shows that there was time to pass something on.
    proxy.set_broker(None);
    let mut stranger = TcpStream::connect(proxy.address).await.unwrap();
    stranger.write_all(b"no request\r\n\r\n").await.unwrap();
    assert_eq!(stranger.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(broker.next().now_or_never().is_none(), "neither frames nor the end");
    drop(silence);
    assert_eq!((receive(&mut broker).await, receive(&mut broker).await), (Some(ask(1)), Some(ask(2))));
    assert_eq!(receive(&mut broker).await, None);
}

#[tokio::test]
async fn what_is_delayed_comes_late_each_by_as_much_and_in_order() {
    const LATE: Duration = Duration::from_millis(200);
    let (proxy, mut node, mut broker) = linked().await;
    let clouds = proxy.weather(NODE, Weather { delay: LATE, ..Weather::default() });
    let begun = Instant::now();
    for req in 1..=5 {
        send(&mut node, ask(req)).await;
    }
    for req in 1..=5 {
        assert_eq!(receive(&mut broker).await, Some(ask(req)));
    }
    let took = begun.elapsed();
    assert!(took >= LATE && took < 5 * LATE, "{took:?}: one waits for another");
    drop(clouds);
    send(&mut node, ask(6)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(6)));
}

#[tokio::test]
async fn what_goes_byte_by_byte_is_the_same_bytes() {
    let (proxy, mut node, mut broker) = linked().await;
    let clouds = proxy.weather(NODE, Weather { split: true, ..Weather::default() });
    let large = Bytes::from(vec![7; 5_000]);
    send(&mut node, large.clone()).await;
    assert_eq!(receive(&mut broker).await, Some(large.clone()));
    send(&mut broker, large.clone()).await;
    assert_eq!(receive(&mut node).await, Some(large));
    drop(clouds);
}

#[tokio::test]
async fn a_connection_that_is_swallowed_is_taken_and_not_answered() {
    let (proxy, mut node, mut broker) = linked().await;
    let swallowing = proxy.swallow();
    let mut dialled = TcpStream::connect(proxy.address).await.unwrap();
    dialled.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    send(&mut node, ask(1)).await;
    assert_eq!(receive(&mut broker).await, Some(ask(1)), "links that are there go on");
    assert!(dialled.read(&mut [0; 1]).now_or_never().is_none());
    drop(swallowing);
    assert_eq!(dialled.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
