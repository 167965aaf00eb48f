//! Statements over many rows.
//!
//! A statement costs sqlx about 75 µs on SQLite, and a round trip on PostgreSQL, whatever it does; so a batch is a handful of
//! statements over many rows. SQLite takes the rows as a list of `VALUES`, built for a few fixed row counts, so that a
//! connection prepares each once and never again. PostgreSQL takes each column as one array.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, PgConnection};

use super::Connection;
use super::query::{Row, Value, sqlite_arguments};
use crate::error::{Error, Result};

/// Row counts that a statement for SQLite is built for. A factor of four apart: at most three statements per size.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// What a column of the rows holds.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Column {
    /// Numbers.
    Int,
    /// Bytes.
    Bytes,
}

/// One statement over any number of rows. Lives as long as the program.
pub(in crate::store) struct RowsSql {
    /// In each of the sizes.
    sqlite: [String; SIZES.len()],
    postgres: String,
    columns: &'static [Column],
}

/// Takes the values of one row, in the order of the columns.
pub(in crate::store) struct Values<'v>(Vec<Value<'v>>);

impl<'v> Values<'v> {
    /// The next value.
    pub(in crate::store) fn bind(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.0.push(value.into());
        self
    }
}

/// Rows that are looked for by their key.
pub(in crate::store) struct Keyed {
    /// Their table.
    pub(in crate::store) table: &'static str,
    /// The columns of the key, as many as each row given has.
    pub(in crate::store) key: &'static [&'static str],
}

impl Keyed {
    /// The statement that reads these columns of the rows that are there.
    ///
    /// PostgreSQL plans a statement once, whatever is in its tables then: a lookup per key is written out, so that it cannot take a walk
    /// through a table for cheaper because that is empty for a moment. With `lock` it holds each row until the transaction ends,
    /// taking them in the order of their keys.
    pub(in crate::store) fn find(&self, read: &str, lock: bool, columns: &'static [Column]) -> RowsSql {
        let Self { table, key } = self;
        let (ordered, lock) =
            if lock { (format!(" ORDER BY {}", names(columns)), " FOR UPDATE") } else { (String::new(), "") };
        let tail = format!(
            "{ordered}) AS wanted CROSS JOIN LATERAL (SELECT {read} FROM {table} WHERE {} OFFSET 0{lock}) AS found",
            self.is_wanted()
        );
        RowsSql::each(
            [&format!("SELECT {read} FROM {table} WHERE ({}) IN (", key.join(", ")), ")"],
            ["SELECT found.* FROM (", &tail],
            columns,
        )
    }

    /// The statement that takes them out, and reads these columns of those that were there.
    pub(in crate::store) fn take(&self, read: &str, columns: &'static [Column]) -> RowsSql {
        let Self { table, key } = self;
        let tail = format!(
            ") AS wanted CROSS JOIN LATERAL (SELECT ctid AS at FROM {table} WHERE {} OFFSET 0) AS found)) RETURNING {read}",
            self.is_wanted()
        );
        RowsSql::each(
            [&format!("DELETE FROM {table} WHERE ({}) IN (", key.join(", ")), &format!(") RETURNING {read}")],
            [&format!("DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT found.at FROM ("), &tail],
            columns,
        )
    }

    fn is_wanted(&self) -> String {
        let equal = |(at, column): (usize, &&str)| format!("{column} = wanted.column{}", at + 1);
        self.key.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }
}

/// `column1, column2` and so on.
fn names(columns: &[Column]) -> String {
    (1..=columns.len()).map(|at| format!("column{at}")).collect::<Vec<_>>().join(", ")
}

impl RowsSql {
    /// `head`, then the rows as something to select from, their columns `column1`, `column2` and so on; then `tail`.
    pub(in crate::store) fn new(head: &str, columns: &'static [Column], tail: &str) -> Self {
        Self::each([head, tail], [head, tail], columns)
    }

    /// The same where the databases disagree: what is before the rows, and what is after them.
    pub(in crate::store) fn each(sqlite: [&str; 2], postgres: [&str; 2], columns: &'static [Column]) -> Self {
        let ([head, tail], [postgres_head, postgres_tail]) = (sqlite, postgres);
        // No numbers: for each numbered one SQLite searches a list at every execution, which makes 2,816 cost milliseconds.
        let group = format!("({})", vec!["?"; columns.len()].join(","));
        let sqlite =
            SIZES.map(|rows| format!("{head} VALUES {} {}", vec![group.as_str(); rows].join(","), tail));
        let arrays = columns.iter().enumerate().map(|(at, column)| match column {
            Column::Int => format!("${}::int8[]", at + 1),
            Column::Bytes => format!("${}::bytea[]", at + 1),
        });
        let (arrays, names) = (arrays.collect::<Vec<_>>().join(","), names(columns));
        let postgres =
            format!("{postgres_head} SELECT * FROM UNNEST({arrays}) AS given({names}) {postgres_tail}");
        Self { sqlite, postgres, columns }
    }

    /// Runs it for exactly these rows. Says how many rows it changed.
    pub(in crate::store) async fn execute<'r, T>(
        &'static self,
        db: &mut Connection,
        rows: &'r [T],
        bind: impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<u64> {
        let mut changed = 0;
        match db {
            Connection::Sqlite(held) => {
                for (sql, chunk) in self.exact(rows) {
                    let arguments = sqlite_arguments(values(chunk.iter(), &bind).0)?;
                    changed += sqlx::query_with(sql, arguments).execute(held.get()).await?.rows_affected();
                }
            }
            Connection::Postgres(held) => {
                if !rows.is_empty() {
                    let query = sqlx::query_with(&*self.postgres, self.arrays(values(rows.iter(), &bind))?);
                    changed = query.execute(held.get()).await?.rows_affected();
                }
            }
        }
        Ok(changed)
    }

    /// Runs it for exactly these rows, and returns what it gives.
    pub(in crate::store) async fn fetch_exact<'r, T>(
        &'static self,
        db: &mut Connection,
        rows: &'r [T],
        bind: impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        match db {
            Connection::Sqlite(held) => {
                for (sql, chunk) in self.exact(rows) {
                    let arguments = sqlite_arguments(values(chunk.iter(), &bind).0)?;
                    let rows = sqlx::query_with(sql, arguments).fetch_all(held.get()).await?;
                    found.extend(rows.into_iter().map(Row::from));
                }
            }
            Connection::Postgres(held) => found = self.fetch_arrays(held.get(), rows, &bind).await?,
        }
        Ok(found)
    }

    /// As [`RowsSql::fetch_exact`], in fewer statements: on SQLite the last chunk is filled up by repeating its last row. For
    /// statements to which a row named twice is the same as once.
    pub(in crate::store) async fn fetch<'r, T>(
        &'static self,
        db: &mut Connection,
        rows: &'r [T],
        bind: impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        match db {
            Connection::Sqlite(held) => {
                for (sql, chunk) in self.padded(rows) {
                    let arguments = sqlite_arguments(values(chunk, &bind).0)?;
                    let rows = sqlx::query_with(sql, arguments).fetch_all(held.get()).await?;
                    found.extend(rows.into_iter().map(Row::from));
                }
            }
            Connection::Postgres(held) => found = self.fetch_arrays(held.get(), rows, &bind).await?,
        }
        Ok(found)
    }

    async fn fetch_arrays<'r, T>(
        &'static self,
        db: &mut PgConnection,
        rows: &'r [T],
        bind: &impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(test)]
        counting::one_more();
        let query = sqlx::query_with(&*self.postgres, self.arrays(values(rows.iter(), bind))?);
        Ok(query.fetch_all(db).await?.into_iter().map(Row::from).collect())
    }

    /// Splits rows into chunks, each with SQLite's statement for exactly so many.
    fn exact<'r, T>(&'static self, mut rows: &'r [T]) -> impl Iterator<Item = (&'static str, &'r [T])> {
        std::iter::from_fn(move || {
            let (size, sql) = SIZES.iter().zip(&self.sqlite).find(|(size, _)| **size <= rows.len())?;
            let (chunk, rest) = rows.split_at(*size);
            rows = rest;
            #[cfg(test)]
            counting::one_more();
            Some((sql.as_str(), chunk))
        })
    }

    fn padded<'r, T>(
        &'static self,
        rows: &'r [T],
    ) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'r T>)> {
        rows.chunks(SIZES[0]).filter_map(|chunk| {
            let last = chunk.last()?;
            let (size, sql) = SIZES.iter().zip(&self.sqlite).rev().find(|(size, _)| **size >= chunk.len())?;
            #[cfg(test)]
            counting::one_more();
            Some((sql.as_str(), chunk.iter().chain(std::iter::repeat_n(last, size - chunk.len()))))
        })
    }

    /// Values row by row, turned to one array per column.
    fn arrays(&self, values: Values<'_>) -> Result<PgArguments> {
        let width = self.columns.len();
        let rows = values.0.len() / width;
        let mut columns: Vec<Vec<Value<'_>>> =
            self.columns.iter().map(|_| Vec::with_capacity(rows)).collect();
        for (at, value) in values.0.into_iter().enumerate() {
            columns[at % width].push(value);
        }
        let mut arguments = PgArguments::default();
        for (column, values) in self.columns.iter().zip(columns) {
            let added = match column {
                Column::Int => arguments.add(values.iter().map(as_int).collect::<Result<Vec<_>>>()?),
                Column::Bytes => arguments.add(values.iter().map(as_bytes).collect::<Result<Vec<_>>>()?),
            };
            added.map_err(Error::Internal)?;
        }
        Ok(arguments)
    }

    /// SQLite's text for one row.
    #[cfg(test)]
    pub(in crate::store) fn for_one(&self) -> &str {
        self.sqlite.last().unwrap()
    }
}

fn values<'r, T: 'r>(rows: impl Iterator<Item = &'r T>, bind: impl Fn(&mut Values<'r>, &'r T)) -> Values<'r> {
    let mut values = Values(Vec::new());
    rows.for_each(|row| bind(&mut values, row));
    values
}

fn as_int(value: &Value<'_>) -> Result<Option<i64>> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Bytes(_) => Err(Error::Internal("bytes where the statement has a number".into())),
    }
}

fn as_bytes<'v>(value: &'v Value<'_>) -> Result<Option<&'v [u8]>> {
    match value {
        Value::Bytes(bytes) => Ok(bytes.as_ref().map(Cow::as_ref)),
        Value::Int(_) => Err(Error::Internal("a number where the statement has bytes".into())),
    }
}

/// How many of these statements a test has made.
#[cfg(test)]
pub(crate) mod counting {
    use std::cell::Cell;

    thread_local!(static MADE: Cell<usize> = const { Cell::new(0) });

    pub(super) fn one_more() {
        MADE.set(MADE.get() + 1);
    }

    /// Those made since the last time.
    pub(crate) fn take() -> usize {
        MADE.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static SQL: LazyLock<RowsSql> =
        LazyLock::new(|| RowsSql::new("INSERT INTO t", &[Column::Int, Column::Bytes], "RETURNING a"));

    #[test]
    fn rows_are_split_into_the_fixed_sizes() {
        let sizes = |n: usize| SQL.exact(&vec![0; n]).map(|(_, chunk)| chunk.len()).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(3), [1, 1, 1]);
        assert_eq!(sizes(500), [256, 64, 64, 64, 16, 16, 16, 4]);
        let (sql, _) = SQL.exact(&[0; 1]).next().unwrap();
        assert_eq!(sql, "INSERT INTO t VALUES (?,?) RETURNING a");
    }

    #[test]
    fn a_padded_chunk_repeats_its_last_row() {
        let rows: Vec<_> = (0..300).collect();
        let chunks: Vec<Vec<_>> = SQL.padded(&rows).map(|(_, rows)| rows.copied().collect()).collect();
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [256, 64]);
        assert_eq!(chunks[1][43..46], [299, 299, 299]);
        for (sql, rows) in SQL.padded(&[1; 5]) {
            assert_eq!(sql.matches("(?,?)").count(), rows.count());
        }
    }

    #[test]
    fn postgres_takes_a_column_as_an_array() {
        assert_eq!(
            SQL.postgres,
            "INSERT INTO t SELECT * FROM UNNEST($1::int8[],$2::bytea[]) AS given(column1, column2) RETURNING a"
        );
    }
}
