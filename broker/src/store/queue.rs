//! The queues: for each node the envelopes and notices that wait for it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::{MeshId, NodeId, Timestamp, WireId};
use waxwing_protocol::link::NoticeKind;

use super::db::Column::{Bytes as Blob, Int};
use super::db::{Connection, Db, Each, Keyed, Row, RowsSql, Values, array, integer, number, query, taken};
use super::key::{NodeKey, Place, QueueKey, Rank, Seq};
use super::notice;
use crate::error::{Error, Result};

static INSERT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO queue (mesh, recipient, rank, seq, kind, sender, wire, seal, expires, body)",
        &[Blob, Blob, Int, Int, Int, Blob, Blob, Int, Int, Blob],
        "",
    )
});

/// Where a row is.
const PLACE: Keyed = Keyed { table: "queue", key: &["mesh", "recipient", "rank", "seq"], near: true };

/// What a [`Removed`] is read from.
const REMOVED: &str = "mesh, recipient, rank, seq, CAST(length(body) AS BIGINT)";

static SIZES: LazyLock<RowsSql> = LazyLock::new(|| PLACE.find(REMOVED, false, &[Blob, Blob, Int, Int]));

static DELETE: LazyLock<RowsSql> = LazyLock::new(|| PLACE.take(REMOVED, &[Blob, Blob, Int, Int]));

static DELETE_SEALED: LazyLock<RowsSql> = LazyLock::new(|| {
    let sealed = Keyed { table: "queue", key: &["mesh", "recipient", "rank", "seq", "seal"], near: false };
    sealed.take(REMOVED, &[Blob, Blob, Int, Int, Int])
});

/// SQLite is asked row by row, and no longer than there is room. PostgreSQL sends all it has found: it finds no more than
/// what fits, and the first that does not.
const READ: Each = Each {
    sqlite: "SELECT seq, kind, sender, wire, seal, expires, body FROM queue
             WHERE mesh = $1 AND recipient = $2 AND rank = $3 AND seq > $4 ORDER BY seq LIMIT $5",
    postgres: "SELECT seq, kind, sender, wire, seal, expires, body FROM
                 (SELECT *, sum(length(body)) OVER (ORDER BY seq) - length(body) AS ahead FROM
                   (SELECT * FROM queue
                    WHERE mesh = $1 AND recipient = $2 AND rank = $3 AND seq > $4 ORDER BY seq LIMIT $5) AS next)
                 AS page
               WHERE ahead <= $6 ORDER BY seq",
};

/// Kind of a row that holds an envelope. The others are [`notice`]'s.
const ENVELOPE: i64 = 0;

/// What a row of the queue holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    /// Mail for the owner of the queue.
    Envelope(Mail),
    /// What became of a message that the owner of the queue sent.
    Notice(Notice),
}

/// A sealed message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mail {
    /// Who sent it.
    pub(crate) from: NodeId,
    /// As its sender calls it.
    pub(crate) id: WireId,
    /// How often it had been sealed anew.
    pub(crate) seal: u32,
    /// When it ends.
    pub(crate) exp: Timestamp,
    /// The envelope, as it came.
    pub(crate) env: Bytes,
}

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Notice {
    /// The message, as its sender calls it.
    pub(crate) id: WireId,
    /// What happened.
    pub(crate) kind: NoticeKind,
    /// When nobody needs to hear of it any more.
    pub(crate) ends: Timestamp,
}

impl Item {
    /// When it ends.
    pub(crate) const fn ends(&self) -> Timestamp {
        match self {
            Self::Envelope(mail) => mail.exp,
            Self::Notice(notice) => notice.ends,
        }
    }

    /// What it counts for in a frame and a window, in bytes.
    pub(crate) const fn cost(&self) -> usize {
        match self {
            Self::Envelope(mail) => mail.env.len(),
            Self::Notice(notice) => notice::cost(&notice.kind),
        }
    }
}

/// Some rows of one rank of a queue, in order.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows.
    pub(crate) rows: Vec<(Seq, Item)>,
    /// Whether there were more than there was room for.
    pub(crate) more: bool,
}

/// What went out of a queue.
#[derive(Debug)]
pub(crate) struct Removed {
    /// Where it was.
    pub(crate) key: QueueKey,
    /// Size of its body.
    pub(crate) bytes: u64,
}

/// A row that ended before its time.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Where it was.
    pub(crate) removed: Removed,
    /// Of an envelope: its sender, what that calls it, and when it was to end.
    pub(crate) mail: Option<(NodeKey, WireId, Timestamp)>,
}

/// Adds rows.
pub(crate) async fn insert(db: &mut Connection, rows: &[(QueueKey, Item)]) -> Result<()> {
    INSERT
        .execute(db, rows, |values, (key, item)| {
            bind_key(values, key);
            match item {
                Item::Envelope(mail) => values
                    .bind(ENVELOPE)
                    .bind(mail.from.as_bytes())
                    .bind(mail.id.as_bytes())
                    .bind(i64::from(mail.seal))
                    .bind(integer(mail.exp.as_millis()))
                    .bind(&mail.env[..]),
                Item::Notice(notice) => values
                    .bind(notice::code(&notice.kind))
                    .bind(None::<&[u8]>)
                    .bind(notice.id.as_bytes())
                    .bind(0_i64)
                    .bind(integer(notice.ends.as_millis()))
                    .bind(notice::body(&notice.kind)),
            };
        })
        .await
        .map(drop)
}

/// Reads one rank of a queue from after a place, at most `items` rows, and no more than `bytes` of their cost. Stops
/// reading when that is reached.
pub(crate) async fn read(
    db: impl Into<Db<'_>>,
    owner: NodeKey,
    after: Place,
    items: usize,
    bytes: usize,
) -> Result<Page> {
    let rows = query(READ)
        .bind(owner.mesh.as_bytes())
        .bind(owner.node.as_bytes())
        .bind(integer(after.rank.index() as u64))
        .bind(integer(after.seq.0))
        .bind(integer(items as u64 + 1))
        .bind(integer(bytes as u64));
    let visit = move |(mut page, left): (Page, usize), mut row: Row| {
        let item = item(&mut row)?;
        if page.rows.len() == items || item.cost() > left {
            page.more = true;
            return Ok(ControlFlow::Break((page, left)));
        }
        let left = left - item.cost();
        page.rows.push((Seq(number(&row, 0)?), item));
        Ok(ControlFlow::Continue((page, left)))
    };
    let (page, _) = rows.fold(db, (Page { rows: Vec::new(), more: false }, bytes), visit).await?;
    Ok(page)
}

/// Takes its body out of the row.
fn item(row: &mut Row) -> Result<Item> {
    let id = WireId::from_bytes(array(row, 3)?);
    let ends = Timestamp::from_millis(number(row, 5)?);
    match row.get::<i64>(1)? {
        ENVELOPE => Ok(Item::Envelope(Mail {
            from: NodeId::from_bytes(array(row, 2)?),
            id,
            seal: u32::try_from(number(row, 4)?).map_err(|_| Error::damaged("a seal"))?,
            exp: ends,
            env: row.take_bytes(6)?,
        })),
        code => Ok(Item::Notice(Notice { id, kind: notice::kind(code, row.get::<&[u8]>(6)?)?, ends })),
    }
}

/// The size of those of these rows that are there.
pub(crate) async fn sizes(db: &mut Connection, keys: &[QueueKey]) -> Result<HashMap<QueueKey, u64>> {
    let mut found = HashMap::with_capacity(keys.len());
    for row in SIZES.fetch(db, keys, bind_key).await? {
        let removed = removed(&row)?;
        found.insert(removed.key, removed.bytes);
    }
    Ok(found)
}

/// Takes rows out, whatever their seal. Says which were there.
pub(crate) async fn delete(db: &mut Connection, keys: &[QueueKey]) -> Result<Vec<Removed>> {
    DELETE.fetch(db, keys, bind_key).await?.iter().map(removed).collect()
}

/// Takes rows out that hold exactly this seal. Says which did.
pub(crate) async fn delete_sealed(db: &mut Connection, keys: &[(QueueKey, u32)]) -> Result<Vec<Removed>> {
    let rows = DELETE_SEALED.fetch(db, keys, |values, (key, seal)| {
        bind_key(values, key);
        values.bind(i64::from(*seal));
    });
    rows.await?.iter().map(removed).collect()
}

/// A statement that takes out rows of which an [`Ended`] is made.
macro_rules! ended {
    ($which:literal) => {
        taken!(
            "queue",
            "rowid",
            $which,
            "mesh, recipient, rank, seq, CAST(length(body) AS BIGINT), sender, wire, expires"
        )
    };
}

/// Takes out rows past their end, the oldest first, at most `limit`.
pub(crate) async fn expire(db: impl Into<Db<'_>>, now: Timestamp, limit: usize) -> Result<Vec<Ended>> {
    let rows = query(ended!("expires <= $1 ORDER BY expires LIMIT $2"))
        .bind(integer(now.as_millis()))
        .bind(integer(limit as u64))
        .fetch_all(db)
        .await?;
    in_order(&rows)
}

/// Takes out the rows of one queue, at most `limit`.
pub(crate) async fn evict(db: impl Into<Db<'_>>, owner: NodeKey, limit: usize) -> Result<Vec<Ended>> {
    let rows = query(ended!("mesh = $1 AND recipient = $2 ORDER BY rank, seq LIMIT $3"))
        .bind(owner.mesh.as_bytes())
        .bind(owner.node.as_bytes())
        .bind(integer(limit as u64))
        .fetch_all(db)
        .await?;
    in_order(&rows)
}

fn bind_key<'v>(values: &mut Values<'v>, key: &'v QueueKey) {
    values
        .bind(key.owner.mesh.as_bytes())
        .bind(key.owner.node.as_bytes())
        .bind(integer(key.place.rank.index() as u64))
        .bind(integer(key.place.seq.0));
}

fn removed(row: &Row) -> Result<Removed> {
    let owner =
        NodeKey { mesh: MeshId::from_bytes(array(row, 0)?), node: NodeId::from_bytes(array(row, 1)?) };
    let place = Place { rank: rank(number(row, 2)?)?, seq: Seq(number(row, 3)?) };
    Ok(Removed { key: QueueKey { owner, place }, bytes: number(row, 4)? })
}

/// By their places: a database returns what it deletes in any order.
fn in_order(rows: &[Row]) -> Result<Vec<Ended>> {
    let mut all = rows.iter().map(ended).collect::<Result<Vec<_>>>()?;
    all.sort_unstable_by_key(|ended| ended.removed.key);
    Ok(all)
}

fn ended(row: &Row) -> Result<Ended> {
    let removed = removed(row)?;
    let mail = match row.get::<Option<&[u8]>>(5)? {
        None => None,
        Some(_) => {
            let sender = NodeKey { mesh: removed.key.owner.mesh, node: NodeId::from_bytes(array(row, 5)?) };
            Some((sender, WireId::from_bytes(array(row, 6)?), Timestamp::from_millis(number(row, 7)?)))
        }
    };
    Ok(Ended { removed, mail })
}

/// The rank that a stored number stands for.
pub(super) fn rank(number: u64) -> Result<Rank> {
    let index = usize::try_from(number).ok();
    index.and_then(|index| Rank::ALL.get(index)).copied().ok_or_else(|| Error::damaged("a rank"))
}

#[cfg(test)]
mod tests;
