//! What follows for mail from the membership log.

use waxwing_crypto::Timestamp;
use waxwing_sqlite::Connection;

use super::{Copy, Effects, Growth, life};
use crate::store::{log, outbox};

/// Stores entries, and ends what waits for nodes that are no members any more: nobody can seal for them. What the broker
/// has for them it gives back itself.
pub(super) async fn grow(
    db: &mut Connection,
    copy: &mut Copy,
    (growth, unanswered): (Growth, &[i64]),
    now: Timestamp,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<()> {
    let Growth { seq, entries, mark, gone } = growth;
    life::note_mark(db, copy, mark).await?;
    log::put(db, seq, &entries).await?;
    for node in gone {
        outbox::doubt(&mut *db, unanswered, None, Some(node)).await?;
        for message in outbox::end_pending(db, node, REVOKED, now).await? {
            effects.tell_end(Some(message), REVOKED);
        }
    }
    Ok(())
}

/// Why those end.
const REVOKED: &str = "revoked_recipient";
