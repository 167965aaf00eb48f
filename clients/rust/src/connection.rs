//! Connections to one node, kept open between requests.
//!
//! A request takes an idle connection or dials a new one, and puts it back when the answer has been read to its end.
//! One that the node has closed meanwhile is replaced, as long as nothing was written on it; and one that the node might be
//! closing at this moment, since nothing has gone over it for long, is not taken. Once a request may have been written,
//! only a read is tried again; anything else is [`Error::Lost`], and the caller's to decide.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::place::Place;

/// Idle connections kept. More than this many requests at once dial, and close when done.
const IDLE: usize = 8;
/// How long a connection may have been idle to be taken: half of what a node waits for the next request on it.
const FRESH: Duration = Duration::from_secs(5);
/// Largest answer read: a page of the inbox, whose bodies grow when escaped as JSON.
const ANSWER_MAX: usize = 128 * 1024 * 1024;

type Body = Full<Bytes>;

/// See the module.
pub(crate) struct Pool {
    place: Place,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: SendRequest<Body>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, idle: Mutex::default() }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn request(&self, request: Request<Body>) -> Result<(StatusCode, Bytes)> {
        let (connection, response) = self.exchange(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|err| Error::Lost(err.to_string()))?.to_bytes();
        self.put_back(connection);
        Ok((status, body))
    }

    async fn exchange(&self, mut request: Request<Body>) -> Result<(SendRequest<Body>, Response<Incoming>)> {
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            let again = (request.method() == Method::GET).then(|| request.clone());
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut failed) => match failed.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(Error::Lost(failed.into_error().to_string())),
                },
            }
        }
        let mut connection = self.dial().await?;
        let response = connection.send_request(request).await.map_err(|err| Error::Lost(err.to_string()))?;
        Ok((connection, response))
    }

    /// Sends one request on a connection of its own, and gives the answer while it still comes.
    pub(crate) async fn stream(&self, request: Request<Body>) -> Result<(StatusCode, Stream)> {
        let mut connection = self.dial().await?;
        let response = connection.send_request(request).await.map_err(|err| Error::Lost(err.to_string()))?;
        Ok((response.status(), Stream { body: response.into_body(), _connection: connection }))
    }

    async fn dial(&self) -> Result<SendRequest<Body>> {
        let unreachable = |source| Error::Unreachable { place: self.place.to_string(), source };
        match &self.place {
            Place::Socket(path) => greet(UnixStream::connect(path).await.map_err(unreachable)?).await,
            Place::Tcp { address, .. } => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                greet(stream).await
            }
        }
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            if last.since.elapsed() >= FRESH {
                // Those before it have been idle for longer.
                idle.clear();
            } else if !last.connection.is_closed() {
                return Some(last.connection);
            }
        }
        None
    }

    fn put_back(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.is_closed() && idle.len() < IDLE {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

/// HTTP over a connection.
async fn greet(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Body>> {
    let greeted = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = greeted.map_err(|err| Error::Lost(err.to_string()))?;
    // Ends with the connection, which ends when its sender is dropped; how it ended shows in the request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// An answer that comes bit by bit, and the connection that it comes on.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) body: Incoming,
    /// Dropping it would end the connection.
    _connection: SendRequest<Body>,
}

impl Stream {
    /// Reads all that is left, for an answer that is no stream after all.
    pub(crate) async fn rest(self) -> Result<Bytes> {
        let body = Limited::new(self.body, ANSWER_MAX).collect().await;
        Ok(body.map_err(|err| Error::Lost(err.to_string()))?.to_bytes())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.place)
    }
}
