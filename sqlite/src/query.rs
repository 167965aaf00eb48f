//! One statement, its values, and the rows it gives.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use crate::connection::Statement;
use crate::readers::Brief;
use crate::{Column, Connection, Error, FromRow, Lent, Readers, Result, Row, Value};

/// Where a statement runs: a connection of the caller's, one that was lent, or any that reads.
#[derive(Debug)]
pub enum On<'c> {
    /// At once, on this thread.
    Own(&'c mut Connection),
    /// On a thread that may block.
    Lent(&'c mut Lent),
    /// On a thread that may block, as soon as a connection is free.
    Readers(&'c Readers),
    /// At once, on this thread, as soon as a connection is free.
    Brief(Brief<'c>),
}

impl On<'_> {
    async fn run<R: Send + 'static>(
        self,
        statement: Statement<'_>,
        work: impl FnOnce(&Connection, Statement<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        match self {
            Self::Own(connection) => work(connection, statement),
            Self::Lent(lent) => lent.run(statement, work).await,
            Self::Readers(readers) => readers.acquire().await?.run(statement, work).await,
            Self::Brief(brief) => brief.run(statement, work).await,
        }
    }
}

/// Whatever statements run on.
pub trait Executor<'c>: Into<On<'c>> {}

impl<'c, T: Into<On<'c>>> Executor<'c> for T {}

impl<'c> From<&'c mut Connection> for On<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Own(connection)
    }
}

impl<'c> From<&'c mut Lent> for On<'c> {
    fn from(lent: &'c mut Lent) -> Self {
        Self::Lent(lent)
    }
}

impl<'c> From<&'c Readers> for On<'c> {
    fn from(readers: &'c Readers) -> Self {
        Self::Readers(readers)
    }
}

impl<'c> From<Brief<'c>> for On<'c> {
    fn from(brief: Brief<'c>) -> Self {
        Self::Brief(brief)
    }
}

/// The same once more, for a statement after this one.
impl<'c> From<&'c mut On<'_>> for On<'c> {
    fn from(on: &'c mut On<'_>) -> Self {
        match on {
            On::Own(connection) => Self::Own(connection),
            On::Lent(lent) => Self::Lent(lent),
            On::Readers(readers) => Self::Readers(readers),
            On::Brief(brief) => Self::Brief(*brief),
        }
    }
}

/// A statement with its values.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Query<'v>(Statement<'v>);

/// A statement whose rows are read as `T`.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct QueryAs<'v, T>(Query<'v>, PhantomData<fn() -> T>);

/// A statement whose first column is read as `T`.
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct QueryScalar<'v, T>(Query<'v>, PhantomData<fn() -> T>);

/// A statement. Its values are `?` in the order in which they are bound, or `?1`, `$1` by their number. A text that lives as long as the
/// program is prepared once for each connection.
pub fn query<'v>(sql: impl Into<Cow<'static, str>>) -> Query<'v> {
    Query(Statement { sql: sql.into(), values: Vec::new() })
}

/// The same, with rows read as `T`.
pub fn query_as<'v, T>(sql: impl Into<Cow<'static, str>>) -> QueryAs<'v, T> {
    QueryAs(query(sql), PhantomData)
}

/// The same, with the first column read as `T`.
pub fn query_scalar<'v, T>(sql: impl Into<Cow<'static, str>>) -> QueryScalar<'v, T> {
    QueryScalar(query(sql), PhantomData)
}

impl<'v> Query<'v> {
    /// The next value.
    pub fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.0.values.push(value.into());
        self
    }

    /// The next values.
    pub fn bind_all(mut self, values: impl IntoIterator<Item = Value<'v>>) -> Self {
        self.0.values.extend(values);
        self
    }

    /// Runs it. Says how many rows it changed.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn execute(self, db: impl Executor<'_>) -> Result<u64> {
        let work = |db: &Connection, statement: Statement<'_>| statement.execute(db);
        db.into().run(self.0, work).await
    }

    /// Runs it once for each so many values as it takes. Says how many rows it changed in all.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn execute_each(self, db: impl Executor<'_>) -> Result<u64> {
        let work = move |db: &Connection, statement: Statement<'_>| statement.each(db, |_| Ok(()));
        db.into().run(self.0, work).await
    }

    /// Every row of running it once for each so many values as it takes.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn fetch_each(self, db: impl Executor<'_>) -> Result<Vec<Row>> {
        let work = move |db: &Connection, statement: Statement<'_>| {
            let mut found = Vec::new();
            statement.each(db, |row| {
                found.push(row);
                Ok(())
            })?;
            Ok(found)
        };
        db.into().run(self.0, work).await
    }

    /// Every row.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn fetch_all(self, db: impl Executor<'_>) -> Result<Vec<Row>> {
        self.fold(db, Vec::new(), |mut rows, row| {
            rows.push(row);
            Ok(ControlFlow::Continue(rows))
        })
        .await
    }

    /// The one row that there may be. Later ones are not read.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn fetch_optional(self, db: impl Executor<'_>) -> Result<Option<Row>> {
        self.fold(db, None, |_, row| Ok(ControlFlow::Break(Some(row)))).await
    }

    /// The one row that there is.
    ///
    /// # Errors
    /// SQLite's, or `NoRow`.
    pub async fn fetch_one(self, db: impl Executor<'_>) -> Result<Row> {
        self.fetch_optional(db).await?.ok_or(Error::NoRow)
    }

    /// Row by row, until `visit` has enough: what it has made of them.
    ///
    /// # Errors
    /// SQLite's, or those of `visit`.
    pub async fn fold<S: Send + 'static>(
        self,
        db: impl Executor<'_>,
        state: S,
        visit: impl FnMut(S, Row) -> Result<ControlFlow<S, S>> + Send + 'static,
    ) -> Result<S> {
        let work = move |db: &Connection, statement: Statement<'_>| statement.fold(db, state, visit);
        db.into().run(self.0, work).await
    }
}

impl<'v, T: FromRow + Send + 'static> QueryAs<'v, T> {
    /// The next value.
    pub fn bind(self, value: impl Into<Value<'v>>) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    /// Every row.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub async fn fetch_all(self, db: impl Executor<'_>) -> Result<Vec<T>> {
        self.0
            .fold(db, Vec::new(), |mut all, row| {
                all.push(T::from_row(&row)?);
                Ok(ControlFlow::Continue(all))
            })
            .await
    }

    /// Every row of running it once for each so many values as it takes.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub async fn fetch_each(self, db: impl Executor<'_>) -> Result<Vec<T>> {
        self.0.fetch_each(db).await?.iter().map(T::from_row).collect()
    }

    /// The one row that there may be.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub async fn fetch_optional(self, db: impl Executor<'_>) -> Result<Option<T>> {
        self.0.fetch_optional(db).await?.map(|row| T::from_row(&row)).transpose()
    }

    /// The one row that there is.
    ///
    /// # Errors
    /// SQLite's, `NoRow`, or `Damaged`.
    pub async fn fetch_one(self, db: impl Executor<'_>) -> Result<T> {
        self.fetch_optional(db).await?.ok_or(Error::NoRow)
    }
}

impl<'v, T: for<'r> Column<'r> + Send + 'static> QueryScalar<'v, T> {
    /// The next value.
    pub fn bind(self, value: impl Into<Value<'v>>) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    /// The first column of every row.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub async fn fetch_all(self, db: impl Executor<'_>) -> Result<Vec<T>> {
        self.0
            .fold(db, Vec::new(), |mut all, row| {
                all.push(row.try_get(0)?);
                Ok(ControlFlow::Continue(all))
            })
            .await
    }

    /// That of the one row that there may be.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub async fn fetch_optional(self, db: impl Executor<'_>) -> Result<Option<T>> {
        self.0.fetch_optional(db).await?.map(|row| row.try_get(0)).transpose()
    }

    /// That of the one row that there is.
    ///
    /// # Errors
    /// SQLite's, `NoRow`, or `Damaged`.
    pub async fn fetch_one(self, db: impl Executor<'_>) -> Result<T> {
        self.fetch_optional(db).await?.ok_or(Error::NoRow)
    }
}
