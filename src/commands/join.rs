//! `waxwing join`.

use std::io::Read as _;

use waxwing_client::api::{JoinAnswer, JoinRequest};
use waxwing_crypto::membership::InviteToken;
use waxwing_node::enroll;

use super::Context;
use crate::cli::Join;
use crate::failure::{Failure, Result};
use crate::logs;

pub(crate) async fn run(context: &Context, arguments: Join) -> Result<()> {
    logs::passing(context.verbose);
    let text = if arguments.token == "-" { from_stdin()? } else { arguments.token };
    let token: InviteToken = text.parse().map_err(|err| {
        Failure::usage(format!("this is no whole invite token: {err}"))
            .hint("copy it again, from ww1_ to its end")
    })?;
    let (config, node, plaintext) = (context.config()?, arguments.name, arguments.plaintext);
    let running = context.running(&config)?;
    let joined = match &running {
        Some(client) => {
            let token = token.reveal().to_string();
            client.join(&JoinRequest { token, node, plaintext }).await?
        }
        None => {
            let joined = enroll::join(&config, &token, enroll::Join { node, plaintext }).await?;
            let enroll::Joined { mesh, node, node_id, broker } = joined;
            JoinAnswer { mesh, node, node_id, broker }
        }
    };
    context.output.print(&joined, || {
        format!(
            "joined mesh {} as {} ({}), by the broker at {}",
            joined.mesh, joined.node, joined.node_id, joined.broker
        )
    })?;
    context.output.note(&context.next_in(&joined.mesh, running.is_some()));
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
