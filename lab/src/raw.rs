//! A link without a node: what it takes to be connected, and no more.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use waxwing_crypto::membership::{LogHead, SignedEntry};
use waxwing_crypto::{MeshId, NodeId, SigningKey};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{
    Challenge, EnteringHello, Features, Frame, Hello, LogAppend, MemberHello, PATH, Progress, SUBPROTOCOL,
    ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, decode, encode,
};

use crate::error::{Error, Result};

/// What is read from a socket at a time.
const READ_BUFFER: usize = 4 * 1024;

/// A link that has logged in.
#[derive(Debug)]
pub struct Link {
    /// The life of the broker's store, as it was told.
    pub(crate) store: StoreId,
    socket: WebSocketStream<TcpStream>,
}

impl Link {
    /// Logs in as a member.
    pub(crate) async fn member(
        broker: SocketAddr,
        mesh: MeshId,
        node: NodeId,
        head: LogHead,
        key: &SigningKey,
    ) -> Result<Self> {
        let hello = |challenge: &Challenge, url| {
            let nonce = challenge.nonce;
            let features = Features::needed();
            // It keeps no state, and time does not go back either.
            let progress = Progress { login: challenge.clock.as_millis(), ..Progress::default() };
            Hello::Member(MemberHello {
                nonce,
                url,
                mesh,
                node,
                head,
                progress,
                mark: None,
                version: 0,
                features,
            })
        };
        Self::login(broker, key, hello).await
    }

    /// Logs in as a founder whose mesh the broker may not know yet.
    pub(crate) async fn entering(broker: SocketAddr, mesh: MeshId, key: &SigningKey) -> Result<Self> {
        let hello = |challenge: &Challenge, url| {
            let (nonce, key, features) = (challenge.nonce, key.public(), Features::needed());
            Hello::Entering(EnteringHello { nonce, url, mesh, key, creation: None, version: 0, features })
        };
        Self::login(broker, key, hello).await
    }

    async fn login(
        broker: SocketAddr,
        key: &SigningKey,
        hello: impl FnOnce(&Challenge, String) -> Hello,
    ) -> Result<Self> {
        let mut link = Self { store: StoreId::from_bytes([0; 16]), socket: dial(broker).await? };
        let ToNodeLogin::Challenge(challenge) = link.receive().await? else {
            return Err(refused("it does not begin with a challenge"));
        };
        link.store = challenge.store;
        let signed = hello(&challenge, format!("ws://{broker}")).sign(key);
        let signed = signed.map_err(|err| refused(&err.to_string()))?;
        link.transmit(&ToBrokerLogin::Hello(signed)).await?;
        match link.receive().await? {
            ToNodeLogin::Welcome(_) => Ok(link),
            ToNodeLogin::GoAway(goaway) => Err(refused(&goaway.detail)),
            ToNodeLogin::LogWanted(_) => Err(refused("it wants a log that it has")),
            ToNodeLogin::Challenge(_) => Err(refused("a second challenge")),
        }
    }

    /// Appends entries, without waiting for one before the next.
    pub(crate) async fn append(&mut self, entries: &[SignedEntry]) -> Result<()> {
        /// Fewer than the answers that a broker holds for a link that does not read.
        const AT_ONCE: usize = 32;
        for entries in entries.chunks(AT_ONCE) {
            for (req, entry) in (1..).zip(entries) {
                let frame = LogAppend { req, entry: entry.clone() };
                self.transmit(&ToBroker::LogAppend(frame)).await?;
            }
            let mut left = entries.len();
            while left > 0 {
                match self.receive().await? {
                    ToNode::Log(log) if log.req.is_some() => left -= 1,
                    ToNode::Error(error) => return Err(refused(&error.detail)),
                    ToNode::GoAway(goaway) => return Err(refused(&goaway.detail)),
                    ToNode::Log(_)
                    | ToNode::Sent(_)
                    | ToNode::Deliver(_)
                    | ToNode::Done(_)
                    | ToNode::Prekeys(_)
                    | ToNode::MeshNotice(_)
                    | ToNode::Keys(_)
                    | ToNode::QueueShown(_)
                    | ToNode::SpaceWritten(_)
                    | ToNode::SpaceChanges(_)
                    | ToNode::SpaceOffered(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Answers pings until the link ends.
    pub(crate) async fn idle(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn transmit(&mut self, frame: &impl Frame) -> Result<()> {
        let bytes = encode(frame).map_err(|err| refused(&err.to_string()))?;
        self.socket.send(Message::Binary(bytes)).await.map_err(|err| refused(&err.to_string()))
    }

    /// The next frame.
    ///
    /// # Errors
    /// If the link is gone, or it is another kind of frame.
    pub async fn receive<F: Frame>(&mut self) -> Result<F> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    return decode(&bytes).map_err(|err| refused(&err.to_string()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Err(err)) => return Err(refused(&err.to_string())),
                Some(Ok(_)) | None => return Err(refused("it closed the link")),
            }
        }
    }
}

async fn dial(broker: SocketAddr) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(broker).await.map_err(Error::io("connecting to the broker"))?;
    stream.set_nodelay(true).map_err(Error::io("connecting to the broker"))?;
    let request = format!("ws://{broker}{PATH}").into_client_request();
    let mut request = request.map_err(|err| refused(&err.to_string()))?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let dialled = client_async_with_config(request, stream, Some(config)).await;
    dialled.map(|(socket, _)| socket).map_err(|err| refused(&err.to_string()))
}

fn refused(why: &str) -> Error {
    Error::Unreadable(format!("the broker does not do as it should: {why}"))
}
