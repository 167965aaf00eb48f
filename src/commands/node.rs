//! `waxwing node up`, `status`, `version`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tracing::warn;
use waxwing_client::api::{Health, MeshHealth};

use super::{Context, stop};
use crate::failure::Result;
use crate::logs;
use crate::output::{inline, time};

/// Printed when apps can connect.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    socket: PathBuf,
}

pub(crate) async fn up(context: &Context) -> Result<()> {
    logs::serving(context.verbose);
    let config = context.config()?;
    let ready = Ready { event: "ready", socket: config.socket().to_path_buf() };
    let say_ready = || {
        if context.output.print(&ready, || ready.socket.display().to_string()).is_err() {
            warn!("nobody reads that the node is ready");
        }
    };
    Ok(waxwing_node::run(config, say_ready, stop::asked()?).await?)
}

pub(crate) async fn status(context: &Context) -> Result<()> {
    let client = context.client()?;
    let mut health = client.health().await?;
    if let Some(mesh) = &context.mesh {
        health.meshes.retain(|health| health.mesh == *mesh);
    }
    context.output.print(&health, || people(&health, client.socket()))
}

fn people(health: &Health, socket: &Path) -> String {
    let state = if health.ready { "ready" } else { "not ready" };
    let mut lines = vec![format!("node is {state} on {}", socket.display())];
    lines.extend(health.meshes.iter().map(mesh));
    lines.join("\n\n")
}

fn mesh(mesh: &MeshHealth) -> String {
    let reason =
        mesh.link.reason.as_deref().map(|reason| format!(": {}", inline(reason))).unwrap_or_default();
    let mut lines = vec![
        format!("mesh {} as {} ({}), {} members", mesh.mesh, mesh.node, mesh.node_id, mesh.members),
        format!("  link    {} since {}{reason}", mesh.link.state.as_str(), time(mesh.link.since)),
        format!("  broker  {}", inline(&mesh.broker)),
        format!("  outbox  {} to go, {} without a receipt", mesh.outbox_pending, mesh.outbox_unreceipted),
        format!("  inbox   {} unread, {} held for earlier ones", mesh.inbox_unread, mesh.inbox_held),
    ];
    if mesh.quarantined > 0 {
        lines.push(format!("  warning {} messages could not be opened", mesh.quarantined));
    }
    if mesh.clock_offset_ms.unsigned_abs() > 60_000 {
        lines.push(format!("  warning this clock is {} s off the broker's", mesh.clock_offset_ms / 1_000));
    }
    if let Some(warning) = &mesh.host_warning {
        lines.push(format!("  warning {}", inline(warning)));
    }
    lines.join("\n")
}

pub(crate) async fn version(context: &Context) -> Result<()> {
    let version = context.client()?.version().await?;
    context.output.print(&version, || format!("node {} (local API {})", version.version, version.api))
}
