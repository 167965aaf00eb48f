//! `waxwing node accept-host`.

use serde::Serialize;
use waxwing_node::accept_host::{self, Refusal};

use super::Context;
use super::ask::{Answered, ask};
use crate::failure::{Failure, Result};
use crate::logs;
use crate::output::inline;

#[derive(Serialize)]
struct Accepted {
    accepted: Vec<Refusal>,
}

pub(crate) async fn run(context: &Context, yes: bool) -> Result<()> {
    logs::passing(context.verbose);
    let config = context.config()?;
    let refusals = accept_host::refusals(&config, context.mesh.as_ref()).await?;
    if refusals.is_empty() {
        let accepted = Accepted { accepted: Vec::new() };
        return context
            .output
            .print(&accepted, || "this is the node's own host: nothing to accept".to_owned());
    }
    if let Some(pid) = waxwing_node::running(&config)? {
        return Err(Failure::conflict(format!("the node is running (process {pid})"))
            .hint("stop it with `waxwing node down`"));
    }
    let sides = refusals.iter().map(side).collect::<Vec<_>>().join("\n");
    if !yes {
        confirm(context, &sides)?;
    }
    for refusal in &refusals {
        accept_host::accept(&config, &refusal.mesh).await?;
    }
    let accepted = Accepted { accepted: refusals };
    context.output.print(&accepted, || {
        let meshes: Vec<&str> = accepted.accepted.iter().map(|refusal| refusal.mesh.as_str()).collect();
        format!(
            "{sides}\nthis host is the node's own from now on, in {}; it has new keys, which take the place of the old ones in the \
             log when it reaches its broker",
            meshes.join(", ")
        )
    })?;
    context.output.note(&format!("next: {}", context.command("node up")));
    Ok(())
}

/// Both sides of one mesh's refusal.
fn side(refusal: &Refusal) -> String {
    let list = |digests: &[String]| {
        if digests.is_empty() { "nothing".to_owned() } else { inline(&digests.join(", ")) }
    };
    let cause = format!("mesh {}: {}", refusal.mesh, inline(&refusal.cause));
    if refusal.stored.is_empty() && refusal.found.is_empty() {
        return cause;
    }
    format!("{cause}\n  it belongs to  {}\n  this host is   {}", list(&refusal.stored), list(&refusal.found))
}

/// Asks, if there is somebody to ask.
fn confirm(context: &Context, sides: &str) -> Result<()> {
    let question = format!(
        "{sides}\nWhatever other copy of this node there is, the old host's too, can do nothing any more once this one has logged \
         in.\nIs this the node's own host from now on?"
    );
    match ask(context, &question) {
        Answered::Yes => Ok(()),
        Answered::No => Err(Failure::wrong_host("declined: nothing was changed")),
        Answered::Nobody => {
            let message = format!("nobody has said that this host is the node's own\n{sides}");
            Err(Failure::wrong_host(message).hint("if it is, say `waxwing node accept-host --yes`"))
        }
    }
}
