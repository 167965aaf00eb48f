//! Logs that part from the one we hold, of meshes that wait for a `resume`.

use std::sync::LazyLock;

use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::{Digest, MeshId};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, RowsSql, array, integer, query};
use super::log::{entry, signatures};
use crate::error::Result;

static INSERT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO branch (mesh, head, seq, entry, signatures)",
        &[Blob, Blob, Int, Blob, Blob],
        "",
    )
});

/// Keeps a branch: its entries from `seq` on, the last of which has the hash `head`.
pub(crate) async fn insert(
    db: &mut Connection,
    mesh: MeshId,
    head: &Digest,
    seq: u64,
    entries: &[SignedEntry],
) -> Result<()> {
    let rows: Vec<_> = (seq..).zip(entries).collect();
    INSERT
        .execute(db, &rows, |values, (seq, entry)| {
            values
                .bind(mesh.as_bytes())
                .bind(head.as_bytes())
                .bind(integer(*seq))
                .bind(&entry.bytes[..])
                .bind(signatures(entry));
        })
        .await
        .map(drop)
}

/// The branches of a mesh, oldest first.
pub(crate) async fn heads(db: impl Into<Db<'_>>, mesh: MeshId) -> Result<Vec<Digest>> {
    let rows = query("SELECT head FROM branch WHERE mesh = $1 GROUP BY head ORDER BY min(id)")
        .bind(mesh.as_bytes())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| array(row, 0).map(Digest::from_bytes)).collect()
}

/// The entries of a branch, in order.
pub(crate) async fn entries(db: impl Into<Db<'_>>, mesh: MeshId, head: &Digest) -> Result<Vec<SignedEntry>> {
    let rows = query("SELECT entry, signatures FROM branch WHERE mesh = $1 AND head = $2 ORDER BY seq")
        .bind(mesh.as_bytes())
        .bind(head.as_bytes())
        .fetch_all(db)
        .await?;
    rows.iter().map(entry).collect()
}

/// Drops one branch of a mesh.
pub(crate) async fn remove(db: impl Into<Db<'_>>, mesh: MeshId, head: &Digest) -> Result<()> {
    query("DELETE FROM branch WHERE mesh = $1 AND head = $2")
        .bind(mesh.as_bytes())
        .bind(head.as_bytes())
        .execute(db)
        .await?;
    Ok(())
}

/// Drops every branch of a mesh.
pub(crate) async fn remove_all(db: impl Into<Db<'_>>, mesh: MeshId) -> Result<()> {
    query("DELETE FROM branch WHERE mesh = $1").bind(mesh.as_bytes()).execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::{Purpose, SigningKey};

    use super::*;
    use crate::store::testing::database;

    #[tokio::test]
    async fn branches_are_kept_apart_and_come_back_in_order() {
        let mut db = database().await;
        let key = SigningKey::from_seed(&[1; 32]);
        let entry = |n: u8| SignedEntry {
            bytes: vec![n; 9].into(),
            signatures: vec![key.sign(Purpose::Membership, &[n])],
        };
        let (mesh, one, two) =
            (MeshId::from_bytes([1; 16]), Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        insert(&mut db, mesh, &two, 5, &[entry(5), entry(6)]).await.unwrap();
        insert(&mut db, mesh, &one, 5, &[entry(7)]).await.unwrap();
        assert_eq!(heads(&mut db, mesh).await.unwrap(), [two, one]);
        assert_eq!(entries(&mut db, mesh, &two).await.unwrap(), [entry(5), entry(6)]);
        remove(&mut db, mesh, &two).await.unwrap();
        assert_eq!(heads(&mut db, mesh).await.unwrap(), [one]);
        remove_all(&mut db, mesh).await.unwrap();
        assert_eq!(heads(&mut db, mesh).await.unwrap(), []);
    }
}
