//! Sealed-key lists: what is put here before an entry names it, and the newest epoch's, of which members fetch their
//! slots. Every slot is proven before it comes here.

use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::state_key::{
    EarlierKeys, Holder, KeyListHead, ProofPath, ProvenSlot, SealedStateKeys, Slot,
};
use waxwing_crypto::{Digest, MeshId, NodeId, Timestamp, VerifyingKey};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Row, RowsSql, array, integer, number, query, taken};
use super::key::NodeKey;
use crate::error::{Error, Result};

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO key_slot (mesh, list, place, holder, sealed_to, sealed, path)",
        &[Blob, Int, Int, Blob, Blob, Blob, Blob],
        "ON CONFLICT (mesh, list, place) DO NOTHING",
    )
});

/// A list, as far as it has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct List {
    /// Names it in this store.
    pub(crate) id: i64,
    /// Whose.
    pub(crate) mesh: MeshId,
    /// What an entry names.
    pub(crate) root: Digest,
    /// The epoch that it begins.
    pub(crate) epoch: u64,
    /// How many slots it has.
    slots: u64,
    /// How many of them are here.
    held: u64,
}

impl List {
    /// Whether every slot is here.
    pub(crate) const fn is_whole(&self) -> bool {
        self.held == self.slots
    }
}

/// A list by its root.
pub(crate) async fn find(db: impl Into<Db<'_>>, mesh: MeshId, root: &Digest) -> Result<Option<List>> {
    let row = query("SELECT id, mesh, root, epoch, slots, held FROM key_list WHERE mesh = $1 AND root = $2")
        .bind(mesh.as_bytes())
        .bind(root.as_bytes())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(list).transpose()
}

/// How many lists there are of a mesh, whole or not.
pub(crate) async fn count(db: impl Into<Db<'_>>, mesh: MeshId) -> Result<u64> {
    let row =
        query("SELECT count(*) FROM key_list WHERE mesh = $1").bind(mesh.as_bytes()).fetch_one(db).await?;
    number(&row, 0)
}

/// Begins a list without slots.
pub(crate) async fn begin(
    db: impl Into<Db<'_>>,
    maker: NodeKey,
    root: &Digest,
    head: &KeyListHead,
) -> Result<List> {
    let row = query(
        "INSERT INTO key_list (mesh, root, epoch, maker, slots, held, touched, earlier)
         VALUES ($1, $2, $3, $4, $5, 0, 0, $6) RETURNING id, mesh, root, epoch, slots, held",
    )
    .bind(maker.mesh.as_bytes())
    .bind(root.as_bytes())
    .bind(integer(head.epoch))
    .bind(maker.node.as_bytes())
    .bind(integer(head.slots))
    .bind(&head.earlier.as_bytes()[..])
    .fetch_one(db)
    .await?;
    list(&row)
}

/// Keeps those slots of a list that are not here yet.
pub(crate) async fn put(
    db: &mut Connection,
    list: &List,
    slots: &[ProvenSlot],
    now: Timestamp,
) -> Result<()> {
    let mesh = list.mesh.as_bytes().to_vec();
    let new = PUT.execute(db, slots, |values, ProvenSlot { at, path, slot }| {
        values
            .bind(mesh.clone())
            .bind(list.id)
            .bind(integer(*at))
            .bind(slot.holder.as_bytes())
            .bind(slot.to.as_bytes())
            .bind(&slot.sealed.as_bytes()[..])
            .bind(path.to_bytes());
    });
    let new = new.await?;
    query("UPDATE key_list SET held = held + $1, touched = $2 WHERE id = $3")
        .bind(integer(new))
        .bind(integer(now.as_millis()))
        .bind(list.id)
        .execute(db)
        .await?;
    Ok(())
}

/// Gives up what a node has put here before, except these two: it is putting another list.
pub(crate) async fn give_up(
    db: impl Into<Db<'_>>,
    maker: NodeKey,
    but: &Digest,
    newest: Option<&Digest>,
) -> Result<()> {
    query("UPDATE key_list SET touched = 0 WHERE mesh = $1 AND maker = $2 AND root <> $3 AND root <> $4")
        .bind(maker.mesh.as_bytes())
        .bind(maker.node.as_bytes())
        .bind(but.as_bytes())
        .bind(newest.map_or(&[][..], |root| &root.as_bytes()[..]))
        .execute(db)
        .await?;
    Ok(())
}

/// The slot of one of these holders, the first who has one, and the head of its list.
pub(crate) async fn slot(
    db: &mut Connection,
    mesh: MeshId,
    root: &Digest,
    holders: &[Holder],
) -> Result<Option<(KeyListHead, ProvenSlot)>> {
    for holder in holders {
        let row = query(
            "SELECT epoch, slots, earlier, place, holder, sealed_to, sealed, path
             FROM key_list JOIN key_slot ON key_slot.mesh = key_list.mesh AND key_slot.list = key_list.id
             WHERE key_list.mesh = $1 AND key_list.root = $2 AND key_slot.holder = $3",
        )
        .bind(mesh.as_bytes())
        .bind(root.as_bytes())
        .bind(holder.as_bytes())
        .fetch_optional(&mut *db)
        .await?;
        if let Some(row) = row {
            return read(&row).map(Some);
        }
    }
    Ok(None)
}

/// Lists of which nothing has come since a moment.
pub(crate) async fn untouched(db: impl Into<Db<'_>>, since: Timestamp) -> Result<Vec<List>> {
    let rows =
        query("SELECT id, mesh, root, epoch, slots, held FROM key_list WHERE touched < $1 ORDER BY id")
            .bind(integer(since.as_millis()))
            .fetch_all(db)
            .await?;
    rows.iter().map(list).collect()
}

/// Removes at most so many slots of a list, and the list with the last of them. Says how many.
pub(crate) async fn remove(db: &mut Connection, list: &List, limit: usize) -> Result<usize> {
    let removed =
        query(taken!("key_slot", "mesh, list, place", "mesh = $1 AND list = $2 ORDER BY place LIMIT $3"))
            .bind(list.mesh.as_bytes())
            .bind(list.id)
            .bind(integer(limit as u64))
            .execute(&mut *db)
            .await?;
    let sql = if removed == list.held {
        "DELETE FROM key_list WHERE id = $1 AND held = $2"
    } else {
        "UPDATE key_list SET held = held - $2 WHERE id = $1"
    };
    query(sql).bind(list.id).bind(integer(removed)).execute(db).await?;
    Ok(usize::try_from(removed).unwrap_or(usize::MAX))
}

fn list(row: &Row) -> Result<List> {
    Ok(List {
        id: row.get(0)?,
        mesh: MeshId::from_bytes(array(row, 1)?),
        root: Digest::from_bytes(array(row, 2)?),
        epoch: number(row, 3)?,
        slots: number(row, 4)?,
        held: number(row, 5)?,
    })
}

fn read(row: &Row) -> Result<(KeyListHead, ProvenSlot)> {
    let damaged = |_| Error::damaged("a key slot");
    let bytes = |column: usize| row.get::<Vec<u8>>(column).map(Bytes::from);
    let earlier = EarlierKeys::from_bytes(bytes(2)?).map_err(damaged)?;
    let head = KeyListHead { epoch: number(row, 0)?, slots: number(row, 1)?, earlier };
    let holder = match row.get::<&[u8]>(4)? {
        id if id.len() == NodeId::SIZE => Holder::Node(NodeId::from_bytes(array(row, 4)?)),
        _ => Holder::Invite(
            VerifyingKey::from_bytes(&array::<{ VerifyingKey::SIZE }>(row, 4)?).map_err(damaged)?,
        ),
    };
    let sealed = SealedStateKeys::from_bytes(bytes(6)?).map_err(damaged)?;
    let slot = Slot { holder, to: Digest::from_bytes(array(row, 5)?), sealed };
    let path = ProofPath::from_bytes(row.get::<&[u8]>(7)?).map_err(damaged)?;
    Ok((head, ProvenSlot { at: number(row, 3)?, path, slot }))
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::SigningKey;

    use super::*;
    use crate::store::testing::{database, node};

    const ROOT: Digest = Digest::from_bytes([1; 32]);

    fn head(slots: u64) -> KeyListHead {
        KeyListHead { epoch: 2, slots, earlier: EarlierKeys::from_bytes(vec![7; 40].into()).unwrap() }
    }

    fn proven(at: u64, holder: Holder) -> ProvenSlot {
        let sealed = SealedStateKeys::from_bytes(vec![at as u8; SealedStateKeys::ONE].into()).unwrap();
        let slot = Slot { holder, to: Digest::from_bytes([9; 32]), sealed };
        ProvenSlot { at, path: ProofPath::from_bytes(&[5; 64]).unwrap(), slot }
    }

    #[tokio::test]
    async fn a_list_is_whole_once_every_slot_is_here_however_often_it_came() {
        let mut db = database().await;
        let (mesh, now) = (node(1).mesh, Timestamp::from_millis(50));
        let invite = Holder::Invite(SigningKey::from_seed(&[3; 32]).public());
        let slots =
            [proven(0, Holder::Node(node(1).node)), proven(1, Holder::Node(node(2).node)), proven(2, invite)];
        let list = begin(&mut db, node(1), &ROOT, &head(3)).await.unwrap();
        put(&mut db, &list, &slots[1..], now).await.unwrap();
        put(&mut db, &list, &slots[1..], now).await.unwrap();
        assert!(!find(&mut db, mesh, &ROOT).await.unwrap().unwrap().is_whole());
        put(&mut db, &list, &slots, now).await.unwrap();
        assert!(find(&mut db, mesh, &ROOT).await.unwrap().unwrap().is_whole());
        let holders = [Holder::Node(node(9).node), invite];
        let found = slot(&mut db, mesh, &ROOT, &holders).await.unwrap();
        assert_eq!(found, Some((head(3), slots[2].clone())));
        assert_eq!(slot(&mut db, mesh, &ROOT, &holders[..1]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_list_goes_in_steps_and_can_come_back_meanwhile() {
        let mut db = database().await;
        let now = Timestamp::from_millis(50);
        let slots: Vec<_> = (0..5).map(|n| proven(n, Holder::Node(node(n as u8).node))).collect();
        let list = begin(&mut db, node(1), &ROOT, &head(5)).await.unwrap();
        put(&mut db, &list, &slots, now).await.unwrap();
        give_up(&mut db, node(1), &Digest::from_bytes([2; 32]), None).await.unwrap();
        let gone = untouched(&mut db, Timestamp::from_millis(1)).await.unwrap();
        assert_eq!(remove(&mut db, &gone[0], 3).await.unwrap(), 3);
        let part = find(&mut db, list.mesh, &ROOT).await.unwrap().unwrap();
        assert!(!part.is_whole());
        put(&mut db, &part, &slots[..1], now).await.unwrap();
        assert!(untouched(&mut db, Timestamp::from_millis(1)).await.unwrap().is_empty());
        let part = find(&mut db, list.mesh, &ROOT).await.unwrap().unwrap();
        let left = remove(&mut db, &part, 9).await.unwrap();
        assert!((2..=3).contains(&left), "{left}");
        assert_eq!(
            (count(&mut db, list.mesh).await.unwrap(), find(&mut db, list.mesh, &ROOT).await.unwrap()),
            (0, None)
        );
    }

    #[tokio::test]
    async fn the_list_that_the_log_names_is_not_given_up() {
        let mut db = database().await;
        let list = begin(&mut db, node(1), &ROOT, &head(1)).await.unwrap();
        put(&mut db, &list, &[proven(0, Holder::Node(node(1).node))], Timestamp::from_millis(50))
            .await
            .unwrap();
        give_up(&mut db, node(1), &Digest::from_bytes([2; 32]), Some(&ROOT)).await.unwrap();
        give_up(&mut db, node(2), &Digest::from_bytes([2; 32]), None).await.unwrap();
        assert!(untouched(&mut db, Timestamp::from_millis(50)).await.unwrap().is_empty());
    }
}
