//! The meshes this store holds, and where each log ends.

use sqlx::SqliteExecutor;
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::{MeshId, Timestamp};

use super::sql::{array, integer};
use crate::error::{Error, Result};

/// Every mesh.
pub(crate) async fn all(db: impl SqliteExecutor<'_>) -> Result<Vec<MeshId>> {
    let rows = sqlx::query("SELECT mesh FROM mesh").fetch_all(db).await?;
    rows.iter().map(|row| array(row, 0).map(MeshId::from_bytes)).collect()
}

/// Adds a mesh whose log ends at its genesis.
pub(crate) async fn insert(
    db: impl SqliteExecutor<'_>,
    mesh: MeshId,
    head: LogHead,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO mesh (mesh, created, head_seq, head_hash) VALUES ($1, $2, $3, $4)")
        .bind(&mesh.as_bytes()[..])
        .bind(integer(now.as_millis()))
        .bind(integer(head.seq))
        .bind(&head.hash.as_bytes()[..])
        .execute(db)
        .await?;
    Ok(())
}

/// Moves the end of a log.
///
/// # Errors
/// If it is not where the caller saw it: somebody else writes to this store.
pub(crate) async fn advance(
    db: impl SqliteExecutor<'_>,
    mesh: MeshId,
    from: LogHead,
    to: LogHead,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE mesh SET head_seq = $1, head_hash = $2 WHERE mesh = $3 AND head_seq = $4 AND head_hash = $5",
    )
    .bind(integer(to.seq))
    .bind(&to.hash.as_bytes()[..])
    .bind(&mesh.as_bytes()[..])
    .bind(integer(from.seq))
    .bind(&from.hash.as_bytes()[..])
    .execute(db)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::damaged("a log's head is not where it was seen"))
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::Digest;

    use super::*;
    use crate::store::testing::database;

    #[tokio::test]
    async fn a_head_moves_only_from_where_it_was_seen() {
        let mut db = database().await;
        let mesh = MeshId::from_bytes([1; 16]);
        let head = |seq: u64| LogHead { seq, hash: Digest::from_bytes([seq as u8; 32]) };
        insert(&mut db, mesh, head(1), Timestamp::from_millis(5)).await.unwrap();
        assert_eq!(all(&mut db).await.unwrap(), [mesh]);
        advance(&mut db, mesh, head(1), head(2)).await.unwrap();
        advance(&mut db, mesh, head(1), head(3)).await.unwrap_err();
        advance(&mut db, mesh, head(2), head(3)).await.unwrap();
    }
}
