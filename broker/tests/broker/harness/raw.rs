//! A WebSocket byte by byte: what no well-behaved library would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waxwing_protocol::link::{
    Challenge, Frame, GoAway, Hello, LogGet, Reason, SUBPROTOCOL, ToBroker, ToBrokerLogin, ToNode,
    ToNodeLogin, decode, encode,
};

use super::{Broker, Keys, Mesh, PATIENCE};

/// First bytes of frames: the last of its message, and what it is.
pub const CONTINUATION: u8 = 0x80;
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
/// Taken from a first byte, it says that more of the message follows.
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0xa5, 0x0f, 0x33, 0xc1];

/// A client's frame: masked, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let form = match length {
        0..126 => length as u8,
        126..65_536 => 126,
        _ => 127,
    };
    frame_of(first, form, length, payload)
}

/// A client's frame that says it has another length, in a form of one's choice: 126 for 16 bits, 127 for 64, or the
/// length itself.
pub fn frame_of(first: u8, form: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | form];
    match form {
        126 => bytes.extend((length as u16).to_be_bytes()),
        127 => bytes.extend(length.to_be_bytes()),
        _ => {}
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A good request for a link.
pub fn upgrade() -> String {
    format!(
        "GET /v1/link HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
}

/// A connection to a broker, in bytes.
pub struct Raw {
    pub stream: TcpStream,
}

/// What a broker says last.
#[derive(Debug, PartialEq)]
pub struct Farewell {
    /// Why, if it says.
    pub reason: Option<Reason>,
    /// The payload of its close frame, if there is one.
    pub close: Option<Vec<u8>>,
}

impl Raw {
    pub async fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Up to the challenge.
    pub async fn dial(broker: &Broker) -> (Self, Challenge) {
        let mut raw = Self::connect(broker).await;
        raw.send(upgrade().as_bytes()).await;
        let answer = raw.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let challenge = raw.challenge().await;
        (raw, challenge)
    }

    pub async fn challenge(&mut self) -> Challenge {
        let (opcode, bytes) = self.frame().await.expect("a challenge");
        assert_eq!(opcode, BINARY);
        let ToNodeLogin::Challenge(challenge) = decode(&bytes).unwrap() else { panic!("no challenge") };
        challenge
    }

    /// Logs in, and waits for the welcome.
    pub async fn login(&mut self, broker: &Broker, challenge: &Challenge, mesh: &Mesh, keys: &Keys) {
        let hello = Hello::Member(mesh.member_hello(broker, challenge, keys)).sign(&keys.signing).unwrap();
        self.transmit(&ToBrokerLogin::Hello(hello)).await;
        loop {
            let (opcode, bytes) = self.frame().await.expect("a welcome");
            if opcode == BINARY {
                assert!(matches!(decode(&bytes).unwrap(), ToNodeLogin::Welcome(_)));
                return;
            }
        }
    }

    /// Waits until nothing is queued for it.
    pub async fn until_tail(&mut self) {
        loop {
            let (_, bytes) = self.frame().await.expect("a delivery");
            if matches!(decode(&bytes), Ok(ToNode::Deliver(deliver)) if deliver.tail) {
                return;
            }
        }
    }

    /// Asks something, and waits for the answer.
    pub async fn round_trip(&mut self) {
        self.transmit(&ToBroker::LogGet(LogGet { req: 77, after: u64::MAX })).await;
        loop {
            let (opcode, bytes) = self.frame().await.expect("an answer");
            if opcode == BINARY
                && let ToNode::Log(log) = decode(&bytes).unwrap()
                && log.req == Some(77)
            {
                return;
            }
        }
    }

    pub async fn transmit(&mut self, message: &impl Frame) {
        self.send(&frame(BINARY, &encode(message).unwrap())).await;
    }

    /// Sends bytes. The broker may have closed by now, which is its right.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the broker reads"));
    }

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.bytes(1).await {
                Some(byte) => head.extend(byte),
                None => break,
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// The next frame: its first byte and its payload. None at the end.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.bytes(2).await?;
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.bytes(2).await?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.bytes(8).await?.try_into().unwrap()),
            length => length.into(),
        };
        Some((head[0], self.bytes(length as usize).await?))
    }

    /// Everything up to the end, of which the last words are returned.
    pub async fn farewell(&mut self) -> Farewell {
        let mut farewell = Farewell { reason: None, close: None };
        while let Some((opcode, bytes)) = self.frame().await {
            assert_eq!(farewell.close, None, "nothing comes after a close");
            match opcode {
                CLOSE => farewell.close = Some(bytes),
                BINARY => farewell.reason = reason(&bytes).or(farewell.reason),
                _ => {}
            }
        }
        farewell
    }

    async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let read =
            timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await.expect("the broker says nothing");
        read.ok().map(|_| bytes)
    }
}

fn reason(bytes: &[u8]) -> Option<Reason> {
    match decode(bytes) {
        Ok(ToNode::GoAway(GoAway { reason, .. })) => Some(reason),
        _ => None,
    }
}
