//! `waxwing grant` and `waxwing revoke`.

use waxwing_client::Name;
use waxwing_client::api::{GrantRequest, RevokeRequest};

use super::Context;
use super::ask::{Answered, ask};
use crate::cli::{Grant, Revoke};
use crate::failure::{Failure, Result};

pub(crate) async fn grant(context: &Context, arguments: Grant) -> Result<()> {
    let Grant { node, role } = arguments;
    let request = GrantRequest { node, role, mesh: context.mesh.clone() };
    let granted = context.client()?.grant(&request).await?;
    context
        .output
        .print(&granted, || format!("{} is {role} of mesh {} from now on", granted.node, granted.mesh))
}

pub(crate) async fn revoke(context: &Context, arguments: Revoke) -> Result<()> {
    let Revoke { node, reason, yes } = arguments;
    let client = context.client()?;
    if !yes {
        confirm(context, &node)?;
    }
    let request = RevokeRequest { node, reason, mesh: context.mesh.clone() };
    let revoked = client.revoke(&request).await?;
    context.output.print(&revoked, || {
        format!("{} ({}) is no member of mesh {} any more", revoked.node, revoked.id, revoked.mesh)
    })
}

/// A membership that has ended does not begin again: the name may be used by another, the node's keys never.
fn confirm(context: &Context, node: &Name) -> Result<()> {
    let question = format!("A node that is revoked can come back only as another one. Revoke {node}?");
    match ask(context, &question) {
        Answered::Yes => Ok(()),
        Answered::No => Err(Failure::failed("declined: nothing was changed")),
        Answered::Nobody => Err(Failure::usage(format!("nobody has said that {node} is to be revoked"))
            .hint(format!("if it is, say `waxwing revoke {node} --yes`"))),
    }
}
