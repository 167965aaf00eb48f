//! The store on a PostgreSQL server: how it is reached, what it must promise, and that one broker has it.
//!
//! Whoever writes holds an advisory lock in the session that it writes with, so that the right to write ends with the
//! connection: no broker can write that has lost it, and none that has it can be written beside.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, Row as _};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::db::{Connection, Pool};
use super::{READERS, Store, newest};
use crate::config::PostgresUrl;
use crate::error::{Error, Result};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("../migrations/broker/postgres");

/// "wxbr", as in the header of SQLite's file: the first half of the lock. The second is the schema's name.
const LOCK: i32 = 2_004_378_226;
/// How long the session of a broker that was killed may keep its lock before it counts for one that runs.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
/// How often a lock is tried that is held.
const LOCK_AGAIN: Duration = Duration::from_millis(200);
/// A server that has not answered by then is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Every statement of the store finds its rows by a key, however many rows there are by now, and is planned once.
const PLANNER: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Connects, takes the lock, and brings the schema up to date. See [`Store::open`].
pub(super) async fn open(url: &PostgresUrl) -> Result<Store> {
    let mut writer = connect(url).await?;
    let deadline = Instant::now() + LOCK_WITHIN;
    while !lock(&mut writer).await? {
        if Instant::now() >= deadline {
            return Err(Error::InUse(url.to_string().into()));
        }
        sleep(LOCK_AGAIN).await;
    }
    migrate(&mut writer).await?;
    let readers = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(CONNECT_WITHIN)
        .connect_with(options(url).options([("default_transaction_read_only", "on")]))
        .await?;
    Ok(Store { writer: writer.into(), readers: Pool::Postgres(readers) })
}

/// Connects the writer anew, after its connection was lost. One try.
///
/// # Errors
/// `Unavailable` as long as the server is not there, cannot be written to, or somebody holds the lock: for a while, that is the
/// session that was lost.
pub(super) async fn reopen(url: &PostgresUrl) -> Result<Connection> {
    let mut writer = connect(url).await?;
    if lock(&mut writer).await? {
        Ok(writer.into())
    } else {
        Err(Error::Unavailable("another session holds the store's lock".into()))
    }
}

/// A connection that only reads, for whoever looks at a store from outside.
pub(super) async fn look(url: &PostgresUrl) -> Result<Connection> {
    let options = options(url).options([("default_transaction_read_only", "on")]);
    Ok(within(options.connect()).await?.into())
}

fn options(url: &PostgresUrl) -> PgConnectOptions {
    url.options().application_name("waxwing-broker").options(PLANNER).disable_statement_logging()
}

/// Connects to a server that can be written to, and keeps what it confirms.
async fn connect(url: &PostgresUrl) -> Result<PgConnection> {
    let mut db = within(options(url).connect()).await?;
    assert_durable(&mut db).await?;
    Ok(db)
}

async fn within<T>(connecting: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    match timeout(CONNECT_WITHIN, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Error::Unavailable(format!("no answer within {} s", CONNECT_WITHIN.as_secs()).into())),
    }
}

/// Asks the server itself. An answer of the broker relies on `synchronous_commit`: a commit has reached the disk when it
/// returns. `remote_apply` is more than that and stays.
async fn assert_durable(db: &mut PgConnection) -> Result<()> {
    let asked = sqlx::query(
        "SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),
                CASE WHEN current_setting('synchronous_commit') IN ('on', 'remote_apply')
                     THEN current_setting('synchronous_commit')
                     ELSE set_config('synchronous_commit', 'on', false) END",
    );
    let row = asked.fetch_one(&mut *db).await?;
    if row.try_get(0)? {
        return Err(Error::Unavailable(
            "the server is a standby: it takes writes once it is promoted".into(),
        ));
    }
    for (column, setting) in [(1, "fsync"), (2, "full_page_writes")] {
        let value: String = row.try_get(column)?;
        if value != "on" {
            let why = format!(
                "the PostgreSQL server runs with {setting} = {value}: what it confirms is not on its disk. Set \
                 {setting} = on in its postgresql.conf, and restart it"
            );
            return Err(Error::Config(why));
        }
    }
    let commit: String =
        sqlx::query_scalar("SELECT current_setting('synchronous_commit')").fetch_one(db).await?;
    match commit.as_str() {
        "on" | "remote_apply" => Ok(()),
        _ => Err(Error::Config(format!("synchronous_commit is {commit}, and cannot be set to on"))),
    }
}

/// Takes the lock, unless somebody has it.
async fn lock(db: &mut PgConnection) -> Result<bool> {
    let sql = "SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))";
    Ok(sqlx::query_scalar(sql).bind(LOCK).fetch_one(db).await?)
}

/// Brings the schema up to date.
async fn migrate(db: &mut PgConnection) -> Result<()> {
    let newest = newest(&MIGRATOR);
    if let Some(found) = schema(db).await?
        && found < newest
    {
        info!(from = found, to = newest, "migrating");
    }
    match MIGRATOR.run_direct(None, db, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(Error::NewerSchema { found, known: newest }),
        Err(MigrateError::Execute(err)) => Err(err.into()),
        Err(err) => Err(Error::Internal(err.into())),
    }
}

/// The schema's version; none if nothing was ever made in it.
pub(super) async fn schema(db: &mut PgConnection) -> Result<Option<i64>> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *db).await?;
    if !there {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(db).await?)
}
