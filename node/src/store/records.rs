//! The copies of spaces: records and tombstones, sealed as they came.

use bytes::Bytes;
use waxwing_crypto::space::Stands;
use waxwing_crypto::{KeyId, NodeId, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_sqlite::{Connection, Executor, FromRow, Readers};

use super::columns::{moment, node};
use super::spaces::SpaceRow;
use super::{damaged, millis, number, time, unsigned};

/// How a record stands under its key: what another takes the place of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Slot {
    /// As the one that anybody replaces.
    Shared,
    /// As this node's own.
    Own(NodeId),
    /// As the one that was appended at this place.
    Appended(u64),
}

impl Slot {
    /// That of a record.
    pub(crate) const fn of(stands: Stands, writer: NodeId, seq: u64) -> Self {
        match stands {
            Stands::Shared => Self::Shared,
            Stands::Own => Self::Own(writer),
            Stands::Appended => Self::Appended(seq),
        }
    }

    /// How that is said.
    pub(crate) const fn stands(self) -> Stands {
        match self {
            Self::Shared => Stands::Shared,
            Self::Own(_) => Stands::Own,
            Self::Appended(_) => Stands::Appended,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Shared => Vec::new(),
            Self::Own(node) => node.as_bytes().to_vec(),
            Self::Appended(seq) => seq.to_be_bytes().to_vec(),
        }
    }

    fn read(bytes: &[u8]) -> waxwing_sqlite::Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::Shared);
        }
        if let Ok(seq) = bytes.try_into() {
            return Ok(Self::Appended(u64::from_be_bytes(seq)));
        }
        NodeId::try_from(bytes).map(Self::Own).map_err(|_| damaged("slot"))
    }
}

/// A record, or a tombstone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// Its place: of a tombstone, that of the deletion.
    pub(crate) seq: u64,
    pub(crate) key: KeyId,
    pub(crate) slot: Slot,
    pub(crate) tombstone: bool,
    pub(crate) writer: NodeId,
    pub(crate) version: u64,
    pub(crate) counter: u64,
    pub(crate) at: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) bound: Option<u64>,
    /// The life of the broker's store for which it was written.
    pub(crate) life: StoreId,
    pub(crate) sealed: Bytes,
}

impl FromRow for Row {
    fn from_row(row: &waxwing_sqlite::Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            seq: unsigned(row.try_get("seq")?),
            key: KeyId::try_from(row.try_get::<&[u8], _>("key")?).map_err(|_| damaged("key id"))?,
            slot: Slot::read(row.try_get("slot")?)?,
            tombstone: row.try_get("tombstone")?,
            writer: node(row, "writer")?,
            version: unsigned(row.try_get("version")?),
            counter: unsigned(row.try_get("counter")?),
            at: time(row.try_get("at")?),
            expires: moment(row, "expires")?,
            bound: row.try_get::<Option<i64>, _>("bound")?.map(unsigned),
            life: life(row.try_get("life")?)?,
            sealed: Bytes::copy_from_slice(row.try_get("sealed")?),
        })
    }
}

fn life(bytes: &[u8]) -> waxwing_sqlite::Result<StoreId> {
    bytes.try_into().map(StoreId::from_bytes).map_err(|_| damaged("store id"))
}

/// Columns of a [`Row`].
macro_rules! columns {
    () => {
        "seq, key, slot, tombstone, writer, version, counter, at, expires, bound, life, sealed"
    };
}

/// Stores records and tombstones, in the place of what stood in their slots.
pub(crate) async fn put(db: &mut Connection, space: SpaceRow, rows: &[Row]) -> waxwing_sqlite::Result<()> {
    const PUT: &str = concat!(
        "INSERT OR REPLACE INTO space_record (space, old, ",
        columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    let query = rows.iter().fold(waxwing_sqlite::query(PUT), |query, row| {
        query
            .bind(space.0)
            .bind(false)
            .bind(number(row.seq))
            .bind(&row.key.as_bytes()[..])
            .bind(row.slot.bytes())
            .bind(row.tombstone)
            .bind(&row.writer.as_bytes()[..])
            .bind(number(row.version))
            .bind(number(row.counter))
            .bind(millis(row.at))
            .bind(row.expires.map(millis))
            .bind(row.bound.map(number))
            .bind(&row.life.as_bytes()[..])
            .bind(&row.sealed[..])
    });
    query.execute_each(db).await?;
    Ok(())
}

const REMOVE: &str = "DELETE FROM space_record WHERE space = ? AND old = 0 AND seq = ?";

/// Forgets records by their places.
pub(crate) async fn remove(db: &mut Connection, space: SpaceRow, seqs: &[u64]) -> waxwing_sqlite::Result<()> {
    let query =
        seqs.iter().fold(waxwing_sqlite::query(REMOVE), |query, seq| query.bind(space.0).bind(number(*seq)));
    query.execute_each(db).await?;
    Ok(())
}

/// Lets a record end at another moment.
pub(crate) async fn touch(
    db: impl Executor<'_>,
    space: SpaceRow,
    seq: u64,
    expires: Timestamp,
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("UPDATE space_record SET expires = ? WHERE space = ? AND old = 0 AND seq = ?")
        .bind(millis(expires))
        .bind(space.0)
        .bind(number(seq))
        .execute(db)
        .await
        .map(|_| ())
}

/// Makes a copy an old one: the next is begun from nothing. What was old before goes. `lost`: the store that it is of was
/// lost, and with it the leases that records were bound to.
pub(crate) async fn age(db: &mut Connection, space: SpaceRow, lost: bool) -> waxwing_sqlite::Result<()> {
    if lost {
        waxwing_sqlite::query("DELETE FROM space_record WHERE space = ? AND bound IS NOT NULL")
            .bind(space.0)
            .execute(&mut *db)
            .await?;
    }
    waxwing_sqlite::query("UPDATE OR REPLACE space_record SET old = 1 WHERE space = ? AND old = 0")
        .bind(space.0)
        .execute(db)
        .await
        .map(|_| ())
}

/// Forgets what is old.
pub(crate) async fn forget_old(db: impl Executor<'_>, space: SpaceRow) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM space_record WHERE space = ? AND old = 1")
        .bind(space.0)
        .execute(db)
        .await
        .map(|_| ())
}

/// Forgets tombstones from before a moment of the broker's clock.
pub(crate) async fn forget_tombstones(
    db: impl Executor<'_>,
    before: Timestamp,
) -> waxwing_sqlite::Result<()> {
    let query = waxwing_sqlite::query("DELETE FROM space_record WHERE tombstone = 1 AND at < ?");
    query.bind(millis(before)).execute(db).await.map(|_| ())
}

/// Whether there are any.
pub(crate) async fn any_tombstone(db: impl Executor<'_>, before: Timestamp) -> waxwing_sqlite::Result<bool> {
    let query = waxwing_sqlite::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM space_record WHERE tombstone = 1 AND at < ?)",
    );
    query.bind(millis(before)).fetch_one(db).await
}

/// All that stands in a space, with the tombstones, in the order of places. `old`: of the copy from before the loss.
pub(crate) async fn all(
    db: impl Executor<'_>,
    space: SpaceRow,
    old: bool,
) -> waxwing_sqlite::Result<Vec<Row>> {
    let sql = concat!("SELECT ", columns!(), " FROM space_record WHERE space = ? AND old = ? ORDER BY seq");
    waxwing_sqlite::query_as(sql).bind(space.0).bind(old).fetch_all(db).await
}

// Keys are looked for by their first half, as the index has them. The plus keeps SQLite from reading all of a space for the sake of the order.
const UNDER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ?1 AND old = ?2 AND substr(key, 1, 16) = substr(?3, 1, 16) AND key = ?3 \
     ORDER BY +seq"
);

const APPENDED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ?1 AND old = 0 AND substr(key, 1, 16) = substr(?2, 1, 16) AND key = ?2 \
     AND length(slot) = 8 AND tombstone = 0"
);

const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ? AND old = 0 ORDER BY seq DESC LIMIT 1"
);

const BEHIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ? AND old = 0 AND seq > ? AND tombstone = 0 ORDER BY seq LIMIT ?"
);

const LAST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ? AND old = 0 AND seq < ? AND tombstone = 0 ORDER BY seq DESC LIMIT ?"
);

const COUNT: &str =
    "SELECT count(*) FROM space_record WHERE space = ? AND old = 0 AND seq > ? AND tombstone = 0";

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM space_record \
                       WHERE space = ?1 AND old IN (0, 1) \
                       AND substr(key, 1, 16) = substr(?2, 1, 16) AND key = ?2 AND slot = ?3";

/// What stands under one key, with the tombstones, in the order of places.
pub(crate) async fn under(
    db: impl Executor<'_>,
    space: SpaceRow,
    old: bool,
    key: &KeyId,
) -> waxwing_sqlite::Result<Vec<Row>> {
    waxwing_sqlite::query_as(UNDER).bind(space.0).bind(old).bind(&key.as_bytes()[..]).fetch_all(db).await
}

const IN_SLOT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM space_record WHERE space = ?1 AND old = ?2 AND substr(key, 1, 16) = substr(?3, 1, 16) AND key = ?3 AND slot = ?4"
);

/// What stands in these slots, tombstones included.
pub(crate) async fn in_slots(
    db: &Readers,
    space: SpaceRow,
    old: bool,
    slots: &[(KeyId, Slot)],
) -> waxwing_sqlite::Result<Vec<Row>> {
    let query = slots.iter().fold(waxwing_sqlite::query_as(IN_SLOT), |query, (key, slot)| {
        query.bind(space.0).bind(old).bind(&key.as_bytes()[..]).bind(slot.bytes())
    });
    query.fetch_each(db).await
}

/// The highest version known in a slot, also from before the copy was begun anew; 0 for none.
pub(crate) async fn version(
    db: impl Executor<'_>,
    space: SpaceRow,
    key: &KeyId,
    slot: Slot,
) -> waxwing_sqlite::Result<u64> {
    let query =
        waxwing_sqlite::query_scalar(VERSION).bind(space.0).bind(&key.as_bytes()[..]).bind(slot.bytes());
    query.fetch_one(db).await.map(unsigned)
}

const AT: &str = concat!("SELECT ", columns!(), " FROM space_record WHERE space = ? AND old = 0 AND seq = ?");

/// The records at these places.
pub(crate) async fn at(db: &Readers, space: SpaceRow, seqs: &[u64]) -> waxwing_sqlite::Result<Vec<Row>> {
    let query =
        seqs.iter().fold(waxwing_sqlite::query_as(AT), |query, seq| query.bind(space.0).bind(number(*seq)));
    query.fetch_each(db).await
}

/// The live records that are appended under a key.
pub(crate) async fn appended(db: &Readers, space: SpaceRow, key: &KeyId) -> waxwing_sqlite::Result<Vec<Row>> {
    waxwing_sqlite::query_as(APPENDED).bind(space.0).bind(&key.as_bytes()[..]).fetch_all(db).await
}

/// The newest record of a copy.
pub(crate) async fn newest(db: impl Executor<'_>, space: SpaceRow) -> waxwing_sqlite::Result<Option<Row>> {
    waxwing_sqlite::query_as(NEWEST).bind(space.0).fetch_optional(db).await
}

/// Live records behind a place, in order, so many at most.
pub(crate) async fn behind(
    db: impl Executor<'_>,
    space: SpaceRow,
    after: u64,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Row>> {
    waxwing_sqlite::query_as(BEHIND).bind(space.0).bind(number(after)).bind(limit as i64).fetch_all(db).await
}

/// Live records before a place, the newest first, so many at most.
pub(crate) async fn before(
    db: impl Executor<'_>,
    space: SpaceRow,
    before: u64,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Row>> {
    waxwing_sqlite::query_as(LAST).bind(space.0).bind(number(before)).bind(limit as i64).fetch_all(db).await
}

/// How many live records are behind a place.
pub(crate) async fn count(db: impl Executor<'_>, space: SpaceRow, after: u64) -> waxwing_sqlite::Result<u64> {
    waxwing_sqlite::query_scalar(COUNT).bind(space.0).bind(number(after)).fetch_one(db).await.map(unsigned)
}

/// How far each writer had come up to a place of the copy before this one, by his own numbers.
pub(crate) async fn old_writers(
    db: impl Executor<'_>,
    space: SpaceRow,
    upto: u64,
) -> waxwing_sqlite::Result<Vec<(NodeId, u64)>> {
    let query = waxwing_sqlite::query(
        "SELECT writer, max(counter) AS counter FROM space_record WHERE space = ? AND old = 1 AND seq <= ? GROUP BY writer",
    );
    let rows = query.bind(space.0).bind(number(upto)).fetch_all(db).await?;
    rows.iter().map(|row| Ok((node(row, "writer")?, unsigned(row.try_get("counter")?)))).collect()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::store::tests::database;

    /// How SQLite means to run a statement.
    async fn plan(db: &Readers, sql: &str) -> String {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let values = std::iter::repeat_n(waxwing_sqlite::Value::Null, sql.matches('?').count());
        let rows = waxwing_sqlite::query(explain).bind_all(values).fetch_all(db).await.unwrap();
        rows.iter().map(|row| row.try_get::<String, _>(3).unwrap()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn nothing_is_looked_for_in_all_of_a_space() {
        let (_folder, _writer, db) = database().await;
        for (sql, index) in [
            (IN_SLOT, "space_record_slot (space=? AND old=? AND <expr>=? AND slot=?)"),
            (VERSION, "space_record_slot (space=? AND old=? AND <expr>=? AND slot=?)"),
            (UNDER, "space_record_slot (space=? AND old=? AND <expr>=?)"),
            (APPENDED, "space_record_slot (space=? AND old=? AND <expr>=?)"),
            (AT, "space_record_seq (space=? AND old=? AND seq=?)"),
            (REMOVE, "space_record_seq (space=? AND old=? AND seq=?)"),
            (NEWEST, "space_record_seq (space=? AND old=?)"),
            (BEHIND, "space_record_seq (space=? AND old=? AND seq>?)"),
            (LAST, "space_record_seq (space=? AND old=? AND seq<?)"),
            (COUNT, "space_record_seq (space=? AND old=? AND seq>?)"),
        ] {
            let plan = plan(&db, sql).await;
            assert!(plan.contains(index), "{sql}: {plan}");
        }
        for sql in [NEWEST, BEHIND, LAST] {
            assert!(!plan(&db, sql).await.contains("TEMP B-TREE"));
        }
    }
}
