//! What one app has at a time, by the local API.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::space::KeyName;
use waxwing_protocol::api::{
    AcquireAnswer, AcquireRequest, AcquireState, CheckAnswer, CheckQuery, Lease, LeaseEnd, LeaseHolder,
    Leases, LeasesQuery, Problem, ProblemCode, ReleaseAnswer, ReleaseRequest, RenewAnswer, RenewRequest,
    RevokeLeaseRequest, RevokedLease,
};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{Acting, Json, Query};
use super::texts::line;
use super::wait::LONGEST;
use crate::apps::Holder;
use crate::leases::{Acquired, Denied, FILE, Got, Queue, Standing, Want, file_name};
use crate::mesh::Mesh;

/// `POST /v1/leases/acquire`
pub(super) async fn acquire(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<AcquireRequest>,
) -> Result<Answer<AcquireAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let holder = acting.holder(mesh)?;
    let want = wanted(mesh, holder, request).await?;
    let (name, renewed) = (want.key.to_string(), want.holder.registered);
    let Acquired { got, holders } = mesh.leases.acquire(mesh, want).await.map_err(denied)?;
    let (state, token, remaining, position) = match got {
        Got::Acquired { token, remaining } => (AcquireState::Acquired, Some(token), Some(remaining), None),
        Got::Extended { token, remaining } => (AcquireState::Extended, Some(token), Some(remaining), None),
        Got::Queued { token, ahead } => (AcquireState::Queued, Some(token), None, u32::try_from(ahead).ok()),
        Got::Locked => (AcquireState::Locked, None, None, None),
        Got::Lost(why) => return Err(lost(why)),
    };
    let holders = holders.iter().map(|standing| show(mesh, standing)).collect();
    let remaining = remaining.map(millis);
    let mesh = mesh.name.clone();
    Ok(Answer(AcquireAnswer { mesh, name, state, token, remaining, renewed, position, holders }))
}

/// A request, if all of it can be.
async fn wanted(mesh: &Mesh, holder: Holder, request: AcquireRequest) -> Result<Want, Refused> {
    let ttl = time("ttl", request.ttl.as_deref(), limits::LEASE_TTL, limits::LEASE_TTL_DEFAULT)?;
    let no_longer_than = |longest| Duration::ZERO..=longest;
    let longest = no_longer_than(*limits::LEASE_TTL.end());
    let wait = time("wait", request.wait.as_deref(), longest, Duration::ZERO)?;
    let within = time("answer_within", request.answer_within.as_deref(), no_longer_than(LONGEST), LONGEST)?;
    line("purpose", request.purpose.as_ref(), limits::LEASE_NAME)?;
    let key = match (&request.name, &request.file) {
        (Some(name), None) if name.starts_with(FILE) => {
            return Err(malformed(format!("what begins with {FILE} is a file's: say file and repository")));
        }
        (Some(name), None) => key(name)?,
        (None, Some(file)) => {
            let of_app = || mesh.apps.details(&holder.which).and_then(|details| details.repository);
            let repository = request.repository.clone().or_else(of_app);
            file_name(repository, request.root.clone(), file.clone()).await?
        }
        (None, None) | (Some(_), Some(_)) => return Err(malformed("say name, or file".to_owned())),
    };
    if request.file.is_none() && (request.repository.is_some() || request.root.is_some()) {
        return Err(malformed("repository and root go with file".to_owned()));
    }
    Ok(Want {
        key,
        holder,
        ttl,
        mode: request.mode.unwrap_or_default(),
        on_disconnect: request.on_disconnect.unwrap_or_default(),
        purpose: request.purpose,
        wait,
        within,
    })
}

/// `POST /v1/leases/renew`
pub(super) async fn renew(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<RenewRequest>,
) -> Result<Answer<RenewAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let (holder, key, token) = (acting.holder(mesh)?, known(&request.name)?, request.token);
    let ttl = match &request.ttl {
        Some(ttl) => Some(time("ttl", Some(ttl), limits::LEASE_TTL, Duration::ZERO)?),
        None => None,
    };
    let renewed = mesh.leases.renew(mesh, &holder, &key, token, ttl).await;
    let remaining = millis(renewed.map_err(denied)?);
    Ok(Answer(RenewAnswer { name: request.name, token, remaining }))
}

/// `POST /v1/leases/release`
pub(super) async fn release(
    State(api): State<Api>,
    acting: Acting,
    Json(request): Json<ReleaseRequest>,
) -> Result<Answer<ReleaseAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let (holder, key, token) = (acting.holder(mesh)?, known(&request.name)?, request.token);
    mesh.leases.release(mesh, &holder, &key, token).await.map_err(denied)?;
    Ok(Answer(ReleaseAnswer { name: request.name, token }))
}

/// `GET /v1/leases/check`
pub(super) async fn check(
    State(api): State<Api>,
    Query(query): Query<CheckQuery>,
) -> Result<Answer<CheckAnswer>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let checked = mesh.leases.check(mesh, &known(&query.name)?, query.fence).await?;
    let remaining = checked.remaining.map(millis);
    Ok(Answer(CheckAnswer { state: checked.state, remaining, newest: checked.newest }))
}

/// `GET /v1/leases`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<LeasesQuery>,
) -> Result<Answer<Leases>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let freshness = *mesh.leases.space(mesh).freshness().borrow();
    let wants = |key: &KeyName, queue: &Queue| {
        let of_app = |app| {
            let its = |standing: &Standing| standing.says.as_ref().is_some_and(|says| says.app == app);
            queue.all().iter().any(its)
        };
        query.name.as_ref().is_none_or(|name| key.as_str() == name)
            && query.prefix.as_ref().is_none_or(|prefix| key.as_str().starts_with(prefix.as_str()))
            && query.app.clone().is_none_or(of_app)
    };
    let mut leases: Vec<_> = mesh.leases.list(mesh).await?.into_iter().collect();
    leases.retain(|(key, queue)| wants(key, queue));
    let more = leases.len() > limits::LEASES_PAGE;
    leases.truncate(limits::LEASES_PAGE);
    let show = |standing: &[Standing]| standing.iter().map(|one| show(mesh, one)).collect();
    let lease = |(key, queue): (KeyName, Queue)| Lease {
        name: key.to_string(),
        holders: show(queue.holders()),
        waiting: show(queue.waiting()),
    };
    let leases = leases.into_iter().map(lease).collect();
    let (mesh, current, as_of) = (mesh.name.clone(), freshness.complete, freshness.as_of);
    Ok(Answer(Leases { mesh, leases, more, current, as_of }))
}

/// `POST /v1/leases/revoke`
pub(super) async fn revoke(
    State(api): State<Api>,
    Json(request): Json<RevokeLeaseRequest>,
) -> Result<Answer<RevokedLease>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let revoked = mesh.leases.revoke(mesh, &known(&request.name)?, request.token).await;
    Ok(Answer(RevokedLease { name: request.name, revoked: revoked.map_err(denied)? }))
}

/// A duration as text, within bounds.
pub(super) fn time(
    field: &str,
    text: Option<&str>,
    bounds: std::ops::RangeInclusive<Duration>,
    unless_said: Duration,
) -> Result<Duration, Refused> {
    let Some(text) = text else { return Ok(unless_said) };
    let (least, most) = (bounds.start(), bounds.end());
    let bounds_of = || {
        let (least, most) = (humantime::format_duration(*least), humantime::format_duration(*most));
        malformed(format!("{field} must be {least} to {most}, as 30s"))
    };
    humantime::parse_duration(text).ok().filter(|time| bounds.contains(time)).ok_or_else(bounds_of)
}

/// A name that something may have.
pub(super) fn key(name: &str) -> Result<KeyName, Refused> {
    if name.len() > limits::LEASE_NAME {
        return Err(malformed(format!("name is at most {} bytes", limits::LEASE_NAME)));
    }
    known(name)
}

/// A name as an answer gave it.
pub(super) fn known(name: &str) -> Result<KeyName, Refused> {
    name.parse().map_err(|_| malformed("name is a text without control characters, and not empty".to_owned()))
}

fn malformed(detail: String) -> Refused {
    Problem::new(ProblemCode::Malformed).detail(detail).into()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Somebody in line, as others are shown him.
pub(super) fn show(mesh: &Mesh, standing: &Standing) -> LeaseHolder {
    let (says, node_id) = (standing.says.as_ref(), standing.writer);
    let named = mesh.roster(|roster| roster.former(&node_id).map(|member| member.name.clone()));
    let left = standing.expires.map_or(Duration::ZERO, |expires| expires.since(mesh.clock.broker_now()));
    LeaseHolder {
        token: standing.seq,
        app: says.map(|says| says.app.clone()),
        instance: says.and_then(|says| says.instance.clone()),
        node: named.unwrap_or_else(|| mesh.name.clone()),
        node_id,
        mode: standing.mode(),
        purpose: says.and_then(|says| says.purpose.clone()),
        since: standing.at,
        remaining: millis(left),
    }
}

fn lost(why: LeaseEnd) -> Refused {
    let detail = match why {
        LeaseEnd::Expired => "its record has ended",
        LeaseEnd::Disconnected => "this node was without a link for too long",
        LeaseEnd::Unregistered => "the registration of the app has ended",
        LeaseEnd::Revoked => "an admin has taken it away",
        LeaseEnd::StoreLost => "the broker has lost its store, and with it who stood in line: ask again",
    };
    Problem::new(ProblemCode::LeaseExpired).detail(detail).into()
}

/// Why something was not done.
pub(super) fn denied(why: Denied) -> Refused {
    let conflict = |detail| Problem::new(ProblemCode::Conflict).detail(detail);
    match why {
        Denied::NotWritten(why) => return why.into(),
        Denied::NotHolder => {
            Problem::new(ProblemCode::NotHolder).detail("no lease of this name and token is this app's")
        }
        Denied::Stale => Problem::new(ProblemCode::StaleToken)
            .detail("whoever has it now has a higher token: stop what was done under this one"),
        Denied::Expired => Problem::new(ProblemCode::LeaseExpired).detail("stop what was done under it"),
        Denied::OtherMode => {
            conflict("the app has it, or waits for it, in the other mode: release it first".to_owned())
        }
        Denied::TooMany => conflict(format!("an app has and waits for at most {} leases", limits::LEASES)),
        Denied::NotAdmin => Problem::new(ProblemCode::NotAdmin).detail("it is an app's of another node"),
        Denied::Failed(why) => {
            tracing::error!(%why, "a lease cannot be looked up");
            Problem::new(ProblemCode::Internal)
        }
    }
    .into()
}
