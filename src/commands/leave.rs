//! `waxwing leave`.

use waxwing_client::api::{LeaveAnswer, LeaveRequest};
use waxwing_client::{Client, Name};
use waxwing_node::{Config, leave, list};

use super::Context;
use super::ask::{Answered, ask};
use crate::cli::Leave;
use crate::failure::{Failure, Result};
use crate::logs;

pub(crate) async fn run(context: &Context, arguments: Leave) -> Result<()> {
    logs::passing(context.verbose);
    let config = context.config()?;
    let running = context.running(&config)?;
    if !arguments.yes {
        let lost = match &running {
            Some(client) => Lost::by(client, context.mesh.as_ref()).await?,
            None => Lost::in_folder(&config, context.mesh.as_ref()).await?,
        };
        confirm(context, &lost)?;
    }
    let left = match &running {
        Some(client) => client.leave(&LeaveRequest { mesh: context.mesh.clone() }).await?,
        None => {
            let left = leave::leave_without_node(config, context.mesh.as_ref()).await?;
            let leave::Left { mesh, node, node_id, unread, undelivered } = left;
            LeaveAnswer { mesh, node, node_id, unread, undelivered }
        }
    };
    context.output.print(&left, || {
        format!(
            "this node ({}) has left mesh {}; its keys and its mail are deleted: {} unread, {} not delivered",
            left.node_id, left.mesh, left.unread, left.undelivered
        )
    })
}

/// What is lost by leaving.
struct Lost {
    mesh: Name,
    unread: u64,
    undelivered: u64,
}

impl Lost {
    async fn by(client: &Client, named: Option<&Name>) -> Result<Self> {
        let health = client.health().await?;
        let mut meshes =
            health.meshes.into_iter().filter(|mesh| named.is_none_or(|named| mesh.mesh == *named));
        let first = meshes.next();
        let first = first.ok_or_else(|| none(named))?;
        if meshes.next().is_some() {
            return Err(several());
        }
        Ok(Self {
            mesh: first.mesh,
            unread: first.inbox_unread + first.inbox_held,
            undelivered: first.outbox_pending + first.outbox_unreceipted,
        })
    }

    async fn in_folder(config: &Config, named: Option<&Name>) -> Result<Self> {
        let listed = list::list(config).await?;
        let mut meshes = listed.into_iter().filter(|mesh| named.is_none_or(|named| mesh.mesh == *named));
        let first = meshes.next().ok_or_else(|| none(named))?;
        if meshes.next().is_some() {
            return Err(several());
        }
        let known = first.known?;
        Ok(Self { mesh: first.mesh, unread: known.unread + known.held, undelivered: known.undelivered })
    }
}

fn none(named: Option<&Name>) -> Failure {
    let which = named.map(|name| format!(" called {name}")).unwrap_or_default();
    Failure::not_found(format!("this node is in no mesh{which}")).hint("`waxwing mesh list` shows its meshes")
}

fn several() -> Failure {
    Failure::usage("this node is in several meshes: say which with --mesh")
        .hint("`waxwing mesh list` shows them")
}

/// A membership that has ended does not begin again, and what is deleted is nowhere else.
fn confirm(context: &Context, lost: &Lost) -> Result<()> {
    let Lost { mesh, unread, undelivered } = lost;
    let question = format!(
        "This node's keys and mail in mesh {mesh} will be deleted: {unread} messages are unread, {undelivered} are not \
         delivered. It can come back only as another node. Leave {mesh}?"
    );
    match ask(context, &question) {
        Answered::Yes => Ok(()),
        Answered::No => Err(Failure::failed("declined: nothing was changed")),
        Answered::Nobody => Err(Failure::usage(format!(
            "nobody has said that {mesh} is to be left, with {unread} messages unread and {undelivered} not delivered"
        ))
        .hint(format!("if it is, say `waxwing leave --mesh {mesh} --yes`"))),
    }
}
