//! Settlements: rows leave the queue, their senders get a notice.

use std::collections::{HashMap, HashSet};

use waxwing_protocol::link::{NoticeKind, Settlement};

use super::batch::Batch;
use super::change::{Answer, Settles};
use crate::error::Result;
use crate::store::{self, NodeKey, Place, QueueKey};

/// Applies the settlements of links that are current.
///
/// A receipt settles its row whatever seal it holds by now, and is passed on even if the row has ended meanwhile: it
/// proves delivery. A nack settles only the seal that was delivered.
pub(super) async fn apply(batch: &mut Batch<'_>, settles: Vec<Settles>) -> Result<()> {
    let settles: Vec<_> = settles.into_iter().filter(|settle| batch.is_current(&settle.peer)).collect();
    let nacked = delete(batch, &settles).await?;
    for Settles { peer, through, settled, reply } in settles {
        batch.show_settled(&peer, through);
        let count = settled.len();
        let mut kept = Vec::new();
        for settled in settled {
            let Some((mail, settlement)) = settled.mail else {
                continue;
            };
            batch.effects.tally.settle(&settlement);
            let kind = match settlement {
                Settlement::Receipt(receipt) => NoticeKind::Delivered { receipt },
                Settlement::Nack(_) if !nacked.contains(&key(peer.key, settled.place)) => {
                    kept.push(settled.place);
                    continue;
                }
                Settlement::Nack(nack) => NoticeKind::Nack { nack },
            };
            let sender = NodeKey { mesh: peer.key.mesh, node: mail.from };
            batch.notify(sender, mail.id, kind, mail.exp);
        }
        batch.effects.replies.push((reply, Box::new(Answer::Settled { count, kept })));
    }
    Ok(())
}

/// Takes the rows out. Returns those that a nack took out.
async fn delete(batch: &mut Batch<'_>, settles: &[Settles]) -> Result<HashSet<QueueKey>> {
    let (mut done, mut nacked) = (Vec::new(), HashMap::new());
    for settle in settles {
        for settled in &settle.settled {
            let key = key(settle.peer.key, settled.place);
            match &settled.mail {
                Some((mail, Settlement::Nack(_))) => drop(nacked.insert(key, mail.seal)),
                Some((_, Settlement::Receipt(_))) | None => done.push(key),
            }
        }
    }
    for removed in store::queue::delete(batch.db, &done).await? {
        batch.discount(&removed);
    }
    let nacked: Vec<_> = nacked.into_iter().collect();
    let mut gone = HashSet::new();
    for removed in store::queue::delete_sealed(batch.db, &nacked).await? {
        batch.discount(&removed);
        gone.insert(removed.key);
    }
    Ok(gone)
}

const fn key(owner: NodeKey, place: Place) -> QueueKey {
    QueueKey { owner, place }
}
