//! One statement, its values, and the rows it gives.
//!
//! Two kinds of values are all that the store keeps: numbers and bytes.

use std::borrow::Cow;
use std::ops::ControlFlow;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Decode, Postgres, Row as _, Type};

use super::Db;
use crate::error::{Error, Result};

/// The text of a statement where the databases disagree.
#[derive(Clone, Copy)]
pub(in crate::store) struct Each {
    /// As SQLite takes it.
    pub(in crate::store) sqlite: &'static str,
    /// As PostgreSQL takes it.
    pub(in crate::store) postgres: &'static str,
}

impl From<&'static str> for Each {
    fn from(both: &'static str) -> Self {
        Self { sqlite: both, postgres: both }
    }
}

/// A value of a statement.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::store) enum Value<'v> {
    /// A number, or that there is none.
    Int(Option<i64>),
    /// Bytes, or that there are none.
    Bytes(Option<Cow<'v, [u8]>>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<bool> for Value<'_> {
    fn from(is: bool) -> Self {
        Self::Int(Some(is.into()))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl<'v, const N: usize> From<&'v [u8; N]> for Value<'v> {
    fn from(bytes: &'v [u8; N]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Owned(bytes)))
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(bytes: Option<&'v [u8]>) -> Self {
        Self::Bytes(bytes.map(Cow::Borrowed))
    }
}

/// A statement with its values.
#[must_use = "it does nothing until it is run"]
pub(in crate::store) struct Query<'v> {
    text: Each,
    values: Vec<Value<'v>>,
}

/// A statement. Its values are `$1`, `$2` and so on, in the order in which they are bound.
pub(in crate::store) fn query<'v>(text: impl Into<Each>) -> Query<'v> {
    Query { text: text.into(), values: Vec::new() }
}

/// Runs a statement on whichever database it is: the first arm is what is done with SQLite's query, the second with sqlx's.
macro_rules! run {
    ($query:expr, $db:expr, |$sqlite:ident, $on:ident| $here:expr, |$sqlx:ident, $db_there:ident| $there:expr) => {
        match $db {
            Db::Sqlite($on) => {
                let values = $query.values.into_iter().map(waxwing_sqlite::Value::from);
                let $sqlite = waxwing_sqlite::query($query.text.sqlite).bind_all(values);
                $here
            }
            Db::Postgres($db_there) => {
                let $sqlx = sqlx::query_with($query.text.postgres, postgres_arguments($query.values)?);
                $there
            }
            Db::PostgresPool($db_there) => {
                let $sqlx = sqlx::query_with($query.text.postgres, postgres_arguments($query.values)?);
                $there
            }
        }
    };
}

impl<'v> Query<'v> {
    /// The next value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it. Says how many rows it changed.
    pub(in crate::store) async fn execute(self, db: impl Into<Db<'_>>) -> Result<u64> {
        run!(self, db.into(), |query, on| Ok(query.execute(on).await?), |query, db| Ok(query
            .execute(db)
            .await?
            .rows_affected()))
    }

    /// Every row.
    pub(in crate::store) async fn fetch_all(self, db: impl Into<Db<'_>>) -> Result<Vec<Row>> {
        run!(
            self,
            db.into(),
            |query, on| Ok(query.fetch_all(on).await?.into_iter().map(Row::from).collect()),
            |query, db| Ok(query.fetch_all(db).await?.into_iter().map(Row::from).collect())
        )
    }

    /// The one row that there is.
    pub(in crate::store) async fn fetch_one(self, db: impl Into<Db<'_>>) -> Result<Row> {
        run!(self, db.into(), |query, on| Ok(query.fetch_one(on).await?.into()), |query, db| Ok(query
            .fetch_one(db)
            .await?
            .into()))
    }

    /// The one row that there may be.
    pub(in crate::store) async fn fetch_optional(self, db: impl Into<Db<'_>>) -> Result<Option<Row>> {
        run!(self, db.into(), |query, on| Ok(query.fetch_optional(on).await?.map(Row::from)), |query, db| Ok(
            query.fetch_optional(db).await?.map(Row::from)
        ))
    }

    /// Row by row, until `visit` has enough: what it has made of them.
    pub(in crate::store) async fn fold<S: Send + 'static>(
        self,
        db: impl Into<Db<'_>>,
        state: S,
        mut visit: impl FnMut(S, Row) -> Result<ControlFlow<S, S>> + Send + 'static,
    ) -> Result<S> {
        run!(
            self,
            db.into(),
            |query, on| {
                let visit = move |state: Result<S>, row| {
                    Ok(match state.and_then(|state| visit(state, Row::Sqlite(row))) {
                        Ok(ControlFlow::Continue(state)) => ControlFlow::Continue(Ok(state)),
                        Ok(ControlFlow::Break(state)) => ControlFlow::Break(Ok(state)),
                        Err(err) => ControlFlow::Break(Err(err)),
                    })
                };
                query.fold(on, Ok(state), visit).await?
            },
            |query, db| {
                let (mut state, mut rows) = (state, query.fetch(db));
                while let Some(row) = rows.try_next().await? {
                    match visit(state, row.into())? {
                        ControlFlow::Continue(next) => state = next,
                        ControlFlow::Break(done) => return Ok(done),
                    }
                }
                Ok(state)
            }
        )
    }
}

impl<'v> From<Value<'v>> for waxwing_sqlite::Value<'v> {
    fn from(value: Value<'v>) -> Self {
        match value {
            Value::Int(number) => number.into(),
            Value::Bytes(bytes) => bytes.into(),
        }
    }
}

fn postgres_arguments(values: Vec<Value<'_>>) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Value::Int(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
        };
        added.map_err(Error::Internal)?;
    }
    Ok(arguments)
}

/// A row of either database.
pub(in crate::store) enum Row {
    /// SQLite's.
    Sqlite(waxwing_sqlite::Row),
    /// PostgreSQL's.
    Postgres(PgRow),
}

impl From<waxwing_sqlite::Row> for Row {
    fn from(row: waxwing_sqlite::Row) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

/// What a column can be read as, whichever database it is of.
pub(in crate::store) trait Read<'r>:
    waxwing_sqlite::Column<'r> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T: waxwing_sqlite::Column<'r> + Decode<'r, Postgres> + Type<Postgres>> Read<'r> for T {}

impl Row {
    /// A column, by its place.
    ///
    /// # Errors
    /// If it is not of this type.
    pub(in crate::store) fn get<'r, T: Read<'r>>(&'r self, column: usize) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Takes the bytes out of a column, without a copy where that can be.
    ///
    /// # Errors
    /// If they are none.
    pub(in crate::store) fn take_bytes(&mut self, column: usize) -> Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Sqlite(row) => row.take_bytes(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        }))
    }
}

/// Bytes of a fixed size: an id or a digest.
pub(in crate::store) fn array<const N: usize>(row: &Row, column: usize) -> Result<[u8; N]> {
    row.get::<&[u8]>(column)?.try_into().map_err(|_| Error::damaged("an id has a wrong length"))
}

/// A number that is never negative.
pub(in crate::store) fn number(row: &Row, column: usize) -> Result<u64> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| Error::damaged("a number is negative"))
}

/// The same, if there is one.
pub(in crate::store) fn optional(row: &Row, column: usize) -> Result<Option<u64>> {
    match row.get::<Option<i64>>(column)? {
        Some(_) => number(row, column).map(Some),
        None => Ok(None),
    }
}

/// A number as SQL knows it. What exceeds it (the year 292 million) is as good as its largest.
pub(in crate::store) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
