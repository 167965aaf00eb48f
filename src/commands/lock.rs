//! `waxwing lock`: a command under a lease, for as long as it has it.
//!
//! ```text
//! registered -> asks, waits -> has it -> CMD started, told the token -> renewed ... -> CMD ends -> released
//!                                                       lost: CMD is told to stop, and killed if it does not
//! ```
//!
//! How long the lease certainly lasts is counted here as well, from before each question, so CMD is stopped in time also when the
//! node is gone.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use waxwing_client::api::{
    AcquireRequest, AcquireState, EventBody, EventQuery, LeaseEnd, LeaseMode, LeaseNews, OnDisconnect,
    ProblemCode, ReleaseRequest, RenewRequest,
};
use waxwing_client::{Client, Error, RegistrationId, ResumingEvents};

use super::run::child::{Child, Ended};
use super::{Context, leases};
use crate::cli::Lock;
use crate::failure::{Failure, Result};
use crate::output::inline;

/// The app that has it, if nobody says which.
const APP: &str = "lock";
/// One question waits no longer.
const ASK: Duration = Duration::from_secs(60);
/// A command that was told to stop has so long.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// A lease of which less is certainly left is renewed before the command is started.
const ASKED_LATELY: Duration = Duration::from_secs(1);
/// A question has so long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A node that does not answer is asked again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// What has happened.
#[derive(Serialize)]
struct Locked {
    name: String,
    token: u64,
    #[serde(flatten)]
    ended: Ended,
    /// It lost the lease before it ended: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<&'static str>,
}

/// The lease.
struct Held {
    client: Client,
    name: String,
    token: u64,
    /// Until then certainly.
    until: Instant,
}

pub(crate) async fn run(context: &Context, arguments: Lock) -> Result<ExitCode> {
    if arguments.list {
        return leases::list(context, arguments.name).await.map(|()| ExitCode::SUCCESS);
    }
    match arguments.name.clone() {
        Some(name) if arguments.revoke => {
            leases::revoke(context, name, arguments.token).await.map(|()| ExitCode::SUCCESS)
        }
        _ => lock(context, &arguments).await,
    }
}

async fn lock(context: &Context, arguments: &Lock) -> Result<ExitCode> {
    let app = arguments.app.clone().map_or_else(|| APP.parse(), Ok);
    let app = app.map_err(|_| Failure::failed("this is no name of an app"))?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::failed(error.to_string()))?;
    let id = RegistrationId::new(random);
    // Each is another holder, whatever it is called.
    let instance: waxwing_client::Name = format!("lock-{:.12}", id.as_str())
        .parse()
        .map_err(|_| Failure::failed("this is no name of an instance"))?;
    let client = context.client()?.app(app.clone()).instance(instance.clone()).registration(id.clone());
    let query = EventQuery {
        app: Some(app.to_string()),
        kind: Some("lease,system".to_owned()),
        register: Some(1),
        registration: Some(id),
        instance: Some(instance),
        mesh: context.mesh.clone(),
        ..EventQuery::default()
    };
    let not_started = |failure: Failure| failure.after("the command was not started");
    let mut events = client.events_resuming(&query).await.map_err(|error| not_started(error.into()))?;
    let mut held = acquire(context, client, arguments).await.map_err(not_started)?;
    if held.until <= Instant::now() + ASKED_LATELY {
        // It was waited for: what is left of it is counted from before that.
        let renewed = held.renew(context).await;
        let over = |why: Option<&str>| {
            let why = why.unwrap_or("the node does not answer");
            not_started(Failure::conflict(format!("the lease was lost at once: {why}")))
        };
        renewed.map_err(over)?;
    }
    let environment = [("WAXWING_FENCE", held.token.to_string().into())];
    let ran = match Child::lead(&arguments.command, &environment) {
        Ok(child) => under(context, child, &mut held, &mut events).await,
        Err(failure) => Err(failure),
    };
    let released = held.release(context).await;
    let (ended, lost) = ran?;
    let lost = lost.or_else(|| released.err());
    let (name, token) = (held.name.clone(), held.token);
    context.output.print(&Locked { name, token, ended, lost }, String::new)?;
    match lost {
        Some(why) => Err(Failure::conflict(format!(
            "the lease of {} was lost while the command ran ({why}): it {ended}",
            inline(&held.name)
        ))),
        None => Ok(ended.exit()),
    }
}

/// Asks until it is there, or has been waited for.
async fn acquire(context: &Context, client: Client, arguments: &Lock) -> Result<Held> {
    let deadline = Instant::now() + arguments.wait.unwrap_or_default();
    let request = request(context, arguments)?;
    loop {
        let asked = Instant::now();
        let wait = deadline.saturating_duration_since(asked);
        let answer_within = Some(humantime::format_duration(wait.min(ASK)).to_string());
        let wait = (!wait.is_zero()).then(|| humantime::format_duration(wait).to_string());
        let answer = client.acquire_lease(&AcquireRequest { wait, answer_within, ..request.clone() }).await?;
        match (answer.state, answer.token) {
            (AcquireState::Acquired | AcquireState::Extended, Some(token)) => {
                let until = asked + Duration::from_millis(answer.remaining.unwrap_or_default());
                return Ok(Held { client, name: answer.name, token, until });
            }
            (AcquireState::Queued, _) => {}
            (AcquireState::Locked | AcquireState::Acquired | AcquireState::Extended, _) => {
                let holder = answer.holders.first();
                let who = holder.and_then(|holder| Some(format!("{}@{}", holder.app.as_ref()?, holder.node)));
                let who = who.unwrap_or_else(|| "somebody else".to_owned());
                let message = format!("{who} has the lease of {}", inline(&answer.name));
                return Err(Failure::conflict(message).hint("--wait 10m waits for it"));
            }
        }
    }
}

fn request(context: &Context, arguments: &Lock) -> Result<AcquireRequest> {
    let mut request = AcquireRequest {
        ttl: Some(arguments.ttl.clone()),
        mode: arguments.shared.then_some(LeaseMode::Shared),
        on_disconnect: Some(OnDisconnect::Grace),
        purpose: arguments.purpose.clone(),
        mesh: context.mesh.clone(),
        ..AcquireRequest::default()
    };
    if arguments.file {
        let root = std::path::absolute(arguments.root.as_deref().unwrap_or(std::path::Path::new(".")));
        let root = root.map_err(|error| Failure::failed(error.to_string()))?;
        let root = root.to_str().ok_or_else(|| Failure::usage("the path of the repository is not UTF-8"))?;
        request.root = Some(root.to_owned());
        (request.file, request.repository) = (arguments.name.clone(), arguments.repository.clone());
    } else {
        request.name = arguments.name.clone();
    }
    Ok(request)
}

/// Lets the command run for as long as the lease is there.
async fn under(
    context: &Context,
    mut child: Child,
    held: &mut Held,
    events: &mut ResumingEvents,
) -> Result<(Ended, Option<&'static str>)> {
    let mut renew_at = held.next();
    let lost = loop {
        tokio::select! {
            ended = child.wait() => return Ok((ended?, None)),
            event = events.next() => match event.map(|event| event.body) {
                Ok(EventBody::Lease { what: LeaseNews::Lost, token, reason, .. }) if token == held.token => {
                    break reason.map_or("lost", LeaseEnd::as_str);
                }
                Ok(_) => {}
                // Another has its name, or the node is of another version.
                Err(_) => break LeaseEnd::Unregistered.as_str(),
            },
            () = sleep_until(renew_at) => match held.renew(context).await {
                Ok(()) => renew_at = held.next(),
                Err(Some(why)) => break why,
                Err(None) if Instant::now() < held.until => renew_at = held.until.min(Instant::now() + AGAIN),
                Err(None) => break LeaseEnd::Expired.as_str(),
            },
        }
    };
    context.output.note(&format!("the lease is lost ({lost}): the command is stopped"));
    Ok((child.stop(STOPS_WITHIN).await?, Some(lost)))
}

impl Held {
    /// When it is renewed.
    fn next(&self) -> Instant {
        Instant::now() + self.until.saturating_duration_since(Instant::now()) / 3
    }

    /// More time. None if that is not known.
    async fn renew(&mut self, context: &Context) -> Result<(), Option<&'static str>> {
        let asked = Instant::now();
        let (name, token, mesh) = (self.name.clone(), self.token, context.mesh.clone());
        let client = self.client.clone().timeout(ANSWERS_WITHIN);
        match client.renew_lease(&RenewRequest { name, token, ttl: None, mesh }).await {
            Ok(answer) => {
                self.until = asked + Duration::from_millis(answer.remaining);
                Ok(())
            }
            Err(Error::Problem(problem)) => Err(ended(problem.code)),
            Err(_) => Err(None),
        }
    }

    /// Gives it back. Without an answer it ends with the registration, or its time.
    async fn release(&self, context: &Context) -> Result<(), &'static str> {
        let (name, token, mesh) = (self.name.clone(), self.token, context.mesh.clone());
        let client = self.client.clone().timeout(STOPS_WITHIN);
        match client.release_lease(&ReleaseRequest { name, token, mesh }).await {
            Err(Error::Problem(problem)) => ended(problem.code).map_or(Ok(()), Err),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Why it is over, if a refusal says that it is.
fn ended(code: ProblemCode) -> Option<&'static str> {
    let over = [
        ProblemCode::LeaseExpired,
        ProblemCode::StaleToken,
        ProblemCode::NotHolder,
        ProblemCode::Superseded,
        ProblemCode::UnprovenApp,
    ];
    over.contains(&code).then(|| code.as_str())
}
