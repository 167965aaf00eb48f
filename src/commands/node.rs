//! `waxwing node up`, `status`, `metrics`, `version`.

use std::path::PathBuf;

use serde::Serialize;
use tracing::warn;
use waxwing_client::api::{Health, MeshHealth};
use waxwing_client::{Client, Place};
use waxwing_crypto::membership::LogHead;
use waxwing_node::{Config, Supervision};

use super::{Context, links, stop};
use crate::background::{self, Launch, Started};
use crate::cli::NodeUp;
use crate::failure::{Failure, Result};
use crate::logs;
use crate::output::{inline, time};
use crate::supervisor;

/// What its logs are called.
const NAME: &str = "node";

/// Printed when apps can connect; by what starts one in the background, when brokers have judged it as well.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    socket: PathBuf,
    /// Of a process in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// How each mesh is, of a process in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    meshes: Option<Vec<MeshHealth>>,
}

pub(crate) async fn up(context: &Context, arguments: &NodeUp) -> Result<()> {
    let config = context.config()?;
    if !arguments.foreground {
        return in_background(context, &config).await;
    }
    if arguments.detached {
        background::detach()?;
        logs::detached(context.verbose, &config.logs(), NAME, config.log_files)?;
        return Ok(waxwing_node::run(config, Supervision::default(), || (), stop::asked()?).await?);
    }
    let supervision = supervisor::of_node()?;
    logs::serving(context.verbose);
    let ready = Ready { event: "ready", socket: config.socket().to_path_buf(), pid: None, meshes: None };
    let say_ready = || {
        if context.output.print(&ready, || ready.socket.display().to_string()).is_err() {
            warn!("nobody reads that the node is ready");
        }
        supervisor::ready();
    };
    let stop = supervisor::stopping(stop::asked()?);
    Ok(waxwing_node::run(config, supervision, say_ready, stop).await?)
}

/// Starts the node, and waits until every broker has let it in or refused it, or has had time enough.
async fn in_background(context: &Context, config: &Config) -> Result<()> {
    let (pid, mut started) = start(context, config).await?;
    let meshes = links::judged(&Client::new(config.socket()), Some(&mut started), None).await?.meshes;
    let refused = links::refusal(&meshes);
    let lines: Vec<String> = meshes.iter().map(links::line).collect();
    let in_none = meshes.is_empty();
    let socket = config.socket().to_path_buf();
    let ready = Ready { event: "ready", socket, pid: Some(pid), meshes: Some(meshes) };
    context.output.print(&ready, || format!("the node is up (process {pid})\n{}", lines.join("\n")))?;
    context.output.note(&format!("It logs to {}", config.logs().display()));
    if in_none {
        context.output.note(&format!("It is in no mesh yet\nnext: {}", context.command("join TOKEN")));
    }
    refused
}

/// Starts the node in the background, and waits until apps can connect.
pub(super) async fn start(context: &Context, config: &Config) -> Result<(u32, Started)> {
    if let Some(pid) = waxwing_node::running(config)? {
        let state = config.state.display();
        return Err(Failure::already_running(format!(
            "the node is already running on {state} (process {pid})"
        ))
        .hint("stop it with `waxwing node down`, or use another --state"));
    }
    let arguments = ["node", "up", "--foreground"].map(Into::into).to_vec();
    let launch = Launch { name: NAME, config, verbose: context.verbose, arguments };
    let client = Client::new(config.socket());
    let answers = async |pid| {
        // The socket may still be another's: the lock says whose it is.
        client.version().await.is_ok()
            && matches!(waxwing_node::running(config), Ok(Some(runs)) if runs == pid)
    };
    let mut started = launch.start()?;
    let pid = started.ready(answers).await?;
    Ok((pid, started))
}

pub(crate) async fn status(context: &Context) -> Result<()> {
    let client = context.client()?;
    let mut health = client.health().await?;
    if let Some(mesh) = &context.mesh {
        health.meshes.retain(|health| health.mesh == *mesh);
        health.closed.retain(|closed| closed.mesh == *mesh);
    }
    context.output.print(&health, || people(&health, client.place()))
}

/// How a node is, for people.
pub(super) fn people(health: &Health, place: &Place) -> String {
    let state = if health.ready { "ready" } else { "not ready" };
    let listens = health.listen.map(|listen| format!("; apps with a token: {listen}")).unwrap_or_default();
    let mut lines = vec![format!("node is {state} on {place}{listens}")];
    lines.extend(health.meshes.iter().map(mesh));
    lines.extend(
        health.closed.iter().map(|mesh| format!("mesh {} is closed: {}", mesh.mesh, inline(&mesh.reason))),
    );
    if health.meshes.is_empty() && health.closed.is_empty() {
        lines.push(
            "it is in no mesh yet: `waxwing mesh create` founds one, `waxwing join` joins one".to_owned(),
        );
    }
    lines.join("\n\n")
}

fn mesh(mesh: &MeshHealth) -> String {
    let reason =
        mesh.link.reason.as_deref().map(|reason| format!(": {}", inline(reason))).unwrap_or_default();
    let role = mesh.role.map_or_else(|| "no member any more".to_owned(), |role| role.to_string());
    let mut lines = vec![
        format!("mesh {} as {} ({}), {role}, {} members", mesh.mesh, mesh.node, mesh.node_id, mesh.members),
        format!("  link    {} since {}{reason}", mesh.link.state.as_str(), time(mesh.link.since)),
        format!("  broker  {}, which knows the mesh as {}", inline(&mesh.broker), mesh.mesh_id),
        format!(
            "  outbox  {} queued, {} accepted and not yet delivered",
            mesh.outbox_pending, mesh.outbox_unreceipted
        ),
        format!("  inbox   {} unread, {} held for earlier ones", mesh.inbox_unread, mesh.inbox_held),
    ];
    if let Some(hint) = mesh.link.stop.as_ref().and_then(|stop| stop.hint.as_deref()) {
        lines.insert(2, format!("  next    {}", inline(hint)));
    }
    for alarm in &mesh.alarms {
        let (what, since) = (inline(&alarm.what), time(alarm.since));
        lines.push(format!("  ALARM   {what} since {since}: {}", inline(&alarm.detail)));
    }
    if mesh.disk_full {
        lines.push("  warning the disk is full: nothing is stored until there is room".to_owned());
    }
    if mesh.outbox_used >= 80 {
        lines
            .push(format!("  warning the outbox is {} % full: at 100 % sends are refused", mesh.outbox_used));
    }
    if mesh.quarantined > 0 {
        lines.push(format!("  warning {} messages could not be opened", mesh.quarantined));
    }
    if mesh.clock_offset_ms.unsigned_abs() > 60_000 {
        lines.push(format!("  warning this clock is {} s off the broker's", mesh.clock_offset_ms / 1_000));
    }
    if let Some(problem) = &mesh.state_key.problem {
        lines.push(format!("  warning {}", inline(problem)));
    }
    if let Some(branches) = &mesh.resume_wanted {
        lines.push(format!(
            "  warning the broker has lost its store: an admin should say `waxwing mesh resume`{}",
            fork(branches)
        ));
    }
    if let Some(warning) = &mesh.host_warning {
        lines.push(format!("  warning {}", inline(warning)));
    }
    lines.join("\n")
}

/// The logs to choose from, if there is more than one.
fn fork(branches: &[LogHead]) -> String {
    if branches.len() < 2 {
        return String::new();
    }
    let ends: Vec<_> =
        branches.iter().map(|head| format!("{} ({:.8})", head.seq, head.hash.to_string())).collect();
    format!(
        "\n          on a host that holds the right log; nodes hold logs that end at entry {}",
        ends.join(", ")
    )
}

/// What the node counts.
#[derive(Serialize)]
struct Page {
    /// As Prometheus reads it.
    metrics: String,
}

pub(crate) async fn metrics(context: &Context) -> Result<()> {
    let page = Page { metrics: context.client()?.metrics().await? };
    context.output.print(&page, || page.metrics.clone())
}

pub(crate) async fn version(context: &Context) -> Result<()> {
    let version = context.client()?.version().await?;
    context.output.print(&version, || format!("node {} (local API {})", version.version, version.api))
}
