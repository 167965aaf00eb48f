//! What ends: lifetimes, what is bound to a lease, and what is forgotten with age.

use waxwing_crypto::{MeshId, NodeId, SpaceId, Timestamp};

use super::{Row, read};
use crate::error::Result;
use crate::store::NodeKey;
use crate::store::db::{Connection, Db, array, integer, number, optional, query, taken};
use crate::store::space::{SpaceKey, Usage};

/// A statement that reads rows; `$which` says which, in which order, and how many. They are found before their spaces are.
macro_rules! rows_where {
    ($which:literal) => {
        concat!(
            "SELECT r.id, s.mesh, s.space, r.seq, r.kind, r.key, r.writer, r.stands, r.ends, r.bound, r.touched,
             CAST(length(r.sealed) AS BIGINT), r.offered = 1 OR r.seq <= s.past FROM (SELECT * FROM record WHERE ",
            $which,
            ") AS r JOIN space AS s ON s.id = r.space"
        )
    };
}

/// Records whose lifetime is over, the first to end first.
pub(crate) async fn lapsed(db: impl Into<Db<'_>>, now: Timestamp, limit: usize) -> Result<Vec<Row>> {
    let rows = query(rows_where!("kind = 0 AND ends IS NOT NULL AND ends <= $1 ORDER BY ends LIMIT $2"))
        .bind(integer(now.as_millis()))
        .bind(integer(limit as u64))
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// When the first lifetime is over that there is.
pub(crate) async fn earliest(db: impl Into<Db<'_>>) -> Result<Option<Timestamp>> {
    let row = query("SELECT min(ends) FROM record WHERE kind = 0 AND ends IS NOT NULL").fetch_one(db).await?;
    Ok(optional(&row, 0)?.map(Timestamp::from_millis))
}

/// Records of a node that end with its lease, or at most so many milliseconds later.
pub(crate) async fn bound(
    db: impl Into<Db<'_>>,
    writer: NodeKey,
    most: u64,
    limit: usize,
) -> Result<Vec<Row>> {
    let rows = query(rows_where!(
        "mesh = $1 AND writer = $2 AND bound IS NOT NULL AND bound <= $3 ORDER BY bound LIMIT $4"
    ))
    .bind(writer.mesh.as_bytes())
    .bind(writer.node.as_bytes())
    .bind(integer(most))
    .bind(integer(limit as u64))
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// How long after its lease the first of a node's bound records ends; none if it has none.
pub(crate) async fn least_bound(db: impl Into<Db<'_>>, writer: NodeKey) -> Result<Option<u64>> {
    let row = query("SELECT min(bound) FROM record WHERE mesh = $1 AND writer = $2 AND bound IS NOT NULL")
        .bind(writer.mesh.as_bytes())
        .bind(writer.node.as_bytes())
        .fetch_one(db)
        .await?;
    optional(&row, 0)
}

/// Every node that has bound records, and how long after its lease the first of them ends.
pub(crate) async fn bound_nodes(db: impl Into<Db<'_>>) -> Result<Vec<(NodeKey, u64)>> {
    let rows =
        query("SELECT mesh, writer, min(bound) FROM record WHERE bound IS NOT NULL GROUP BY mesh, writer")
            .fetch_all(db)
            .await?;
    rows.iter()
        .map(|row| {
            let node = NodeKey {
                mesh: MeshId::from_bytes(array(row, 0)?),
                node: NodeId::from_bytes(array(row, 1)?),
            };
            Ok((node, number(row, 2)?))
        })
        .collect()
}

/// Takes out tombstones and ends that are past their time, the oldest first, at most `limit`: each with its space, its
/// place, and what it counted for.
pub(crate) async fn forget(
    db: &mut Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(SpaceKey, u64, Usage)>> {
    let rows = query(taken!(
        "record",
        "id",
        "kind > 0 AND ends <= $1 ORDER BY ends LIMIT $2",
        "mesh, (SELECT s.space FROM space AS s WHERE s.id = record.space), seq, CAST(length(sealed) AS BIGINT)"
    ))
    .bind(integer(now.as_millis()))
    .bind(integer(limit as u64))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let (mesh, space) = (MeshId::from_bytes(array(row, 0)?), SpaceId::from_bytes(array(row, 1)?));
            Ok((SpaceKey { mesh, space }, number(row, 2)?, Usage { records: 1, bytes: number(row, 3)? }))
        })
        .collect()
}
