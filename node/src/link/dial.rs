//! Dialling a broker and logging in.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use url::Host;
use waxwing_crypto::{SigningKey, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_protocol::broker_url::{BadBrokerUrl, BrokerUrl};
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    self, Challenge, Features, Frame, GoAway, Hello, LogUpload, LogWanted, PATH, SUBPROTOCOL, ToBrokerLogin,
    ToNodeLogin, VERSIONS, Welcome, common_version,
};

use super::tls;
use crate::error::{Error, Result, Untrusted};

/// Connecting takes no longer than this.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Versions of a broker that are named when none of them will do.
const VERSIONS_SHOWN: usize = 16;
/// Read buffer of a link. Tungstenite's default costs 128 KiB per connection.
const READ_BUFFER: usize = 8 * 1024;

/// The bytes under a WebSocket: TCP, or TLS over it.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> ByteStream for S {}

/// A WebSocket to a broker.
pub(crate) type Socket = WebSocketStream<Box<dyn ByteStream>>;

/// A link that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    /// The life of the broker's store.
    pub(crate) store: StoreId,
    pub(crate) welcome: Welcome,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// It may work later.
    #[error("{0}")]
    Unreachable(String),
    /// It is not the broker meant, as far as its certificate says. Another answer may come later.
    #[error("{0}")]
    Untrusted(Untrusted),
    /// The broker says no, or not now.
    #[error("{}: {}", .0.reason, .0.detail)]
    GoAway(GoAway),
    /// It does not speak the protocol.
    #[error("{0}")]
    Incompatible(String),
    /// It speaks the protocol, but no version of it that this node does, or lacks what this node needs.
    #[error("{0}")]
    Unsupported(String),
}

/// Checks a broker's URL. Without TLS everybody on the way could read who writes to whom, and take the link over: beyond
/// this machine that must be said.
pub(crate) fn check_url(text: &str, plaintext: bool) -> Result<BrokerUrl> {
    let broker: BrokerUrl = text.parse().map_err(|error: BadBrokerUrl| Error::Usage(error.to_string()))?;
    if broker.is_tls() || broker.is_loopback() || plaintext {
        return Ok(broker);
    }
    Err(Error::Usage(format!(
        "{broker} is without TLS, and not on this machine: whoever is on the way sees who writes to whom, and can take the \
         link over. Dial it by wss://; or say --plaintext, if the network itself is private"
    )))
}

/// What a broker answers to a hello.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The link is there.
    Welcome(Connection),
    /// Only if it is given the log.
    LogWanted(Wanted),
}

/// A login that waits for the log.
#[derive(Debug)]
pub(crate) struct Wanted {
    socket: Socket,
    store: StoreId,
    /// What the broker has of it.
    pub(crate) wanted: LogWanted,
}

/// Connects and logs in. `hello` is made once the challenge is there and a version is agreed on.
pub(crate) async fn dial(
    broker: &BrokerUrl,
    hello: impl FnOnce(&Challenge, u32) -> Hello,
    key: &SigningKey,
) -> Result<Answer, DialError> {
    let mut socket = timeout(CONNECT_WITHIN, connect(broker))
        .await
        .map_err(|_| DialError::Unreachable("no answer within 10 s".into()))??;
    let login = async {
        let challenge = match receive(&mut socket).await? {
            ToNodeLogin::Challenge(challenge) => challenge,
            ToNodeLogin::GoAway(goaway) => return Err(DialError::GoAway(goaway)),
            ToNodeLogin::Welcome(_) | ToNodeLogin::LogWanted(_) => {
                return Err(DialError::Incompatible("answered before it was asked".into()));
            }
        };
        let version = common_version(&challenge.versions).ok_or_else(|| no_version(&challenge.versions))?;
        let signed = hello(&challenge, version)
            .sign(key)
            .map_err(|error| DialError::Incompatible(error.to_string()))?;
        send(&mut socket, &ToBrokerLogin::Hello(signed)).await?;
        Ok((challenge.store, receive(&mut socket).await?))
    };
    let (store, answer) = within(limits::LOGIN_WITHIN, login).await?;
    match answer {
        ToNodeLogin::LogWanted(wanted) => Ok(Answer::LogWanted(Wanted { socket, store, wanted })),
        answer @ (ToNodeLogin::Welcome(_) | ToNodeLogin::GoAway(_) | ToNodeLogin::Challenge(_)) => {
            welcomed(socket, store, answer).map(Answer::Welcome)
        }
    }
}

impl Wanted {
    /// Brings the log, in parts.
    pub(crate) async fn bring(mut self, parts: Vec<LogUpload>) -> Result<Connection, DialError> {
        let upload = async {
            for part in parts {
                send(&mut self.socket, &ToBrokerLogin::LogUpload(part)).await?;
            }
            receive(&mut self.socket).await
        };
        let answer = within(limits::UPLOAD_WITHIN, upload).await?;
        welcomed(self.socket, self.store, answer)
    }
}

/// Connects, reads what time the broker has, and hangs up: nobody has logged in.
pub(crate) async fn greet(broker: &BrokerUrl) -> Result<Timestamp, DialError> {
    let greeted = async {
        let mut socket = connect(broker).await?;
        let greeting = receive(&mut socket).await?;
        // It is closed in order if the broker is quick about it; it ends one way or the other.
        let _ = socket.close(None).await;
        match greeting {
            ToNodeLogin::Challenge(challenge) => Ok(challenge.clock),
            ToNodeLogin::GoAway(goaway) => Err(DialError::GoAway(goaway)),
            ToNodeLogin::Welcome(_) | ToNodeLogin::LogWanted(_) => {
                Err(DialError::Incompatible("answered before it was asked".into()))
            }
        }
    };
    timeout(CONNECT_WITHIN, greeted)
        .await
        .map_err(|_| DialError::Unreachable("no answer within 10 s".into()))?
}

async fn within<T>(time: Duration, step: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
    let late = || DialError::Unreachable(format!("the login was not answered within {} s", time.as_secs()));
    timeout(time, step).await.map_err(|_| late())?
}

fn welcomed(socket: Socket, store: StoreId, answer: ToNodeLogin) -> Result<Connection, DialError> {
    match answer {
        ToNodeLogin::Welcome(welcome) => match welcome.features.cover(&Features::needed()) {
            Ok(()) => Ok(Connection { socket, store, welcome }),
            Err(lacking) => Err(DialError::Unsupported(lacking.to_string())),
        },
        ToNodeLogin::GoAway(goaway) => Err(DialError::GoAway(goaway)),
        ToNodeLogin::Challenge(_) => Err(DialError::Incompatible("challenged twice".into())),
        ToNodeLogin::LogWanted(_) => Err(DialError::Incompatible("wants the log twice".into())),
    }
}

fn no_version(served: &[u32]) -> DialError {
    let served: Vec<_> = served.iter().take(VERSIONS_SHOWN).collect();
    DialError::Unsupported(format!(
        "the broker serves versions {served:?} of the protocol, and this node speaks {VERSIONS:?}"
    ))
}

async fn connect(broker: &BrokerUrl) -> Result<Socket, DialError> {
    let unreachable = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
    let stream = match broker.host() {
        Host::Domain(name) => TcpStream::connect((name.as_str(), broker.port())).await,
        Host::Ipv4(ip) => TcpStream::connect((*ip, broker.port())).await,
        Host::Ipv6(ip) => TcpStream::connect((*ip, broker.port())).await,
    };
    let stream = stream.map_err(|error| unreachable(&error))?;
    stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
    let stream: Box<dyn ByteStream> =
        if broker.is_tls() { Box::new(tls::connect(broker, stream).await?) } else { Box::new(stream) };
    let url = format!("{}{PATH}", broker.dialled());
    let mut request = url.into_client_request().map_err(|error| unreachable(&error))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .max_write_buffer_size(4 * limits::FRAME)
        .max_message_size(Some(limits::FRAME))
        .max_frame_size(Some(limits::FRAME));
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    match upgraded {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            Err(DialError::Unreachable(format!("it answers {} to a link", response.status())))
        }
        Err(error) => Err(unreachable(&error)),
    }
}

/// Sends one frame.
pub(crate) async fn send(socket: &mut Socket, frame: &impl Frame) -> Result<(), DialError> {
    let bytes = link::encode(frame).map_err(|error| DialError::Incompatible(error.to_string()))?;
    socket.send(Message::Binary(bytes)).await.map_err(|error| DialError::Unreachable(error.to_string()))
}

/// Receives one frame.
pub(crate) async fn receive<F: Frame>(socket: &mut Socket) -> Result<F, DialError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                return link::decode(&bytes).map_err(|error| DialError::Incompatible(error.to_string()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                return Err(DialError::Incompatible("a frame that is not binary".into()));
            }
            Some(Ok(Message::Close(_))) | None => {
                return Err(DialError::Unreachable("the link was closed".into()));
            }
            Some(Err(error)) => return Err(DialError::Unreachable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_on_this_machine_is_dialled_without_tls_unless_somebody_says_so() {
        for text in
            ["ws://127.0.0.1:7900", "ws://localhost:7900/v1/link", "ws://[::1]:7900", "wss://10.0.0.1"]
        {
            check_url(text, false).unwrap();
        }
        for text in ["ws://example.org", "ws://10.0.0.1:7900", "ws://[fd00::1]:7900"] {
            let error = check_url(text, false).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(
                error.to_string().contains("wss://") && error.to_string().contains("--plaintext"),
                "{error}"
            );
            check_url(text, true).unwrap();
        }
        for text in ["", "7900", "http://127.0.0.1", "ws://127.0.0.1/x", "ws://u@127.0.0.1"] {
            assert_eq!(check_url(text, true).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
