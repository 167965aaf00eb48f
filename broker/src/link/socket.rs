//! The WebSocket as a link uses it: bounded, binary, with a timeout on everything.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Frame, encode};

use super::{DRAIN_WITHIN, End, WebSocket};
use crate::error::Error;

/// How long a goodbye may take: nobody may be there to hear it.
pub(super) const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// The next binary message. Pings and pongs only show that the node is there.
///
/// # Errors
/// The end of the link, in whichever way it came.
pub(super) async fn next(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
) -> Result<Bytes, End> {
    next_noting(stream, || ()).await
}

/// As [`next`], and notes whatever comes.
///
/// # Errors
/// As [`next`].
pub(super) async fn next_noting(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    heard: impl Fn(),
) -> Result<Bytes, End> {
    loop {
        let message = timeout(limits::DEAD_AFTER, stream.next()).await.map_err(|_| End::Silent)?;
        let message = message.ok_or(End::Gone)??;
        heard();
        match message {
            Message::Binary(bytes) => return Ok(bytes),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Text(_) => return Err(End::violation("frames are binary messages")),
            Message::Close(_) => return Err(End::Gone),
            Message::Frame(_) => return Err(End::violation("a raw frame")),
        }
    }
}

/// Sends one frame.
///
/// # Errors
/// `Gone`, or too slow; `Failed` if the frame cannot be encoded.
pub(super) async fn send(
    sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
    frame: &impl Frame,
) -> Result<(), End> {
    write(sink.send(message(frame)?)).await
}

/// Adds one frame to what is sent with the next [`flush`].
///
/// # Errors
/// As [`send`].
pub(super) async fn feed(
    sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
    frame: &impl Frame,
) -> Result<(), End> {
    write(sink.feed(message(frame)?)).await
}

/// Sends what was fed.
///
/// # Errors
/// `Gone`, or too slow.
pub(super) async fn flush(
    sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
) -> Result<(), End> {
    write(sink.flush()).await
}

/// Asks whether the node is there.
///
/// # Errors
/// `Gone`, or too slow.
pub(super) async fn ping(
    sink: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
) -> Result<(), End> {
    write(sink.send(Message::Ping(Bytes::new()))).await
}

/// Closes the connection: sends a close, or answers the node's, ends our half, and reads on for a moment. Otherwise what
/// was sent last would be lost to a reset over what the node still had under way. (RFC 6455, 7.1.1)
pub(super) async fn close(mut socket: WebSocket) {
    let farewell = async {
        // The sink's close, since the socket's own sends nothing once the node has closed.
        let _ = SinkExt::close(&mut socket).await;
        let stream = socket.get_mut();
        if stream.shutdown().await.is_ok() {
            // As bytes: after a violation there are no messages any more.
            let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
        }
    };
    let _ = timeout(GOODBYE_WITHIN, farewell).await;
}

fn message(frame: &impl Frame) -> Result<Message, End> {
    match encode(frame) {
        Ok(bytes) => Ok(Message::Binary(bytes)),
        Err(err) => Err(End::Failed(Error::Internal(err.into()))),
    }
}

async fn write(done: impl Future<Output = Result<(), tungstenite::Error>>) -> Result<(), End> {
    match timeout(DRAIN_WITHIN, done).await {
        Ok(done) => done.map_err(|_| End::Gone),
        Err(_) => Err(End::too_slow("the node has not read what it was sent")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use waxwing_protocol::link::{Done, Reason, ToNode};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_reads_nothing_for_a_minute_is_too_slow() {
        let (stream, _unread) = tokio::io::duplex(1_024);
        let mut socket = WebSocket::new(stream).await;
        let begun = Instant::now();
        let end = loop {
            match send(&mut socket, &ToNode::Done(Done { req: 1 })).await {
                Ok(()) => assert!(begun.elapsed().is_zero(), "as long as there is room, nobody waits"),
                Err(end) => break end,
            }
        };
        assert!(matches!(end, End::Told(Reason::TooSlow, _)), "{end}");
        assert_eq!(begun.elapsed(), DRAIN_WITHIN);
    }
}
