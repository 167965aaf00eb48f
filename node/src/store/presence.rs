//! Who is there, as apps were told: written with the events that tell it.

use waxwing_crypto::{Name, NodeId, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_sqlite::{Connection, Executor, FromRow};

use super::{damaged, meta, millis, time};
use crate::apps::Which;
use crate::presence::Who;

/// Somebody, and since when he is there or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) who: Who,
    pub(crate) online: bool,
    pub(crate) at: Timestamp,
}

/// Everybody.
pub(crate) async fn all(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<Row>> {
    waxwing_sqlite::query_as("SELECT node, app, instance, online, at FROM presence").fetch_all(db).await
}

/// Takes in what has changed. Of apps that are not there nothing is kept.
pub(crate) async fn put(db: &mut Connection, rows: &[Row]) -> waxwing_sqlite::Result<()> {
    const PUT: &str = "INSERT INTO presence (node, app, instance, online, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (node, app, instance) DO UPDATE SET online = excluded.online, at = excluded.at";
    const REMOVE: &str = "DELETE FROM presence WHERE (node, app, instance) = (?, ?, ?)";
    let (gone, kept): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.who.app.is_some() && !row.online);
    let mut query = waxwing_sqlite::query(REMOVE);
    for row in &gone {
        let (app, instance) = columns(&row.who);
        query = query.bind(&row.who.node.as_bytes()[..]).bind(app).bind(instance);
    }
    query.execute_each(&mut *db).await?;
    let mut query = waxwing_sqlite::query(PUT);
    for row in &kept {
        let (app, instance) = columns(&row.who);
        query = query.bind(&row.who.node.as_bytes()[..]).bind(app).bind(instance);
        query = query.bind(row.online).bind(millis(row.at));
    }
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// The life of the broker's store that they follow from; none if apps were never told of anybody.
pub(crate) async fn store(db: impl Executor<'_>) -> waxwing_sqlite::Result<Option<StoreId>> {
    let Some(store) = meta::bytes(db, meta::PRESENCE_STORE).await? else { return Ok(None) };
    store.try_into().map(|store| Some(StoreId::from_bytes(store))).map_err(|_| damaged("meta"))
}

/// Notes it.
pub(crate) async fn set_store(db: impl Executor<'_>, store: Option<StoreId>) -> waxwing_sqlite::Result<()> {
    let Some(store) = store else { return Ok(()) };
    meta::set_bytes(db, meta::PRESENCE_STORE, store.as_bytes()).await
}

fn columns(who: &Who) -> (&str, &str) {
    let Some(Which { name, instance }) = &who.app else { return ("", "") };
    (name.as_str(), instance.as_ref().map_or("", Name::as_str))
}

impl FromRow for Row {
    fn from_row(row: &waxwing_sqlite::Row) -> waxwing_sqlite::Result<Self> {
        let damaged = || damaged("presence");
        let node: Vec<u8> = row.try_get("node")?;
        let node = NodeId::try_from(node.as_slice()).map_err(|_| damaged())?;
        let name = |text: String| -> waxwing_sqlite::Result<Option<Name>> {
            if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| damaged()) }
        };
        let (app, instance) = (name(row.try_get("app")?)?, name(row.try_get("instance")?)?);
        let app = app.map(|name| Which { name, instance });
        Ok(Self { who: Who { node, app }, online: row.try_get("online")?, at: time(row.try_get("at")?) })
    }
}
