//! Changes of spaces that were made, by writer and id, so that a retry is known for one.

use std::collections::HashMap;
use std::sync::LazyLock;

use waxwing_crypto::{ChangeId, Digest, MeshId, NodeId, Timestamp};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Keyed, RowsSql, array, integer, number, query, taken};
use super::key::NodeKey;
use crate::error::Result;

static FIND: LazyLock<RowsSql> = LazyLock::new(|| {
    let read = "mesh, writer, id, digest, seq, expires";
    Keyed { table: "change_id", key: &["mesh", "writer", "id"], near: false }.find(
        read,
        false,
        &[Blob, Blob, Blob],
    )
});

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO change_id (mesh, writer, id, digest, seq, expires)",
        &[Blob, Blob, Blob, Blob, Int, Int],
        "ON CONFLICT (mesh, writer, id) DO UPDATE SET digest = excluded.digest, seq = excluded.seq,
         expires = excluded.expires",
    )
});

/// An id of one writer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ChangeKey {
    /// Whose.
    pub(crate) writer: NodeKey,
    /// As it calls the change.
    pub(crate) id: ChangeId,
}

/// What is remembered of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Made {
    /// Tells a retry from an id used twice.
    pub(crate) digest: Digest,
    /// Its place.
    pub(crate) seq: u64,
    /// When this may be forgotten.
    pub(crate) expires: Timestamp,
}

/// What is remembered of those of these changes that were made and are not past their end.
pub(crate) async fn find(
    db: &mut Connection,
    keys: &[ChangeKey],
    now: Timestamp,
) -> Result<HashMap<ChangeKey, Made>> {
    let mut found = HashMap::new();
    let rows = FIND
        .fetch(db, keys, |values, key| {
            values.bind(key.writer.mesh.as_bytes()).bind(key.writer.node.as_bytes()).bind(key.id.as_bytes());
        })
        .await?;
    for row in rows {
        let (mesh, node) = (MeshId::from_bytes(array(&row, 0)?), NodeId::from_bytes(array(&row, 1)?));
        let id = ChangeId::from_bytes(array(&row, 2)?);
        let expires = Timestamp::from_millis(number(&row, 5)?);
        if expires > now {
            let made = Made { digest: Digest::from_bytes(array(&row, 3)?), seq: number(&row, 4)?, expires };
            found.insert(ChangeKey { writer: NodeKey { mesh, node }, id }, made);
        }
    }
    Ok(found)
}

/// Remembers changes, in the place of what was there.
pub(crate) async fn put(db: &mut Connection, rows: &[(ChangeKey, Made)]) -> Result<()> {
    PUT.execute(db, rows, |values, (key, made)| {
        values
            .bind(key.writer.mesh.as_bytes())
            .bind(key.writer.node.as_bytes())
            .bind(key.id.as_bytes())
            .bind(made.digest.as_bytes())
            .bind(integer(made.seq))
            .bind(integer(made.expires.as_millis()));
    })
    .await
    .map(drop)
}

/// Forgets changes past their end, the oldest first, at most `limit`. Says how many.
pub(crate) async fn forget(db: impl Into<Db<'_>>, now: Timestamp, limit: usize) -> Result<usize> {
    let done = query(taken!("change_id", "mesh, writer, id", "expires <= $1 ORDER BY expires LIMIT $2"))
        .bind(integer(now.as_millis()))
        .bind(integer(limit as u64))
        .execute(db)
        .await?;
    Ok(done as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{database, node, plan};

    #[tokio::test]
    async fn ids_belong_to_their_writer_and_are_forgotten_in_time() {
        let mut db = database().await;
        let key = |writer, id| ChangeKey { writer: node(writer), id: ChangeId::from_bytes([id; 16]) };
        let made = |seq| Made {
            digest: Digest::from_bytes([seq as u8; 32]),
            seq,
            expires: Timestamp::from_millis(1_000 + seq),
        };
        let rows: Vec<_> = (0..100).map(|n| (key(1, n), made(n.into()))).collect();
        put(&mut db, &rows).await.unwrap();
        let now = Timestamp::from_millis(1_050);
        let found = find(&mut db, &[key(1, 99), key(2, 99), key(1, 50)], now).await.unwrap();
        assert_eq!(found, HashMap::from([(key(1, 99), made(99))]));
        put(&mut db, &[(key(1, 99), made(7))]).await.unwrap();
        assert_eq!(find(&mut db, &[key(1, 99)], Timestamp::default()).await.unwrap()[&key(1, 99)], made(7));
        assert_eq!(forget(&mut db, now, 50).await.unwrap(), 50);
        assert_eq!(forget(&mut db, now, 50).await.unwrap(), 2);
        assert_eq!(forget(&mut db, now, 50).await.unwrap(), 0);
        let plan = plan(FIND.for_one()).await;
        assert!(plan.contains("SEARCH change_id USING PRIMARY KEY (mesh=? AND writer=? AND id=?)"), "{plan}");
    }
}
