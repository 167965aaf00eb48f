//! All that a database holds, in a form that can be compared.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use waxwing_sqlite::{Connection, Options};

/// Each table: how many rows it has, and a digest of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Contents(BTreeMap<String, (usize, u64)>);

impl Contents {
    /// Reads a database by a connection that changes nothing: what is in its log stays there.
    pub(crate) async fn read(database: &Path) -> waxwing_sqlite::Result<Self> {
        let mut db = Options::new(database).read_only().open()?;
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let tables: Vec<String> = waxwing_sqlite::query_scalar(tables).fetch_all(&mut db).await?;
        let mut contents = BTreeMap::new();
        for table in tables {
            let mut rows = rows(&mut db, &table).await?;
            rows.sort_unstable();
            let mut digest = DefaultHasher::new();
            rows.hash(&mut digest);
            contents.insert(table, (rows.len(), digest.finish()));
        }
        db.close()?;
        Ok(Self(contents))
    }

    /// The tables that are not the same in both, with how many rows each has.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let count = |of: &Self, table: &str| of.0.get(table).map_or(0, |(count, _)| *count);
        let mut tables: Vec<_> = self.0.keys().chain(other.0.keys()).collect();
        tables.sort_unstable();
        tables.dedup();
        let differ = tables.into_iter().filter(|table| self.0.get(*table) != other.0.get(*table));
        differ.map(|table| format!("{table} {} {}", count(self, table), count(other, table))).collect()
    }
}

/// Every row of a table, as SQL would write it.
async fn rows(db: &mut Connection, table: &str) -> waxwing_sqlite::Result<Vec<String>> {
    let columns: Vec<String> = waxwing_sqlite::query_scalar("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(&mut *db)
        .await?;
    let quoted: Vec<_> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    let sql = format!("SELECT {} FROM \"{table}\"", quoted.join(" || ',' || "));
    waxwing_sqlite::query_scalar(sql).fetch_all(db).await
}
