//! Apps that say that they are there, and finding them.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use waxwing_crypto::{Name, NodeId};
use waxwing_protocol::api::{
    App, Apps, AppsQuery, Problem, ProblemCode, REGISTRATION_HEADER, Registered, Registration, RemoveQuery,
    Scope,
};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{From, Json, Query, Repeated};
use super::texts::{capabilities, line, lines};
use crate::apps::{Claim, Denied, Shown, Which};
use crate::clock;
use crate::content::{TOO_DEEP, is_shallow};
use crate::mesh::Mesh;
use crate::outbox::Caller;
use crate::presence::{self, SeenApp};

/// Shortest and longest registration.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// `GET /v1/apps`
pub(super) async fn list(
    State(api): State<Api>,
    Repeated(query): Repeated<AppsQuery>,
) -> Result<Answer<Apps>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let mut apps: Vec<App> = mesh.apps.list().into_iter().map(|app| show(mesh, app)).collect();
    let known = presence::freshness(mesh);
    let of_mesh = query.scope == Some(Scope::Mesh);
    if of_mesh {
        apps.extend(others(mesh));
    }
    apps.retain(|app| query.wants(app));
    apps.sort_by(|a, b| (&a.node, &a.name, &a.instance).cmp(&(&b.node, &b.name, &b.instance)));
    let more = apps.len() > limits::APPS_PAGE;
    apps.truncate(limits::APPS_PAGE);
    // Of its own apps a node knows at any time.
    let (current, as_of) = if of_mesh { (known.complete, known.as_of) } else { (true, Some(clock::now())) };
    Ok(Answer(Apps { mesh: mesh.name.clone(), apps, more, current, as_of }))
}

/// The apps of the other members, but for those whose mail is refused: what they say is not listened to.
fn others(mesh: &Mesh) -> Vec<App> {
    let seen = mesh.presence.apps().into_iter().filter(|app| !mesh.blocks(&app.node));
    let name = |node: &NodeId| mesh.roster(|roster| roster.member(node).map(|member| member.name.clone()));
    let app = |app: SeenApp| {
        Some(App {
            node: name(&app.node)?,
            node_id: app.node,
            name: app.which.name,
            instance: app.which.instance,
            since: app.since,
            until: None,
            this: false,
            details: app.details,
        })
    };
    seen.filter_map(app).collect()
}

/// `PUT /v1/apps/{name}`
pub(super) async fn register(
    State(api): State<Api>,
    From(caller): From,
    Path(name): Path<String>,
    Json(registration): Json<Registration>,
) -> Result<Answer<Registered>, Refused> {
    let mesh = &api.mesh(registration.mesh.as_ref())?;
    let malformed = |detail| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
    let ttl = match &registration.ttl {
        None => None,
        Some(text) => {
            let ttl = humantime::parse_duration(text).ok().filter(|ttl| TTL.contains(ttl));
            Some(ttl.ok_or_else(|| malformed("ttl must be 1s to 1h, as 30s"))?)
        }
    };
    check(&registration)?;
    let claim = Claim {
        which: Which { name: app_name(&caller, &name)?, instance: registration.instance.clone() },
        registration: registration.registration.clone(),
        takeover: registration.takeover,
    };
    let (id, shown) = mesh.apps.register(&claim, ttl, &registration).map_err(denied)?;
    Ok(Answer(Registered { registration: id, app: show(mesh, shown) }))
}

/// What can be said of every text by itself.
fn check(registration: &Registration) -> Result<(), Refused> {
    line("kind", registration.kind.as_ref(), limits::WORD)?;
    line("version", registration.version.as_ref(), limits::WORD)?;
    capabilities(registration.capabilities.as_ref())?;
    line("repository", registration.repository.as_ref(), limits::REPOSITORY)?;
    line("cwd", registration.cwd.as_ref(), limits::SUMMARY)?;
    lines("summary", registration.summary.as_ref(), limits::SUMMARY)?;
    if registration.meta.as_ref().is_some_and(|meta| !is_shallow(meta)) {
        return Err(Problem::new(ProblemCode::Malformed).detail(TOO_DEEP).into());
    }
    Ok(())
}

/// `DELETE /v1/apps/{name}`
pub(super) async fn remove(
    State(api): State<Api>,
    From(caller): From,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let which = Which { name: app_name(&caller, &name)?, instance: query.instance };
    mesh.apps.remove(&which, query.registration.as_ref()).map_err(denied)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a registration is not given.
pub(super) fn denied(why: Denied) -> Refused {
    let malformed = |detail| Problem::new(ProblemCode::Malformed).detail(detail);
    match why {
        Denied::Taken => Problem::new(ProblemCode::AppRegistered)
            .detail("its registration is somebody else's; another instance, or takeover, may be meant"),
        Denied::Superseded => Problem::new(ProblemCode::Superseded),
        Denied::Full => Problem::new(ProblemCode::TooManyApps).detail(format!("at most {}", limits::APPS)),
        Denied::Unheld => malformed("a ttl is wanted: no stream holds this registration".to_owned()),
        Denied::TooLarge => Problem::new(ProblemCode::TooLarge)
            .detail(format!("all that an app says is at most {} bytes", limits::PRESENCE)),
        Denied::Unknown => Problem::new(ProblemCode::UnknownApp),
        Denied::Unproven => Problem::new(ProblemCode::UnprovenApp)
            .detail(format!("show its registration's id in the {REGISTRATION_HEADER} header")),
    }
    .into()
}

/// An app of this node, as others are shown it.
fn show(mesh: &Mesh, app: Shown) -> App {
    App {
        name: app.which.name,
        instance: app.which.instance,
        node: mesh.node_name().unwrap_or_else(|| mesh.name.clone()),
        node_id: mesh.identity.node,
        since: app.since,
        until: app.until,
        this: true,
        details: app.details,
    }
}

/// The app that a path names, if the caller can be that.
fn app_name(caller: &Caller, text: &str) -> Result<Name, Refused> {
    let name: Result<Name, _> = text.parse();
    let name = name.map_err(|_| Problem::new(ProblemCode::Malformed).detail("an app's name is [a-z0-9-]"))?;
    if caller.bound && caller.app.as_ref() != Some(&name) {
        return Err(caller.cannot_be(&name).into());
    }
    Ok(name)
}
