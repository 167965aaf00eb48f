//! Facts there is one of.

use waxwing_protocol::link::Mark;
use waxwing_sqlite::Executor;

use super::{damaged, unsigned};

/// The broker's URL, with its pin if it has one.
pub(crate) const BROKER: &str = "broker";
/// The mesh's state keys, encrypted under the storage key.
pub(crate) const STATE_KEYS: &str = "state_keys";
/// What opens the slots of the invite by which this node joined, while it is needed; encrypted under the storage key.
pub(crate) const INVITE_KEY: &str = "invite_key";
/// The life of the broker's store, as of the last login: 16 bytes.
pub(crate) const STORE: &str = "store";
/// The newest mark of the broker, in MessagePack.
pub(crate) const MARK: &str = "mark";
/// The mesh's pass at the broker, encrypted under the storage key.
pub(crate) const PASS: &str = "pass";
/// Number of the last login whose welcome is committed.
pub(crate) const LOGIN: &str = "login";
/// The last delivery of that login that is settled.
pub(crate) const THROUGH: &str = "through";
/// 1 while a link may have handed messages over whose answers are not kept.
pub(crate) const LINKED: &str = "linked";
/// The signing key that counters and progress belong to.
pub(crate) const SIGNER: &str = "signer";
/// Why the broker has refused this node's state for good.
pub(crate) const REFUSED: &str = "refused";
/// What this node says of whoever is at it, encrypted under the storage key.
pub(crate) const PROFILE: &str = "profile";
/// The life of the broker's store that what apps were told of their peers follows from: 16 bytes.
pub(crate) const PRESENCE_STORE: &str = "presence_store";
/// 1 once apps were told of shared state.
pub(crate) const STATE_TOLD: &str = "state_told";
/// The last event that is no longer kept.
pub(crate) const FORGOTTEN: &str = "forgotten";
/// The last place given to a message or event.
pub(crate) const CURSOR: &str = "cursor";

pub(crate) async fn set_text(db: impl Executor<'_>, name: &str, value: &str) -> waxwing_sqlite::Result<()> {
    set(db, name, value.as_bytes()).await
}

pub(crate) async fn text(db: impl Executor<'_>, name: &str) -> waxwing_sqlite::Result<Option<String>> {
    get(db, name).await?.map(|value| String::from_utf8(value).map_err(|_| damaged("meta"))).transpose()
}

pub(crate) async fn set_number(db: impl Executor<'_>, name: &str, value: u64) -> waxwing_sqlite::Result<()> {
    set(db, name, &value.to_be_bytes()).await
}

pub(crate) async fn set_bytes(db: impl Executor<'_>, name: &str, value: &[u8]) -> waxwing_sqlite::Result<()> {
    set(db, name, value).await
}

pub(crate) async fn bytes(db: impl Executor<'_>, name: &str) -> waxwing_sqlite::Result<Option<Vec<u8>>> {
    get(db, name).await
}

/// A number, 0 if it was never set.
pub(crate) async fn number(db: impl Executor<'_>, name: &str) -> waxwing_sqlite::Result<u64> {
    let Some(value) = get(db, name).await? else {
        return Ok(0);
    };
    value.try_into().map(u64::from_be_bytes).map_err(|_| damaged("meta"))
}

/// Forgets a fact.
pub(crate) async fn remove(db: impl Executor<'_>, name: &str) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM meta WHERE name = ?").bind(name).execute(db).await?;
    Ok(())
}

/// The newest mark of the broker.
pub(crate) async fn mark(db: impl Executor<'_>) -> waxwing_sqlite::Result<Option<Mark>> {
    let mark = get(db, MARK).await?;
    mark.map(|mark| rmp_serde::from_slice(&mark).map_err(|_| damaged("mark"))).transpose()
}

/// Keeps a mark.
pub(crate) async fn set_mark(db: impl Executor<'_>, mark: &Mark) -> waxwing_sqlite::Result<()> {
    let bytes = rmp_serde::to_vec_named(mark).map_err(|_| damaged("mark"))?;
    set(db, MARK, &bytes).await
}

async fn set(db: impl Executor<'_>, name: &str, value: &[u8]) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(db)
        .await?;
    Ok(())
}

async fn get(db: impl Executor<'_>, name: &str) -> waxwing_sqlite::Result<Option<Vec<u8>>> {
    waxwing_sqlite::query_scalar("SELECT value FROM meta WHERE name = ?").bind(name).fetch_optional(db).await
}

/// How many rows a query counts.
pub(crate) async fn count(db: impl Executor<'_>, sql: &'static str) -> waxwing_sqlite::Result<u64> {
    waxwing_sqlite::query_scalar::<i64>(sql).fetch_one(db).await.map(unsigned)
}
