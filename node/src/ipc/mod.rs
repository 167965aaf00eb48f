//! The local API: HTTP/1.1 and JSON on a Unix socket that only this user (or root) can use, and on a port of this machine if
//! there is to be one, for whoever has a token.
//!
//! One file per route group. A handler gets a valid request or the caller has been answered already; what it returns is
//! the answer or a [`Problem`].

mod apps;
mod claims;
mod events;
mod guard;
mod health;
mod inbox;
mod leases;
mod listen;
mod members;
mod mesh;
mod meshes;
mod metrics;
mod objects;
mod openapi;
mod outbox;
mod peers;
mod problem;
mod profile;
mod request;
mod requests;
mod send;
mod state;
#[cfg(test)]
mod tests;
mod texts;
mod tokens;
mod topics;
mod wait;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use tokio::sync::Semaphore;
use waxwing_crypto::Name;
use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::limits;

use crate::mesh::Mesh;
use crate::meshes::{Meshes, NoMesh};
use crate::tokens::Tokens;

pub(crate) use events::Reader;
pub(crate) use listen::{Listeners, bind, bind_tcp, serve, unbind};

/// Event streams at once.
const STREAMS: usize = 100;
/// Streams of topics at once: they share what they show.
const TOPIC_STREAMS: usize = 1_024;

/// What handlers work with.
#[derive(Clone, Debug)]
struct Api {
    meshes: Meshes,
    callers: guard::Callers,
    streams: Arc<Semaphore>,
    topic_streams: Arc<Semaphore>,
    tokens: Arc<Tokens>,
    /// Where apps are listened to beside the socket.
    listen: Option<SocketAddr>,
}

impl Api {
    fn new(meshes: Meshes, tokens: Arc<Tokens>, listen: Option<SocketAddr>) -> Self {
        let [streams, topic_streams] = [STREAMS, TOPIC_STREAMS].map(|count| Arc::new(Semaphore::new(count)));
        Self { meshes, callers: guard::Callers::default(), streams, topic_streams, tokens, listen }
    }

    /// One with no tokens, and nowhere to keep them.
    #[cfg(test)]
    fn of(meshes: Meshes) -> Self {
        let nowhere = crate::home::Home::new("/nonexistent".into());
        Self::new(meshes, Arc::new(Tokens::load(&nowhere).unwrap()), None)
    }

    /// The mesh that a request names, or the only one.
    fn mesh(&self, name: Option<&Name>) -> Result<Arc<Mesh>, Problem> {
        self.meshes.find(name).map_err(no_mesh)
    }

    /// Its name, whether it is open or not.
    fn name(&self, name: Option<&Name>) -> Result<Name, Problem> {
        self.meshes.name(name).map_err(no_mesh)
    }
}

fn no_mesh(why: NoMesh) -> Problem {
    match why {
        NoMesh::None => Problem::new(ProblemCode::NoMesh),
        NoMesh::Unknown(names) => Problem::new(ProblemCode::UnknownMesh).detail(format!("it is in {names}")),
        NoMesh::Several(names) => Problem::new(ProblemCode::MeshRequired).detail(format!("one of {names}")),
        NoMesh::Closed { name, why } => {
            Problem::new(ProblemCode::MeshClosed).detail(format!("{name}: {why}"))
        }
    }
}

/// Every route.
fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/version", get(health::version))
        .route("/v1/health", get(health::health))
        .route("/v1/metrics", get(metrics::metrics))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/send", post(send::send))
        .route("/v1/send/batch", post(send::batch).layer(DefaultBodyLimit::max(limits::API_BATCH_BODY)))
        .route("/v1/send/{id}", get(send::status))
        .route("/v1/send/{id}/broker", get(outbox::broker_view))
        .route("/v1/events", get(events::stream))
        .route("/v1/request", post(requests::request))
        .route("/v1/request/cancel", post(requests::cancel))
        .route("/v1/reply", post(requests::reply))
        .route("/v1/apps", get(apps::list))
        .route("/v1/apps/{name}", put(apps::register).delete(apps::remove))
        .route("/v1/profile", get(profile::get).post(profile::set))
        .route("/v1/claims", get(claims::list))
        .route("/v1/claims/try", post(claims::ask))
        .route("/v1/claims/complete", post(claims::complete))
        .route("/v1/claims/abandon", post(claims::abandon))
        .route("/v1/kv/{scope}", get(state::list))
        .route("/v1/kv/{scope}/{key}", get(state::get).put(state::put).delete(state::delete))
        .route("/v1/kv/{scope}/{key}/history", get(state::history))
        .route("/v1/outbox", get(outbox::list))
        .route("/v1/outbox/{row}", get(outbox::detail))
        .route("/v1/outbox/requeue", post(outbox::requeue))
        .route("/v1/outbox/abort", post(outbox::abort))
        .route("/v1/inbox", get(inbox::list))
        .route("/v1/inbox/ack", post(inbox::acknowledge))
        .route("/v1/inbox/{id}", delete(inbox::delete))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases/check", get(leases::check))
        .route("/v1/leases/acquire", post(leases::acquire))
        .route("/v1/leases/renew", post(leases::renew))
        .route("/v1/leases/release", post(leases::release))
        .route("/v1/leases/revoke", post(leases::revoke))
        .route("/v1/peers", get(peers::list))
        .route("/v1/peers/verify", post(peers::verify))
        .route("/v1/peers/block", post(peers::block))
        .route("/v1/peers/allow", post(peers::allow))
        .route("/v1/mesh/join", post(meshes::join))
        .route("/v1/mesh/create", post(meshes::create))
        .route("/v1/mesh/broker", post(meshes::broker))
        .route("/v1/mesh/leave", post(meshes::leave))
        .route("/v1/mesh/rotate-keys", post(meshes::rotate_keys))
        .route("/v1/mesh/invite", post(mesh::invite))
        .route("/v1/members", get(members::list))
        .route("/v1/mesh/invites", get(members::invites))
        .route("/v1/mesh/invite/revoke", post(members::revoke_invite))
        .route("/v1/mesh/recover", post(members::recover))
        .route("/v1/mesh/grant", post(mesh::grant))
        .route("/v1/mesh/revoke", post(mesh::revoke))
        .route("/v1/mesh/resume", post(mesh::resume))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/publish", post(topics::publish))
        .route("/v1/topics/subscribe", post(topics::subscribe))
        .route("/v1/topics/unsubscribe", post(topics::unsubscribe))
        .route("/v1/topics/subscriptions", get(topics::subscriptions))
        .route("/v1/topics/stream", get(topics::stream))
        .route("/v1/topics/ack", post(topics::acknowledge))
        .route("/v1/topics/history", get(topics::history))
        .route("/v1/topics/retention", post(topics::retention))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{name}", delete(tokens::revoke))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(limits::API_BODY))
        .layer(axum::middleware::from_fn_with_state(api.clone(), guard::admit))
        .with_state(api)
}
