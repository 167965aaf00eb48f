//! How a Rust app, and the command line, talk to a Waxwing node: its local API as a typed client.
//!
//! One method per route. Each sends one HTTP/1.1 request over the node's Unix socket and gives the typed answer, or an
//! [`Error`] sorted by what the caller does next.
//!
//! | method | route |
//! |---|---|
//! | [`Client::version`] | `GET /v1/version` |
//! | [`Client::health`] | `GET /v1/health` |
//! | [`Client::send`] | `POST /v1/send` |
//! | [`Client::send_batch`] | `POST /v1/send/batch` |
//! | [`Client::status`] | `GET /v1/send/{id}` |
//! | [`Client::inbox`] | `GET /v1/inbox` |
//! | [`Client::ack`] | `POST /v1/inbox/ack` |
//! | [`Client::peers`] | `GET /v1/peers` |
//! | [`Client::invite`] | `POST /v1/mesh/invite` |
//!
//! ```no_run
//! use waxwing_client::{Client, api};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Client::new("/run/user/1000/waxwing/node.sock").app("ci".parse()?);
//!
//! let sent = node
//!     .send(&api::SendRequest {
//!         to: "deploy@build-1".to_owned(),
//!         body: Some("all green".to_owned()),
//!         // Repeating a request with the same id is safe: it is one message.
//!         client_message_id: Some("build-4711".parse()?),
//!         ..Default::default()
//!     })
//!     .await?;
//! println!("{} is {}", sent.client_message_id, sent.state.as_str());
//!
//! let page = node.inbox(&api::InboxQuery { unread: true, ..Default::default() }).await?;
//! for message in &page.items {
//!     println!("{}: {}", message.from, message.body.as_deref().unwrap_or("(not text)"));
//! }
//! // Reading changes nothing; only this marks them read.
//! node.ack(&api::AckRequest { through: Some(page.next), ..Default::default() }).await?;
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod query;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use waxwing_crypto::{ClientMessageId, Name, NodeId, Priority, Timestamp};
pub use waxwing_protocol::api;

use connection::Pool;
pub use error::{Error, Result};

/// A request that takes longer has failed: the node answers from its own disk.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A handle on one node. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    app: Option<Name>,
    timeout: Duration,
}

impl Client {
    /// A client of the node that listens on this socket. Nothing is dialled yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { pool: Arc::new(Pool::new(socket.into())), app: None, timeout: TIMEOUT }
    }

    /// The same client speaking for this app: messages are sent from it, and its mailbox is the one read.
    #[must_use]
    pub fn app(mut self, app: Name) -> Self {
        self.app = Some(app);
        self
    }

    /// The same client with another limit on how long a request may take (default 30 s).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket it dials.
    pub fn socket(&self) -> &Path {
        self.pool.socket()
    }

    /// The node's version.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if the node speaks another version of the local API than this client.
    pub async fn version(&self) -> Result<api::Version> {
        let version: api::Version = self.get("/v1/version", &()).await?;
        if version.api == api::API_VERSION {
            Ok(version)
        } else {
            Err(Error::Incompatible(format!(
                "the node speaks version {} of the local API, this client version {}",
                version.api,
                api::API_VERSION
            )))
        }
    }

    /// Whether the node can do its work, and how each mesh is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<api::Health> {
        self.get("/v1/health", &()).await
    }

    /// Sends a message. When this returns, it is on the node's disk and survives anything but the disk.
    ///
    /// # Errors
    /// [`Error::Problem`] if the node refused it: nothing was stored. [`Error::Lost`] if no answer came: repeat the
    /// same request with the same `client_message_id`.
    pub async fn send(&self, request: &api::SendRequest) -> Result<api::SendAnswer> {
        self.post("/v1/send", request).await
    }

    /// Sends up to 1,000 messages in one commit. One outcome per item, in the same order.
    ///
    /// # Errors
    /// As for [`Client::send`]; what is wrong with one item is its outcome, not an error.
    pub async fn send_batch(&self, request: &api::BatchRequest) -> Result<api::BatchAnswer> {
        self.post("/v1/send/batch", request).await
    }

    /// What became of a message.
    ///
    /// # Errors
    /// [`Error::Problem`] with `unknown_message` if this node never accepted one with this id.
    pub async fn status(&self, id: &ClientMessageId, mesh: &api::MeshQuery) -> Result<api::SendStatus> {
        self.get(&format!("/v1/send/{id}"), mesh).await
    }

    /// A page of the inbox. Reading changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn inbox(&self, query: &api::InboxQuery) -> Result<api::InboxPage> {
        self.get("/v1/inbox", query).await
    }

    /// Marks messages read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ack(&self, request: &api::AckRequest) -> Result<api::AckAnswer> {
        self.post("/v1/inbox/ack", request).await
    }

    /// The members of a mesh.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn peers(&self, query: &api::MeshQuery) -> Result<api::Peers> {
        self.get("/v1/peers", query).await
    }

    /// Lets somebody in: a token to hand to `waxwing join`.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_admin`, or `offline` while the broker cannot be reached.
    pub async fn invite(&self, request: &api::InviteRequest) -> Result<api::InviteAnswer> {
        self.post("/v1/mesh/invite", request).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<A> {
        self.call(Method::GET, &query::with_query(path, query)?, Bytes::new()).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A> {
        let body = serde_json::to_vec(body).map_err(|err| Error::Incompatible(err.to_string()))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A> {
        let mut request = Request::builder().method(&method).uri(path).header(HOST, "localhost");
        if method != Method::GET {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(app) = &self.app {
            request = request.header(api::APP_HEADER, app.as_str());
        }
        let request = request.body(body.into()).map_err(|err| Error::Incompatible(err.to_string()))?;
        let answered = tokio::time::timeout(self.timeout, self.pool.request(request)).await;
        let (status, body) = answered.unwrap_or(Err(Error::Lost("no answer in time".to_owned())))?;
        read(status, &body)
    }
}

/// The answer, or the problem that came in its place.
fn read<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A> {
    let strange =
        |err: serde_json::Error| Error::Incompatible(format!("answer {status} cannot be read: {err}"));
    if status.is_success() {
        serde_json::from_slice(body).map_err(strange)
    } else {
        Err(Error::Problem(serde_json::from_slice(body).map_err(strange)?))
    }
}

#[cfg(test)]
mod tests;
