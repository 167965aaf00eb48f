//! `waxwing invite`.

use waxwing_client::api::InviteRequest;

use super::Context;
use crate::cli::Invite;
use crate::failure::Result;
use crate::output::time;

pub(crate) async fn run(context: &Context, arguments: Invite) -> Result<()> {
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
