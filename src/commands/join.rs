//! `waxwing join`.

use std::io::Read as _;

use serde::Serialize;
use waxwing_client::{Name, NodeId};
use waxwing_crypto::membership::InviteToken;
use waxwing_node::enroll;

use super::Context;
use crate::cli::Join;
use crate::failure::{Failure, Result};
use crate::logs;

#[derive(Serialize)]
struct Joined {
    mesh: Name,
    node: Name,
    node_id: NodeId,
    broker: String,
}

pub(crate) async fn run(context: &Context, arguments: Join) -> Result<()> {
    logs::passing(context.verbose);
    let text = if arguments.token == "-" { from_stdin()? } else { arguments.token };
    let token: InviteToken = text.parse().map_err(|err| {
        Failure::usage(format!("this is no whole invite token: {err}"))
            .hint("copy it again, from ww1_ to its end")
    })?;
    let join = enroll::Join { node: arguments.name, plaintext: arguments.plaintext };
    let joined = enroll::join(&context.config()?, &token, join).await?;
    let joined =
        Joined { mesh: joined.mesh, node: joined.node, node_id: joined.node_id, broker: joined.broker };
    context.output.print(&joined, || {
        format!(
            "joined mesh {} as {} ({}), by the broker at {}",
            joined.mesh, joined.node, joined.node_id, joined.broker
        )
    })?;
    context.output.note(&format!("next: {}", context.command("node up")));
    Ok(())
}

/// A token piped in, and no more of the pipe than a token can be long.
fn from_stdin() -> Result<String> {
    let mut text = String::new();
    let most = InviteToken::MAX_TEXT as u64 + 2;
    let read = std::io::stdin().take(most).read_to_string(&mut text);
    read.map_err(|err| Failure::usage(format!("cannot read a token from stdin: {err}")))?;
    Ok(text)
}
