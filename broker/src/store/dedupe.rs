//! What has been accepted, by sender and wire id, so that a retry is known for one.

use std::collections::HashMap;
use std::sync::LazyLock;

use waxwing_crypto::{Fingerprint, MeshId, NodeId, Timestamp, WireId};
use waxwing_protocol::MessageId;

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Keyed, Row, RowsSql, array, integer, number, query, taken};
use super::key::{NodeKey, Place, Seq};
use super::queue::rank;
use crate::error::{Error, Result};

static FIND: LazyLock<RowsSql> = LazyLock::new(|| {
    let read = "mesh, sender, wire, fingerprint, message, recipient, rank, seq, seal, first_seen, expires";
    Keyed { table: "dedupe", key: &["mesh", "sender", "wire"], near: true }.find(
        read,
        false,
        &[Blob, Blob, Blob],
    )
});

static PUT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO dedupe (mesh, sender, wire, fingerprint, message, recipient, rank, seq, seal, first_seen,
         expires)",
        &[Blob, Blob, Blob, Blob, Blob, Blob, Int, Int, Int, Int, Int],
        "ON CONFLICT (mesh, sender, wire) DO UPDATE SET fingerprint = excluded.fingerprint,
         message = excluded.message, recipient = excluded.recipient, rank = excluded.rank, seq = excluded.seq,
         seal = excluded.seal, first_seen = excluded.first_seen, expires = excluded.expires",
    )
});

/// A wire id of one sender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct WireKey {
    /// Who sent it.
    pub(crate) sender: NodeKey,
    /// As it calls it.
    pub(crate) wire: WireId,
}

/// What is remembered of an accepted item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    /// Tells a retry from an id used twice.
    pub(crate) fingerprint: Fingerprint,
    /// What the broker calls the message.
    pub(crate) message: MessageId,
    /// In whose queue it was put,
    pub(crate) recipient: NodeId,
    /// and where.
    pub(crate) place: Place,
    /// The highest seal accepted.
    pub(crate) seal: u32,
    /// When it was first accepted.
    pub(crate) first_seen: Timestamp,
    /// When this may be forgotten.
    pub(crate) expires: Timestamp,
}

/// The records of those of `keys` that have one and are not past their end.
pub(crate) async fn find(
    db: &mut Connection,
    keys: &[WireKey],
    now: Timestamp,
) -> Result<HashMap<WireKey, Record>> {
    let mut found = HashMap::new();
    let rows = FIND
        .fetch(db, keys, |values, key| {
            values
                .bind(key.sender.mesh.as_bytes())
                .bind(key.sender.node.as_bytes())
                .bind(key.wire.as_bytes());
        })
        .await?;
    for row in rows {
        let (key, record) = read(&row)?;
        if record.expires > now {
            found.insert(key, record);
        }
    }
    Ok(found)
}

fn read(row: &Row) -> Result<(WireKey, Record)> {
    let sender =
        NodeKey { mesh: MeshId::from_bytes(array(row, 0)?), node: NodeId::from_bytes(array(row, 1)?) };
    let key = WireKey { sender, wire: WireId::from_bytes(array(row, 2)?) };
    let record = Record {
        fingerprint: Fingerprint::from_bytes(array(row, 3)?),
        message: MessageId::from_bytes(array(row, 4)?),
        recipient: NodeId::from_bytes(array(row, 5)?),
        place: Place { rank: rank(number(row, 6)?)?, seq: Seq(number(row, 7)?) },
        seal: u32::try_from(number(row, 8)?).map_err(|_| Error::damaged("a seal"))?,
        first_seen: Timestamp::from_millis(number(row, 9)?),
        expires: Timestamp::from_millis(number(row, 10)?),
    };
    Ok((key, record))
}

/// Stores records, in the place of what was there.
pub(crate) async fn put(db: &mut Connection, rows: &[(WireKey, Record)]) -> Result<()> {
    PUT.execute(db, rows, |values, (key, record)| {
        values
            .bind(key.sender.mesh.as_bytes())
            .bind(key.sender.node.as_bytes())
            .bind(key.wire.as_bytes())
            .bind(record.fingerprint.as_bytes())
            .bind(record.message.as_bytes())
            .bind(record.recipient.as_bytes())
            .bind(integer(record.place.rank.index() as u64))
            .bind(integer(record.place.seq.0))
            .bind(i64::from(record.seal))
            .bind(integer(record.first_seen.as_millis()))
            .bind(integer(record.expires.as_millis()));
    })
    .await
    .map(drop)
}

/// Forgets records past their end, the oldest first, at most `limit`. Says how many.
pub(crate) async fn forget(db: impl Into<Db<'_>>, now: Timestamp, limit: usize) -> Result<usize> {
    let done = query(taken!("dedupe", "mesh, sender, wire", "expires <= $1 ORDER BY expires LIMIT $2"))
        .bind(integer(now.as_millis()))
        .bind(integer(limit as u64))
        .execute(db)
        .await?;
    Ok(done as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Rank;
    use crate::store::testing::{database, node, plan};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn row(sender: u8, wire: u8, expires: u64) -> (WireKey, Record) {
        let key = WireKey { sender: node(sender), wire: WireId::from_bytes([wire; 16]) };
        let record = Record {
            fingerprint: Fingerprint::from_bytes([wire; 32]),
            message: MessageId::from_bytes([wire; 16]),
            recipient: node(9).node,
            place: Place { rank: Rank::Low, seq: Seq(7) },
            seal: u32::MAX,
            first_seen: NOW,
            expires: Timestamp::from_millis(expires),
        };
        (key, record)
    }

    #[tokio::test]
    async fn records_belong_to_their_sender_and_are_replaced_whole() {
        let mut db = database().await;
        let rows: Vec<_> = (0..100).map(|n| row(1, n, 5_000)).collect();
        put(&mut db, &rows).await.unwrap();
        let keys = [rows[0].0, rows[99].0, WireKey { sender: node(2), ..rows[0].0 }];
        let found = find(&mut db, &keys, NOW).await.unwrap();
        assert_eq!((found.len(), found[&keys[0]], found[&keys[1]]), (2, rows[0].1, rows[99].1));
        let changed = Record { seal: 3, recipient: node(4).node, ..row(7, 7, 7_000).1 };
        put(&mut db, &[(keys[0], changed)]).await.unwrap();
        assert_eq!(find(&mut db, &keys[..1], NOW).await.unwrap()[&keys[0]], changed);
    }

    #[tokio::test]
    async fn a_record_past_its_end_is_not_found_and_then_forgotten() {
        let mut db = database().await;
        let rows: Vec<_> = (0..10).map(|n| row(1, n, 996 + u64::from(n))).collect();
        put(&mut db, &rows).await.unwrap();
        let keys: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
        assert_eq!(find(&mut db, &keys, NOW).await.unwrap().len(), 5);
        assert_eq!(forget(&mut db, NOW, 3).await.unwrap(), 3);
        assert_eq!(forget(&mut db, NOW, 3).await.unwrap(), 2);
        assert_eq!(forget(&mut db, NOW, 3).await.unwrap(), 0);
        assert_eq!(find(&mut db, &keys, Timestamp::default()).await.unwrap().len(), 5);
    }

    #[tokio::test]
    async fn records_are_looked_up_by_their_key() {
        let one = plan(FIND.for_one()).await;
        assert!(one.contains("SEARCH dedupe USING PRIMARY KEY (mesh=? AND sender=? AND wire=?)"), "{one}");
        let near = plan(FIND.for_near()).await;
        let range = "(mesh=? AND sender=? AND wire>? AND wire<?)";
        assert!(near.contains(&format!("SEARCH dedupe USING PRIMARY KEY {range}")), "{near}");
        assert!(!near.contains("TEMP B-TREE"), "{near}");
    }
}
