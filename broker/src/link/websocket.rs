//! tungstenite's WebSocket, so that a link that does nothing holds next to nothing, whatever has gone over it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use waxwing_protocol::limits;

use super::buffered::Buffered;

/// Every link has one for as long as it lives. (tungstenite's default is 128 KiB.)
const READ_BUFFER: usize = 512;
/// A message up to this may go through a buffer that is kept.
const SMALL: usize = 4 * 1024;

/// A WebSocket, server's side.
pub(crate) struct WebSocket<S = TokioIo<Upgraded>> {
    inner: WebSocketStream<Buffered<S>>,
    /// The last large message. tungstenite reads on into the memory of a message that nobody else has any more, and keeps
    /// all of it; so somebody has it until tungstenite has let go.
    held: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Speaks WebSocket on an upgraded connection.
    pub(super) async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0) // It goes to ours.
            .max_write_buffer_size(2 * limits::FRAME)
            .max_message_size(Some(limits::FRAME))
            .max_frame_size(Some(limits::FRAME));
        let stream = Buffered::new(stream);
        let inner = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Self { inner, held: Bytes::new() }
    }

    /// The bytes under it.
    pub(super) fn get_mut(&mut self) -> &mut Buffered<S> {
        self.inner.get_mut()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = Pin::new(&mut self.inner).poll_next(cx);
        if self.held.is_unique() {
            self.held = Bytes::new();
        }
        let message = ready!(message);
        if let Some(Ok(Message::Binary(bytes))) = &message
            && bytes.len() > SMALL
        {
            self.held = bytes.clone();
        }
        Poll::Ready(message)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(Pin::new(&mut self.inner).poll_ready(cx))?;
        if self.inner.get_ref().is_full() {
            return Pin::new(&mut self.inner).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        if let Message::Binary(bytes) = &message
            && bytes.len() > SMALL
        {
            let frame = Frame::message(bytes.clone(), OpCode::Data(Data::Binary), true);
            return frame.format(self.inner.get_mut().behind());
        }
        Pin::new(&mut self.inner).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};

    use super::*;

    const SIZES: [usize; 13] = [0, 1, 14, 511, 512, 513, 4_097, 33_000, limits::FRAME, 7, 70_000, 70_000, 2];

    async fn pair() -> (WebSocket<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(4 * limits::FRAME);
        let node = WebSocketStream::from_raw_socket(theirs, Role::Client, None);
        (WebSocket::new(ours).await, node.await)
    }

    fn message(bytes: usize) -> Message {
        Message::Binary((0..bytes).map(|at| (at * at) as u8).collect())
    }

    #[tokio::test]
    async fn messages_of_all_sizes_arrive_as_they_were_sent() {
        let (mut socket, mut node) = pair().await;
        for size in SIZES {
            node.feed(message(size)).await.unwrap();
        }
        node.flush().await.unwrap();
        for size in SIZES {
            assert_eq!(socket.next().await.unwrap().unwrap(), message(size), "{size}");
        }
    }

    #[tokio::test]
    async fn messages_of_all_sizes_are_sent_in_their_order() {
        let (mut socket, mut node) = pair().await;
        for size in SIZES {
            socket.feed(message(size)).await.unwrap();
        }
        socket.flush().await.unwrap();
        socket.send(Message::Ping(Bytes::new())).await.unwrap();
        assert_eq!(socket.get_mut().behind().capacity(), 0, "an idle link has no buffer");
        for size in SIZES {
            assert_eq!(node.next().await.unwrap().unwrap(), message(size), "{size}");
        }
    }

    #[tokio::test]
    async fn the_memory_of_a_large_message_is_given_back() {
        let (mut socket, mut node) = pair().await;
        node.send(message(300)).await.unwrap(); // A login.
        socket.next().await.unwrap().unwrap();
        for _ in 0..3 {
            node.send(message(limits::FRAME)).await.unwrap();
            drop(socket.next().await.unwrap().unwrap());
            let mut pongs = 0;
            while !socket.held.is_empty() {
                assert!(pongs < READ_BUFFER, "tungstenite keeps it");
                pongs += 1;
                node.send(Message::Pong(Bytes::new())).await.unwrap();
                socket.next().await.unwrap().unwrap();
                assert!(socket.next().now_or_never().is_none(), "a link that waits");
            }
        }
    }
}
