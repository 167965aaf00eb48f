//! `waxwing invite`, `invite list` and `invite revoke`.

use waxwing_client::api::{InviteRequest, OpenInvite, RevokeInviteRequest};
use waxwing_crypto::membership::InviteToken;

use super::Context;
use super::ask::{Answered, ask};
use super::join::from_stdin;
use crate::cli::{Invite, InviteCommand, InviteNew, InviteRevoke};
use crate::failure::{Failure, Result};
use crate::output::{table, time};

/// Digits of a key that are shown.
const DIGITS: usize = 8;

pub(crate) async fn run(context: &Context, arguments: Invite) -> Result<()> {
    match arguments.command {
        None => new(context, arguments.new).await,
        Some(InviteCommand::List) => list(context).await,
        Some(InviteCommand::Revoke(arguments)) => revoke(context, arguments).await,
    }
}

async fn new(context: &Context, arguments: InviteNew) -> Result<()> {
    let request = InviteRequest {
        role: Some(arguments.role),
        uses: Some(arguments.uses),
        expires: Some(arguments.expires),
        name: arguments.name,
        mesh: context.mesh.clone(),
    };
    let invite = context.client()?.invite(&request).await?;
    context.output.print(&invite, || invite.token.clone())?;
    let nodes = if arguments.uses == 1 { "one node".to_owned() } else { format!("{} nodes", arguments.uses) };
    context.output.note(&format!(
        "Whoever has this token can join {} until {} ({nodes}): hand it over privately.\nnext, on the other host: waxwing join TOKEN",
        invite.mesh,
        time(invite.expires_at),
    ));
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let invites = context.client()?.invites(&context.mesh_query()).await?;
    if invites.invites.is_empty() {
        context.output.note(&format!("no invite lets anybody into mesh {}", invites.mesh));
    }
    context.output.print(&invites, || {
        if invites.invites.is_empty() {
            return String::new();
        }
        let mut rows = vec![["KEY", "ROLE", "LEFT", "UNTIL", "FOR", "MADE BY"].map(String::from).to_vec()];
        rows.extend(invites.invites.iter().map(row));
        table(&rows)
    })
}

fn row(invite: &OpenInvite) -> Vec<String> {
    let name = |name: Option<&waxwing_client::Name>, none: &str| {
        name.map_or_else(|| none.to_owned(), ToString::to_string)
    };
    vec![
        invite.key.chars().take(DIGITS).collect(),
        invite.role.to_string(),
        format!("{} of {}", invite.left, invite.uses),
        time(invite.expires_at),
        name(invite.name.as_ref(), "anybody"),
        name(invite.made_by.as_ref(), "(recovery words)"),
    ]
}

async fn revoke(context: &Context, arguments: InviteRevoke) -> Result<()> {
    let InviteRevoke { invite, reason, yes } = arguments;
    let invite = if invite == "-" { from_stdin()? } else { invite };
    let key = key(&invite)?;
    let client = context.client()?;
    if !yes {
        confirm(context, &key)?;
    }
    let request = RevokeInviteRequest { key, reason, mesh: context.mesh.clone() };
    let revoked = client.revoke_invite(&request).await?;
    context.output.print(&revoked, || {
        let key: String = revoked.key.chars().take(DIGITS).collect();
        format!("invite {key} lets nobody into mesh {} any more", revoked.mesh)
    })
}

/// What names the invite to the node. A token is a secret, and stays here: its public key will do.
fn key(text: &str) -> Result<String> {
    let text = text.trim();
    if !text.starts_with("ww") {
        return Ok(text.to_owned());
    }
    let token: InviteToken = text.parse().map_err(waxwing_node::Error::Token)?;
    Ok(data_encoding::HEXLOWER.encode(token.seed().signing_key().public().as_bytes()))
}

fn confirm(context: &Context, key: &str) -> Result<()> {
    let short: String = key.chars().take(DIGITS).collect();
    match ask(context, &format!("An invite that is revoked stays so. Revoke {short}?")) {
        Answered::Yes => Ok(()),
        Answered::No => Err(Failure::failed("declined: nothing was changed")),
        Answered::Nobody => {
            Err(Failure::usage(format!("nobody has said that invite {short} is to be revoked"))
                .hint(format!("if it is, say `waxwing invite revoke {short} --yes`")))
        }
    }
}
