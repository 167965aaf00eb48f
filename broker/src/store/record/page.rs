//! What a follower is told: the changes of a space after a place, in their order, as one moment of the store has them.
//!
//! A row is told at its place. One that was renewed is told again, at the place of the renewal, to who has been told of it
//! before; so nobody is told of a renewal of what it has not got, whenever its pages were read.

use std::ops::ControlFlow;

use waxwing_crypto::{KeyId, NodeId, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Changed, Deleted, EndedRecord, Record, What};

use super::{stands, why};
use crate::error::{Error, Result};
use crate::store::db::{Db, Each, Row, array, integer, number, optional, query};
use crate::store::space::SpaceKey;

/// Some changes of a space.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The end of the space; 0 if it is not there.
    pub(crate) head: u64,
    /// The newest place of what was forgotten with age.
    pub(crate) horizon: u64,
    /// The number of the commit that the store was read at.
    pub(crate) m: u64,
    /// The place up to which this is everything.
    pub(crate) upto: u64,
    /// The changes.
    pub(crate) changes: Vec<Changed>,
}

/// Where a row of the answer comes from. The space comes first: its place is below all others.
const SPACE: u64 = 0;
const TOUCH: u64 = 1;

/// Reads changes after a place, as many as a frame takes.
pub(crate) async fn page(db: impl Into<Db<'_>>, key: SpaceKey, after: u64) -> Result<Page> {
    page_of(db, key, after, limits::SPACE_PAGE).await
}

/// The space, what was renewed, and what stands, in the order of their places.
macro_rules! changes {
    () => {
        "SELECT CAST(0 AS BIGINT) AS n, CAST(0 AS BIGINT) AS part, last, horizon, (SELECT m FROM meta), past,
                CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
                CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA) AS sealed
         FROM space WHERE mesh = $1 AND space = $2
         UNION ALL
         SELECT touched, 1, seq, ends, NULL, NULL, NULL, NULL, NULL, touched_at, NULL, NULL, NULL FROM record
         WHERE mesh = $1 AND space = (SELECT id FROM space WHERE mesh = $1 AND space = $2) AND touched > $3 AND seq <= $3
         UNION ALL
         SELECT seq, 2, kind, stands, of_seq, why, ends, bound, offered, at, key, writer, sealed FROM record
         WHERE mesh = $1 AND space = (SELECT id FROM space WHERE mesh = $1 AND space = $2) AND seq > $3
         ORDER BY n LIMIT $4"
    };
}

/// SQLite is asked row by row, and no longer than there is room. PostgreSQL sends all it has found: it finds no more than
/// what fits, and the first that does not.
const CHANGES: Each = Each {
    sqlite: changes!(),
    postgres: concat!(
        "SELECT * FROM (SELECT *, sum(coalesce(length(sealed), 0)) OVER (ORDER BY n) - coalesce(length(sealed), 0) AS ahead
                        FROM (",
        changes!(),
        ") AS next) AS page WHERE ahead <= $5 ORDER BY n"
    ),
};

/// Reads at most so many changes after a place, and no more than a frame takes in bytes. One statement, so that it is one moment.
pub(crate) async fn page_of(db: impl Into<Db<'_>>, key: SpaceKey, after: u64, most: usize) -> Result<Page> {
    let rows = query(CHANGES)
        .bind(key.mesh.as_bytes())
        .bind(key.space.as_bytes())
        .bind(integer(after))
        .bind(integer(most as u64 + 2)) // The space, and one to see that there is more.
        .bind(integer(limits::FRAME_ENVELOPES as u64));
    let visit = move |mut read: Reading, mut row: Row| {
        if number(&row, 1)? == SPACE {
            let page = &mut read.page;
            (page.head, page.horizon, page.m) = (number(&row, 2)?, number(&row, 3)?, number(&row, 4)?);
            read.past = number(&row, 5)?;
            return Ok(ControlFlow::Continue(read));
        }
        let changed = changed(&mut row, read.past)?;
        let bytes = sealed_bytes(&changed.what);
        read.is_full = read.page.changes.len() == most || bytes > read.left;
        if read.is_full {
            return Ok(ControlFlow::Break(read));
        }
        read.left -= bytes;
        read.page.changes.push(changed);
        Ok(ControlFlow::Continue(read))
    };
    let Reading { mut page, is_full, .. } = rows.fold(db, Reading::new(), visit).await?;
    page.upto = if is_full { page.changes.last().map_or(after, |last| last.n) } else { page.head };
    Ok(page)
}

/// A page while it is read.
struct Reading {
    page: Page,
    /// Room for sealed bytes.
    left: usize,
    /// The last place of the store's lives before.
    past: u64,
    /// Whether there was more than there is room for.
    is_full: bool,
}

impl Reading {
    const fn new() -> Self {
        let page = Page { head: 0, horizon: 0, m: 0, upto: 0, changes: Vec::new() };
        Self { page, left: limits::FRAME_ENVELOPES, past: 0, is_full: false }
    }
}

fn changed(row: &mut Row, past: u64) -> Result<Changed> {
    let (n, at) = (number(row, 0)?, Timestamp::from_millis(number(row, 9)?));
    let what = if number(row, 1)? == TOUCH {
        What::Touched { seq: number(row, 2)?, expires: Timestamp::from_millis(number(row, 3)?) }
    } else {
        what(row, n, past)?
    };
    Ok(Changed { n, at, what })
}

/// `past`: the last place of the store's lives before. What stands up to there counts as handed back.
fn what(row: &mut Row, n: u64, past: u64) -> Result<What> {
    let (key, writer) = (KeyId::from_bytes(array(row, 10)?), NodeId::from_bytes(array(row, 11)?));
    let stands = stands(number(row, 3)?)?;
    let offered = n <= past || number(row, 8)? == 1;
    match number(row, 2)? {
        0 => Ok(What::Record(Record {
            seq: n,
            key,
            writer,
            stands,
            expires: optional(row, 6)?.map(Timestamp::from_millis),
            bound: optional(row, 7)?,
            offered,
            sealed: row.take_bytes(12)?,
        })),
        1 => Ok(What::Deleted(Deleted {
            key,
            writer,
            stood: stands,
            seq: number(row, 4)?,
            offered,
            sealed: row.take_bytes(12)?,
        })),
        2 => Ok(What::Ended(EndedRecord {
            key,
            writer,
            stood: stands,
            seq: number(row, 4)?,
            why: why(number(row, 5)?)?,
        })),
        _ => Err(Error::damaged("a kind of record")),
    }
}

/// What a change counts for in a frame.
pub(crate) const fn sealed_bytes(what: &What) -> usize {
    match what {
        What::Record(record) => record.sealed.len(),
        What::Deleted(deleted) => deleted.sealed.len(),
        What::Ended(_) | What::Touched { .. } => 0,
    }
}
