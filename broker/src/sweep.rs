//! Housekeeping: what has ended in the store becomes notices, or goes. Bounded steps through the writer, so that mail
//! passes in between. Whether something has expired is decided whenever it is read; this only cleans up after.

use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use waxwing_crypto::membership::Standing;

use crate::accept::Change;
use crate::error::{Error, Result};
use crate::state::State;
use crate::store::{self, NodeKey};

/// How often the store is looked through without a reason.
const EVERY: Duration = Duration::from_secs(60);
/// How often allowances are looked through that nobody uses.
const BUCKETS_EVERY: Duration = Duration::from_secs(10);
/// Nodes looked at in one read.
const PAGE: usize = 1_000;

/// Reasons to look now.
#[derive(Default)]
pub(crate) struct Nudge {
    /// Somebody read an expired row, or a list of keys is of no use any more.
    pub(crate) expired: Notify,
    /// Somebody stopped being a member.
    pub(crate) gone: Notify,
}

/// Sweeps until the broker stops.
///
/// # Errors
/// If the store fails.
pub(crate) async fn run(state: &State) -> Result<()> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buckets = interval(BUCKETS_EVERY);
    buckets.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was left over by the run before, or by a store that was away meanwhile.
    let mut left_over = true;
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return Ok(()),
            _ = buckets.tick() => forget(state),
            _ = ticks.tick() => {
                expire(state).await?;
                if left_over {
                    left_over = !evicted(state).await?;
                }
            }
            () = state.nudge.expired.notified() => expire(state).await?,
            () = state.nudge.gone.notified() => left_over |= !evicted(state).await?,
        }
    }
}

/// Whether the queues of nodes that are no longer members are empty now; not if the store is away.
async fn evicted(state: &State) -> Result<bool> {
    match evict(state).await {
        Ok(()) => Ok(true),
        Err(Error::Unavailable(why)) => {
            warn!(%why, "the database is away: what former members left is swept later");
            Ok(false)
        }
        Err(err) => Err(err),
    }
}

/// Forgets what memory holds of those who are not there.
fn forget(state: &State) {
    state.limiter.sweep();
    state.leases.sweep();
}

/// Ends what is past its end.
async fn expire(state: &State) -> Result<()> {
    while step(state, Change::Sweep).await? {}
    Ok(())
}

/// Empties the queues of nodes that are no longer members.
async fn evict(state: &State) -> Result<()> {
    let mut after = None;
    loop {
        let page = store::node::with_mail(&state.readers, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(*last);
        for node in page {
            while is_gone(state, node) && step(state, |answer| Change::Evict { node, answer }).await? {}
        }
    }
}

fn is_gone(state: &State, node: NodeKey) -> bool {
    state.meshes.get(node.mesh).is_none_or(|mesh| mesh.standing(&node.node) != Standing::Live)
}

/// One change through the writer. Says whether there is more to do.
async fn step(state: &State, change: impl FnOnce(oneshot::Sender<bool>) -> Change) -> Result<bool> {
    let (answer, answered) = oneshot::channel();
    state.writer.submit(change(answer)).await?;
    // No answer: the store was away, or the writer has ended, which others see to.
    Ok(answered.await.unwrap_or(false))
}
