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
//! | [`Client::openapi`] | `GET /v1/openapi.json` |
//! | [`Client::send`] | `POST /v1/send` |
//! | [`Client::send_batch`] | `POST /v1/send/batch` |
//! | [`Client::status`], [`Client::wait_status`] | `GET /v1/send/{id}` |
//! | [`Client::broker_view`] | `GET /v1/send/{id}/broker` |
//! | [`Client::inbox`] | `GET /v1/inbox` |
//! | [`Client::ack`] | `POST /v1/inbox/ack` |
//! | [`Client::delete`] | `DELETE /v1/inbox/{id}` |
//! | [`Client::events`], [`Client::events_resuming`] | `GET /v1/events` |
//! | [`Client::ask`], [`Client::ask_closely`] | `POST /v1/request` |
//! | [`Client::cancel`] | `POST /v1/request/cancel` |
//! | [`Client::reply`]; [`Client::serve`] takes requests and answers them | `POST /v1/reply` |
//! | [`Client::apps`] | `GET /v1/apps` |
//! | [`Client::register`] | `PUT /v1/apps/{name}` |
//! | [`Client::unregister`] | `DELETE /v1/apps/{name}` |
//! | [`Client::profile`] | `GET /v1/profile` |
//! | [`Client::set_profile`] | `POST /v1/profile` |
//! | [`Client::claims`] | `GET /v1/claims` |
//! | [`Client::claim`] | `POST /v1/claims/try` |
//! | [`Client::complete_claim`] | `POST /v1/claims/complete` |
//! | [`Client::abandon_claim`] | `POST /v1/claims/abandon` |
//! | [`Client::kv_list`] | `GET /v1/kv/{scope}` |
//! | [`Client::kv_get`] | `GET /v1/kv/{scope}/{key}` |
//! | [`Client::kv_put`] | `PUT /v1/kv/{scope}/{key}` |
//! | [`Client::kv_delete`] | `DELETE /v1/kv/{scope}/{key}` |
//! | [`Client::kv_history`] | `GET /v1/kv/{scope}/{key}/history` |
//! | [`Client::leases`] | `GET /v1/leases` |
//! | [`Client::check_lease`] | `GET /v1/leases/check` |
//! | [`Client::acquire_lease`] | `POST /v1/leases/acquire` |
//! | [`Client::renew_lease`] | `POST /v1/leases/renew` |
//! | [`Client::release_lease`] | `POST /v1/leases/release` |
//! | [`Client::revoke_lease`] | `POST /v1/leases/revoke` |
//! | [`Client::outbox`] | `GET /v1/outbox` |
//! | [`Client::outbox_row`] | `GET /v1/outbox/{row}` |
//! | [`Client::requeue`] | `POST /v1/outbox/requeue` |
//! | [`Client::abort`] | `POST /v1/outbox/abort` |
//! | [`Client::peers`] | `GET /v1/peers` |
//! | [`Client::verify_peer`] | `POST /v1/peers/verify` |
//! | [`Client::block_peer`] | `POST /v1/peers/block` |
//! | [`Client::allow_peer`] | `POST /v1/peers/allow` |
//! | [`Client::members`] | `GET /v1/members` |
//! | [`Client::invites`] | `GET /v1/mesh/invites` |
//! | [`Client::invite`] | `POST /v1/mesh/invite` |
//! | [`Client::revoke_invite`] | `POST /v1/mesh/invite/revoke` |
//! | [`Client::join`] | `POST /v1/mesh/join` |
//! | [`Client::create`] | `POST /v1/mesh/create` |
//! | [`Client::leave`] | `POST /v1/mesh/leave` |
//! | [`Client::move_broker`] | `POST /v1/mesh/broker` |
//! | [`Client::rotate_keys`] | `POST /v1/mesh/rotate-keys` |
//! | [`Client::grant`] | `POST /v1/mesh/grant` |
//! | [`Client::revoke`] | `POST /v1/mesh/revoke` |
//! | [`Client::resume`] | `POST /v1/mesh/resume` |
//! | [`Client::recover`] | `POST /v1/mesh/recover` |
//! | [`Client::topics`] | `GET /v1/topics` |
//! | [`Client::publish`] | `POST /v1/topics/publish` |
//! | [`Client::subscribe`] | `POST /v1/topics/subscribe` |
//! | [`Client::unsubscribe`] | `POST /v1/topics/unsubscribe` |
//! | [`Client::subscriptions`] | `GET /v1/topics/subscriptions` |
//! | [`Client::topic_stream`] | `GET /v1/topics/stream` |
//! | [`Client::topic_ack`] | `POST /v1/topics/ack` |
//! | [`Client::topic_history`] | `GET /v1/topics/history` |
//! | [`Client::topic_retention`] | `POST /v1/topics/retention` |
//! | [`Client::tokens`] | `GET /v1/tokens` |
//! | [`Client::create_token`] | `POST /v1/tokens` |
//! | [`Client::revoke_token`] | `DELETE /v1/tokens/{name}` |
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

mod apps;
mod call;
mod claims;
mod connection;
mod error;
mod events;
mod leases;
mod members;
mod meshes;
mod messages;
mod operator;
mod peers;
mod place;
mod query;
mod requests;
mod state;
mod tokens;
mod topics;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use waxwing_crypto::{AccessToken, ClientMessageId, Name, NodeId, Priority, Timestamp};
pub use waxwing_protocol::{RegistrationId, TopicName, TopicPattern, api};

use connection::Pool;
pub use error::{Error, NotLocal, Result};
pub use events::{Events, ResumingEvents};
pub use place::Place;
pub use requests::{Asked, Asks, Reply, Requests, Step};
pub use state::KvTerms;
pub use topics::TopicStream;

/// A request that takes longer has failed: the node answers from its own disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer one may take that asks the node to wait: the longest that a node waits.
const WAITING: Duration = Duration::from_secs(60);

/// A handle on one node. Cheap to clone; clones share connections, and what they prove to be registered apps by.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    app: Option<Name>,
    instance: Option<Name>,
    /// Shown in place of what is remembered.
    registration: Option<RegistrationId>,
    /// The last registration of each app that was made by way of this client.
    registered: Arc<Mutex<HashMap<Name, RegistrationId>>>,
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
        Self {
            pool: Arc::new(Pool::new(place)),
            app: None,
            instance: None,
            registration: None,
            registered: Arc::default(),
            timeout: TIMEOUT,
        }
    }

    /// The same client speaking for this app: messages are sent from it, and its mailbox is the one read.
    #[must_use]
    pub fn app(mut self, app: Name) -> Self {
        self.app = Some(app);
        self
    }

    /// The same client speaking for this one of several apps of its name.
    #[must_use]
    pub fn instance(mut self, instance: Name) -> Self {
        self.instance = Some(instance);
        self
    }

    /// The same client proving by this registration to be its app. Not needed for what it has registered itself, unless that
    /// is several instances of one name, or one in several meshes.
    #[must_use]
    pub fn registration(mut self, registration: RegistrationId) -> Self {
        self.registration = Some(registration);
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

    /// Remembers by what this client proves to be an app; none when that has ended.
    pub(crate) fn remember(&self, app: &Name, registration: Option<&RegistrationId>) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        match registration {
            Some(registration) => registered.insert(app.clone(), registration.clone()),
            None => registered.remove(app),
        };
    }

    /// What its app is proved by, if it is registered.
    fn proof(&self) -> Option<RegistrationId> {
        let remembered = || {
            let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
            registered.get(self.app.as_ref()?).cloned()
        };
        self.registration.clone().or_else(remembered)
    }

    /// The same client, waiting longer for an answer if the node was asked to wait.
    pub(crate) fn patient(&self, waits: bool) -> Self {
        let more = if waits { WAITING } else { Duration::ZERO };
        self.clone().timeout(self.timeout.saturating_add(more))
    }
}

#[cfg(test)]
mod tests;
