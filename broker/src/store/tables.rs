//! Every table of the store, for whoever takes it as a whole: to move it to another database, or to say whether two are the same.
//!
//! The order of a key is the same in both databases: numbers by size, bytes one by one.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use super::db::Column::{Bytes, Int};
use super::db::{Column, Connection, Row, RowsSql, Values, number, query};
use crate::error::Result;

/// Rows that are copied at a time.
const PAGE: usize = 256;
/// The same of a table whose rows have what was sealed, up to 320 KiB each.
const PAGE_OF_SEALED: usize = 32;

/// SQLite's code for a file that another connection is in the way of.
const BUSY: i32 = 5;

/// A table.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, Column)],
    /// How many of the columns, from the first, are its key.
    key: usize,
    /// Whether the database numbers its rows, in `id`.
    numbered: bool,
    /// Rows that are read at a time.
    page: usize,
    begin: String,
    after: String,
    count: String,
    any: String,
    number_on: String,
    insert: RowsSql,
}

/// What a table holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Contents {
    /// Its name.
    pub(crate) table: &'static str,
    /// How many rows.
    pub(crate) rows: u64,
    /// Of every value of every row, in the order of its key.
    pub(crate) sha256: [u8; 32],
}

/// A value of a row.
enum Cell {
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    vec![
        Table::new("meta", 1, PAGE, META),
        Table::numbered("run", PAGE, RUN),
        Table::new("mesh", 1, PAGE, MESH),
        Table::new("log", 2, PAGE_OF_SEALED, LOG),
        Table::numbered("branch", PAGE_OF_SEALED, BRANCH),
        Table::new("node", 2, PAGE, NODE),
        Table::new("prekey", 2, PAGE, PREKEY),
        Table::new("dedupe", 3, PAGE, DEDUPE),
        Table::new("queue", 4, PAGE_OF_SEALED, QUEUE),
        Table::numbered("key_list", PAGE_OF_SEALED, KEY_LIST),
        Table::new("key_slot", 3, PAGE, KEY_SLOT),
        Table::numbered("space", PAGE, SPACE),
        Table::numbered("record", PAGE_OF_SEALED, RECORD),
        Table::new("change_id", 3, PAGE, CHANGE_ID),
    ]
});

const META: &[(&str, Column)] =
    &[("id", Int), ("store", Bytes), ("secret", Bytes), ("m", Int), ("created", Int), ("began", Int)];
const RUN: &[(&str, Column)] = &[("id", Int), ("run", Bytes), ("first", Int)];
const MESH: &[(&str, Column)] =
    &[("mesh", Bytes), ("created", Int), ("head_seq", Int), ("head_hash", Bytes), ("waits", Int)];
const LOG: &[(&str, Column)] = &[("mesh", Bytes), ("seq", Int), ("entry", Bytes), ("signatures", Bytes)];
const BRANCH: &[(&str, Column)] =
    &[("id", Int), ("mesh", Bytes), ("head", Bytes), ("seq", Int), ("entry", Bytes), ("signatures", Bytes)];
const NODE: &[(&str, Column)] = &[
    ("mesh", Bytes),
    ("node", Bytes),
    ("login", Int),
    ("next_seq", Int),
    ("queued", Int),
    ("queued_bytes", Int),
    ("shown_login", Int),
    ("shown_through", Int),
    ("shown_rows", Int),
];
const PREKEY: &[(&str, Column)] =
    &[("mesh", Bytes), ("node", Bytes), ("id", Int), ("prekey", Bytes), ("signature", Bytes)];
const DEDUPE: &[(&str, Column)] = &[
    ("mesh", Bytes),
    ("sender", Bytes),
    ("wire", Bytes),
    ("fingerprint", Bytes),
    ("message", Bytes),
    ("recipient", Bytes),
    ("rank", Int),
    ("seq", Int),
    ("seal", Int),
    ("first_seen", Int),
    ("expires", Int),
];
const QUEUE: &[(&str, Column)] = &[
    ("mesh", Bytes),
    ("recipient", Bytes),
    ("rank", Int),
    ("seq", Int),
    ("kind", Int),
    ("sender", Bytes),
    ("wire", Bytes),
    ("seal", Int),
    ("expires", Int),
    ("body", Bytes),
];
const KEY_LIST: &[(&str, Column)] = &[
    ("id", Int),
    ("mesh", Bytes),
    ("root", Bytes),
    ("epoch", Int),
    ("maker", Bytes),
    ("slots", Int),
    ("held", Int),
    ("touched", Int),
    ("earlier", Bytes),
];
const KEY_SLOT: &[(&str, Column)] = &[
    ("mesh", Bytes),
    ("list", Int),
    ("place", Int),
    ("holder", Bytes),
    ("sealed_to", Bytes),
    ("sealed", Bytes),
    ("path", Bytes),
];
const SPACE: &[(&str, Column)] = &[
    ("id", Int),
    ("mesh", Bytes),
    ("space", Bytes),
    ("last", Int),
    ("past", Int),
    ("horizon", Int),
    ("records", Int),
    ("bytes", Int),
];
const RECORD: &[(&str, Column)] = &[
    ("id", Int),
    ("mesh", Bytes),
    ("space", Int),
    ("seq", Int),
    ("kind", Int),
    ("key", Bytes),
    ("writer", Bytes),
    ("stands", Int),
    ("of_seq", Int),
    ("why", Int),
    ("at", Int),
    ("ends", Int),
    ("bound", Int),
    ("touched", Int),
    ("touched_at", Int),
    ("offered", Int),
    ("sealed", Bytes),
];
const CHANGE_ID: &[(&str, Column)] =
    &[("mesh", Bytes), ("writer", Bytes), ("id", Bytes), ("digest", Bytes), ("seq", Int), ("expires", Int)];

/// Every table, in the order in which they are taken.
pub(crate) fn all() -> &'static [Table] {
    &TABLES
}

/// What every table holds.
///
/// # Errors
/// If the database fails, or has another schema.
#[cfg(test)]
pub(crate) async fn digest(db: &mut Connection) -> Result<Vec<Contents>> {
    let mut contents = Vec::with_capacity(all().len());
    for table in all() {
        contents.push(table.digest(db, |_| ()).await?);
    }
    Ok(contents)
}

/// Whether nobody else has this store open, although no broker of its data folder does. In a file, a broker with another data folder might;
/// on a server, whoever writes has the lock.
///
/// # Errors
/// If the database fails.
pub(crate) async fn is_alone(db: &mut Connection) -> Result<bool> {
    match db {
        Connection::Postgres(_) => Ok(true),
        // Only who is alone with a file may fold its log in for good. The next to open it gives it another.
        Connection::Sqlite(held) => {
            let folded = waxwing_sqlite::query_scalar::<String>("PRAGMA journal_mode = DELETE");
            match folded.fetch_one(held.get()).await {
                Ok(mode) => Ok(mode == "delete"),
                Err(err) if err.code() == Some(BUSY) => Ok(false),
                Err(err) => Err(err.into()),
            }
        }
    }
}

impl Table {
    fn new(name: &'static str, key: usize, page: usize, columns: &'static [(&'static str, Column)]) -> Self {
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let kinds: Vec<_> = columns.iter().map(|(_, kind)| *kind).collect();
        let (list, order) = (names.join(","), names[..key].join(","));
        let given: Vec<_> = (1..=key).map(|at| format!("${at}")).collect();
        Self {
            name,
            columns,
            key,
            numbered: false,
            page,
            // With its number in the text: a plan for any number of rows would sort the table for each page.
            begin: format!("SELECT {list} FROM {name} ORDER BY {order} LIMIT {page}"),
            after: format!(
                "SELECT {list} FROM {name} WHERE ({order}) > ({}) ORDER BY {order} LIMIT {page}",
                given.join(",")
            ),
            count: format!("SELECT count(*) FROM {name}"),
            any: format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT 1) AS one"),
            number_on: format!("SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"),
            // Tables live as long as the program, as do the statements on them.
            insert: RowsSql::new(&format!("INSERT INTO {name} ({list})"), kinds.leak(), ""),
        }
    }

    /// One whose rows the database numbers.
    fn numbered(name: &'static str, page: usize, columns: &'static [(&'static str, Column)]) -> Self {
        Self { numbered: true, ..Self::new(name, 1, page, columns) }
    }

    /// How many rows it has.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn count(&'static self, db: &mut Connection) -> Result<u64> {
        number(&query(self.count.as_str()).fetch_one(db).await?, 0)
    }

    /// Whether it has none.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn is_empty(&'static self, db: &mut Connection) -> Result<bool> {
        Ok(number(&query(self.any.as_str()).fetch_one(db).await?, 0)? == 0)
    }

    /// Copies every row to the same table of another database, a page at a time; `copied` is told how many there are so far. What is
    /// numbered goes on beyond the highest number.
    ///
    /// # Errors
    /// If either database fails.
    pub(crate) async fn copy(
        &'static self,
        from: &mut Connection,
        to: &mut Connection,
        mut copied: impl FnMut(u64),
    ) -> Result<()> {
        let (mut last, mut count) = (None, 0);
        loop {
            let page = self.read_page(from, last.as_ref()).await?;
            self.insert
                .execute(to, &page, |values, row| row.iter().for_each(|cell| cell.bind(values)))
                .await?;
            count += page.len() as u64;
            copied(count);
            let is_full = page.len() == self.page;
            last = page.into_iter().last();
            if !is_full || last.is_none() {
                return self.number_on(to).await;
            }
        }
    }

    async fn read_page(
        &'static self,
        db: &mut Connection,
        last: Option<&Vec<Cell>>,
    ) -> Result<Vec<Vec<Cell>>> {
        let asked = match last {
            None => query(self.begin.as_str()),
            Some(last) => {
                last[..self.key].iter().fold(query(self.after.as_str()), |asked, cell| match cell {
                    Cell::Int(number) => asked.bind(*number),
                    Cell::Bytes(bytes) => asked.bind(bytes.as_deref()),
                })
            }
        };
        asked.fetch_all(db).await?.iter().map(|row| self.cells(row)).collect()
    }

    fn cells(&self, row: &Row) -> Result<Vec<Cell>> {
        let cell = |(at, (_, kind)): (usize, &(&str, Column))| {
            Ok(match kind {
                Int => Cell::Int(row.get(at)?),
                Bytes => Cell::Bytes(row.get(at)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    /// A file's numbers always follow the highest; a server counts apart from the table.
    async fn number_on(&'static self, db: &mut Connection) -> Result<()> {
        match db {
            Connection::Postgres(_) if self.numbered => {
                query(self.number_on.as_str()).execute(db).await.map(drop)
            }
            Connection::Postgres(_) | Connection::Sqlite(_) => Ok(()),
        }
    }

    /// What it holds, read as it is copied; `seen` is told how many rows were read so far.
    ///
    /// # Errors
    /// If the database fails, or has another schema.
    pub(crate) async fn digest(
        &'static self,
        db: &mut Connection,
        mut seen: impl FnMut(u64),
    ) -> Result<Contents> {
        let (mut last, mut rows, mut hash) = (None, 0, Sha256::new());
        loop {
            let page = self.read_page(db, last.as_ref()).await?;
            page.iter().flatten().for_each(|cell| cell.add_to(&mut hash));
            rows += page.len() as u64;
            seen(rows);
            let is_full = page.len() == self.page;
            last = page.into_iter().last();
            if !is_full || last.is_none() {
                return Ok(Contents { table: self.name, rows, sha256: hash.finalize().into() });
            }
        }
    }
}

impl Cell {
    fn bind<'v>(&'v self, values: &mut Values<'v>) {
        match self {
            Self::Int(number) => values.bind(*number),
            Self::Bytes(bytes) => values.bind(bytes.as_deref()),
        };
    }

    /// Each value says what it is, and bytes how many they are: other values never give the same bytes.
    fn add_to(&self, hash: &mut Sha256) {
        match self {
            Self::Int(None) | Self::Bytes(None) => hash.update([0]),
            Self::Int(Some(number)) => {
                hash.update([1]);
                hash.update(number.to_be_bytes());
            }
            Self::Bytes(Some(bytes)) => {
                hash.update([2]);
                hash.update((bytes.len() as u64).to_be_bytes());
                hash.update(bytes);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
