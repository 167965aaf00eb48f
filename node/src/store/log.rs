//! The membership log, as signed.

use std::sync::LazyLock;

use sqlx::{SqliteConnection, SqliteExecutor};
use waxwing_crypto::Signature;
use waxwing_crypto::membership::SignedEntry;

use super::chunks::Chunks;
use super::{damaged, number};

/// Every entry after a place, oldest first.
pub(crate) async fn after(db: impl SqliteExecutor<'_>, after: u64) -> sqlx::Result<Vec<SignedEntry>> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT entry, signatures FROM log WHERE seq > ? ORDER BY seq")
            .bind(number(after))
            .fetch_all(db)
            .await?;
    rows.into_iter().map(signed).collect()
}

fn signed((entry, signatures): (Vec<u8>, Vec<u8>)) -> sqlx::Result<SignedEntry> {
    let signatures: Result<_, _> = signatures.chunks(Signature::SIZE).map(Signature::from_bytes).collect();
    Ok(SignedEntry { bytes: entry.into(), signatures: signatures.map_err(|_| damaged("log"))? })
}

/// The entry at a place.
pub(crate) async fn at(db: impl SqliteExecutor<'_>, seq: u64) -> sqlx::Result<Option<SignedEntry>> {
    let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT entry, signatures FROM log WHERE seq = ?")
        .bind(number(seq))
        .fetch_optional(db)
        .await?;
    row.map(signed).transpose()
}

/// Puts entries at `seq` and after, in the place of what may be there.
pub(crate) async fn put(db: &mut SqliteConnection, seq: u64, entries: &[SignedEntry]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM log WHERE seq >= ?").bind(number(seq)).execute(&mut *db).await?;
    static INSERT: LazyLock<Chunks> =
        LazyLock::new(|| Chunks::new("INSERT INTO log (seq, entry, signatures) VALUES", 3, ""));
    let rows: Vec<(u64, &SignedEntry)> = (seq..).zip(entries).collect();
    for (sql, share) in INSERT.of(&rows) {
        let mut query = sqlx::query(sql);
        for (seq, entry) in share {
            let signatures: Vec<u8> = entry.signatures.iter().flat_map(|s| *s.as_bytes()).collect();
            query = query.bind(number(*seq)).bind(&entry.bytes[..]).bind(signatures);
        }
        query.execute(&mut *db).await?;
    }
    Ok(())
}
