//! The membership log, as signed.

use waxwing_crypto::Signature;
use waxwing_crypto::membership::SignedEntry;
use waxwing_sqlite::{Connection, Executor};

use super::{damaged, number};

/// Every entry after a place, oldest first.
pub(crate) async fn after(db: impl Executor<'_>, after: u64) -> waxwing_sqlite::Result<Vec<SignedEntry>> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        waxwing_sqlite::query_as("SELECT entry, signatures FROM log WHERE seq > ? ORDER BY seq")
            .bind(number(after))
            .fetch_all(db)
            .await?;
    rows.into_iter().map(signed).collect()
}

fn signed((entry, signatures): (Vec<u8>, Vec<u8>)) -> waxwing_sqlite::Result<SignedEntry> {
    let signatures: Result<_, _> = signatures.chunks(Signature::SIZE).map(Signature::from_bytes).collect();
    Ok(SignedEntry { bytes: entry.into(), signatures: signatures.map_err(|_| damaged("log"))? })
}

/// The entry at a place.
pub(crate) async fn at(db: impl Executor<'_>, seq: u64) -> waxwing_sqlite::Result<Option<SignedEntry>> {
    let row: Option<(Vec<u8>, Vec<u8>)> =
        waxwing_sqlite::query_as("SELECT entry, signatures FROM log WHERE seq = ?")
            .bind(number(seq))
            .fetch_optional(db)
            .await?;
    row.map(signed).transpose()
}

/// Puts entries at `seq` and after, in the place of what may be there.
pub(crate) async fn put(
    db: &mut Connection,
    seq: u64,
    entries: &[SignedEntry],
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM log WHERE seq >= ?").bind(number(seq)).execute(&mut *db).await?;
    const INSERT: &str = "INSERT INTO log (seq, entry, signatures) VALUES (?, ?, ?)";
    let rows: Vec<(u64, &SignedEntry)> = (seq..).zip(entries).collect();
    let mut query = waxwing_sqlite::query(INSERT);
    for (seq, entry) in &rows {
        let signatures: Vec<u8> = entry.signatures.iter().flat_map(|s| *s.as_bytes()).collect();
        query = query.bind(number(*seq)).bind(&entry.bytes[..]).bind(signatures);
    }
    query.execute_each(&mut *db).await?;
    Ok(())
}
