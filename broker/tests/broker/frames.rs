use tokio_tungstenite::tungstenite::Message;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, Reason, Send, ToBroker, encode};

use crate::harness::{Broker, Mesh, item};

/// MessagePack: a map with one entry, its key, then `body`.
fn frame(name: &str, body: &[u8]) -> Vec<u8> {
    [&[0x81, 0xa0 | name.len() as u8][..], name.as_bytes(), body].concat()
}

#[tokio::test]
async fn bytes_that_are_no_frame_are_answered_and_the_link_goes_on() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let good = encode(&ToBroker::Send(Send { req: 1, rows: 1, items: vec![item(&broker.clock, &beta, 1)] }))
        .unwrap();
    let array_of_4_billion = [&b"\x82\xa3req\x01\xa5items\xdd"[..], &[0xff; 4]].concat();
    let map_of_4_billion = [&[0xdf][..], &[0xff; 4]].concat();
    let bin_of_4_billion = [&b"\x82\xa3req\x01\xa5entry\x82\xa1b\xc6"[..], &[0xff; 4]].concat();
    let deep = vec![0x91; 10_000];
    for (what, bytes, code) in [
        ("an unknown name", frame("later", b"\x80"), Code::Unsupported),
        ("a broker's frame", frame("sent", b"\x80"), Code::Unsupported),
        ("a login's frame", frame("hello", b"\x80"), Code::Unsupported),
        ("nothing", vec![], Code::BadFrame),
        ("a number", vec![7], Code::BadFrame),
        ("an empty map", vec![0x80], Code::BadFrame),
        ("two entries", b"\x82\xa4send\x80\xa4send\x80".to_vec(), Code::BadFrame),
        ("a body of another form", frame("send", b"\x07"), Code::BadFrame),
        ("a body without its fields", frame("send", b"\x80"), Code::BadFrame),
        ("a truncated frame", good[..good.len() - 1].to_vec(), Code::BadFrame),
        ("trailing bytes", [&good[..], &[0xc0]].concat(), Code::BadFrame),
        ("a huge array", frame("send", &array_of_4_billion), Code::BadFrame),
        ("a huge map", frame("send", &map_of_4_billion), Code::BadFrame),
        ("a huge byte string", frame("log.append", &bin_of_4_billion), Code::BadFrame),
        ("deep nesting", frame("send", &deep), Code::BadFrame),
    ] {
        link.raw(Message::Binary(bytes.into())).await;
        let error = link.error().await;
        assert_eq!((error.req, error.code), (None, code), "{what}");
    }
    link.round_trip().await;
}

#[tokio::test]
async fn a_send_has_a_bounded_number_of_items() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    for count in [0, limits::WINDOW_ITEMS as u32 + 1] {
        let items = (0..count).map(|n| item(&broker.clock, &beta, n)).collect();
        let req = link.post(items).await;
        let error = link.error().await;
        assert_eq!((error.req, error.code), (Some(req), Code::BadFrame), "{count}");
    }
    let items = (0..limits::WINDOW_ITEMS as u32).map(|n| item(&broker.clock, &beta, n)).collect();
    assert_eq!(link.send(items).await.len(), limits::WINDOW_ITEMS);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_link() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    for (what, message, reason) in [
        ("text", Message::Text("{}".into()), Reason::ProtocolViolation),
        ("a large message", Message::Binary(vec![0; limits::FRAME + 1].into()), Reason::FrameTooLarge),
    ] {
        let mut link = mesh.login(&broker, &alpha).await;
        link.raw(message).await;
        let goaway = link.goaway().await;
        assert_eq!(goaway.reason, reason, "{what}");
        assert!(goaway.again.is_some());
        link.is_closed().await;
    }
    let mut link = mesh.login(&broker, &alpha).await;
    link.raw(Message::Binary(vec![0; limits::FRAME].into())).await;
    assert_eq!(link.error().await.code, Code::BadFrame, "the largest is only no frame");
}

#[tokio::test]
async fn pings_are_answered() {
    use futures_util::StreamExt as _;
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.until_tail().await;
    link.raw(Message::Ping(b"there?".to_vec().into())).await;
    let answer = link.socket.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::Pong(b"there?".to_vec().into()));
}

#[tokio::test]
async fn the_listener_speaks_http_for_two_paths_only() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let broker = Broker::start().await;
    for (path, status) in [("/healthz", "200"), ("/v1/link", "426"), ("/", "404"), ("/v1/links", "404")] {
        let mut stream = tokio::net::TcpStream::connect(broker.addr).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap(); // Ends: there is no keep-alive.
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}
