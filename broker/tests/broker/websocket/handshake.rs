use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::raw::{PING, PONG, Raw, frame, upgrade};
use crate::harness::{Broker, Mesh};

/// Closed without an answer.
const CLOSED: u16 = 0;

/// What it is, the request, and the status of the answer.
type Row = (&'static str, Vec<u8>, u16);

/// A good request with a line in place of another.
fn with(line: &str, instead: &str) -> Vec<u8> {
    let request = upgrade();
    assert!(request.contains(line), "{line}");
    request.replacen(line, instead, 1).into_bytes()
}

/// A good request with a line more.
fn plus(line: &str) -> Vec<u8> {
    with("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{line}\r\n"))
}

#[rustfmt::skip]
fn requests() -> Vec<Row> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let protocol = "Sec-WebSocket-Protocol: waxwing.v1\r\n";
    let many = (0..120).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    vec![
        ("a good request", upgrade().into_bytes(), 101),
        // 4.2.1: what must be there.
        ("no host", with("Host: broker\r\n", ""), 400),
        ("no connection", with("Connection: Upgrade\r\n", ""), 426),
        ("no upgrade", with("Upgrade: websocket\r\n", ""), 426),
        ("no version", with(version, ""), 426),
        ("no key", with(key, ""), 400),
        ("no subprotocol", with(protocol, ""), 400),
        // What may be there once.
        ("two hosts", plus("Host: other"), 400),
        ("two keys", plus("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
        ("two versions", plus("Sec-WebSocket-Version: 13"), 426),
        // What they may be.
        ("header names and tokens in any case", with("Connection: Upgrade\r\nUpgrade: websocket", "CONNECTION: uPGRADE\r\nupgrade: WebSocket"), 101),
        ("a connection that lists more", with("Connection: Upgrade", "Connection: keep-alive, Upgrade"), 101),
        ("a list in two lines", with("Connection: Upgrade\r\n", "Connection: keep-alive\r\nConnection: Upgrade\r\n"), 101),
        ("a connection to be closed", with("Connection: Upgrade", "Connection: close"), 426),
        ("an upgrade to something else", with("Upgrade: websocket", "Upgrade: h2c"), 426),
        ("version 8", with("Version: 13", "Version: 8"), 426),
        ("version 14", with("Version: 13", "Version: 14"), 426),
        ("two versions in one line", with("Version: 13", "Version: 13, 8"), 426),
        ("a key of 15 bytes", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400),
        ("a key of 17 bytes", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE="), 400),
        ("a key that is no base64", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhl!HNhbXBsZSBub25jZQ=="), 400),
        ("another subprotocol", with("waxwing.v1", "waxwing.v2"), 400),
        ("several subprotocols", with("waxwing.v1", "chat, waxwing.v1"), 101),
        ("an extension, which is not taken", plus("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 101),
        ("an origin", plus("Origin: https://example.org"), 101),
        // The request itself.
        ("a request without the wish to upgrade", b"GET /v1/link HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 426),
        ("another method", with("GET", "POST"), 405),
        ("HEAD, which is not GET", with("GET", "HEAD"), 405),
        ("an older version of HTTP", with("HTTP/1.1", "HTTP/1.0"), 426),
        ("a newer version of HTTP", with("HTTP/1.1", "HTTP/2.0"), 400),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), CLOSED),
        ("another path", with("/v1/link", "/v2/link"), 404),
        ("a path and a query", with("/v1/link", "/v1/link?x=y"), 101),
        ("a whole URL", with("/v1/link", "http://broker/v1/link"), 101),
        ("a request with a body", plus("Content-Length: 4"), 400),
        ("a request with a body in chunks", plus("Transfer-Encoding: chunked"), 400),
        ("a request with an empty body", plus("Content-Length: 0"), 101),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), 400),
        ("a byte that no header has", plus("X: \0"), 400),
        ("a header line without a colon", plus("what is this"), 400),
        // How much.
        ("headers of 8 KiB", plus(&format!("X: {}", "y".repeat(8 * 1024))), 431),
        ("120 headers", with("Host: broker\r\n", &format!("Host: broker\r\n{many}")), 431),
        ("a long URL", with("/v1/link", &format!("/{}", "y".repeat(8 * 1024))), 431),
    ]
}

#[tokio::test]
async fn every_request_for_a_link_has_its_answer() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut bystander = mesh.login(&broker, &beta).await;
    let mut wrong = Vec::new();
    for (what, request, status) in requests() {
        let mut link = Raw::connect(&broker).await;
        link.send(&request).await;
        let answer = link.head().await;
        let got = answer.get(9..12).map_or(CLOSED, |status| status.parse().unwrap());
        if got != status {
            wrong.push(format!("{what}: {answer}"));
        } else if status == 101 {
            let accept = derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
            assert!(answer.contains(&format!("sec-websocket-accept: {accept}\r\n")), "{what}: {answer}");
            assert!(!answer.contains("extensions"), "{what}: {answer}");
            let challenge = link.challenge().await;
            link.login(&broker, &challenge, &mesh, &alpha).await;
            link.round_trip().await;
        } else {
            assert!(
                status != 426 || answer.contains("upgrade: ") || answer.contains("version: 13"),
                "{what}: {answer}"
            );
            assert!(status == CLOSED || answer.contains("connection: close"), "{what}: {answer}");
            drop(link.head().await); // The body, and the end.
        }
        bystander.round_trip().await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_follows_the_request_at_once_is_the_first_frame() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = Raw::connect(&broker).await;
    link.send(&[upgrade().into_bytes(), frame(PING, b"early")].concat()).await;
    assert!(link.head().await.starts_with("HTTP/1.1 101 "));
    let challenge = link.challenge().await;
    let (opcode, payload) = link.frame().await.unwrap();
    assert_eq!((opcode, &payload[..]), (PONG, &b"early"[..]));
    link.login(&broker, &challenge, &mesh, &alpha).await;
    link.round_trip().await;
}

#[tokio::test]
async fn a_connection_has_one_request() {
    let broker = Broker::start().await;
    let mut link = Raw::connect(&broker).await;
    link.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_slice()).await;
    let mut answers = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut link.stream, &mut answers).await);
    assert_eq!(String::from_utf8(answers).unwrap().matches("HTTP/1.1 200").count(), 1);
}
