//! What can still be read of a damaged database: copied row by row into a new one, to which the damaged one is attached, and
//! in which nothing is written.
//!
//! A table is walked in the order of its key. Where a row or a page cannot be read, the walk goes on behind it. What is
//! missing then is told by an index that has more rows than could be read.

mod finish;
mod walk;

use std::path::Path;

use waxwing_sqlite::Connection;

pub(crate) use self::finish::{finish, unsound};
use super::unsigned;

/// What became of one table.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Salvaged {
    /// Which.
    pub table: String,
    /// Rows that are there.
    pub rows: u64,
    /// Rows that are known to be missing.
    pub lost: u64,
    /// Whether there may have been more of which nothing is known.
    pub more: bool,
}

impl Salvaged {
    /// Whether it may not be as it was.
    pub fn is_incomplete(&self) -> bool {
        self.lost > 0 || self.more
    }
}

/// A table, as both databases have it.
#[derive(Debug)]
struct Table {
    name: String,
    columns: String,
    /// Of one without row numbers: its key.
    key: Option<String>,
}

/// Attaches the damaged database, to be read only.
///
/// # Errors
/// If its beginning, or what says which tables it has, cannot be read.
pub(crate) async fn attach(db: &mut Connection, damaged: &Path) -> waxwing_sqlite::Result<()> {
    let escaped: String = damaged.to_string_lossy().chars().map(escape).collect();
    let uri = format!("file:{escaped}?mode=ro");
    waxwing_sqlite::query("ATTACH DATABASE ? AS damaged").bind(uri).execute(&mut *db).await?;
    let tables: i64 = waxwing_sqlite::query_scalar("SELECT count(*) FROM damaged.sqlite_schema")
        .fetch_one(&mut *db)
        .await?;
    if tables > 0 { Ok(()) } else { Err(super::damaged("schema")) }
}

/// A character of a path as it stands in a URI.
fn escape(character: char) -> String {
    match character {
        '%' | '?' | '#' => format!("%{:02X}", u32::from(character)),
        _ => character.to_string(),
    }
}

/// The newest change of the schema that the damaged one has, if that can be read.
pub(crate) async fn schema(db: &mut Connection) -> Option<i64> {
    waxwing_sqlite::query_scalar("PRAGMA damaged.user_version").fetch_one(db).await.ok()
}

/// Copies all that can be read of all tables.
pub(crate) async fn copy(db: &mut Connection) -> waxwing_sqlite::Result<Vec<Salvaged>> {
    let names: Vec<String> = waxwing_sqlite::query_scalar(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut salvaged = Vec::with_capacity(names.len());
    for name in names {
        let table = Table::look(db, name).await?;
        salvaged.push(one(db, &table).await?);
    }
    Ok(salvaged)
}

async fn one(db: &mut Connection, table: &Table) -> waxwing_sqlite::Result<Salvaged> {
    let whole = match &table.key {
        None => walk::by_row(db, table).await?,
        Some(key) => walk::by_key(db, table, key).await?,
    };
    let lost = if whole { Some(0) } else { missing(db, table).await? };
    let rows = count(db, &table.name).await?;
    Ok(Salvaged { table: table.name.clone(), rows, lost: lost.unwrap_or(0), more: lost.is_none() })
}

async fn count(db: &mut Connection, table: &str) -> waxwing_sqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM main.\"{table}\"");
    waxwing_sqlite::query_scalar::<i64>(sql).fetch_one(db).await.map(unsigned)
}

/// How many rows an index knows that are not there; none if there is no index of all rows that can be read.
async fn missing(db: &mut Connection, table: &Table) -> waxwing_sqlite::Result<Option<u64>> {
    let key = table.key.as_deref().unwrap_or("rowid");
    let mut most = None;
    for index in indexes(db, table).await? {
        let sql = format!(
            "SELECT count(*) FROM (SELECT {key} FROM damaged.\"{0}\" INDEXED BY \"{index}\" EXCEPT SELECT {key} FROM main.\"{0}\")",
            table.name
        );
        if let Ok(missing) = waxwing_sqlite::query_scalar::<i64>(sql).fetch_one(&mut *db).await {
            most = most.max(Some(unsigned(missing)));
        }
    }
    Ok(most)
}

/// Indexes that have a place of their own in the file, and an entry for each row.
async fn indexes(db: &mut Connection, table: &Table) -> waxwing_sqlite::Result<Vec<String>> {
    waxwing_sqlite::query_scalar(
        "SELECT name FROM pragma_index_list(?, 'main') WHERE partial = 0 AND origin <> 'pk'",
    )
    .bind(&table.name)
    .fetch_all(db)
    .await
}

/// The ids of messages that an index of the damaged database knows, and that are not in the new one.
pub(crate) async fn lost_sends(db: &mut Connection, limit: u32) -> Vec<String> {
    let sql = "SELECT client_id FROM damaged.outbox INDEXED BY sqlite_autoindex_outbox_1 \
               WHERE rowid NOT IN (SELECT row FROM main.outbox) LIMIT ?";
    let ids =
        waxwing_sqlite::query_scalar::<Vec<u8>>(sql).bind(limit).fetch_all(db).await.unwrap_or_default();
    ids.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect()
}

impl Table {
    async fn look(db: &mut Connection, name: String) -> waxwing_sqlite::Result<Self> {
        type Columns = Vec<(String, i64)>;
        let columns: Columns = waxwing_sqlite::query_as("SELECT name, pk FROM pragma_table_info(?, 'main')")
            .bind(&name)
            .fetch_all(&mut *db)
            .await?;
        let quoted = |column: &str| format!("\"{column}\"");
        let mut key: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
        key.sort_by_key(|(_, place)| *place);
        let keyed: bool = waxwing_sqlite::query_scalar(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?",
        )
        .bind(&name)
        .fetch_one(db)
        .await?;
        let join = |names: Vec<String>| names.join(", ");
        Ok(Self {
            name,
            columns: join(columns.iter().map(|(column, _)| quoted(column)).collect()),
            key: keyed.then(|| join(key.iter().map(|(column, _)| quoted(column)).collect())),
        })
    }
}

#[cfg(test)]
mod tests;
