//! The roster as it was at some place of the log, for a start that need not replay all of it.

use waxwing_sqlite::{Connection, Executor};

use super::{number, unsigned};

/// What is kept, and the entry that it stands for.
pub(crate) async fn kept(db: impl Executor<'_>) -> waxwing_sqlite::Result<Option<(u64, Vec<u8>)>> {
    let row: Option<(i64, Vec<u8>)> =
        waxwing_sqlite::query_as("SELECT seq, kept FROM roster").fetch_optional(db).await?;
    Ok(row.map(|(seq, kept)| (unsigned(seq), kept)))
}

/// Keeps another in its place.
pub(crate) async fn keep(db: &mut Connection, seq: u64, kept: &[u8]) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "INSERT INTO roster (id, seq, kept) VALUES (1, ?, ?)
         ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, kept = excluded.kept",
    )
    .bind(number(seq))
    .bind(kept)
    .execute(db)
    .await?;
    Ok(())
}
