//! Ends: lifetimes that are over, leases, goodbyes, and what is forgotten with age. Each end is a change with a place.

use waxwing_crypto::MeshId;
use waxwing_crypto::membership::Standing;
use waxwing_protocol::link::{Done, EndedBy, ToNode};

use super::super::batch::Batch;
use super::super::change::{Answer, Bye, EndDue};
use crate::error::Result;
use crate::store::record::Row;
use crate::store::{self, NodeKey};

/// Records that one step ends. Small enough that mail does not notice.
const STEP: usize = 512;

/// Ends what is due: lifetimes, and what is bound to leases that are over.
pub(in crate::accept) async fn due(batch: &mut Batch<'_>, asked: Vec<EndDue>) -> Result<()> {
    let Some(first) = asked.iter().map(|due| due.asked).min() else { return Ok(()) };
    let mut more = false;
    // A broker that takes so long to look hears as late of what its nodes say.
    if !batch.state.leases.was_away(first) {
        more |= leases(batch).await?;
    }
    let lapsed = store::record::lapsed(&mut *batch.db, batch.even, STEP).await?;
    more |= lapsed.len() == STEP;
    end(batch, lapsed, EndedBy::Lifetime).await?;
    batch.spaces.bindings.first_lifetime = Some(store::record::earliest(&mut *batch.db).await?);
    batch.effects.swept.extend(asked.into_iter().map(|due| (due.answer, more)));
    Ok(())
}

/// Ends what is bound to leases that are over. Says whether there is more.
pub(super) async fn leases(batch: &mut Batch<'_>) -> Result<bool> {
    let mut more = false;
    for (node, over) in batch.state.leases.due() {
        more |= unbind(batch, node, over, EndedBy::Lease).await?;
    }
    Ok(more)
}

/// Ends what is bound to the leases of nodes that say goodbye.
pub(in crate::accept) async fn bye(batch: &mut Batch<'_>, byes: Vec<Bye>) -> Result<()> {
    for Bye { peer, req, reply } in byes {
        if !batch.is_current(&peer) {
            continue;
        }
        while unbind(batch, peer.key, u64::MAX, EndedBy::Goodbye).await? {}
        batch.effects.replies.push((reply, Box::new(Answer::Frame(ToNode::Done(Done { req })))));
    }
    Ok(())
}

/// Ends what is bound to the leases of nodes that are members no more.
pub(in crate::accept) async fn gone(batch: &mut Batch<'_>) -> Result<()> {
    let meshes: Vec<MeshId> = batch.changed_meshes().collect();
    for mesh in meshes {
        for node in batch.state.leases.of(mesh) {
            if batch.standing(node) != Standing::Live {
                while unbind(batch, node, u64::MAX, EndedBy::Goodbye).await? {}
            }
        }
    }
    Ok(())
}

/// Ends records of a node that are bound to its lease with at most this grace. Says whether there are more.
async fn unbind(batch: &mut Batch<'_>, node: NodeKey, most: u64, why: EndedBy) -> Result<bool> {
    let rows = store::record::bound(&mut *batch.db, node, most, STEP).await?;
    let more = rows.len() == STEP;
    end(batch, rows, why).await?;
    let least = store::record::least_bound(&mut *batch.db, node).await?;
    batch.spaces.bindings.least.insert(node, least);
    batch.spaces.bindings.bound.remove(&node); // The store has those too.
    Ok(more)
}

async fn end(batch: &mut Batch<'_>, rows: Vec<Row>, why: EndedBy) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    batch.load_spaces(rows.iter().map(|row| row.space)).await?;
    batch.effects.tally.ended(why, rows.len() as u64);
    let now = batch.even;
    batch.spaces.learn(rows.clone());
    for row in &rows {
        batch.spaces.end(row, why, now);
    }
    batch.flush_spaces().await
}

/// Forgets tombstones and ends that are past their time. Says how many.
pub(in crate::accept) async fn forget(batch: &mut Batch<'_>, limit: usize) -> Result<usize> {
    let forgotten = store::record::forget(batch.db, batch.even, limit).await?;
    if forgotten.is_empty() {
        return Ok(0);
    }
    batch.load_spaces(forgotten.iter().map(|(space, _, _)| *space)).await?;
    for (space, seq, usage) in &forgotten {
        batch.spaces.forget(*space, *seq, *usage);
    }
    batch.flush_spaces().await?;
    Ok(forgotten.len())
}
