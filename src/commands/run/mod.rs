//! `waxwing run`: any program as an app, for as long as it runs.
//!
//! ```text
//! --tell's addresses known? -> registered -> CMD started -> its signals and its end -> told -> registration ended
//! ```
//!
//! Nothing is started that could not be registered. When the node goes away later, CMD goes on, and is registered again when the
//! node is back.

pub(super) mod child;
mod hold;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use waxwing_client::api::{Registration, SendRequest};
use waxwing_client::{Client, ClientMessageId, Error, Name};
use waxwing_protocol::Address;

use self::child::{Child, Ended};
use self::hold::Hold;
use super::{APP, Context, REGISTRATION, REGISTRATION_MESH};
use crate::cli::Run;
use crate::failure::{Failure, Result};
use crate::output::{escape, inline};

/// A node that is away when CMD has ended is waited for so long.
const TELL_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Most characters of the command that are told.
const COMMAND: usize = 200;

/// What has happened.
#[derive(Serialize)]
struct Ran {
    app: String,
    command: String,
    #[serde(flatten)]
    ended: Ended,
    seconds: f64,
    told: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    to: Address,
    /// Of the message; none if it is not on the node's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_message_id: Option<ClientMessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Run) -> Result<ExitCode> {
    let client = context.client()?.app(arguments.name.clone());
    let not_started = |failure: Failure| failure.after("the command was not started");
    known(context, &client, &arguments.tell).await.map_err(not_started)?;
    let hold = Hold::begin(client.clone(), context, &arguments).await.map_err(not_started)?;
    let ran = with_child(context, &client, &arguments, &hold).await;
    // Whoever has taken the name keeps it.
    let (ended, took) = match ran {
        Ok(ran) => ran,
        Err(failure) => {
            hold.end().await;
            return Err(failure);
        }
    };
    let command = command(&arguments);
    let mut told = Vec::new();
    for (n, to) in arguments.tell.iter().enumerate() {
        let id = format!("run-{}-{n}", hold.id().as_str()).parse().ok();
        let request = message(context, &arguments, to, id, &command, ended, took);
        told.push(tell(context, &client, to, &request).await);
    }
    hold.end().await;
    let (app, seconds) = (arguments.name.to_string(), took.as_secs_f64());
    context.output.print(&Ran { app, command, ended, seconds, told }, String::new)?;
    Ok(ended.exit())
}

/// Runs the command while its registration is held.
async fn with_child(
    context: &Context,
    client: &Client,
    arguments: &Run,
    hold: &Hold,
) -> Result<(Ended, Duration)> {
    let started = Instant::now();
    let mut all = environment(context, &arguments.name)?;
    // What `waxwing` in it does is done by this app, which proves to be it.
    all.push((REGISTRATION, hold.id().as_str().into()));
    if let Some(mesh) = mesh(context, client).await {
        all.push((REGISTRATION_MESH, mesh.as_str().into()));
    }
    let mut child = Child::start(&arguments.command, &all)?;
    // For people who look at the list. That the process lives is known by this command alone.
    hold.say(Registration { pid: child.id(), ..Registration::default() }).await;
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = hold.keep() => child.wait().await,
    };
    Ok((ended?, started.elapsed()))
}

/// The mesh that it is registered in: the one that was named, or the only one there is.
async fn mesh(context: &Context, client: &Client) -> Option<Name> {
    if context.mesh.is_some() {
        return context.mesh.clone();
    }
    let mut meshes = client.health().await.ok()?.meshes.into_iter();
    let only = meshes.next().filter(|_| meshes.next().is_none());
    only.map(|mesh| mesh.mesh)
}

/// What the command finds its node by, and itself.
pub(super) fn environment(context: &Context, name: &Name) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
    let config = context.config()?;
    let absolute = |path: &std::path::Path| {
        std::path::absolute(path).map(Into::into).map_err(|error| Failure::failed(error.to_string()))
    };
    let mut all = vec![(APP, name.as_str().into()), ("WAXWING_SOCKET", absolute(config.socket())?)];
    // Whoever names the folder says that everything is in it.
    if config.is_explicit() {
        all.push(("WAXWING_STATE", absolute(&config.state)?));
    }
    Ok(all)
}

/// A misspelt address must not turn out when the command has ended.
async fn known(context: &Context, client: &Client, tell: &[Address]) -> Result<()> {
    if tell.is_empty() {
        return Ok(());
    }
    let peers = client.peers(&context.mesh_query()).await?.peers;
    let unknown = tell.iter().find(|to| peers.iter().all(|peer| peer.node != to.node));
    unknown.map_or(Ok(()), |to| {
        let message = format!("nobody in this mesh is called {}", to.node);
        Err(Failure::not_found(message).hint("`waxwing peers` lists them"))
    })
}

/// What ran, how it ended, how long it took.
fn message(
    context: &Context,
    arguments: &Run,
    to: &Address,
    id: Option<ClientMessageId>,
    command: &str,
    ended: Ended,
    took: Duration,
) -> SendRequest {
    let whole = Duration::from_secs(took.as_secs());
    let took = if whole.is_zero() { took } else { whole };
    let text = format!("`{command}` {ended} after {}", humantime::format_duration(rounded(took)));
    let meta =
        json!({ "app": arguments.name, "command": command, "ended": ended, "seconds": took.as_secs_f64() });
    SendRequest {
        to: to.to_string(),
        body: Some(text),
        meta: meta.as_object().cloned(),
        from_app: Some(arguments.name.clone()),
        client_message_id: id,
        mesh: context.mesh.clone(),
        ..SendRequest::default()
    }
}

fn rounded(took: Duration) -> Duration {
    Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// The command on one line.
fn command(arguments: &Run) -> String {
    let words: Vec<_> = arguments.command.iter().map(|word| word.to_string_lossy()).collect();
    let whole = inline(&escape(&words.join(" ")));
    let short: String = whole.chars().take(COMMAND).collect();
    if short.len() < whole.len() { format!("{short} ...") } else { short }
}

/// Puts the message on the node's disk, if need be when it is back.
async fn tell(context: &Context, client: &Client, to: &Address, request: &SendRequest) -> Told {
    let deadline = Instant::now() + TELL_WITHIN;
    loop {
        match client.send(request).await {
            Ok(sent) => {
                let client_message_id = Some(sent.client_message_id);
                return Told { to: to.clone(), client_message_id, error: None };
            }
            Err(Error::Lost(_) | Error::Unreachable { .. }) if Instant::now() < deadline => {
                sleep(PAUSE).await;
            }
            Err(error) => {
                context.output.note(&format!("{to} is not told: {error}"));
                return Told { to: to.clone(), client_message_id: None, error: Some(error.to_string()) };
            }
        }
    }
}
