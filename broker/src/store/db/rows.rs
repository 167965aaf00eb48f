//! Statements over many rows.
//!
//! PostgreSQL takes each column as one array: a statement is a round trip, whatever it does. SQLite is in the process: a statement for
//! one row, prepared once and run for each, costs no more than one for all of them, but for rows that [lie together](near).

mod near;

use std::borrow::Cow;

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::Connection;
use super::query::{Row, Value};
use crate::error::{Error, Result};
use near::Near;

/// What a column of the rows holds.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Column {
    /// Numbers.
    Int,
    /// Bytes.
    Bytes,
}

/// What the number of a row that is to be taken out is called.
const FOUND: &str = "found";

/// One statement over any number of rows. Lives as long as the program.
pub(in crate::store) struct RowsSql {
    /// For one of them.
    sqlite: String,
    /// For those that lie together.
    near: Option<Near>,
    /// What takes out those that the statements before have found, from one number to another.
    taken: Option<String>,
    /// For all of them.
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
    /// Whether many that are looked for at once may [lie together](near), in the order of the last column. What is read begins with the
    /// key then.
    pub(in crate::store) near: bool,
}

impl Keyed {
    /// The statement that reads these columns of the rows that are there.
    ///
    /// PostgreSQL plans a statement once, whatever is in its tables then: a lookup per key is written out, so that it cannot take a walk
    /// through a table for cheaper because that is empty for a moment. With `lock` it holds each row until the transaction ends,
    /// taking them in the order of their keys.
    pub(in crate::store) fn find(&self, read: &str, lock: bool, columns: &'static [Column]) -> RowsSql {
        let Self { table, .. } = self;
        let (ordered, lock) =
            if lock { (format!(" ORDER BY {}", names(columns)), " FOR UPDATE") } else { (String::new(), "") };
        let tail = format!(
            "{ordered}) AS wanted CROSS JOIN LATERAL (SELECT {read} FROM {table} WHERE {} OFFSET 0{lock}) AS found",
            self.is_wanted()
        );
        let sqlite = format!("SELECT {read} FROM {table} WHERE {}", self.is_given());
        let near = self.near.then(|| Near::new(self, read, near::Mostly::New));
        RowsSql { near, ..RowsSql::each(sqlite, ["SELECT found.* FROM (", &tail], columns) }
    }

    /// The statement that takes them out, and reads these columns of those that were there: for [`RowsSql::fetch`] alone.
    ///
    /// SQLite reads and then deletes: `RETURNING` has it make a table for what is returned, and a journal of the statement's own, each
    /// time. That takes twice as long.
    pub(in crate::store) fn take(&self, read: &str, columns: &'static [Column]) -> RowsSql {
        let Self { table, .. } = self;
        let tail = format!(
            ") AS wanted CROSS JOIN LATERAL (SELECT ctid AS at FROM {table} WHERE {} OFFSET 0) AS found)) RETURNING {read}",
            self.is_wanted()
        );
        let numbered = format!("{read}, rowid AS {FOUND}");
        let sqlite = format!("SELECT {numbered} FROM {table} WHERE {}", self.is_given());
        let head = format!("DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT found.at FROM (");
        let near = self.near.then(|| Near::new(self, &numbered, near::Mostly::There));
        let taken = Some(format!("DELETE FROM {table} WHERE rowid BETWEEN ? AND ?"));
        RowsSql { near, taken, ..RowsSql::each(sqlite, [&head, &tail], columns) }
    }

    fn is_given(&self) -> String {
        self.key.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ")
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
        let row = vec!["?"; columns.len()].join(",");
        Self::each(format!("{head} VALUES ({row}) {tail}"), [head, tail], columns)
    }

    /// The same where the databases disagree: what SQLite does with one row, and for PostgreSQL what is before the rows, and what is
    /// after them.
    pub(in crate::store) fn each(sqlite: String, postgres: [&str; 2], columns: &'static [Column]) -> Self {
        let [head, tail] = postgres;
        let arrays = columns.iter().enumerate().map(|(at, column)| match column {
            Column::Int => format!("${}::int8[]", at + 1),
            Column::Bytes => format!("${}::bytea[]", at + 1),
        });
        let (arrays, names) = (arrays.collect::<Vec<_>>().join(","), names(columns));
        let postgres = format!("{head} SELECT * FROM UNNEST({arrays}) AS given({names}) {tail}");
        Self { sqlite, near: None, taken: None, postgres, columns }
    }

    /// Runs it for these rows. Says how many rows it changed.
    pub(in crate::store) async fn execute<'r, T>(
        &'static self,
        db: &mut Connection,
        rows: &'r [T],
        bind: impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<u64> {
        let Some(values) = values(rows, bind) else { return Ok(0) };
        match db {
            Connection::Sqlite(held) => Ok(self.one_by_one(values).execute_each(held.get()).await?),
            Connection::Postgres(held) => {
                let query = sqlx::query_with(&*self.postgres, self.arrays(values)?);
                Ok(query.execute(held.get()).await?.rows_affected())
            }
        }
    }

    /// Runs it for these rows, and returns what it gives.
    pub(in crate::store) async fn fetch<'r, T>(
        &'static self,
        db: &mut Connection,
        rows: &'r [T],
        bind: impl Fn(&mut Values<'r>, &'r T),
    ) -> Result<Vec<Row>> {
        let Some(values) = values(rows, bind) else { return Ok(Vec::new()) };
        match db {
            Connection::Sqlite(held) => {
                let mut found = Vec::new();
                let values = match &self.near {
                    Some(near) => near.fetch(values, &mut held.get(), &mut found).await?,
                    None => values,
                };
                found.extend(self.one_by_one(values).fetch_each(held.get()).await?);
                if let Some(taken) = &self.taken {
                    take(&mut found, taken, held.get()).await?;
                }
                Ok(found.into_iter().map(Row::from).collect())
            }
            Connection::Postgres(held) => {
                let query = sqlx::query_with(&*self.postgres, self.arrays(values)?);
                Ok(query.fetch_all(held.get()).await?.into_iter().map(Row::from).collect())
            }
        }
    }

    fn one_by_one<'v>(&'static self, values: Values<'v>) -> waxwing_sqlite::Query<'v> {
        waxwing_sqlite::query(&*self.sqlite).bind_all(values.0.into_iter().map(Into::into))
    }

    /// Values row by row, turned to one array per column.
    fn arrays(&self, values: Values<'_>) -> Result<PgArguments> {
        let width = self.columns.len();
        let mut columns: Vec<Vec<Value<'_>>> = self.columns.iter().map(|_| Vec::new()).collect();
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

    /// SQLite's text.
    #[cfg(test)]
    pub(in crate::store) fn for_one(&self) -> &str {
        &self.sqlite
    }

    /// SQLite's text for those that lie together.
    #[cfg(test)]
    pub(in crate::store) fn for_near(&self) -> &str {
        self.near.as_ref().map_or("", |near| &near.sql)
    }
}

/// Takes out rows by the number they were found with, those with numbers one after the other at once. One that is there twice was
/// asked for twice.
async fn take(
    found: &mut Vec<waxwing_sqlite::Row>,
    sql: &'static str,
    db: waxwing_sqlite::On<'_>,
) -> Result<()> {
    let mut numbered = Vec::with_capacity(found.len());
    for row in found.drain(..) {
        numbered.push((row.try_get::<i64, _>(FOUND)?, row));
    }
    numbered.sort_unstable_by_key(|(number, _)| *number);
    numbered.dedup_by_key(|(number, _)| *number);
    let runs = numbered.chunk_by(|(one, _), (next, _)| one.checked_add(1) == Some(*next));
    let ends = runs.flat_map(|run| [run.first(), run.last()]).flatten().map(|(number, _)| (*number).into());
    waxwing_sqlite::query(sql).bind_all(ends).execute_each(db).await?;
    found.extend(numbered.into_iter().map(|(_, row)| row));
    Ok(())
}

/// Those of all rows, one after the other; none if there are no rows.
fn values<'r, T>(rows: &'r [T], bind: impl Fn(&mut Values<'r>, &'r T)) -> Option<Values<'r>> {
    if rows.is_empty() {
        return None;
    }
    #[cfg(test)]
    counting::one_more();
    let mut values = Values(Vec::new());
    rows.iter().for_each(|row| bind(&mut values, row));
    Some(values)
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

/// How many of these statements a test has made, each for all of its rows.
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
    fn sqlite_takes_a_row_as_its_values() {
        assert_eq!(SQL.for_one(), "INSERT INTO t VALUES (?,?) RETURNING a");
    }

    #[test]
    fn postgres_takes_a_column_as_an_array() {
        assert_eq!(
            SQL.postgres,
            "INSERT INTO t SELECT * FROM UNNEST($1::int8[],$2::bytea[]) AS given(column1, column2) RETURNING a"
        );
    }

    #[test]
    fn postgres_looks_each_key_up() {
        let keyed = Keyed { table: "t", key: &["a", "b"], near: false };
        let columns = &[Column::Bytes, Column::Int];
        let given = "SELECT * FROM UNNEST($1::bytea[],$2::int8[]) AS given(column1, column2)";
        let lookup = "FROM t WHERE a = wanted.column1 AND b = wanted.column2 OFFSET 0";
        assert_eq!(
            keyed.find("a, c", false, columns).postgres,
            format!(
                "SELECT found.* FROM ( {given} ) AS wanted CROSS JOIN LATERAL (SELECT a, c {lookup}) AS found"
            )
        );
        assert_eq!(
            keyed.find("a, c", true, columns).postgres,
            format!(
                "SELECT found.* FROM ( {given}  ORDER BY column1, column2) AS wanted \
                 CROSS JOIN LATERAL (SELECT a, c {lookup} FOR UPDATE) AS found"
            )
        );
        assert_eq!(
            keyed.take("a, c", columns).postgres,
            format!(
                "DELETE FROM t WHERE ctid = ANY (ARRAY(SELECT found.at FROM ( {given} ) AS wanted \
                 CROSS JOIN LATERAL (SELECT ctid AS at {lookup}) AS found)) RETURNING a, c"
            )
        );
    }

    #[test]
    fn what_was_bound_by_rows_is_sent_by_columns() {
        let mut rows = Values(Vec::new());
        rows.bind(3).bind(b"x").bind(None::<i64>).bind(b"yz").bind(-5).bind(None::<&[u8]>);
        let mut columns = PgArguments::default();
        columns.add(vec![Some(3_i64), None, Some(-5)]).unwrap();
        columns.add(vec![Some(&b"x"[..]), Some(b"yz"), None]).unwrap();
        assert_eq!(format!("{:?}", SQL.arrays(rows).unwrap()), format!("{columns:?}"));
        let mut wrong = Values(Vec::new());
        wrong.bind(b"no number").bind(b"x");
        assert!(matches!(SQL.arrays(wrong), Err(Error::Internal(_))));
        let mut wrong = Values(Vec::new());
        wrong.bind(1).bind(2);
        assert!(matches!(SQL.arrays(wrong), Err(Error::Internal(_))));
    }
}
