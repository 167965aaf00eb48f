//! How a Rust app, and the command line, talk to a Waxwing node: its local API as a typed client.
//!
//! One method per route. Each sends one HTTP/1.1 request over the node's Unix socket and gives the typed answer, or an
//! [`Error`] sorted by what the caller does next.
//!
//! | method | route |
//! |---|---|
//! | [`Client::version`] | `GET /v1/version` |
//! | [`Client::health`] | `GET /v1/health` |
//! | [`Client::metrics`] | `GET /v1/metrics` |
//! | [`Client::send`] | `POST /v1/send` |
//! | [`Client::send_batch`] | `POST /v1/send/batch` |
//! | [`Client::status`], [`Client::wait_status`] | `GET /v1/send/{id}` |
//! | [`Client::broker_view`] | `GET /v1/send/{id}/broker` |
//! | [`Client::inbox`] | `GET /v1/inbox` |
//! | [`Client::ack`] | `POST /v1/inbox/ack` |
//! | [`Client::delete`] | `DELETE /v1/inbox/{id}` |
//! | [`Client::events`], [`Client::events_resuming`] | `GET /v1/events` |
//! | [`Client::apps`] | `GET /v1/apps` |
//! | [`Client::profile`], [`Client::set_profile`] | `GET` and `POST /v1/profile` |
//! | [`Client::register`], [`Client::unregister`] | `PUT` and `DELETE /v1/apps/{name}` |
//! | [`Client::outbox`], [`Client::outbox_row`] | `GET /v1/outbox`, `/v1/outbox/{row}` |
//! | [`Client::requeue`], [`Client::abort`] | `POST /v1/outbox/requeue`, `/v1/outbox/abort` |
//! | [`Client::peers`] | `GET /v1/peers` |
//! | [`Client::join`], [`Client::create`] | `POST /v1/mesh/join`, `/v1/mesh/create` |
//! | [`Client::leave`] | `POST /v1/mesh/leave` |
//! | [`Client::move_broker`] | `POST /v1/mesh/broker` |
//! | [`Client::invite`] | `POST /v1/mesh/invite` |
//! | [`Client::rotate_keys`] | `POST /v1/mesh/rotate-keys` |
//! | [`Client::verify_peer`], [`Client::block_peer`], [`Client::allow_peer`] | `POST /v1/peers/verify`, `/block`, `/allow` |
//! | [`Client::grant`] | `POST /v1/mesh/grant` |
//! | [`Client::revoke`] | `POST /v1/mesh/revoke` |
//! | [`Client::resume`] | `POST /v1/mesh/resume` |
//! | [`Client::create_token`], [`Client::tokens`], [`Client::revoke_token`] | `POST`, `GET /v1/tokens`, `DELETE /v1/tokens/{name}` |
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
//!
//! What happens comes as a stream that goes on where it was when the node has been away:
//!
//! ```no_run
//! use waxwing_client::{Client, api};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Client::new("/run/user/1000/waxwing/node.sock").app("deploy".parse()?);
//! // Registered with the node for as long as the stream is open.
//! let query = api::EventQuery { register: Some(1), ..Default::default() };
//! let mut events = node.events_resuming(&query).await?;
//! loop {
//!     let event = events.next().await?;
//!     if let api::EventBody::Message { message } = event.body {
//!         println!("{}: {}", message.from, message.body.as_deref().unwrap_or("(not text)"));
//!         node.ack(&api::AckRequest { ids: Some(vec![message.id]), ..Default::default() }).await?;
//!     }
//! }
//! # }
//! ```

mod connection;
mod error;
mod events;
mod members;
mod meshes;
mod operator;
mod place;
mod query;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use waxwing_crypto::{AccessToken, ClientMessageId, Name, NodeId, Priority, Timestamp};
pub use waxwing_protocol::{RegistrationId, api};

use connection::Pool;
pub use error::{Error, NotLocal, Result};
pub use events::{Events, ResumingEvents};
pub use place::Place;

/// A request that takes longer has failed: the node answers from its own disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer one may take that asks the node to wait: the longest that a node waits.
const WAITING: Duration = Duration::from_secs(60);

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
        Self::at(Place::Socket(socket.into()))
    }

    /// A client of the node that listens on this address of this machine, by a token from `waxwing node token create`.
    /// Nothing is dialled yet.
    ///
    /// # Errors
    /// If the address is another machine's.
    pub fn tcp(address: SocketAddr, token: AccessToken) -> Result<Self, NotLocal> {
        if !address.ip().is_loopback() {
            return Err(NotLocal(address));
        }
        Ok(Self::at(Place::Tcp { address, token }))
    }

    fn at(place: Place) -> Self {
        Self { pool: Arc::new(Pool::new(place)), app: None, timeout: TIMEOUT }
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

    /// Where it dials.
    pub fn place(&self) -> &Place {
        self.pool.place()
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

    /// What became of a message, answered when its state is another than `query.known`, or after `query.wait`.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = "build-4711".parse()?;
    /// let mut query = api::StatusQuery { wait: Some("30s".to_owned()), ..Default::default() };
    /// let mut status = node.status(&id, &api::MeshQuery::default()).await?;
    /// while !status.state.is_end() {
    ///     query.known = Some(status.state);
    ///     status = node.wait_status(&id, &query).await?;
    ///     println!("{id} is {}", status.state.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn wait_status(
        &self,
        id: &ClientMessageId,
        query: &api::StatusQuery,
    ) -> Result<api::SendStatus> {
        let patient = self.patient(query.wait.is_some());
        patient.get(&format!("/v1/send/{id}"), query).await
    }

    /// A page of the inbox. Reading changes nothing.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), waxwing_client::Error> {
    /// // The next message for `deploy`, if one comes within half a minute.
    /// let query = api::InboxQuery {
    ///     app: Some("deploy".to_owned()),
    ///     unread: true,
    ///     limit: Some(1),
    ///     wait: Some("30s".to_owned()),
    ///     ..Default::default()
    /// };
    /// let next = node.inbox(&query).await?.items.pop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn inbox(&self, query: &api::InboxQuery) -> Result<api::InboxPage> {
        self.patient(query.wait.is_some()).get("/v1/inbox", query).await
    }

    /// Marks messages read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ack(&self, request: &api::AckRequest) -> Result<api::AckAnswer> {
        self.post("/v1/inbox/ack", request).await
    }

    /// Deletes a message from the inbox. It need not have been read; its sender is told nothing.
    ///
    /// # Errors
    /// [`Error::Problem`] with `unknown_message` if it is not there.
    pub async fn delete(&self, id: u64, mesh: &api::MeshQuery) -> Result<()> {
        self.remove(&format!("/v1/inbox/{id}"), mesh).await
    }

    /// What happens from now on, or from `query.after` on: one stream, which ends with the node.
    ///
    /// # Errors
    /// [`Error::Problem`] with `app_registered` or `busy`; [`Error::Unreachable`].
    pub async fn events(&self, query: &api::EventQuery) -> Result<Events> {
        let request = self.request(&Method::GET, &query::with_query("/v1/events", query)?, Bytes::new())?;
        let answered = tokio::time::timeout(self.timeout, self.pool.stream(request)).await;
        let (status, stream) = answered.unwrap_or_else(|_| Err(no_answer()))?;
        if status.is_success() {
            return Ok(Events::new(stream));
        }
        let rest = tokio::time::timeout(self.timeout, stream.rest()).await;
        Err(refused(status, &rest.unwrap_or_else(|_| Err(no_answer()))?))
    }

    /// The same, going on where it was whenever the node comes back.
    ///
    /// # Errors
    /// As for [`Client::events`]: the node must be there to begin with.
    pub async fn events_resuming(&self, query: &api::EventQuery) -> Result<ResumingEvents> {
        ResumingEvents::open(self.clone(), query.clone()).await
    }

    /// Apps by what they say about themselves.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apps(&self, query: &api::AppsQuery) -> Result<api::Apps> {
        self.get("/v1/apps", query).await
    }

    /// Registers an app for a while, renews that, or says more about it. Renewing takes the registration's id.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let ttl = Some("1m".to_owned());
    /// let kind = Some("reviewer".to_owned());
    /// let held = node.register(&"ann".parse()?, &api::Registration { ttl: ttl.clone(), kind, ..Default::default() }).await?;
    /// // Again before the minute is over. What is left out stays as it was.
    /// let registration = Some(held.registration);
    /// node.register(&"ann".parse()?, &api::Registration { ttl, registration, ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Problem`] with `app_registered` if somebody else has the name, `superseded` if somebody has taken it,
    /// `too_many_apps`.
    pub async fn register(&self, app: &Name, registration: &api::Registration) -> Result<api::Registered> {
        self.write(Method::PUT, &format!("/v1/apps/{app}"), registration).await
    }

    /// Ends an app's registration: the one that the query names, or whichever there is.
    ///
    /// # Errors
    /// [`Error::Problem`] with `unknown_app` if there is none, `superseded` if another has taken its place.
    pub async fn unregister(&self, app: &Name, query: &api::RemoveQuery) -> Result<()> {
        self.remove(&format!("/v1/apps/{app}"), query).await
    }

    /// What the node tells its peers of whoever is at it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn profile(&self, query: &api::MeshQuery) -> Result<api::OwnProfile> {
        self.get("/v1/profile", query).await
    }

    /// Says this from now on. What is left out stays as it was.
    ///
    /// # Errors
    /// [`Error::Problem`] with `malformed` for a text that is too long.
    pub async fn set_profile(&self, request: &api::ProfileRequest) -> Result<api::OwnProfile> {
        self.post("/v1/profile", request).await
    }

    /// The members of a mesh, and who of them is there.
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
        self.patient(true).post("/v1/mesh/invite", request).await
    }

    /// Six words that two people compare to see that their nodes mean each other.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn verify_peer(&self, request: &api::PeerRequest) -> Result<api::VerifyAnswer> {
        self.post("/v1/peers/verify", request).await
    }

    /// Refuses a member's mail from now on: it ends at its sender.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn block_peer(&self, request: &api::PeerRequest) -> Result<api::PeerAnswer> {
        self.post("/v1/peers/block", request).await
    }

    /// Takes a member's mail again.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn allow_peer(&self, request: &api::PeerRequest) -> Result<api::PeerAnswer> {
        self.post("/v1/peers/allow", request).await
    }

    /// Gives a member another role. For admins.
    ///
    /// # Errors
    /// `not_admin`; `unknown_recipient`; `not_now` if it has that role, or is the last admin; `offline`.
    pub async fn grant(&self, request: &api::GrantRequest) -> Result<api::MemberAnswer> {
        self.patient(true).post("/v1/mesh/grant", request).await
    }

    /// Ends a node's membership for good. For admins.
    ///
    /// # Errors
    /// As [`Client::grant`].
    pub async fn revoke(&self, request: &api::RevokeRequest) -> Result<api::MemberAnswer> {
        self.patient(true).post("/v1/mesh/revoke", request).await
    }

    /// Says that the log held by this node is the right one, after the broker has lost its store. For admins.
    ///
    /// # Errors
    /// As [`Client::invite`]; `nothing_to_resume` if the mesh does not wait for it.
    pub async fn resume(&self, request: &api::ResumeRequest) -> Result<api::ResumeAnswer> {
        self.patient(true).post("/v1/mesh/resume", request).await
    }

    /// The same client, waiting longer for an answer if the node was asked to wait.
    fn patient(&self, waits: bool) -> Self {
        let more = if waits { WAITING } else { Duration::ZERO };
        self.clone().timeout(self.timeout.saturating_add(more))
    }

    async fn get<A: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<A> {
        let (status, body) = self.call(&Method::GET, &query::with_query(path, query)?, Bytes::new()).await?;
        read(status, &body)
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A> {
        self.write(Method::POST, path, body).await
    }

    async fn write<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A> {
        let body = serde_json::to_vec(body).map_err(|err| Error::Incompatible(err.to_string()))?;
        let (status, body) = self.call(&method, path, body.into()).await?;
        read(status, &body)
    }

    async fn remove(&self, path: &str, query: &impl Serialize) -> Result<()> {
        let path = query::with_query(path, query)?;
        let (status, body) = self.call(&Method::DELETE, &path, Bytes::new()).await?;
        if status.is_success() { Ok(()) } else { Err(refused(status, &body)) }
    }

    async fn call(&self, method: &Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let request = self.request(method, path, body)?;
        let answered = tokio::time::timeout(self.timeout, self.pool.request(request)).await;
        answered.unwrap_or_else(|_| Err(no_answer()))
    }

    fn request(&self, method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path);
        request = match self.place() {
            Place::Socket(_) => request.header(HOST, "localhost"),
            Place::Tcp { address, token } => {
                request.header(HOST, address.to_string()).header(AUTHORIZATION, bearer(token)?)
            }
        };
        if *method != Method::GET {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(app) = &self.app {
            request = request.header(api::APP_HEADER, app.as_str());
        }
        request.body(body.into()).map_err(|err| Error::Incompatible(err.to_string()))
    }
}

/// What shows a token. Not printed by whatever prints headers.
fn bearer(token: &AccessToken) -> Result<HeaderValue> {
    let shown = HeaderValue::from_str(&format!("Bearer {}", *token.reveal()));
    let mut shown = shown.map_err(|err| Error::Incompatible(err.to_string()))?;
    shown.set_sensitive(true);
    Ok(shown)
}

/// The answer, or the problem that came in its place.
fn read<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A> {
    if status.is_success() {
        serde_json::from_slice(body).map_err(|err| strange(status, &err))
    } else {
        Err(refused(status, body))
    }
}

/// The problem that came in place of an answer.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice(body) {
        Ok(problem) => Error::Problem(problem),
        Err(err) => strange(status, &err),
    }
}

fn strange(status: StatusCode, err: &serde_json::Error) -> Error {
    Error::Incompatible(format!("answer {status} cannot be read: {err}"))
}

fn no_answer() -> Error {
    Error::Lost("no answer in time".to_owned())
}

#[cfg(test)]
mod tests;
