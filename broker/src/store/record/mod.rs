//! What stands in the spaces, and for a while what stood there: records, tombstones, and ends.
//!
//! A row is found by its place. What decides a change is read without the sealed bytes, as a [`Row`].

mod due;
mod page;

use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::{KeyId, MeshId, NodeId, SpaceId, Timestamp};
use waxwing_protocol::link::{EndedBy, Stands};

pub(crate) use due::{bound, bound_nodes, earliest, forget, lapsed, least_bound};
#[cfg(test)]
pub(crate) use page::page_of;
pub(crate) use page::{Page, page, sealed_bytes};

use super::db::Column::{Bytes as Blob, Int};
use super::db::{self, Connection, RowsSql, array, integer, number, optional};
use super::space::SpaceKey;
use crate::error::{Error, Result};

/// What a [`Row`] is read from: `r` is the record, `s` its space.
const ROW: &str =
    "r.id, s.mesh, s.space, r.seq, r.kind, r.key, r.writer, r.stands, r.ends, r.bound, r.touched,
                   CAST(length(r.sealed) AS BIGINT), r.offered = 1 OR r.seq <= s.past";

/// What finds rows of spaces for PostgreSQL, by one lookup for each that is given: see [`Keyed::find`](db::Keyed::find).
macro_rules! wanted {
    ($which:literal) => {
        concat!(
            ") AS w CROSS JOIN LATERAL (SELECT * FROM space WHERE id = w.column2 OFFSET 0) AS s
             CROSS JOIN LATERAL (SELECT * FROM record WHERE mesh = w.column1 AND space = w.column2 AND ",
            $which,
            ") AS r"
        )
    };
}

/// `sqlite`: what finds the rows of one that is given.
fn reading(columns: &'static [db::Column], sqlite: &str, postgres: &str) -> RowsSql {
    let head = format!("SELECT {ROW} FROM (");
    RowsSql::each(
        format!("SELECT {ROW} FROM space AS s JOIN record AS r ON {sqlite}"),
        [&head, postgres],
        columns,
    )
}

static IN_SLOTS: LazyLock<RowsSql> = LazyLock::new(|| {
    let sqlite = "r.mesh = ?1 AND r.space = ?2 AND r.key = ?3 AND r.stands = ?4 AND (?4 = 0 OR r.writer = ?5) WHERE s.id = ?2";
    let postgres =
        wanted!("key = w.column3 AND stands = w.column4 AND (w.column4 = 0 OR writer = w.column5) OFFSET 0");
    reading(&[Blob, Int, Blob, Int, Blob], sqlite, postgres)
});

static AT: LazyLock<RowsSql> = LazyLock::new(|| {
    let sqlite = "r.mesh = ?1 AND r.space = ?2 AND r.seq = ?3 WHERE s.id = ?2";
    reading(&[Blob, Int, Int], sqlite, wanted!("seq = w.column3 OFFSET 0"))
});

static APPENDED_UNDER: LazyLock<RowsSql> = LazyLock::new(|| {
    let sqlite = "r.id IN
         (SELECT id FROM record WHERE mesh = ?1 AND space = ?2 AND key = ?3 AND stands = 2 AND kind = 0
          ORDER BY seq LIMIT 2048) WHERE s.id = ?2";
    let postgres = wanted!("key = w.column3 AND stands = 2 AND kind = 0 ORDER BY seq LIMIT 2048");
    reading(&[Blob, Int, Blob], sqlite, postgres)
});

static INSERT: LazyLock<RowsSql> = LazyLock::new(|| {
    RowsSql::new(
        "INSERT INTO record (mesh, space, seq, kind, key, writer, stands, of_seq, why, at, ends, bound, touched,
         touched_at, offered, sealed)",
        &[Blob, Int, Int, Int, Blob, Blob, Int, Int, Int, Int, Int, Int, Int, Int, Int, Blob],
        "",
    )
});

static DELETE: LazyLock<RowsSql> =
    LazyLock::new(|| db::Keyed { table: "record", key: &["id"], near: false }.take("id", &[Int]));

static TOUCH: LazyLock<RowsSql> = LazyLock::new(|| {
    let sqlite = "UPDATE record SET touched = ?2, touched_at = ?3, ends = ?4 WHERE id = ?1".to_owned();
    let found = "UPDATE record SET touched = w.column2, touched_at = w.column3, ends = w.column4 FROM (
         SELECT found.at, wanted.* FROM (";
    let postgres = [
        found,
        ") AS wanted CROSS JOIN LATERAL (SELECT ctid AS at FROM record WHERE id = wanted.column1 OFFSET 0) AS found)
         AS w WHERE record.ctid = w.at",
    ];
    RowsSql::each(sqlite, postgres, &[Int, Int, Int, Int])
});

/// Where the one record of a kind stands under a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Slot {
    /// In which space.
    pub(crate) space: SpaceKey,
    /// Under which key.
    pub(crate) key: KeyId,
    /// Whose own; none for the shared one.
    pub(crate) owner: Option<NodeId>,
}

/// A row, without its sealed bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// Names it in the store; none if it is not stored yet.
    pub(crate) id: Option<i64>,
    /// In which space.
    pub(crate) space: SpaceKey,
    /// Its place.
    pub(crate) seq: u64,
    /// Whether it is a record; otherwise a tombstone or an end.
    pub(crate) is_record: bool,
    /// Under which key.
    pub(crate) key: KeyId,
    /// Who wrote it.
    pub(crate) writer: NodeId,
    /// How it stands there.
    pub(crate) stands: Stands,
    /// Of a record: when its lifetime is over.
    pub(crate) ends: Option<Timestamp>,
    /// It ends so many milliseconds after its writer's lease.
    pub(crate) bound: Option<u64>,
    /// The place of the change that renewed it last.
    pub(crate) touched: Option<u64>,
    /// Sealed bytes.
    pub(crate) bytes: u64,
    /// It was handed back in this life of the store, or has stood since one before; of an end, what has ended was.
    pub(crate) offered: bool,
}

impl Row {
    /// Whether it is a tombstone: an end has no sealed bytes.
    pub(crate) const fn is_tombstone(&self) -> bool {
        !self.is_record && self.bytes > 0
    }

    /// The slot it is in, if it is in one.
    pub(crate) const fn slot(&self) -> Option<Slot> {
        let owner = match self.stands {
            Stands::Shared => None,
            Stands::Own => Some(self.writer),
            Stands::Appended => return None,
        };
        Some(Slot { space: self.space, key: self.key, owner })
    }
}

/// What a row holds beside what every row has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    /// A record.
    Record {
        /// As it came.
        sealed: Bytes,
    },
    /// A tombstone.
    Tombstone {
        /// The place of what was deleted; 0 if it was handed back after a loss.
        of: u64,
        /// As it came.
        sealed: Bytes,
    },
    /// The end of a record.
    End {
        /// Its place.
        of: u64,
        /// Why.
        why: EndedBy,
    },
}

/// A row to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    /// What decides about it.
    pub(crate) row: Row,
    /// When it was committed.
    pub(crate) at: Timestamp,
    /// What it holds.
    pub(crate) body: Body,
}

/// The rows in these slots. Each space comes with its number.
pub(crate) async fn in_slots(db: &mut Connection, slots: &[(Slot, i64)]) -> Result<Vec<Row>> {
    let rows = IN_SLOTS.fetch(db, slots, |values, (slot, space)| {
        let (stands, owner) = match &slot.owner {
            Some(owner) => (Stands::Own, &owner.as_bytes()[..]),
            None => (Stands::Shared, &[][..]),
        };
        values
            .bind(slot.space.mesh.as_bytes())
            .bind(*space)
            .bind(slot.key.as_bytes())
            .bind(stands_code(stands))
            .bind(owner);
    });
    rows.await?.iter().map(read).collect()
}

/// The rows at these places.
pub(crate) async fn at(db: &mut Connection, places: &[(MeshId, i64, u64)]) -> Result<Vec<Row>> {
    let rows = AT.fetch(db, places, |values, (mesh, space, seq)| {
        values.bind(mesh.as_bytes()).bind(*space).bind(integer(*seq));
    });
    rows.await?.iter().map(read).collect()
}

/// The appended records under these keys, of each the first 2,048: more than one batch can take away.
pub(crate) async fn appended(db: &mut Connection, keys: &[(MeshId, i64, KeyId)]) -> Result<Vec<Row>> {
    let rows = APPENDED_UNDER.fetch(db, keys, |values, (mesh, space, key)| {
        values.bind(mesh.as_bytes()).bind(*space).bind(key.as_bytes());
    });
    rows.await?.iter().map(read).collect()
}

/// Stores rows. Each space comes with its number.
pub(crate) async fn insert(db: &mut Connection, rows: &[(&NewRow, i64)]) -> Result<()> {
    INSERT
        .execute(db, rows, |values, (NewRow { row, at, body }, space)| {
            let (kind, of, why, sealed) = match body {
                Body::Record { sealed } => (0_i64, None, None, &sealed[..]),
                Body::Tombstone { of, sealed } => (1, Some(*of), None, &sealed[..]),
                Body::End { of, why } => (2, Some(*of), Some(why_code(*why)), &[][..]),
            };
            values
                .bind(row.space.mesh.as_bytes())
                .bind(*space)
                .bind(integer(row.seq))
                .bind(kind)
                .bind(row.key.as_bytes())
                .bind(row.writer.as_bytes())
                .bind(stands_code(row.stands))
                .bind(of.map(integer))
                .bind(why)
                .bind(integer(at.as_millis()))
                .bind(row.ends.map(|ends| integer(ends.as_millis())))
                .bind(row.bound.map(integer))
                .bind(row.touched.map(integer))
                .bind(row.touched.map(|_| integer(at.as_millis()))) // One that is new was renewed in the same batch.
                .bind(row.offered)
                .bind(sealed);
        })
        .await
        .map(drop)
}

/// Takes rows out.
pub(crate) async fn delete(db: &mut Connection, ids: &[i64]) -> Result<()> {
    DELETE
        .fetch(db, ids, |values, id| {
            values.bind(*id);
        })
        .await
        .map(drop)
}

/// Renews records: which, at which place, until when.
pub(crate) async fn touch(db: &mut Connection, rows: &[(i64, u64, Timestamp)], now: Timestamp) -> Result<()> {
    let renewed = TOUCH.fetch(db, rows, |values, (id, touched, ends)| {
        values
            .bind(*id)
            .bind(integer(*touched))
            .bind(integer(now.as_millis()))
            .bind(integer(ends.as_millis()));
    });
    renewed.await.map(drop)
}

fn read(row: &db::Row) -> Result<Row> {
    let space =
        SpaceKey { mesh: MeshId::from_bytes(array(row, 1)?), space: SpaceId::from_bytes(array(row, 2)?) };
    Ok(Row {
        id: Some(row.get(0)?),
        space,
        seq: number(row, 3)?,
        is_record: number(row, 4)? == 0,
        key: KeyId::from_bytes(array(row, 5)?),
        writer: NodeId::from_bytes(array(row, 6)?),
        stands: stands(number(row, 7)?)?,
        ends: optional(row, 8)?.map(Timestamp::from_millis),
        bound: optional(row, 9)?,
        touched: optional(row, 10)?,
        bytes: number(row, 11)?,
        offered: row.get(12)?,
    })
}

const fn stands_code(stands: Stands) -> i64 {
    match stands {
        Stands::Shared => 0,
        Stands::Own => 1,
        Stands::Appended => 2,
    }
}

fn stands(code: u64) -> Result<Stands> {
    match code {
        0 => Ok(Stands::Shared),
        1 => Ok(Stands::Own),
        2 => Ok(Stands::Appended),
        _ => Err(Error::damaged("how a record stands")),
    }
}

const fn why_code(why: EndedBy) -> i64 {
    match why {
        EndedBy::Lifetime => 0,
        EndedBy::Lease => 1,
        EndedBy::Goodbye => 2,
    }
}

fn why(code: u64) -> Result<EndedBy> {
    match code {
        0 => Ok(EndedBy::Lifetime),
        1 => Ok(EndedBy::Lease),
        2 => Ok(EndedBy::Goodbye),
        _ => Err(Error::damaged("why a record has ended")),
    }
}

#[cfg(test)]
mod tests;
