//! What the broker counts for each node: its logins, and how full its queue is.

use std::collections::HashMap;
use std::sync::LazyLock;

use waxwing_crypto::{MeshId, NodeId};
use waxwing_protocol::link::Progress;

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Keyed, RowsSql, array, integer, number, query};
use super::key::{LoginNumber, NodeKey, Seq};
use crate::error::Result;

/// Who reads these rows gives out places, and holds them until its commit: no place is seen before a lower one.
static FIND: LazyLock<RowsSql> = LazyLock::new(|| {
    let read = "mesh, node, login, next_seq, queued, queued_bytes, shown_login, shown_through, shown_rows";
    Keyed { table: "node", key: &["mesh", "node"], near: false }.find(read, true, &[Blob, Blob])
});

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO node (mesh, node, login, next_seq, queued, queued_bytes, shown_login, shown_through, shown_rows)",
        &[Blob, Blob, Int, Int, Int, Int, Int, Int, Int],
        "ON CONFLICT (mesh, node) DO UPDATE SET login = excluded.login, next_seq = excluded.next_seq,
         queued = excluded.queued, queued_bytes = excluded.queued_bytes, shown_login = excluded.shown_login,
         shown_through = excluded.shown_through, shown_rows = excluded.shown_rows",
    )
});

/// The counters of one node. A node that has none yet has the default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Counters {
    /// Its last login.
    pub(crate) login: LoginNumber,
    /// The place that the next row of its queue gets.
    pub(crate) next_seq: Seq,
    /// Envelopes in its queue.
    pub(crate) queued: u64,
    /// Their bytes.
    pub(crate) queued_bytes: u64,
    /// How far its state had come when it was last shown.
    pub(crate) shown: Progress,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            login: LoginNumber(0),
            next_seq: Seq(1),
            queued: 0,
            queued_bytes: 0,
            shown: Progress::default(),
        }
    }
}

/// The counters of those of `keys` that have any.
pub(crate) async fn find(db: &mut Connection, keys: &[NodeKey]) -> Result<HashMap<NodeKey, Counters>> {
    let mut found = HashMap::with_capacity(keys.len());
    let rows = FIND
        .fetch(db, keys, |values, key| {
            values.bind(key.mesh.as_bytes()).bind(key.node.as_bytes());
        })
        .await?;
    for row in rows {
        let key =
            NodeKey { mesh: MeshId::from_bytes(array(&row, 0)?), node: NodeId::from_bytes(array(&row, 1)?) };
        let counters = Counters {
            login: LoginNumber(number(&row, 2)?),
            next_seq: Seq(number(&row, 3)?),
            queued: number(&row, 4)?,
            queued_bytes: number(&row, 5)?,
            shown: Progress { login: number(&row, 6)?, through: number(&row, 7)?, rows: number(&row, 8)? },
        };
        found.insert(key, counters);
    }
    Ok(found)
}

/// Stores counters.
pub(crate) async fn put(db: &mut Connection, rows: &[(NodeKey, Counters)]) -> Result<()> {
    PUT.execute(db, rows, |values, (key, counters)| {
        values
            .bind(key.mesh.as_bytes())
            .bind(key.node.as_bytes())
            .bind(integer(counters.login.0))
            .bind(integer(counters.next_seq.0))
            .bind(integer(counters.queued))
            .bind(integer(counters.queued_bytes))
            .bind(integer(counters.shown.login))
            .bind(integer(counters.shown.through))
            .bind(integer(counters.shown.rows));
    })
    .await
    .map(drop)
}

/// What is in all queues: envelopes, and their bytes. Reads every node: for the start, not for every day.
pub(crate) async fn totals(db: impl Into<Db<'_>>) -> Result<(u64, u64)> {
    let row = query("SELECT CAST(COALESCE(SUM(queued), 0) AS BIGINT), CAST(COALESCE(SUM(queued_bytes), 0) AS BIGINT) FROM node")
        .fetch_one(db)
        .await?;
    Ok((number(&row, 0)?, number(&row, 1)?))
}

/// Nodes after `after` that have envelopes queued, at most `limit`, in the order of their keys.
pub(crate) async fn with_mail(
    db: impl Into<Db<'_>>,
    after: Option<NodeKey>,
    limit: usize,
) -> Result<Vec<NodeKey>> {
    let rows = query(
        "SELECT mesh, node FROM node WHERE (mesh, node) > ($1, $2) AND queued > 0 ORDER BY mesh, node LIMIT $3",
    )
    .bind(after.map_or(Vec::new(), |key| key.mesh.as_bytes().to_vec()))
    .bind(after.map_or(Vec::new(), |key| key.node.as_bytes().to_vec()))
    .bind(integer(limit as u64))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(NodeKey { mesh: MeshId::from_bytes(array(row, 0)?), node: NodeId::from_bytes(array(row, 1)?) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{database, node};

    #[tokio::test]
    async fn counters_are_stored_and_found_by_key() {
        let mut db = database().await;
        let rows: Vec<_> = (1..=300)
            .map(|n| {
                let key = NodeKey { mesh: node(1).mesh, node: NodeId::from_bytes(u128::to_be_bytes(n)) };
                (key, Counters { queued: n as u64, ..Counters::default() })
            })
            .collect();
        put(&mut db, &rows).await.unwrap();
        let keys: Vec<_> = rows.iter().map(|(key, _)| *key).chain([node(200)]).collect();
        let found = find(&mut db, &keys).await.unwrap();
        assert_eq!(found.len(), 300);
        assert!(rows.iter().all(|(key, counters)| found[key] == *counters));
        let shown = Progress { login: 3, through: 2, rows: 1 };
        let changed = Counters { login: LoginNumber(4), next_seq: Seq(9), queued: 0, queued_bytes: 7, shown };
        put(&mut db, &[(keys[0], changed)]).await.unwrap();
        assert_eq!(find(&mut db, &keys[..1]).await.unwrap()[&keys[0]], changed);
    }

    #[tokio::test]
    async fn nodes_with_mail_come_in_pages() {
        let mut db = database().await;
        let queued = |n| Counters { queued: n, ..Counters::default() };
        put(&mut db, &[(node(1), queued(1)), (node(2), queued(0)), (node(3), queued(5))]).await.unwrap();
        assert_eq!(with_mail(&mut db, None, 1).await.unwrap(), [node(1)]);
        assert_eq!(with_mail(&mut db, Some(node(1)), 9).await.unwrap(), [node(3)]);
    }
}
