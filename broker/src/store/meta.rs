//! The one row about the store itself.

use sqlx::SqliteExecutor;
use waxwing_crypto::Timestamp;
use waxwing_protocol::StoreId;

use super::sql::{array, integer};
use crate::error::Result;

/// The id of this life of the store. `fresh` becomes it if the store is new.
pub(crate) async fn store_id(db: impl SqliteExecutor<'_>, fresh: StoreId, now: Timestamp) -> Result<StoreId> {
    let row = sqlx::query(
        "INSERT INTO meta (id, store, created) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING store",
    )
    .bind(&fresh.as_bytes()[..])
    .bind(integer(now.as_millis()))
    .fetch_one(db)
    .await?;
    Ok(StoreId::from_bytes(array(&row, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::database;

    #[tokio::test]
    async fn the_first_id_stays() {
        let mut db = database().await;
        let (one, two) = (StoreId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
        assert_eq!(store_id(&mut db, one, Timestamp::from_millis(1)).await.unwrap(), one);
        assert_eq!(store_id(&mut db, two, Timestamp::from_millis(2)).await.unwrap(), one);
    }
}
