//! What was salvaged, made one again: rows that do not belong to the whole any more are taken out, and what was counted is
//! counted so that nothing is given twice.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;
use waxwing_crypto::VerifyingKey;
use waxwing_crypto::storage::StorageKeys;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, FromRow as _};

use super::super::columns::{client_id, node, priority};
use super::super::lanes::{self, InLane};
use super::super::{damaged, inbox, meta, number, outbox, unsigned};
use super::Salvaged;
use crate::content::Content;
use crate::lane::Lane;

/// Rows that are checked at a time.
const ROWS: i64 = 64;
/// More places and rows than may have been given and are not known any more.
const BEYOND: u64 = 1 << 20;

/// Messages whose content does not open, or that are not as they were written: in the inbox, and in the outbox.
#[derive(Debug, Default)]
pub(crate) struct Unsound {
    inbox: Vec<i64>,
    outbox: Vec<i64>,
}

impl Unsound {
    /// Whether every message is as it was written.
    pub(crate) fn is_none(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty()
    }
}

/// Looks at every message.
pub(crate) async fn unsound(db: &mut Connection, keys: &StorageKeys) -> waxwing_sqlite::Result<Unsound> {
    const INBOX: &str = "SELECT row, coalesce(cursor, 0) AS cursor, sender, priority, client_id, from_app, to_app, thread, \
                         sent_at, received_at, read_at, late, content FROM inbox WHERE row > ? ORDER BY row LIMIT ?";
    const OUTBOX: &str = "SELECT outbox.*, content FROM outbox LEFT JOIN outbox_content USING (row) WHERE row > ? ORDER BY row LIMIT ?";
    Ok(Unsound {
        inbox: those(db, INBOX, |row| !opens_incoming(row, keys)).await?,
        outbox: those(db, OUTBOX, |row| !opens_outgoing(row, keys)).await?,
    })
}

/// The rows that are meant.
async fn those(
    db: &mut Connection,
    sql: &'static str,
    meant: impl Fn(&Row) -> bool,
) -> waxwing_sqlite::Result<Vec<i64>> {
    let (mut found, mut after) = (Vec::new(), 0_i64);
    loop {
        let rows = waxwing_sqlite::query(sql).bind(after).bind(ROWS).fetch_all(&mut *db).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after = last.try_get("row")?;
        for row in rows.iter().filter(|row| meant(row)) {
            found.push(row.try_get("row")?);
        }
    }
}

fn opens_incoming(row: &Row, keys: &StorageKeys) -> bool {
    inbox::Item::from_row(row).is_ok_and(|item: inbox::Item| item.open(keys).is_ok())
}

fn opens_outgoing(row: &Row, keys: &StorageKeys) -> bool {
    // A read receipt has no recipient's name, which whatever an app sent has.
    let known =
        row.try_get::<i64, _>("kind").is_ok_and(|kind| kind == 1) || outbox::Life::from_row(row).is_ok();
    let wiped = row.try_get::<i64, _>("size").is_ok_and(|size| size == 0);
    let (Ok(id), Ok(sealed)) = (client_id(row), row.try_get::<Option<Vec<u8>>, _>("content")) else {
        return false;
    };
    known && sealed.map_or(wiped, |sealed| Content::open_outgoing(keys, &id, &sealed).is_ok())
}

/// Makes one whole of what was salvaged. `log`: so many entries of the membership log, from the first on, belong together.
pub(crate) async fn finish(
    db: &mut Connection,
    salvaged: &mut [Salvaged],
    unsound: &Unsound,
    log: u64,
) -> waxwing_sqlite::Result<()> {
    take_out(db, salvaged, "inbox", "DELETE FROM inbox WHERE row = ?", &unsound.inbox).await?;
    take_out(db, salvaged, "outbox", "DELETE FROM outbox WHERE row = ?", &unsound.outbox).await?;
    // Whatever is missing of it has just been counted as a message of the outbox.
    for content in salvaged.iter_mut().filter(|table| table.table == "outbox_content") {
        (content.lost, content.more) = (0, false);
    }
    waxwing_sqlite::query("DELETE FROM outbox_content WHERE row NOT IN (SELECT row FROM outbox)")
        .execute(&mut *db)
        .await?;
    let cut =
        waxwing_sqlite::query("DELETE FROM log WHERE seq > ?").bind(number(log)).execute(&mut *db).await?;
    note(salvaged, "log", cut);
    let incomplete = |tables: &[&str]| {
        salvaged.iter().any(|table| table.is_incomplete() && tables.contains(&table.table.as_str()))
    };
    if incomplete(&["space", "space_record", "space_writer"]) {
        // A copy with holes would count as complete. The broker has all of it.
        for table in ["DELETE FROM space_record", "DELETE FROM space_writer", "DELETE FROM space"] {
            waxwing_sqlite::query(table).execute(&mut *db).await?;
        }
    }
    if incomplete(&["presence"]) {
        waxwing_sqlite::query("DELETE FROM presence").execute(&mut *db).await?;
        meta::remove(&mut *db, meta::PRESENCE_STORE).await?;
    }
    let cursor = cursor(db, incomplete(&["meta"])).await?;
    let cursor = if incomplete(&["lane_in"]) { lanes_of_inbox(db, cursor).await? } else { cursor };
    meta::set_number(&mut *db, meta::CURSOR, cursor).await?;
    outbox_rows(db).await?;
    if salvaged.iter().any(Salvaged::is_incomplete) {
        // Nobody's: whatever opens this database begins its lanes anew, under keys that have numbered nothing.
        meta::set_bytes(&mut *db, meta::SIGNER, &[0; VerifyingKey::SIZE]).await?;
    }
    Ok(())
}

async fn take_out(
    db: &mut Connection,
    salvaged: &mut [Salvaged],
    table: &str,
    sql: &'static str,
    rows: &[i64],
) -> waxwing_sqlite::Result<()> {
    for row in rows {
        waxwing_sqlite::query(sql).bind(row).execute(&mut *db).await?;
    }
    note(salvaged, table, rows.len() as u64);
    Ok(())
}

/// Counts rows that were taken out again.
fn note(salvaged: &mut [Salvaged], table: &str, lost: u64) {
    for salvaged in salvaged.iter_mut().filter(|salvaged| salvaged.table == table) {
        salvaged.rows = salvaged.rows.saturating_sub(lost);
        salvaged.lost += lost;
    }
}

/// The last place given to a message or event; one that is not below it, if it cannot be read any more.
async fn cursor(db: &mut Connection, doubtful: bool) -> waxwing_sqlite::Result<u64> {
    let shown: i64 = waxwing_sqlite::query_scalar(
        "SELECT max(coalesce((SELECT max(cursor) FROM inbox), 0), coalesce((SELECT max(seq) FROM event), 0))",
    )
    .fetch_one(&mut *db)
    .await?;
    let shown = unsigned(shown);
    match meta::number(&mut *db, meta::CURSOR).await {
        Ok(kept) if kept > 0 || !doubtful => Ok(kept.max(shown)),
        Ok(_) | Err(_) => Ok(shown + BEYOND),
    }
}

/// Row numbers are never given twice: the broker is shown how many there were.
async fn outbox_rows(db: &mut Connection) -> waxwing_sqlite::Result<()> {
    let given = waxwing_sqlite::query_scalar("SELECT seq FROM damaged.sqlite_sequence WHERE name = 'outbox'");
    let given: waxwing_sqlite::Result<Option<i64>> = given.fetch_optional(&mut *db).await;
    let there: Option<i64> =
        waxwing_sqlite::query_scalar("SELECT max(row) FROM outbox").fetch_one(&mut *db).await?;
    let there = there.map_or(0, unsigned);
    let given = given.map_or(there + BEYOND, |given| given.map_or(0, unsigned).max(there));
    waxwing_sqlite::query("DELETE FROM main.sqlite_sequence WHERE name = 'outbox'").execute(&mut *db).await?;
    let insert = waxwing_sqlite::query("INSERT INTO main.sqlite_sequence (name, seq) VALUES ('outbox', ?)");
    insert.bind(number(given)).execute(db).await.map(|_| ())
}

/// Lanes of which nothing is known any more but the messages that are there: what is missing in them is not waited for. Gives
/// places to those that have none; says which was the last.
async fn lanes_of_inbox(db: &mut Connection, mut cursor: u64) -> waxwing_sqlite::Result<u64> {
    let now = Instant::now();
    let known: HashSet<InLane> = lanes::seen(&mut *db, now).await?.into_iter().map(|(key, _)| key).collect();
    let mut lost: HashMap<InLane, Lane> = HashMap::new();
    let rows =
        waxwing_sqlite::query("SELECT sender, signer, priority, counter, cursor FROM inbox ORDER BY counter");
    for row in rows.fetch_all(&mut *db).await? {
        let signer = row.try_get::<Vec<u8>, _>("signer")?.try_into().map_err(|_| damaged("signer"))?;
        let key = InLane { sender: node(&row, "sender")?, signer, priority: priority(&row)? };
        if known.contains(&key) {
            continue;
        }
        let (lane, counter) = (lost.entry(key).or_default(), unsigned(row.try_get("counter")?));
        if row.try_get::<Option<i64>, _>("cursor")?.is_some() {
            lane.skip(counter, now);
        } else {
            lane.arrive(counter, &[], now);
        }
    }
    for (key, mut lane) in lost {
        lane.pass_over(now);
        let placed = inbox::place(&mut *db, &key, lane.ready_below(), cursor + 1).await?;
        lane.placed(placed);
        cursor += placed;
        lanes::see(&mut *db, &[(key, &lane)]).await?;
    }
    Ok(cursor)
}
