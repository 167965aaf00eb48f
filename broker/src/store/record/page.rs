//! What a follower is told: the changes of a space after a place, in their order, as one moment of the store has them.
//!
//! A row is told at its place. One that was renewed is told again, at the place of the renewal, to who has been told of it
//! before; so nobody is told of a renewal of what it has not got, whenever its pages were read.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteExecutor};
use waxwing_crypto::{KeyId, NodeId, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Changed, Deleted, EndedRecord, Record, What};

use super::{optional, stands, why};
use crate::error::{Error, Result};
use crate::store::space::SpaceKey;
use crate::store::sql::{array, integer, number};

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
pub(crate) async fn page(db: impl SqliteExecutor<'_>, key: SpaceKey, after: u64) -> Result<Page> {
    page_of(db, key, after, limits::SPACE_PAGE).await
}

/// Reads at most so many changes after a place, and no more than a frame takes in bytes. One statement, so that it is one moment.
pub(crate) async fn page_of(
    db: impl SqliteExecutor<'_>,
    key: SpaceKey,
    after: u64,
    most: usize,
) -> Result<Page> {
    let mut found = sqlx::query(
        "SELECT 0 AS n, 0 AS part, last, horizon, (SELECT m FROM meta), past, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL
         FROM space WHERE mesh = $1 AND space = $2
         UNION ALL
         SELECT touched, 1, seq, ends, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, touched_at, NULL FROM record
         WHERE mesh = $1 AND space = (SELECT id FROM space WHERE mesh = $1 AND space = $2) AND touched > $3 AND seq <= $3
         UNION ALL
         SELECT seq, 2, kind, key, writer, stands, of_seq, why, ends, bound, offered, NULL, at, sealed FROM record
         WHERE mesh = $1 AND space = (SELECT id FROM space WHERE mesh = $1 AND space = $2) AND seq > $3
         ORDER BY n LIMIT $4",
    )
    .bind(&key.mesh.as_bytes()[..])
    .bind(&key.space.as_bytes()[..])
    .bind(integer(after))
    .bind(integer(most as u64 + 2)) // The space, and one to see that there is more.
    .fetch(db);
    let mut page = Page { head: 0, horizon: 0, m: 0, upto: 0, changes: Vec::new() };
    let (mut left, mut past) = (limits::FRAME_ENVELOPES, 0);
    while let Some(row) = found.try_next().await? {
        if number(&row, 1)? == SPACE {
            (page.head, page.horizon, page.m) = (number(&row, 2)?, number(&row, 3)?, number(&row, 4)?);
            past = number(&row, 5)?;
            continue;
        }
        let changed = changed(&row, past)?;
        let bytes = sealed_bytes(&changed.what);
        if page.changes.len() == most || bytes > left {
            page.upto = page.changes.last().map_or(after, |last| last.n);
            return Ok(page);
        }
        left -= bytes;
        page.changes.push(changed);
    }
    page.upto = page.head;
    Ok(page)
}

fn changed(row: &SqliteRow, past: u64) -> Result<Changed> {
    let (n, at) = (number(row, 0)?, Timestamp::from_millis(number(row, 12)?));
    let what = if number(row, 1)? == TOUCH {
        What::Touched { seq: number(row, 2)?, expires: Timestamp::from_millis(number(row, 3)?) }
    } else {
        what(row, n, past)?
    };
    Ok(Changed { n, at, what })
}

/// `past`: the last place of the store's lives before. What stands up to there counts as handed back.
fn what(row: &SqliteRow, n: u64, past: u64) -> Result<What> {
    let (key, writer) = (KeyId::from_bytes(array(row, 3)?), NodeId::from_bytes(array(row, 4)?));
    let stands = stands(number(row, 5)?)?;
    let sealed = || row.try_get::<Vec<u8>, _>(13).map(Bytes::from);
    let offered = n <= past || number(row, 10)? == 1;
    match number(row, 2)? {
        0 => Ok(What::Record(Record {
            seq: n,
            key,
            writer,
            stands,
            expires: optional(row, 8)?.map(Timestamp::from_millis),
            bound: optional(row, 9)?,
            offered,
            sealed: sealed()?,
        })),
        1 => Ok(What::Deleted(Deleted {
            key,
            writer,
            stood: stands,
            seq: number(row, 6)?,
            offered,
            sealed: sealed()?,
        })),
        2 => Ok(What::Ended(EndedRecord {
            key,
            writer,
            stood: stands,
            seq: number(row, 6)?,
            why: why(number(row, 7)?)?,
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
