//! The spaces: how far each has come, and how much is in it.

use std::collections::HashMap;
use std::sync::LazyLock;

use waxwing_crypto::{MeshId, SpaceId, Timestamp};
use waxwing_protocol::limits;

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Keyed, Row, RowsSql, array, integer, number, query};
use crate::error::Result;

/// Who reads these rows gives out places, and holds them until its commit: no place is seen before a lower one.
static FIND: LazyLock<RowsSql> = LazyLock::new(|| {
    let read = "mesh, space, id, last, horizon, records, bytes";
    Keyed { table: "space", key: &["mesh", "space"], near: false }.find(read, true, &[Blob, Blob])
});

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO space (mesh, space, last, past, horizon, records, bytes)",
        &[Blob, Blob, Int, Int, Int, Int, Int],
        "ON CONFLICT (mesh, space) DO UPDATE SET last = excluded.last, horizon = excluded.horizon,
         records = excluded.records, bytes = excluded.bytes RETURNING mesh, space, id",
    )
});

/// A space of one mesh.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SpaceKey {
    /// Whose.
    pub(crate) mesh: MeshId,
    /// Which.
    pub(crate) space: SpaceId,
}

/// What the store keeps of a space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Space {
    /// What its rows are found by; none if it is not stored yet.
    pub(crate) id: Option<i64>,
    /// The last place given.
    pub(crate) last: u64,
    /// The newest place of what was forgotten with age.
    pub(crate) horizon: u64,
    /// What is in it.
    pub(crate) usage: Usage,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Usage {
    /// Records, tombstones and ends.
    pub(crate) records: u64,
    /// Their sealed bytes.
    pub(crate) bytes: u64,
}

impl Space {
    /// A space that nothing was put into, in a life of the store that began then.
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { id: None, last: floor(began), horizon: 0, usage: Usage::default() }
    }
}

/// No place of a store whose life began then is below this, and no store that was lost before had one above it.
fn floor(began: Timestamp) -> u64 {
    (began.as_millis() / 1_000).saturating_mul(limits::FIRST_PLACE)
}

/// Those of these spaces that there are.
pub(crate) async fn find(db: &mut Connection, keys: &[SpaceKey]) -> Result<HashMap<SpaceKey, Space>> {
    let mut found = HashMap::with_capacity(keys.len());
    let rows = FIND
        .fetch(db, keys, |values, key| {
            values.bind(key.mesh.as_bytes()).bind(key.space.as_bytes());
        })
        .await?;
    for row in rows {
        let usage = Usage { records: number(&row, 5)?, bytes: number(&row, 6)? };
        let id = Some(row.get(2)?);
        let space = Space { id, last: number(&row, 3)?, horizon: number(&row, 4)?, usage };
        found.insert(key(&row)?, space);
    }
    Ok(found)
}

/// Stores spaces, new ones among them. Says what their rows are found by.
pub(crate) async fn put(db: &mut Connection, spaces: &[(SpaceKey, Space)]) -> Result<Vec<(SpaceKey, i64)>> {
    let mut ids = Vec::with_capacity(spaces.len());
    let rows = PUT
        .fetch(db, spaces, |values, (key, space)| {
            values
                .bind(key.mesh.as_bytes())
                .bind(key.space.as_bytes())
                .bind(integer(space.last))
                .bind(0_i64) // Of one that is there, it stays.
                .bind(integer(space.horizon))
                .bind(integer(space.usage.records))
                .bind(integer(space.usage.bytes));
        })
        .await?;
    for row in rows {
        ids.push((key(&row)?, row.get(2)?));
    }
    Ok(ids)
}

/// The store is opened. It may have been set back, and nobody has said so yet: places that it gave after that are not given again.
pub(crate) async fn raise(db: &mut Connection, now: Timestamp) -> Result<()> {
    query("UPDATE space SET last = $1 WHERE last < $1").bind(integer(floor(now))).execute(db).await?;
    Ok(())
}

/// A new life of the store begins. Every space goes on above whatever was before; what stands in it counts as handed back from
/// then on; and what was bound to leases is gone, as it is from a store that was lost.
pub(crate) async fn begin_life(db: &mut Connection, began: Timestamp) -> Result<()> {
    query(
        "UPDATE space SET past = last, last = CASE WHEN last > $1 THEN last ELSE $1 END,
         records = records - (SELECT count(*) FROM record AS r
                              WHERE r.mesh = space.mesh AND r.space = space.id AND r.bound IS NOT NULL),
         bytes = bytes - (SELECT CAST(coalesce(sum(length(r.sealed)), 0) AS BIGINT) FROM record AS r
                          WHERE r.mesh = space.mesh AND r.space = space.id AND r.bound IS NOT NULL)",
    )
    .bind(integer(floor(began)))
    .execute(&mut *db)
    .await?;
    query("DELETE FROM record WHERE bound IS NOT NULL").execute(db).await?;
    Ok(())
}

/// How much each mesh has in its spaces. A space itself counts for a record.
pub(crate) async fn usage(db: impl Into<Db<'_>>) -> Result<HashMap<MeshId, Usage>> {
    let rows = query("SELECT mesh, CAST(count(*) + sum(records) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM space GROUP BY mesh")
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            let usage = Usage { records: number(row, 1)?, bytes: number(row, 2)? };
            Ok((MeshId::from_bytes(array(row, 0)?), usage))
        })
        .collect()
}

/// How many records there are, and their sealed bytes, counted one by one.
#[cfg(test)]
pub(crate) async fn counted(db: &mut Connection) -> Result<Usage> {
    let sql = "SELECT count(*), CAST(coalesce(sum(length(sealed)), 0) AS BIGINT) FROM record";
    let row = query(sql).fetch_one(db).await?;
    Ok(Usage { records: number(&row, 0)?, bytes: number(&row, 1)? })
}

fn key(row: &Row) -> Result<SpaceKey> {
    Ok(SpaceKey { mesh: MeshId::from_bytes(array(row, 0)?), space: SpaceId::from_bytes(array(row, 1)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{database, node};

    fn space(n: u8) -> SpaceKey {
        SpaceKey { mesh: node(1).mesh, space: SpaceId::from_bytes([n; 32]) }
    }

    #[tokio::test]
    async fn a_space_keeps_its_id_and_its_last_place_only_rises() {
        let mut db = database().await;
        let new = Space::new(Timestamp::from_millis(5_999));
        assert_eq!(new.last, 5 << 20);
        let ids = put(&mut db, &[(space(1), new), (space(2), new)]).await.unwrap();
        let usage = Usage { records: 3, bytes: 70 };
        let grown = Space { last: new.last + 9, horizon: 7, usage, ..new };
        assert_eq!(put(&mut db, &[(space(1), grown)]).await.unwrap(), ids[..1]);
        let keys = [space(1), space(2), space(3)];
        let found = find(&mut db, &keys).await.unwrap();
        assert_eq!((found.len(), found[&keys[0]]), (2, Space { id: Some(ids[0].1), ..grown }));
        let all = super::usage(&mut db).await.unwrap();
        assert_eq!(all[&node(1).mesh], Usage { records: 5, bytes: 70 });

        begin_life(&mut db, Timestamp::from_millis(4_000)).await.unwrap();
        assert_eq!(find(&mut db, &keys).await.unwrap(), found);
        begin_life(&mut db, Timestamp::from_millis(6_000)).await.unwrap();
        let raised = find(&mut db, &keys).await.unwrap();
        assert!(raised.values().all(|space| space.last == 6 << 20));
    }
}
