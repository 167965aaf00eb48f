//! One link through the proxy: four futures, of which the first to end ends all.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};
use tokio_util::sync::CancellationToken;
use waxwing_protocol::link::{PATH, SUBPROTOCOL};

use super::frame::{Direction, Frame};
use super::rules::Action;
use super::wire::Sky;
use super::{Shared, lock};

pub(super) type Socket = WebSocketStream<DuplexStream>;

/// Frames read and not yet passed on, per direction. More than any window holds, so that a held frame does not keep the
/// reader from noticing that its end is gone.
const QUEUED: usize = 4_096;

/// Opens the WebSocket on both sides, or on neither.
pub(super) async fn upgrade(
    node: DuplexStream,
    broker: DuplexStream,
    address: SocketAddr,
) -> Option<(Socket, Socket)> {
    let broker = dial(broker, address).await?;
    let node = answer(node).await?;
    Some((node, broker))
}

/// Opens a WebSocket as a node does.
pub(super) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: SocketAddr,
) -> Option<WebSocketStream<S>> {
    let mut request = format!("ws://{address}{PATH}").into_client_request().ok()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    client_async(request, stream).await.ok().map(|(socket, _)| socket)
}

/// Answers one as a broker does.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Option<WebSocketStream<S>> {
    let protocol = |_: &Request, mut response: Response| {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    accept_hdr_async(stream, protocol).await.ok()
}

/// Passes frames both ways until either end is gone.
pub(super) async fn run(node: Socket, broker: Socket, sky: &Sky, shared: &Arc<Shared>) {
    let (to_node, from_node) = node.split();
    let (to_broker, from_broker) = broker.split();
    let lane = |direction| Lane { direction, sky: sky.clone(), shared: Arc::clone(shared) };
    tokio::select! {
        () = lane(Direction::ToBroker).run(from_node, to_broker) => {}
        () = lane(Direction::ToNode).run(from_broker, to_node) => {}
    }
}

/// One direction of a link.
struct Lane {
    direction: Direction,
    sky: Sky,
    shared: Arc<Shared>,
}

/// Why a direction has nothing more to pass on.
struct Ended;

impl Lane {
    async fn run(self, from: SplitStream<Socket>, to: SplitSink<Socket, Message>) {
        let (queue, queued) = mpsc::channel(QUEUED);
        let gone = CancellationToken::new();
        // Reading ends first and closes the queue; what was read is still passed on, and then the link ends.
        let reading = async {
            read(from, queue, &self.sky, &gone).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = self.write(to, queued, &gone) => {}
            () = reading => {}
        }
    }

    async fn write(
        &self,
        mut to: SplitSink<Socket, Message>,
        mut queued: mpsc::Receiver<(Instant, Message)>,
        gone: &CancellationToken,
    ) {
        while let Some((due, message)) = queued.recv().await {
            sleep_until(due).await;
            let Ok(messages) = self.decide(message, gone).await else {
                break;
            };
            if self.comes_through(gone).await.is_err() {
                break;
            }
            for message in messages {
                if to.send(message).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Waits for as long as the link's node is cut off.
    async fn comes_through(&self, gone: &CancellationToken) -> Result<(), Ended> {
        let member = *lock(&self.sky.member);
        let mut parted = self.shared.parted.subscribe();
        tokio::select! {
            biased; // What its sender said last is passed on, gone or not.
            // The sender is here.
            _ = parted.wait_for(|parted| member.is_none_or(|node| !parted.contains(&node))) => Ok(()),
            () = gone.cancelled() => Err(Ended),
        }
    }

    /// What goes on in place of this message.
    async fn decide(&self, message: Message, gone: &CancellationToken) -> Result<Vec<Message>, Ended> {
        let Message::Binary(bytes) = message else {
            return Ok(vec![message]);
        };
        let frame = Frame::read(self.direction, &bytes);
        if let Some(member) = frame.member() {
            *lock(&self.sky.member) = Some(member);
        }
        let member = *lock(&self.sky.member);
        self.shared.capture(member, self.direction, &frame, &bytes);
        let action = lock(&self.shared.rules).take(member, &frame);
        let pass = Ok(vec![Message::Binary(bytes)]);
        match action {
            None => pass,
            Some(Action::Hold(released)) => tokio::select! {
                _ = released => pass,
                () = gone.cancelled() => Err(Ended),
            },
            Some(Action::Drop) => Ok(Vec::new()),
            Some(Action::Cut) => Err(Ended),
            Some(Action::Rewrite(rewrite)) => {
                Ok(rewrite(frame).iter().filter_map(Frame::write).map(Message::Binary).collect())
            }
        }
    }
}

/// Reads one end until it is gone, and says so. Each message has the time from which it may go on.
async fn read(
    mut from: SplitStream<Socket>,
    queue: mpsc::Sender<(Instant, Message)>,
    sky: &Sky,
    gone: &CancellationToken,
) {
    while let Some(Ok(message)) = from.next().await {
        // Each side's pings are answered by the proxy: the WebSocket does so by itself.
        if matches!(message, Message::Ping(_) | Message::Pong(_)) {
            continue;
        }
        let due = Instant::now() + sky.weather().delay;
        if queue.send((due, message)).await.is_err() {
            break;
        }
    }
    gone.cancel();
}
