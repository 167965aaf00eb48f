//! The two databases behind the store, as one: connections, pools, transactions.
//!
//! Everything above speaks one SQL, through [`query()`] for one statement and [`RowsSql`] for many rows. What differs between
//! SQLite and PostgreSQL is here, in `sqlite.rs` and `postgres.rs` beside it, and in the statements that say so
//! themselves ([`Each`]).

/// A statement that takes out those rows of a table that a query over it finds, by their key. PostgreSQL is told to find them first:
/// it plans a statement once, and would walk a table that is empty at that moment.
macro_rules! taken {
    ($table:literal, $key:literal, $which:literal $(, $returning:literal)?) => {
        $crate::store::db::Each {
            sqlite: concat!(
                "DELETE FROM ", $table, " WHERE (", $key, ") IN (SELECT ", $key, " FROM ", $table, " WHERE ", $which, ")"
                $(, " RETURNING ", $returning)?
            ),
            postgres: concat!(
                "DELETE FROM ", $table, " WHERE ctid = ANY (ARRAY(SELECT ctid FROM ", $table, " WHERE ", $which, "))"
                $(, " RETURNING ", $returning)?
            ),
        }
    };
}

mod query;
mod rows;

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use waxwing_sqlite::{Lent, On, Readers};

pub(super) use query::{Each, Row, array, integer, number, optional, query};
#[cfg(test)]
pub(crate) use rows::counting;
pub(super) use rows::{Column, Keyed, RowsSql, Values};
pub(super) use taken;

use crate::error::Result;

/// A server that has not done a batch by then is taken for away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A connection of either database, a pool's or its own.
pub(crate) enum Connection {
    /// To SQLite. What its holder owns blocks with each statement.
    Sqlite(Held<waxwing_sqlite::Connection, Lent>),
    /// To PostgreSQL.
    Postgres(Held<PgConnection, PoolConnection<Postgres>>),
}

/// Whose a connection is.
pub(crate) enum Held<O, L> {
    /// Its holder's.
    Own(Box<O>),
    /// Its pool's, to which it goes back.
    Lent(L),
}

impl Held<waxwing_sqlite::Connection, Lent> {
    pub(super) fn get(&mut self) -> On<'_> {
        match self {
            Self::Own(connection) => On::from(&mut **connection),
            Self::Lent(connection) => On::from(connection),
        }
    }
}

impl Held<PgConnection, PoolConnection<Postgres>> {
    pub(super) fn get(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl From<waxwing_sqlite::Connection> for Connection {
    fn from(connection: waxwing_sqlite::Connection) -> Self {
        Self::Sqlite(Held::Own(Box::new(connection)))
    }
}

impl From<Lent> for Connection {
    fn from(connection: Lent) -> Self {
        Self::Sqlite(Held::Lent(connection))
    }
}

impl From<PgConnection> for Connection {
    fn from(connection: PgConnection) -> Self {
        Self::Postgres(Held::Own(Box::new(connection)))
    }
}

impl Connection {
    /// Begins a transaction, on SQLite with the right to write. It ends with [`Connection::commit`]; after an error of anything
    /// in it, with the connection, or with [`Connection::roll_back`].
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let begin = Each { sqlite: "BEGIN IMMEDIATE", postgres: "BEGIN" };
        query(begin).execute(self).await.map(drop)
    }

    /// Commits. When it returns, the disk has it.
    ///
    /// # Errors
    /// If the database fails, or its answer is lost: then it may have committed or not.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        query("COMMIT").execute(self).await.map(drop)
    }

    /// Takes back a transaction that the disk had no room for: the connection goes on. SQLite may have done so by itself.
    pub(crate) async fn roll_back(&mut self) {
        let _ = query("ROLLBACK").execute(self).await;
    }

    /// How long an answer may take before the other side counts as away. A disk is waited for.
    pub(crate) const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(_) => Some(ANSWERS_WITHIN),
        }
    }

    /// Closes it; one that was lent goes back.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(Held::Own(connection)) => connection.close()?,
            Self::Postgres(Held::Own(connection)) => connection.close().await?,
            Self::Sqlite(Held::Lent(_)) | Self::Postgres(Held::Lent(_)) => {}
        }
        Ok(())
    }
}

/// Connections that read.
#[derive(Clone)]
pub(crate) enum Pool {
    /// To SQLite.
    Sqlite(Readers),
    /// To PostgreSQL.
    Postgres(PgPool),
}

impl Pool {
    /// Waits for a connection.
    ///
    /// # Errors
    /// If none can be made.
    pub(crate) async fn acquire(&self) -> Result<Connection> {
        Ok(match self {
            Self::Sqlite(readers) => readers.acquire().await?.into(),
            Self::Postgres(pool) => Connection::Postgres(Held::Lent(pool.acquire().await?)),
        })
    }

    /// For a statement that takes no time worth a change of threads.
    pub(crate) fn brief(&self) -> Db<'_> {
        match self {
            Self::Sqlite(readers) => Db::Sqlite(readers.brief().into()),
            Self::Postgres(pool) => Db::PostgresPool(pool),
        }
    }

    /// Closes every connection, once it is back.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(readers) => readers.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Where a statement runs.
pub(crate) enum Db<'c> {
    /// One connection, or any of those that read.
    Sqlite(On<'c>),
    /// One connection.
    Postgres(&'c mut PgConnection),
    /// Any of a pool.
    PostgresPool(&'c PgPool),
}

impl<'c> From<&'c mut Connection> for Db<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::Sqlite(held) => Self::Sqlite(held.get()),
            Connection::Postgres(held) => Self::Postgres(held.get()),
        }
    }
}

impl<'c> From<&'c Pool> for Db<'c> {
    fn from(pool: &'c Pool) -> Self {
        match pool {
            Pool::Sqlite(readers) => Self::Sqlite(readers.into()),
            Pool::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}
