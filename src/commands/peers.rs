//! `waxwing peers`, and what to do about one.

use waxwing_client::api::PeerRequest;

use super::Context;
use crate::cli::Peers;
use crate::failure::Result;
use crate::output::{table, time};

pub(crate) async fn run(context: &Context, about: Option<Peers>) -> Result<()> {
    let request = |node| PeerRequest { node, mesh: context.mesh.clone() };
    match about {
        None => list(context).await,
        Some(Peers::Verify(peer)) => verify(context, &request(peer.node)).await,
        Some(Peers::Block(peer)) => {
            let blocked = context.client()?.block_peer(&request(peer.node)).await?;
            context.output.print(&blocked, || {
                format!(
                    "mail from {} is refused from now on; waxwing peers allow {0} takes it again",
                    blocked.node
                )
            })
        }
        Some(Peers::Allow(peer)) => {
            let allowed = context.client()?.allow_peer(&request(peer.node)).await?;
            context.output.print(&allowed, || format!("mail from {} is taken", allowed.node))
        }
    }
}

async fn verify(context: &Context, request: &PeerRequest) -> Result<()> {
    let verified = context.client()?.verify_peer(request).await?;
    context.output.print(&verified, || verified.words.join("  "))?;
    context.output.note(&format!(
        "whoever is at {} should see the same six words, for this node; if not, one of the two has a false key",
        verified.node
    ));
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let peers = context.client()?.peers(&context.mesh_query()).await?;
    context.output.print(&peers, || {
        let mut rows = vec![["NODE", "ROLE", "JOINED", "ID", ""].map(String::from).to_vec()];
        rows.extend(peers.peers.iter().map(|peer| {
            let note = if peer.this {
                "this node"
            } else if peer.blocked {
                "blocked"
            } else {
                ""
            };
            vec![
                peer.node.to_string(),
                peer.role.to_string(),
                time(peer.joined_at),
                peer.id.to_string(),
                note.to_owned(),
            ]
        }));
        table(&rows)
    })
}
