//! The newest prekey of each node.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::sealing::PrekeyId;
use waxwing_crypto::{MeshId, NodeId, Signature, Signed};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Keyed, RowsSql, array, integer, query};
use super::key::NodeKey;
use crate::error::{Error, Result};

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO prekey (mesh, node, id, prekey, signature)",
        &[Blob, Blob, Int, Blob, Blob],
        "ON CONFLICT (mesh, node) DO UPDATE SET id = excluded.id, prekey = excluded.prekey,
         signature = excluded.signature WHERE excluded.id > prekey.id",
    )
});

static FIND: LazyLock<RowsSql> = LazyLock::new(|| {
    Keyed { table: "prekey", key: &["mesh", "node"], near: false }.find(
        "node, prekey, signature",
        false,
        &[Blob, Blob],
    )
});

/// A prekey as its node signed it.
#[derive(Clone, Debug)]
pub(crate) struct PrekeyRow {
    /// Whose.
    pub(crate) owner: NodeKey,
    /// Its number.
    pub(crate) id: PrekeyId,
    /// The signed bytes.
    pub(crate) prekey: Signed,
}

/// Keeps those that are newer than what is there; one of each node.
pub(crate) async fn put(db: &mut Connection, rows: &[PrekeyRow]) -> Result<()> {
    PUT.execute(db, rows, |values, row| {
        values
            .bind(row.owner.mesh.as_bytes())
            .bind(row.owner.node.as_bytes())
            .bind(integer(row.id.as_u64()))
            .bind(&row.prekey.bytes[..])
            .bind(row.prekey.signature.as_bytes());
    })
    .await
    .map(drop)
}

/// Forgets a node's prekey: the key that signed it is no longer the node's.
pub(crate) async fn remove(db: impl Into<Db<'_>>, owner: NodeKey) -> Result<()> {
    query("DELETE FROM prekey WHERE mesh = $1 AND node = $2")
        .bind(owner.mesh.as_bytes())
        .bind(owner.node.as_bytes())
        .execute(db)
        .await?;
    Ok(())
}

/// The newest prekey of those of `nodes` that have one.
pub(crate) async fn find(
    db: &mut Connection,
    mesh: MeshId,
    nodes: &[NodeId],
) -> Result<HashMap<NodeId, Signed>> {
    let mut found = HashMap::with_capacity(nodes.len());
    let rows = FIND
        .fetch(db, nodes, |values, node| {
            values.bind(mesh.as_bytes()).bind(node.as_bytes());
        })
        .await?;
    for row in rows {
        let signature = row.get::<&[u8]>(2)?;
        let signed = Signed {
            bytes: Bytes::from(row.get::<Vec<u8>>(1)?),
            signature: Signature::from_bytes(signature).map_err(|_| Error::damaged("a signature"))?,
        };
        found.insert(NodeId::from_bytes(array(&row, 0)?), signed);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::{Purpose, SigningKey};

    use super::*;
    use crate::store::testing::{database, node};

    #[tokio::test]
    async fn only_a_newer_prekey_replaces_one() {
        let mut db = database().await;
        let key = SigningKey::from_seed(&[1; 32]);
        let row = |n: u8, id: u64| PrekeyRow {
            owner: node(n),
            id: PrekeyId::from_u64(id),
            prekey: Signed::new(&key, Purpose::Prekey, vec![n, id as u8]),
        };
        put(&mut db, &[row(1, 5), row(2, 1)]).await.unwrap();
        put(&mut db, &[row(1, 4)]).await.unwrap();
        let nodes = [node(1).node, node(2).node, node(3).node];
        let found = find(&mut db, node(1).mesh, &nodes).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[&nodes[0]], row(1, 5).prekey);
        put(&mut db, &[row(1, 6)]).await.unwrap();
        remove(&mut db, node(2)).await.unwrap();
        let found = find(&mut db, node(1).mesh, &nodes).await.unwrap();
        assert_eq!((found.len(), &found[&nodes[0]]), (1, &row(1, 6).prekey));
    }
}
