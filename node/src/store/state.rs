//! Keys of shared state, as apps were told of them: written with the events that tell it.

use waxwing_crypto::KeyId;
use waxwing_sqlite::{Connection, Executor};

use super::{damaged, meta};

/// A key as the broker knows it, and what was told of it, encrypted; nothing if it is not there any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: KeyId,
    pub(crate) told: Option<Vec<u8>>,
}

/// Every key that apps were told of and that was there; none if they never were told of any.
pub(crate) async fn all(
    db: &waxwing_sqlite::Readers,
) -> waxwing_sqlite::Result<Option<Vec<(KeyId, Vec<u8>)>>> {
    if !is_begun(db).await? {
        return Ok(None);
    }
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        waxwing_sqlite::query_as("SELECT key, told FROM state_told").fetch_all(db).await?;
    let row = |(key, told): (Vec<u8>, Vec<u8>)| {
        Ok((KeyId::try_from(key.as_slice()).map_err(|_| damaged("state_told"))?, told))
    };
    rows.into_iter().map(row).collect::<waxwing_sqlite::Result<_>>().map(Some)
}

async fn is_begun(db: impl Executor<'_>) -> waxwing_sqlite::Result<bool> {
    meta::number(db, meta::STATE_TOLD).await.map(|begun| begun > 0)
}

/// Takes in what has been told.
pub(crate) async fn put(db: &mut Connection, rows: &[Row]) -> waxwing_sqlite::Result<()> {
    const PUT: &str = "INSERT INTO state_told (key, told) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET told = excluded.told";
    const REMOVE: &str = "DELETE FROM state_told WHERE key = ?";
    let (kept, gone): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.told.is_some());
    let query =
        gone.iter().fold(waxwing_sqlite::query(REMOVE), |query, row| query.bind(&row.key.as_bytes()[..]));
    query.execute_each(&mut *db).await?;
    let query = kept.iter().fold(waxwing_sqlite::query(PUT), |query, row| {
        query.bind(&row.key.as_bytes()[..]).bind(row.told.as_deref())
    });
    query.execute_each(&mut *db).await?;
    if is_begun(&mut *db).await? { Ok(()) } else { meta::set_number(db, meta::STATE_TOLD, 1).await }
}
