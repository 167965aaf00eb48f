//! The membership logs, entry by entry.

use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::{MeshId, Signature};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Row, RowsSql, integer, query};
use crate::error::{Error, Result};

static INSERT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new("INSERT INTO log (mesh, seq, entry, signatures)", &[Blob, Int, Blob, Blob], "")
});

/// An entry and its place.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    /// Whose log.
    pub(crate) mesh: MeshId,
    /// Where in it.
    pub(crate) seq: u64,
    /// The entry.
    pub(crate) entry: SignedEntry,
}

/// Adds entries.
pub(crate) async fn insert(db: &mut Connection, rows: &[LogRow]) -> Result<()> {
    INSERT
        .execute(db, rows, |values, row| {
            values
                .bind(row.mesh.as_bytes())
                .bind(integer(row.seq))
                .bind(&row.entry.bytes[..])
                .bind(signatures(&row.entry));
        })
        .await
        .map(drop)
}

/// The entries after `after`, at most `limit` of them, in order.
pub(crate) async fn page(
    db: impl Into<Db<'_>>,
    mesh: MeshId,
    after: u64,
    limit: usize,
) -> Result<Vec<SignedEntry>> {
    let rows = query("SELECT entry, signatures FROM log WHERE mesh = $1 AND seq > $2 ORDER BY seq LIMIT $3")
        .bind(mesh.as_bytes())
        .bind(integer(after))
        .bind(integer(limit as u64))
        .fetch_all(db)
        .await?;
    rows.iter().map(entry).collect()
}

/// Takes back the entries after a place: another log has been chosen.
pub(crate) async fn cut(db: impl Into<Db<'_>>, mesh: MeshId, after: u64) -> Result<()> {
    query("DELETE FROM log WHERE mesh = $1 AND seq > $2")
        .bind(mesh.as_bytes())
        .bind(integer(after))
        .execute(db)
        .await?;
    Ok(())
}

/// An entry's signatures as they are kept.
pub(super) fn signatures(entry: &SignedEntry) -> Vec<u8> {
    entry.signatures.iter().flat_map(|signature| *signature.as_bytes()).collect()
}

/// An entry from its bytes and its signatures, the first two columns.
pub(super) fn entry(row: &Row) -> Result<SignedEntry> {
    let signatures = row.get::<&[u8]>(1)?.chunks(Signature::SIZE).map(Signature::from_bytes);
    let signatures = signatures.collect::<Result<_, _>>().map_err(|_| Error::damaged("a signature"))?;
    Ok(SignedEntry { bytes: Bytes::from(row.get::<Vec<u8>>(0)?), signatures })
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::{Purpose, SigningKey};

    use super::*;
    use crate::store::testing::database;

    #[tokio::test]
    async fn entries_come_back_as_they_were_and_in_order() {
        let mut db = database().await;
        let key = SigningKey::from_seed(&[1; 32]);
        let mesh = MeshId::from_bytes([1; 16]);
        let entry = |seq: u64| SignedEntry {
            bytes: Bytes::from(vec![seq as u8; 9]),
            signatures: vec![key.sign(Purpose::Membership, b"a"); 1 + (seq % 2) as usize],
        };
        let rows: Vec<_> = (1..=7).map(|seq| LogRow { mesh, seq, entry: entry(seq) }).collect();
        insert(&mut db, &rows).await.unwrap();
        assert_eq!(page(&mut db, mesh, 0, 3).await.unwrap(), [entry(1), entry(2), entry(3)]);
        assert_eq!(page(&mut db, mesh, 5, 9).await.unwrap(), [entry(6), entry(7)]);
        assert_eq!(page(&mut db, MeshId::from_bytes([2; 16]), 0, 9).await.unwrap(), []);
        insert(&mut db, &rows[..1]).await.unwrap_err();
        cut(&mut db, mesh, 5).await.unwrap();
        assert_eq!(page(&mut db, mesh, 4, 9).await.unwrap(), [entry(5)]);
    }
}
