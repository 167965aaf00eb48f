//! `waxwing join`.

use std::io::Read as _;

use serde::Serialize;
use waxwing_client::api::{JoinAnswer, JoinRequest, SendAnswer, SendRequest};
use waxwing_client::{Client, Error as ClientError};
use waxwing_crypto::membership::InviteToken;
use waxwing_node::{Config, enroll, say};
use waxwing_protocol::limits;

use super::Context;
use crate::cli::Join;
use crate::failure::{Failure, Result};
use crate::logs;

/// What was joined, and what was said there.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    joined: &'a JoinAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<SendAnswer>,
}

pub(crate) async fn run(context: &Context, arguments: Join) -> Result<()> {
    logs::passing(context.verbose);
    let Join { token, name: node, say, to, plaintext } = arguments;
    let text = if token == "-" { from_stdin()? } else { token };
    let token: InviteToken = text.parse().map_err(waxwing_node::Error::Token)?;
    if say.as_ref().is_some_and(|text| text.len() > limits::BODY) {
        return Err(Failure::usage(format!("a message has at most {} KiB", limits::BODY / 1024)));
    }
    let config = context.config()?;
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
    let said = match say.zip(to) {
        Some((body, to)) => {
            let mesh = Some(joined.mesh.clone());
            let request = SendRequest { to, body: Some(body), mesh, ..SendRequest::default() };
            Some(send(&config, running.as_ref(), &joined, request).await)
        }
        None => None,
    };
    let (said, failed) = match said {
        Some(Ok(said)) => (Some(said), None),
        Some(Err(failed)) => (None, Some(failed)),
        None => (None, None),
    };
    context
        .output
        .print(&Document { joined: &joined, said: said.clone() }, || people(&joined, said.as_ref()))?;
    context.output.note(&context.next_in(&joined.mesh, running.is_some()));
    failed.map_or(Ok(()), |failed| Err(failed.after("this node has joined, and the message is not accepted")))
}

/// Sends the first message by the node that runs, or leaves it for the one that will.
async fn send(
    config: &Config,
    running: Option<&Client>,
    joined: &JoinAnswer,
    request: SendRequest,
) -> Result<SendAnswer> {
    match running {
        Some(client) => Ok(client.send(&request).await?),
        None => Ok(say::leave(config, &joined.mesh, request).await?.map_err(ClientError::Problem)?),
    }
}

fn people(joined: &JoinAnswer, said: Option<&SendAnswer>) -> String {
    let said =
        said.map_or_else(String::new, |said| format!("\n{} {}", said.client_message_id, said.state.as_str()));
    format!(
        "joined mesh {} as {} ({}), by the broker at {}{said}",
        joined.mesh, joined.node, joined.node_id, joined.broker
    )
}

/// A token piped in, and no more of the pipe than a token can be long.
pub(super) fn from_stdin() -> Result<String> {
    let mut text = String::new();
    let most = InviteToken::MAX_TEXT as u64 + 2;
    let read = std::io::stdin().take(most).read_to_string(&mut text);
    read.map_err(|err| Failure::usage(format!("cannot read a token from stdin: {err}")))?;
    Ok(text)
}
