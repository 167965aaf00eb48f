//! `waxwing peers`.

use super::Context;
use crate::failure::Result;
use crate::output::{table, time};

pub(crate) async fn run(context: &Context) -> Result<()> {
    let peers = context.client()?.peers(&context.mesh_query()).await?;
    context.output.print(&peers, || {
        let mut rows = vec![["NODE", "ROLE", "JOINED", "ID", ""].map(String::from).to_vec()];
        rows.extend(peers.peers.iter().map(|peer| {
            let this = if peer.this { "this node" } else { "" };
            vec![
                peer.node.to_string(),
                peer.role.to_string(),
                time(peer.joined_at),
                peer.id.to_string(),
                this.to_owned(),
            ]
        }));
        table(&rows)
    })
}
