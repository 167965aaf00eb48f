//! Boxes that did not open: what is known of them.

use waxwing_crypto::sealing::NackReason;
use waxwing_crypto::{NodeId, Timestamp, WireId};
use waxwing_sqlite::Connection;

use super::{millis, number};

/// Most records kept; the oldest go first.
const MOST: u64 = 1_000;

/// A box that did not open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quarantined {
    pub(crate) sender: NodeId,
    pub(crate) wire_id: WireId,
    pub(crate) seal: u32,
    pub(crate) reason: NackReason,
    pub(crate) size: u64,
}

/// Notes boxes that did not open.
pub(crate) async fn insert(
    db: &mut Connection,
    boxes: &[Quarantined],
    at: Timestamp,
) -> waxwing_sqlite::Result<()> {
    for quarantined in boxes {
        waxwing_sqlite::query(
            "INSERT INTO quarantine (sender, wire_id, seal, reason, size, at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&quarantined.sender.as_bytes()[..])
        .bind(&quarantined.wire_id.as_bytes()[..])
        .bind(quarantined.seal)
        .bind(quarantined.reason.as_str())
        .bind(number(quarantined.size))
        .bind(millis(at))
        .execute(&mut *db)
        .await?;
    }
    if !boxes.is_empty() {
        waxwing_sqlite::query("DELETE FROM quarantine WHERE row <= (SELECT max(row) FROM quarantine) - ?")
            .bind(number(MOST))
            .execute(db)
            .await?;
    }
    Ok(())
}
