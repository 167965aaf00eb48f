//! Completions: the shell asks this program what could come next, and the names of peers are those of the running node.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use waxwing_client::api;

use crate::cli::{Cli, Global};
use crate::commands::Context;
use crate::failure::{Failure, Result};

/// Set by the script when a shell asks.
const VARIABLE: &str = "WAXWING_COMPLETE";
/// Whoever has pressed a key waits no longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers a shell that asks, and ends. Does nothing otherwise.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// `waxwing completions SHELL`: what the shell is to read at its start.
pub(crate) fn script(context: &Context, shell: &str) -> Result<()> {
    let shells = Shells::builtins();
    let unknown = || {
        let known = shells.names().collect::<Vec<_>>().join(", ");
        Failure::usage(format!("{shell} is no shell that is known here: {known}"))
    };
    let shell = shells.completer(shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "waxwing", "waxwing", "waxwing", &mut script)
        .map_err(|err| Failure::failed(err.to_string()))?;
    let script = String::from_utf8(script).map_err(|err| Failure::failed(err.to_string()))?;
    context.output.print(&serde_json::json!({ "script": script }), || script.clone())
}

/// Names of members.
pub(crate) fn nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| matching(current, false))
}

/// Members, and their apps as `app@node`.
pub(crate) fn addresses() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| matching(current, true))
}

fn matching(current: &OsStr, apps: bool) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let peers = peers().unwrap_or_default();
    let names = peers.iter().flat_map(|peer| {
        let at = peer.apps.iter().filter(|_| apps).map(|app| format!("{}@{}", app.name, peer.node));
        at.chain([peer.node.to_string()])
    });
    names.filter(|name| name.starts_with(current)).map(CompletionCandidate::new).collect()
}

/// The peers that the running node knows; none if it does not run, or takes its time.
fn peers() -> Option<Vec<api::Peer>> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let state = option(&words, "--state").map(PathBuf::from);
    let mesh = option(&words, "--mesh").and_then(|mesh| mesh.to_str()?.parse().ok());
    let context = Context::new(Global { state, mesh, json: false, quiet: true, verbose: false });
    let client = context.client().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let query = context.mesh_query();
        let asked = client.peers(&query);
        Some(tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?.peers)
    })
}

/// What the command line that is being typed says of a global option.
fn option<'a>(words: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(OsString::as_os_str)
}
