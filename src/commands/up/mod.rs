//! `waxwing up`: from nothing to a node that can send, as often as it is said.
//!
//! Whatever of broker, mesh and node there is stays as it is; the rest is made and started. A state folder without a mesh
//! gets a broker of its own. One that has joined somebody else's mesh gets only its node started.

mod founding;

use serde::Serialize;
use waxwing_broker::Holder;
use waxwing_client::api::{InviteRequest, MeshHealth};
use waxwing_client::{Client, Name};
use waxwing_node::Config;

use self::founding::Founded;
use super::{Context, broker, links, node};
use crate::cli::Up;
use crate::failure::{Failure, Result};

/// What the mesh is called unless somebody says.
const MESH: &str = "home";
/// Where the broker listens unless somebody says.
const LISTEN: &str = "127.0.0.1:7900";

/// What there is now, and what was done for it.
#[derive(Serialize)]
struct Done {
    /// False if everything was running.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    founded: Option<Founded>,
    meshes: Vec<MeshHealth>,
}

/// A process.
#[derive(Serialize)]
struct Part {
    started: bool,
    pid: u32,
    /// The URL or socket to reach it by.
    at: String,
}

pub(crate) async fn run(context: &Context, arguments: Up) -> Result<()> {
    crate::logs::passing(context.verbose);
    let config = context.config()?;
    let mut done = Done { changed: false, broker: None, node: None, founded: None, meshes: Vec::new() };
    let outcome = start(context, &config, arguments, &mut done).await;
    if outcome.is_err() && done.founded.is_none() && done.meshes.is_empty() {
        return outcome;
    }
    // What was done is shown even if a mesh was refused; the recovery words, whatever has gone wrong: they are kept nowhere.
    done.changed =
        done.founded.is_some() || [&done.broker, &done.node].into_iter().flatten().any(|part| part.started);
    context.output.print(&done, || people(&done))?;
    if done.changed {
        context.output.note(&format!("They log to {}", config.logs().display()));
    }
    if let (Ok(()), Some(founded)) = (&outcome, &done.founded) {
        context.output.note(&founded.next(context, done.meshes.len()));
    }
    outcome
}

/// Goes through the parts in the order they need each other.
async fn start(context: &Context, config: &Config, arguments: Up, done: &mut Done) -> Result<()> {
    let meshes = waxwing_node::meshes(config)?;
    let found = to_found(context.mesh.as_ref(), &meshes)?;
    let running = waxwing_node::running(config)?;
    let client = Client::new(config.socket());
    let known = waxwing_broker::holder(&broker::data_folder(config))?;
    let name = arguments.name.clone();
    if known.is_some() || found.is_some() {
        done.broker = Some(start_broker(context, config, &arguments, known).await?);
    }
    if let (Some(mesh), Some(broker)) = (found, &done.broker) {
        let founded =
            founding::found(config, running.map(|_| &client), mesh, broker.at.clone(), arguments.name)
                .await?;
        context.output.keep(&founded.words());
        done.founded = Some(founded);
    }
    let (pid, mut started) = match running {
        Some(pid) => (pid, None),
        None => node::start(context, config).await.map(|(pid, started)| (pid, Some(started)))?,
    };
    let at = config.socket().display().to_string();
    done.node = Some(Part { started: running.is_none(), pid, at });
    let own = done.broker.as_ref().map(|broker| broker.at.as_str());
    done.meshes = links::judged(&client, started.as_mut(), own).await?.meshes;
    if let (None, Some(name)) = (&done.founded, name) {
        keeps_its_name(context, &done.meshes, &name);
    }
    if let Some(founded) = &mut done.founded {
        let request = InviteRequest { mesh: Some(founded.mesh.clone()), ..InviteRequest::default() };
        founded.invite = Some(client.invite(&request).await?.token);
    }
    links::refusal(&done.meshes)
}

/// Says so if a node is asked to have another name than it has: a name is for life, or for the mesh's.
fn keeps_its_name(context: &Context, meshes: &[MeshHealth], name: &Name) {
    for mesh in meshes.iter().filter(|mesh| mesh.node != *name) {
        let (node, mesh) = (&mesh.node, &mesh.mesh);
        context.output.note(&format!(
            "This node is {node} in {mesh}, and stays so: --name is for a mesh to be founded"
        ));
    }
}

/// The mesh to be founded: the one named if it is not there, or one if there is none.
fn to_found(named: Option<&Name>, meshes: &[Name]) -> Result<Option<Name>> {
    match named {
        Some(named) => Ok((!meshes.contains(named)).then(|| named.clone())),
        None if meshes.is_empty() => {
            MESH.parse().map(Some).map_err(|_| Failure::failed("the default name of a mesh is no name"))
        }
        None => Ok(None),
    }
}

async fn start_broker(
    context: &Context,
    config: &Config,
    arguments: &Up,
    known: Option<Holder>,
) -> Result<Part> {
    let part =
        |started, holder: Holder| Part { started, pid: holder.pid, at: format!("ws://{}", holder.addr) };
    let listen = match (known, arguments.listen) {
        (Some(holder), Some(asked)) if asked.port() != 0 && asked != holder.addr => {
            let message =
                format!("this broker is at {}, where its nodes look for it, not at {asked}", holder.addr);
            return Err(Failure::conflict(message).hint("`waxwing up` without --listen starts it there"));
        }
        (Some(holder), _) if holder.runs && broker::stays(config).await? => return Ok(part(false, holder)),
        (Some(holder), _) => holder.addr,
        (None, Some(asked)) => asked,
        (None, None) => LISTEN.parse().map_err(|_| Failure::failed("the default address is no address"))?,
    };
    Ok(part(true, broker::start(context, config, listen).await?))
}

fn people(done: &Done) -> String {
    let line = |name: &str, part: &Part| {
        let is = if part.started { "started" } else { "was running" };
        format!("{name:<7} {is} (process {}), {}", part.pid, part.at)
    };
    let mut lines: Vec<String> = done.broker.iter().map(|part| line("broker", part)).collect();
    lines.extend(done.node.iter().map(|part| line("node", part)));
    for mesh in &done.meshes {
        lines.push(links::line(mesh));
    }
    if !done.changed {
        lines.push("nothing was changed".to_owned());
    } else if let Some(token) = done.founded.as_ref().and_then(|founded| founded.invite.as_ref()) {
        lines.push(format!("\nwaxwing join {token}"));
    }
    lines.join("\n")
}
