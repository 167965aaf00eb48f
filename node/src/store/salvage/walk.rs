//! Walking a table of which not everything can be read.

use waxwing_sqlite::Connection;

use super::{Table, indexes};

/// Most rows at a time.
const STEP: i64 = 512;

/// Whether what was read was not there, or not as SQLite has written it. Anything else ends the walk.
fn in_source(error: waxwing_sqlite::Error) -> waxwing_sqlite::Result<()> {
    if error.is_damage() || error.is_unreadable() { Ok(()) } else { Err(error) }
}

/// Copies a table with row numbers. Says whether all of it could be read.
pub(super) async fn by_row(db: &mut Connection, table: &Table) -> waxwing_sqlite::Result<bool> {
    let (mut after, mut step, mut whole) = (0, STEP, true);
    loop {
        match chunk(db, table, after, step).await {
            Ok(Some((last, left_out))) => {
                whole &= left_out == 0;
                after = last;
                step = STEP.min(step * 2);
            }
            Ok(None) => return Ok(whole),
            Err(error) => {
                in_source(error)?;
                if step > 1 {
                    step = (step / 8).max(1);
                    continue;
                }
                whole = false;
                match behind(db, table, after).await? {
                    Some(readable) => after = readable,
                    None => return Ok(false),
                }
            }
        }
    }
}

/// Copies the next rows. Says which was the last, and how many could not be taken over as they are.
async fn chunk(
    db: &mut Connection,
    table: &Table,
    after: i64,
    step: i64,
) -> waxwing_sqlite::Result<Option<(i64, u64)>> {
    let Table { name, columns, .. } = table;
    let look = format!(
        "SELECT max(rowid), count(*) FROM (SELECT rowid FROM damaged.\"{name}\" NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?)"
    );
    let (last, rows): (Option<i64>, i64) =
        waxwing_sqlite::query_as(look).bind(after).bind(step).fetch_one(&mut *db).await?;
    let Some(last) = last else { return Ok(None) };
    let copy = format!(
        "INSERT OR IGNORE INTO main.\"{name}\" ({columns}) SELECT {columns} FROM damaged.\"{name}\" NOT INDEXED \
         WHERE rowid > ? AND rowid <= ?"
    );
    let copied = waxwing_sqlite::query(copy).bind(after).bind(last).execute(db).await?;
    Ok(Some((last, super::super::unsigned(rows).saturating_sub(copied))))
}

/// The first row number behind which something can be read again, or nothing is left; none if nothing can be read up to the
/// end.
async fn behind(db: &mut Connection, table: &Table, after: i64) -> waxwing_sqlite::Result<Option<i64>> {
    // It may be the content of one row, which is elsewhere.
    if let Some(next) = next(db, table, after).await? {
        return Ok(next);
    }
    let (mut bad, mut step) = (after, 1);
    let mut good = loop {
        let Some(probe) = after.checked_add(step) else { return Ok(None) };
        if next(db, table, probe).await?.is_some() {
            break probe;
        }
        bad = probe;
        let Some(further) = step.checked_mul(2) else { return Ok(None) };
        step = further;
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if next(db, table, middle).await?.is_some() { good = middle } else { bad = middle }
    }
    Ok(Some(good))
}

/// The row after this one, or itself if there is none, as far as that can be told.
async fn next(db: &mut Connection, table: &Table, after: i64) -> waxwing_sqlite::Result<Option<Option<i64>>> {
    let sql = format!(
        "SELECT rowid FROM damaged.\"{}\" NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1",
        table.name
    );
    match waxwing_sqlite::query_scalar(sql).bind(after).fetch_optional(db).await {
        Ok(found) => Ok(Some(Some(found.unwrap_or(i64::MAX)))),
        Err(error) => in_source(error).map(|()| None),
    }
}

/// Copies a table without row numbers: from both ends, as far as that goes, and what an index knows of the rest. Says whether
/// all of it could be read.
pub(super) async fn by_key(db: &mut Connection, table: &Table, key: &str) -> waxwing_sqlite::Result<bool> {
    let name = &table.name;
    let last = format!("(SELECT {key} FROM main.\"{name}\" ORDER BY {} LIMIT 1)", reversed(key));
    if from_one_end(db, table, key, &format!("({key}) > {last}")).await? {
        return Ok(true);
    }
    let reached = [
        "DROP TABLE IF EXISTS temp.reached".to_owned(),
        format!(
            "CREATE TEMP TABLE reached AS SELECT {key} FROM main.\"{name}\" ORDER BY {} LIMIT 1",
            reversed(key)
        ),
    ];
    run(db, &reached).await?;
    let first = format!(
        "(SELECT {key} FROM main.\"{name}\" WHERE NOT EXISTS (SELECT 1 FROM temp.reached) \
         OR ({key}) > (SELECT {key} FROM temp.reached) ORDER BY {key} LIMIT 1)"
    );
    from_one_end(db, table, &reversed(key), &format!("({key}) < {first}")).await?;
    by_index(db, table, key).await?;
    Ok(false)
}

/// Copies in one order until nothing more comes, or something cannot be read. Says whether it came to the other end.
async fn from_one_end(
    db: &mut Connection,
    table: &Table,
    order: &str,
    further: &str,
) -> waxwing_sqlite::Result<bool> {
    let Table { name, columns, .. } = table;
    let (mut condition, mut step) = ("TRUE", STEP);
    loop {
        let sql = format!(
            "INSERT OR IGNORE INTO main.\"{name}\" ({columns}) SELECT {columns} FROM damaged.\"{name}\" NOT INDEXED \
             WHERE {condition} ORDER BY {order} LIMIT ?"
        );
        match waxwing_sqlite::query(sql).bind(step).execute(&mut *db).await {
            Ok(0) => return Ok(true),
            Ok(_) => condition = further,
            Err(error) => {
                in_source(error)?;
                if step == 1 {
                    return Ok(false);
                }
                step = (step / 8).max(1);
            }
        }
    }
}

/// Copies, one by one, the rows whose keys an index has.
async fn by_index(db: &mut Connection, table: &Table, key: &str) -> waxwing_sqlite::Result<()> {
    let Table { name, columns, .. } = table;
    for index in indexes(db, table).await? {
        let known = [
            "DROP TABLE IF EXISTS temp.known".to_owned(),
            format!(
                "CREATE TEMP TABLE known AS SELECT {key} FROM damaged.\"{name}\" INDEXED BY \"{index}\" \
                 EXCEPT SELECT {key} FROM main.\"{name}\""
            ),
        ];
        if let Err(error) = run(db, &known).await {
            in_source(error)?;
            continue;
        }
        let most: Option<i64> =
            waxwing_sqlite::query_scalar("SELECT max(rowid) FROM temp.known").fetch_one(&mut *db).await?;
        for row in 1..=most.unwrap_or(0) {
            let sql = format!(
                "INSERT OR IGNORE INTO main.\"{name}\" ({columns}) SELECT {columns} FROM damaged.\"{name}\" NOT INDEXED \
                 WHERE ({key}) = (SELECT {key} FROM temp.known WHERE rowid = ?)"
            );
            if let Err(error) = waxwing_sqlite::query(sql).bind(row).execute(&mut *db).await {
                in_source(error)?;
            }
        }
    }
    Ok(())
}

async fn run(db: &mut Connection, statements: &[String]) -> waxwing_sqlite::Result<()> {
    for sql in statements {
        waxwing_sqlite::query(sql.clone()).execute(&mut *db).await?;
    }
    Ok(())
}

/// An order by columns, the other way round.
fn reversed(key: &str) -> String {
    key.split(", ").map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ")
}
