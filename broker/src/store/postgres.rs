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
use super::{READERS, Store};
use crate::config::PostgresUrl;
use crate::error::{Error, Result};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations/broker/postgres");

/// "wxbr", as in the header of SQLite's file: the first half of the lock. The second is the schema's name.
pub(super) const LOCK: i32 = 2_004_378_226;
/// How long the session of a broker that was killed may keep its lock before it counts for one that runs.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
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

/// How soon the server notices that a broker is gone that did not say so, and gives the lock to the next.
const SESSION: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25000"),
];

/// The version of the schema that it is brought to.
pub(super) fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

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
    url.options()
        .application_name("waxwing-broker")
        .options(PLANNER)
        .options(SESSION)
        .disable_statement_logging()
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
    let newest = newest();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;
    use waxwing_crypto::{SpaceId, Timestamp, WireId};
    use waxwing_lab_postgres::Server;
    use waxwing_protocol::link::NoticeKind;

    use super::*;
    use crate::config::Database;
    use crate::store::db::query;
    use crate::store::queue::{Item, Notice};
    use crate::store::space::{Space, SpaceKey};
    use crate::store::testing::node;
    use crate::store::{Place, QueueKey, Rank, Seq, node, queue, space};

    /// Writers at once, and transactions of each.
    const WRITERS: u64 = 4;
    const EACH: u64 = 25;

    fn url(server: &Server) -> PostgresUrl {
        match server.url(&server.database().unwrap()).parse().unwrap() {
            Database::Postgres(url) => url,
            Database::Sqlite(_) => unreachable!("it is a server's"),
        }
    }

    /// A session that writes beside others, as several brokers on one database would.
    async fn session(url: &PostgresUrl) -> Connection {
        connect(url).await.unwrap().into()
    }

    async fn put_one_in_the_queue(db: &mut Connection) {
        let mut counters = node::find(db, &[node(1)]).await.unwrap()[&node(1)];
        let place = Place { rank: Rank::Notice, seq: counters.next_seq };
        let id = WireId::from_bytes(u128::from(place.seq.0).to_be_bytes());
        let notice = Notice { id, kind: NoticeKind::Expired, ends: Timestamp::from_millis(u64::MAX >> 1) };
        let key = QueueKey { owner: node(1), place };
        queue::insert(db, &[(key, Item::Notice(notice))]).await.unwrap();
        counters.next_seq = Seq(place.seq.0 + 1);
        node::put(db, &[(node(1), counters)]).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_cursor_skips_a_row_however_long_commits_take() {
        let Some(server) = Server::shared() else { return };
        let url = Arc::new(url(server));
        let mut store = open(&url).await.unwrap();
        node::put(&mut store.writer, &[(node(1), node::Counters::default())]).await.unwrap();
        let (done, ended) = watch::channel(());
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (url, done) = (Arc::clone(&url), done.clone());
                tokio::spawn(async move {
                    let mut db = session(&url).await;
                    for n in 0..EACH {
                        db.begin().await.unwrap();
                        put_one_in_the_queue(&mut db).await;
                        // Each commit comes late by another time.
                        let late = i64::try_from((writer * 7 + n * 3) % 5).unwrap();
                        query("SELECT 1 FROM pg_sleep($1 / 1000.0)")
                            .bind(late)
                            .fetch_all(&mut db)
                            .await
                            .unwrap();
                        db.commit().await.unwrap();
                    }
                    drop(done);
                })
            })
            .collect();
        drop(done);
        let (mut cursor, mut got) = (0, Vec::new());
        loop {
            let is_last = ended.has_changed().is_err();
            let after = Place { rank: Rank::Notice, seq: Seq(cursor) };
            let page = queue::read(&store.readers, node(1), after, 10, usize::MAX >> 1).await.unwrap();
            got.extend(page.rows.iter().map(|(seq, _)| seq.0));
            cursor = got.last().copied().unwrap_or(0);
            if is_last && page.rows.is_empty() {
                break;
            }
        }
        assert_eq!(got, (1..=WRITERS * EACH).collect::<Vec<_>>());
        for writer in writers {
            writer.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_place_in_a_space_is_given_after_the_one_before_it_is_committed() {
        let Some(server) = Server::shared() else { return };
        let url = url(server);
        let mut store = open(&url).await.unwrap();
        let key = SpaceKey { mesh: node(1).mesh, space: SpaceId::from_bytes([1; 32]) };
        let new = Space::new(Timestamp::from_millis(1_000));
        space::put(&mut store.writer, &[(key, new)]).await.unwrap();
        let mut first = session(&url).await;
        first.begin().await.unwrap();
        let found = space::find(&mut first, &[key]).await.unwrap()[&key];
        space::put(&mut first, &[(key, Space { last: found.last + 1, ..found })]).await.unwrap();
        let mut second = session(&url).await;
        let waiting = tokio::spawn(async move {
            second.begin().await.unwrap();
            space::find(&mut second, &[key]).await.unwrap()[&key].last
        });
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let mut looks = session(&url).await;
        timeout(LOCK_WITHIN, async {
            while query(waits).fetch_one(&mut looks).await.unwrap().get::<i64>(0).unwrap() == 0 {}
        })
        .await
        .unwrap();
        first.commit().await.unwrap();
        assert_eq!(waiting.await.unwrap(), found.last + 1);
    }
}
