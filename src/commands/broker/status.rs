//! `waxwing broker status`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use waxwing_broker::admin::{Status, ask};
use waxwing_client::Timestamp;

use super::at::At;
use super::size;
use crate::cli::BrokerAt;
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::output::time;

/// How the broker is, and where it was found.
#[derive(Serialize)]
struct Shown {
    data: PathBuf,
    admin: Option<SocketAddr>,
    #[serde(flatten)]
    status: Status,
}

pub(crate) async fn run(context: &Context, at: BrokerAt) -> Result<()> {
    crate::logs::passing(context.verbose);
    let at = At::resolve(context, at)?;
    let holder = at.running()?;
    let (code, text) = ask(at.data(), &holder, "/status").await.map_err(|error| at.failure(error))?;
    let read = (code == 200).then(|| serde_json::from_str(&text).ok()).flatten();
    let status: Status = read.ok_or_else(|| {
        Failure::incompatible(format!("the broker answers with {code}, and not with what this program reads"))
            .hint("use the `waxwing` that started the broker")
    })?;
    let shown = Shown { data: at.data().to_owned(), admin: holder.admin, status };
    context.output.print(&shown, || people(&shown))
}

/// A remark on meshes that an admin should look after.
fn waiting(meshes: usize) -> String {
    match meshes {
        0 => String::new(),
        meshes => format!(", {meshes} of them waiting for an admin's `waxwing mesh resume`"),
    }
}

fn people(shown: &Shown) -> String {
    let status = &shown.status;
    let state = match &status.readiness.reason {
        None => "ready".to_owned(),
        Some(reason) => format!("not ready ({reason})"),
    };
    let since = time(Timestamp::from_millis(status.since));
    let admin = shown.admin.map_or_else(|| "unknown".to_owned(), |admin| admin.to_string());
    [
        format!("broker is {state} on {} (process {}, since {since})", status.listen, status.pid),
        format!("  data     {}", shown.data.display()),
        format!("  urls     {}", status.urls.join(" ")),
        format!("  admin    {admin}"),
        format!("  links    {} of members, {} entering", status.links.member, status.links.entering),
        format!("  meshes   {}{}", status.meshes, waiting(status.meshes_waiting)),
        format!("  queued   {} envelopes, {}", status.queued.envelopes, size(status.queued.bytes)),
        format!(
            "  store    {}, id {}, schema {}",
            size(status.store_bytes),
            status.store_id,
            status.schema_version
        ),
        format!("  version  {}", status.version),
    ]
    .join("\n")
}
