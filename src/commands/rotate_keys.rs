//! `waxwing rotate-keys`.

use waxwing_client::api::{RotateAnswer, RotateRequest};
use waxwing_node::accept_host;

use super::Context;
use crate::failure::Result;
use crate::logs;

pub(crate) async fn run(context: &Context) -> Result<()> {
    logs::passing(context.verbose);
    let config = context.config()?;
    let running = context.running(&config)?;
    let rotated = match &running {
        Some(client) => client.rotate_keys(&RotateRequest { mesh: context.mesh.clone() }).await?,
        None => {
            let mesh = accept_host::rotate(&config, context.mesh.as_ref()).await?;
            RotateAnswer { mesh, in_log: false }
        }
    };
    context.output.print(&rotated, || {
        let what = if rotated.in_log {
            "and the old ones are worth nothing any more"
        } else {
            "which take the place of the old ones in the log when the node reaches its broker"
        };
        format!("this node has new keys in mesh {}, {what}", rotated.mesh)
    })?;
    if !rotated.in_log {
        let next = if running.is_some() { "node status" } else { "node up" };
        context.output.note(&format!("next: {}", context.command(next)));
    }
    Ok(())
}
