//! A WebSocket to a broker, up to the login.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::SignedEntry;
use waxwing_protocol::link::{
    Challenge, Frame, GoAway, Hello, LogUpload, LogWanted, SUBPROTOCOL, ToBrokerLogin, ToNodeLogin, decode,
    encode,
};

use super::{Broker, Link, PATIENCE};

pub type Socket = WebSocketStream<TcpStream>;

/// A connection that has been challenged.
pub struct Dialled {
    pub socket: Socket,
    pub challenge: Challenge,
}

impl Dialled {
    pub async fn dial(broker: &Broker) -> Self {
        let mut socket = dial(broker).await;
        let ToNodeLogin::Challenge(challenge) = receive(&mut socket).await.unwrap() else {
            panic!("no challenge")
        };
        Self { socket, challenge }
    }

    pub async fn login(self, hello: Hello, key: &SigningKey) -> Result<Link, GoAway> {
        self.login_with(hello, key, &[]).await
    }

    /// Logs in, with this log at hand should the broker want it.
    pub async fn login_with(
        mut self,
        hello: Hello,
        key: &SigningKey,
        log: &[SignedEntry],
    ) -> Result<Link, GoAway> {
        transmit(&mut self.socket, &ToBrokerLogin::Hello(hello.sign(key).unwrap())).await;
        loop {
            match receive(&mut self.socket).await.unwrap() {
                ToNodeLogin::Welcome(welcome) => return Ok(Link::new(self.socket, welcome)),
                ToNodeLogin::GoAway(goaway) => return Err(goaway),
                ToNodeLogin::LogWanted(wanted) => upload(&mut self.socket, wanted, log).await,
                ToNodeLogin::Challenge(_) => panic!("a second challenge"),
            }
        }
    }
}

/// Uploads what is wanted of a log, in parts of two entries.
async fn upload(socket: &mut Socket, wanted: LogWanted, log: &[SignedEntry]) {
    let held =
        wanted.have.filter(|have| log.get(have.seq as usize - 1).is_some_and(|e| e.hash() == have.hash));
    let mut after = held.map_or(0, |have| have.seq);
    loop {
        let rest = &log[after as usize..];
        let part = &rest[..rest.len().min(2)];
        let last = part.len() == rest.len();
        let frame = LogUpload { after, entries: part.to_vec(), last, pass: None };
        transmit(socket, &ToBrokerLogin::LogUpload(frame)).await;
        if last {
            return;
        }
        after += part.len() as u64;
    }
}

pub async fn dial(broker: &Broker) -> Socket {
    let stream = TcpStream::connect(broker.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("{}/v1/link", broker.url).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
    socket
}

pub async fn transmit(socket: &mut Socket, frame: &impl Frame) {
    socket.send(Message::Binary(encode(frame).unwrap())).await.unwrap();
}

/// The next frame, or none if the broker has closed.
pub async fn receive<F: Frame>(socket: &mut Socket) -> Option<F> {
    timeout(PATIENCE, next(socket)).await.expect("the broker says nothing")
}

async fn next<F: Frame>(socket: &mut Socket) -> Option<F> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Some(decode(&bytes).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(other)) => panic!("{other:?}"),
        }
    }
}
