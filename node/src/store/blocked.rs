//! Members whose mail is refused.

use waxwing_crypto::{NodeId, Timestamp};
use waxwing_sqlite::Executor;

use super::{damaged, millis};

/// All of them.
pub(crate) async fn all(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<NodeId>> {
    let rows: Vec<Vec<u8>> = waxwing_sqlite::query_scalar("SELECT node FROM blocked").fetch_all(db).await?;
    rows.iter().map(|node| NodeId::try_from(node.as_slice()).map_err(|_| damaged("blocked"))).collect()
}

/// Adds one. Says whether it is new.
pub(crate) async fn add(db: impl Executor<'_>, node: NodeId, at: Timestamp) -> waxwing_sqlite::Result<bool> {
    let added = waxwing_sqlite::query("INSERT INTO blocked (node, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(&node.as_bytes()[..])
        .bind(millis(at))
        .execute(db)
        .await?;
    Ok(added > 0)
}

/// Takes one out. Says whether it was there.
pub(crate) async fn remove(db: impl Executor<'_>, node: NodeId) -> waxwing_sqlite::Result<bool> {
    let removed = waxwing_sqlite::query("DELETE FROM blocked WHERE node = ?")
        .bind(&node.as_bytes()[..])
        .execute(db)
        .await?;
    Ok(removed > 0)
}
