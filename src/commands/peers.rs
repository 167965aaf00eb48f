//! `waxwing peers`, and what to do about one.

use waxwing_client::api::{Activity, Peer, PeerRequest};

use super::Context;
use crate::cli::Peers;
use crate::failure::Result;
use crate::output::{inline, table, time};

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
        let mut rows = vec![["NODE", "ROLE", "ONLINE", "APPS", "DOING", ""].map(String::from).to_vec()];
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
                online(peer),
                apps(peer),
                doing(peer),
                note.to_owned(),
            ]
        }));
        table(&rows)
    })?;
    context.note_age(peers.current, peers.as_of);
    Ok(())
}

/// Whether it is there, and since when; or until when it was.
fn online(peer: &Peer) -> String {
    match (peer.since, peer.last_seen) {
        (Some(since), _) => format!("since {}", time(since)),
        (None, Some(seen)) => format!("last {}", time(seen)),
        (None, None) => "not seen".to_owned(),
    }
}

fn apps(peer: &Peer) -> String {
    let name = |app: &waxwing_client::api::PeerApp| match &app.instance {
        Some(instance) => format!("{}/{instance}", app.name),
        None => app.name.to_string(),
    };
    peer.apps.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn doing(peer: &Peer) -> String {
    let Some(profile) = &peer.profile else { return String::new() };
    let status = profile.status.map(Activity::as_str);
    let words = [status, profile.summary.as_deref().or(profile.title.as_deref())];
    inline(&words.into_iter().flatten().collect::<Vec<_>>().join(": "))
}
