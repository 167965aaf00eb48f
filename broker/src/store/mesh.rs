//! The meshes this store holds, and where each log ends.

use waxwing_crypto::membership::LogHead;
use waxwing_crypto::{MeshId, Timestamp};

use super::db::{Db, array, integer, number, query};
use crate::error::{Error, Result};

/// Every mesh, and whether it waits for a `resume`.
pub(crate) async fn all(db: impl Into<Db<'_>>) -> Result<Vec<(MeshId, bool)>> {
    let rows = query("SELECT mesh, waits FROM mesh").fetch_all(db).await?;
    rows.iter().map(|row| Ok((MeshId::from_bytes(array(row, 0)?), number(row, 1)? == 1))).collect()
}

/// Adds a mesh with the end of its log.
pub(crate) async fn insert(
    db: impl Into<Db<'_>>,
    mesh: MeshId,
    head: LogHead,
    waits: bool,
    now: Timestamp,
) -> Result<()> {
    query("INSERT INTO mesh (mesh, created, head_seq, head_hash, waits) VALUES ($1, $2, $3, $4, $5)")
        .bind(mesh.as_bytes())
        .bind(integer(now.as_millis()))
        .bind(integer(head.seq))
        .bind(head.hash.as_bytes())
        .bind(waits)
        .execute(db)
        .await?;
    Ok(())
}

/// The store has lost something: every mesh waits for a `resume`.
pub(crate) async fn wait_all(db: impl Into<Db<'_>>) -> Result<()> {
    query("UPDATE mesh SET waits = 1").execute(db).await?;
    Ok(())
}

/// A mesh was resumed.
pub(crate) async fn settle(db: impl Into<Db<'_>>, mesh: MeshId) -> Result<()> {
    query("UPDATE mesh SET waits = 0 WHERE mesh = $1").bind(mesh.as_bytes()).execute(db).await?;
    Ok(())
}

/// Moves the end of a log.
///
/// # Errors
/// If it is not where the caller saw it: somebody else writes to this store.
pub(crate) async fn advance(db: impl Into<Db<'_>>, mesh: MeshId, from: LogHead, to: LogHead) -> Result<()> {
    let done = query(
        "UPDATE mesh SET head_seq = $1, head_hash = $2 WHERE mesh = $3 AND head_seq = $4 AND head_hash = $5",
    )
    .bind(integer(to.seq))
    .bind(to.hash.as_bytes())
    .bind(mesh.as_bytes())
    .bind(integer(from.seq))
    .bind(from.hash.as_bytes())
    .execute(db)
    .await?;
    if done == 1 { Ok(()) } else { Err(Error::damaged("a log's head is not where it was seen")) }
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
        insert(&mut db, mesh, head(1), false, Timestamp::from_millis(5)).await.unwrap();
        assert_eq!(all(&mut db).await.unwrap(), [(mesh, false)]);
        wait_all(&mut db).await.unwrap();
        assert_eq!(all(&mut db).await.unwrap(), [(mesh, true)]);
        settle(&mut db, mesh).await.unwrap();
        assert_eq!(all(&mut db).await.unwrap(), [(mesh, false)]);
        advance(&mut db, mesh, head(1), head(2)).await.unwrap();
        advance(&mut db, mesh, head(1), head(3)).await.unwrap_err();
        advance(&mut db, mesh, head(2), head(3)).await.unwrap();
    }
}
