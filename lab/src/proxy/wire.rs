//! What happens to the bytes of a link, below its frames: they go one by one, or not at all.
//!
//! ```text
//! an end  <- socket -> relay <- pipe -> the proxy's WebSocket
//! ```

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use waxwing_crypto::NodeId;

use super::{Skies, lock};

/// What a relay reads at a time, and a pipe holds.
const CHUNK: usize = 64 * 1024;

/// What the link of a node goes through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Weather {
    /// Each frame comes so much later. Those behind it wait no longer for that.
    pub delay: Duration,
    /// Bytes go one by one, each in a packet of its own.
    pub split: bool,
    /// Nothing is taken from either end or given to it: no frame, no answer to a ping, no end of the connection.
    pub silent: bool,
}

/// Who a link is of, and what it goes through.
#[derive(Clone, Debug)]
pub(super) struct Sky {
    /// Known from the `hello` on.
    pub(super) member: Arc<Mutex<Option<NodeId>>>,
    pub(super) skies: watch::Receiver<Skies>,
}

impl Sky {
    pub(super) fn weather(&self) -> Weather {
        let member = *lock(&self.member);
        member.and_then(|node| self.skies.borrow().get(&node).copied()).unwrap_or_default()
    }

    /// Waits for as long as it is silent, and says what it is then.
    async fn clears(&mut self) -> Weather {
        loop {
            self.skies.borrow_and_update();
            let weather = self.weather();
            // Without a proxy there is nobody left who could end it.
            if !weather.silent || self.skies.changed().await.is_err() {
                return weather;
            }
        }
    }
}

/// A pipe for the proxy's WebSocket, and the other end of it for a relay.
pub(super) fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(CHUNK)
}

/// Carries bytes between an end's socket and the proxy, until the proxy has ended the link and all that it said is said.
pub(super) async fn relay(socket: &mut TcpStream, pipe: DuplexStream, sky: Sky) {
    let (from_socket, to_socket) = socket.split();
    let (from_pipe, to_pipe) = tokio::io::split(pipe);
    let out = carry(from_pipe, to_socket, sky.clone());
    tokio::pin!(out);
    tokio::select! {
        () = &mut out => {}
        () = carry(from_socket, to_pipe, sky) => out.await,
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut sky: Sky) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let weather = sky.clears().await;
        let bytes = &buffer[..read];
        let written =
            if weather.split { one_by_one(bytes, &mut to).await } else { to.write_all(bytes).await };
        if read == 0 || written.is_err() {
            // Whoever is there is told; whoever is not does not mind.
            let _ = to.shutdown().await;
            return;
        }
    }
}

async fn one_by_one(bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    for byte in bytes.chunks(1) {
        to.write_all(byte).await?;
        to.flush().await?;
    }
    Ok(())
}
