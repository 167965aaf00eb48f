//! `waxwing members`, and `waxwing mesh recover`, which makes one an admin.

use waxwing_client::api::{Member, MembersQuery, RecoverRequest};
use waxwing_crypto::membership::Standing;
use waxwing_node::members;

use super::{Context, words};
use crate::cli::{Members, MeshRecover};
use crate::failure::Result;
use crate::logs;
use crate::output::{table, time};

/// Where a column has nothing to say.
const NOTHING: &str = "-";

pub(crate) async fn run(context: &Context, arguments: &Members) -> Result<()> {
    logs::passing(context.verbose);
    let config = context.config()?;
    let members = match context.running(&config)? {
        Some(client) => {
            client.members(&MembersQuery { all: arguments.all, mesh: context.mesh.clone() }).await?
        }
        None => members::members(&config, context.mesh.as_ref(), arguments.all).await?,
    };
    context.output.print(&members, || {
        let mut head = ["NODE", "ROLE", "SINCE", "INVITED BY", "HOST MOVED"].map(String::from).to_vec();
        if arguments.all {
            head.push("UNTIL".to_owned());
        }
        head.push("ID".to_owned());
        let mut rows = vec![head];
        rows.extend(members.members.iter().map(|member| row(member, arguments.all)));
        table(&rows)
    })
}

fn row(member: &Member, all: bool) -> Vec<String> {
    let inviter = match &member.invited_by {
        Some(name) => name.to_string(),
        None if member.founder => "(founder)".to_owned(),
        None => "(recovery words)".to_owned(),
    };
    let moved = member.moved_at.map_or_else(|| NOTHING.to_owned(), time);
    let mut row =
        vec![member.node.to_string(), member.role.to_string(), time(member.joined_at), inviter, moved];
    if all {
        row.push(until(member));
    }
    row.push(member.id.to_string());
    if member.this {
        row.push("this node".to_owned());
    }
    row
}

fn until(member: &Member) -> String {
    let how = match member.standing {
        Standing::Revoked => "revoked",
        Standing::Left => "left",
        Standing::Live | Standing::Unknown => return NOTHING.to_owned(),
    };
    member.ended_at.map_or_else(|| how.to_owned(), |at| format!("{how} {}", time(at)))
}

/// Makes a member an admin by the recovery words.
pub(crate) async fn recover(context: &Context, arguments: MeshRecover) -> Result<()> {
    let client = context.client()?;
    // Nobody is asked for the words before there is somebody to give them to.
    client.version().await?;
    let words = words::recovery(context).await?;
    let request = RecoverRequest { words, node: arguments.node, mesh: context.mesh.clone() };
    let recovered = client.recover(&request).await?;
    context.output.print(&recovered, || {
        format!("{} ({}) is an admin of mesh {} from now on", recovered.node, recovered.id, recovered.mesh)
    })?;
    context.output.note(&format!(
        "The words stay valid: keep them as safe as before.\nnext: {}",
        context.command("members")
    ));
    Ok(())
}
