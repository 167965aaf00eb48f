//! Counts what goes through a connection; and before it has logged in, ends it beyond a limit. tungstenite can bound a message
//! only for the whole life of a socket, and a stranger may not make us hold 1 MiB.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::Traffic;

/// What a connection may still send. Shared by the byte stream, which counts, and the link, which lifts the limit.
#[derive(Debug)]
pub(crate) struct Meter(AtomicUsize);

/// No limit.
const LIFTED: usize = usize::MAX;

impl Meter {
    /// Allows so many bytes.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Allows so many bytes more: the peer was asked for them.
    pub(crate) fn allow(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Ends the counting: the peer has said who it is.
    pub(crate) fn lift(&self) {
        self.0.store(LIFTED, Ordering::Relaxed);
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == LIFTED {
            return Ok(());
        }
        let Some(left) = left.checked_sub(bytes) else {
            return Err(io::Error::other(Exhausted));
        };
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// A byte stream with a meter on what it reads.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    traffic: Traffic,
}

impl<S> Metered<S> {
    /// Puts the meter on.
    pub(crate) const fn new(stream: S, meter: Arc<Meter>, traffic: Traffic) -> Self {
        Self { stream, meter, traffic }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("sent too much before logging in")]
struct Exhausted;

/// Whether this is a meter's error.
pub(crate) fn is_exhausted(err: &io::Error) -> bool {
    err.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Exhausted>)
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.traffic.read.inc_by(read as u64);
        Poll::Ready(self.meter.count(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.traffic.written.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.traffic.written.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_stream_ends_at_its_limit_unless_that_is_lifted() {
        let bytes = [7; 100];
        let meter = Arc::new(Meter::new(60));
        let traffic = Metrics::new().traffic;
        let mut stream = Metered::new(&bytes[..], Arc::clone(&meter), traffic.clone());
        let mut buf = [0; 30];
        stream.read_exact(&mut buf).await.unwrap();
        stream.read_exact(&mut buf).await.unwrap();
        assert!(is_exhausted(&stream.read_exact(&mut buf[..1]).await.unwrap_err()));

        let mut stream = Metered::new(&bytes[..], meter, traffic.clone());
        stream.meter.lift();
        stream.read_exact(&mut [0; 100]).await.unwrap();
        assert_eq!(traffic.read.get(), 161);
    }
}
