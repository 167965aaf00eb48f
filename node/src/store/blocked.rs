//! Members whose mail is refused.

use sqlx::SqliteExecutor;
use waxwing_crypto::{NodeId, Timestamp};

use super::{damaged, millis};

/// All of them.
pub(crate) async fn all(db: impl SqliteExecutor<'_>) -> sqlx::Result<Vec<NodeId>> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT node FROM blocked").fetch_all(db).await?;
    rows.iter().map(|node| NodeId::try_from(node.as_slice()).map_err(|_| damaged("blocked"))).collect()
}

/// Adds one. Says whether it is new.
pub(crate) async fn add(db: impl SqliteExecutor<'_>, node: NodeId, at: Timestamp) -> sqlx::Result<bool> {
    let added = sqlx::query("INSERT INTO blocked (node, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(&node.as_bytes()[..])
        .bind(millis(at))
        .execute(db)
        .await?;
    Ok(added.rows_affected() > 0)
}

/// Takes one out. Says whether it was there.
pub(crate) async fn remove(db: impl SqliteExecutor<'_>, node: NodeId) -> sqlx::Result<bool> {
    let removed =
        sqlx::query("DELETE FROM blocked WHERE node = ?").bind(&node.as_bytes()[..]).execute(db).await?;
    Ok(removed.rows_affected() > 0)
}
