//! Rows that end before they are settled: past their end, or their recipient is gone. Their senders get a notice.

use tokio::sync::oneshot;
use waxwing_protocol::link::NoticeKind;

use super::batch::Batch;
use crate::error::Result;
use crate::store::queue::Ended;
use crate::store::{self, NodeKey};

/// Rows that one step takes out of a table. Small enough that mail does not notice.
const STEP: usize = 512;

/// Takes the steps asked for.
pub(super) async fn apply(
    batch: &mut Batch<'_>,
    sweeps: Vec<oneshot::Sender<bool>>,
    evictions: Vec<(NodeKey, oneshot::Sender<bool>)>,
) -> Result<()> {
    for answer in sweeps {
        let ended = store::queue::expire(&mut *batch.db, batch.now, STEP).await?;
        let forgotten = store::dedupe::forget(&mut *batch.db, batch.now, STEP).await?;
        let keys = super::keys::sweep(batch, STEP).await?;
        let ends = super::spaces::forget(batch, STEP).await?;
        let changes = store::change_id::forget(&mut *batch.db, batch.even, STEP).await?;
        let more = [ended.len(), forgotten, keys, ends, changes].contains(&STEP);
        batch.effects.tally.swept("expired", ended.len());
        batch.effects.tally.swept("forgotten", forgotten);
        batch.effects.tally.swept("key_slots", keys);
        batch.effects.tally.swept("space_ends", ends);
        batch.effects.tally.swept("space_changes", changes);
        tell(batch, ended, &NoticeKind::Expired).await?;
        batch.effects.swept.push((answer, more));
    }
    for (node, answer) in evictions {
        let ended = store::queue::evict(&mut *batch.db, node, STEP).await?;
        let more = ended.len() == STEP;
        batch.effects.tally.swept("revoked", ended.len());
        tell(batch, ended, &NoticeKind::RevokedRecipient).await?;
        batch.effects.swept.push((answer, more));
    }
    Ok(())
}

async fn tell(batch: &mut Batch<'_>, ended: Vec<Ended>, kind: &NoticeKind) -> Result<()> {
    let senders = ended.iter().filter_map(|ended| ended.mail.map(|(sender, _, _)| sender));
    let owners = ended.iter().map(|ended| ended.removed.key.owner);
    batch.load(senders.chain(owners)).await?;
    for Ended { removed, mail } in ended {
        batch.discount(&removed);
        if let Some((sender, id, exp)) = mail {
            batch.notify(sender, id, kind.clone(), exp);
        }
    }
    Ok(())
}
