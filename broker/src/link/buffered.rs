//! The bytes under a WebSocket, read and written in large pieces, with no buffers for a link that is idle.
//!
//! tungstenite keeps its buffers as long as the link lives, and as large as they have ever been: so it gets a small one to
//! read into, and no large message to write. What the system has for a link is read into one buffer for all links of a
//! thread; what tungstenite did not ask for is kept here until it does, which is at once.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once. Enough for a frame of some tens of messages.
const AHEAD: usize = 32 * 1024;

thread_local! {
    /// Only used within a poll, which nothing interrupts.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; AHEAD].into_boxed_slice());
}

/// Written at once, if there is more than that.
const BEHIND: usize = 16 * 1024;

/// A buffer up to this is soon had again.
const SMALL: usize = 4 * 1024;
/// Room for a ping.
const IDLE: usize = 16;

/// A byte stream with buffers of its own.
#[derive(Debug)]
pub(crate) struct Buffered<S> {
    stream: S,
    /// Read, and not asked for yet.
    ahead: Bytes,
    /// Taken, and not written yet.
    behind: Vec<u8>,
    /// How much of that is written.
    written: usize,
}

impl<S> Buffered<S> {
    /// Nothing in them.
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, ahead: Bytes::new(), behind: Vec::new(), written: 0 }
    }

    /// Whether as much waits to be written as should.
    pub(crate) fn is_full(&self) -> bool {
        self.behind.len() > BEHIND
    }

    /// What waits to be written, to add to.
    pub(crate) const fn behind(&mut self) -> &mut Vec<u8> {
        &mut self.behind
    }

    /// Hands out some of what is there.
    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            self.ahead = Bytes::new(); // An empty rest would keep the memory.
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.take(buf);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let (asked, ahead) = read.filled().split_at(read.filled().len().min(buf.remaining()));
            buf.put_slice(asked);
            if !ahead.is_empty() {
                self.ahead = Bytes::copy_from_slice(ahead);
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    /// Writes what waits.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.behind.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.behind[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // A link that is busy writes as much again. One that has nothing but a ping to write is idle.
        if self.behind.len() <= IDLE || self.behind.capacity() <= SMALL {
            self.behind = Vec::new();
        }
        self.behind.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    /// Takes all or nothing, so that frames stay whole whoever adds them.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_full() {
            ready!(self.poll_written(cx))?;
        }
        self.behind.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_come_in_their_order_whatever_is_asked_for_and_none_are_kept() {
        let (ours, mut theirs) = tokio::io::duplex(1024 * 1024);
        let mut stream = Buffered::new(ours);
        let sent: Vec<u8> = (0..200_000_usize).map(|at| (at / 7) as u8).collect();
        theirs.write_all(&sent).await.unwrap();
        let mut read = Vec::new();
        for asked in (1..700).cycle() {
            let mut piece = vec![0; asked];
            let count = stream.read(&mut piece).await.unwrap();
            read.extend_from_slice(&piece[..count]);
            if read.len() == sent.len() {
                break;
            }
        }
        assert!(read == sent);
        assert_eq!(stream.ahead.len(), 0);
        drop(theirs);
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once() {
        let (ours, mut theirs) = tokio::io::duplex(AHEAD);
        let mut stream = Buffered::new(ours);
        theirs.write_all(&[7; AHEAD]).await.unwrap();
        stream.read_exact(&mut [0; 10]).await.unwrap();
        let room = theirs.write_all(&[8; AHEAD]).now_or_never();
        room.unwrap().unwrap();
        stream.read_exact(&mut [0; AHEAD - 10]).await.unwrap();
        assert_eq!(stream.ahead.len(), 0);
        assert_eq!(stream.read_u8().await.unwrap(), 8);
    }
}
