//! What apps have subscribed to, and how far each has come.

use std::collections::BTreeMap;

use waxwing_crypto::{Name, NodeId, SpaceId, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, Executor, FromRow};

use super::{damaged, millis, number, time, unsigned};

/// Length of a subscription's id, in bytes.
pub(crate) const ID: usize = 16;

/// A subscription, its pattern encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SubscriptionRow {
    pub(crate) id: [u8; ID],
    pub(crate) app: Name,
    pub(crate) sealed: Vec<u8>,
}

/// How far an app has come in a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CursorRow {
    pub(crate) app: Name,
    /// The topic's.
    pub(crate) space: SpaceId,
    /// Rises with every change.
    pub(crate) version: u64,
    /// The life of the broker's store that the place is of.
    pub(crate) store: StoreId,
    /// Everything up to here is acknowledged.
    pub(crate) place: u64,
    /// Messages that ended before they were.
    pub(crate) missed: u64,
    /// How often the first message behind it was handed over in vain.
    pub(crate) tries: u32,
    /// What was acknowledged in other lives of the store: each writer's number of the last.
    pub(crate) marks: BTreeMap<NodeId, u64>,
}

/// A message that was passed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DeadRow {
    pub(crate) space: SpaceId,
    pub(crate) seq: u64,
    pub(crate) tries: u32,
    pub(crate) at: Timestamp,
}

/// What is to be kept, together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// In the place of one with the same id.
    pub(crate) subscription: Option<SubscriptionRow>,
    /// One that has ended.
    pub(crate) ended: Option<[u8; ID]>,
    /// Unless a newer state of each is there.
    pub(crate) cursors: Vec<CursorRow>,
    /// Cursors that nothing needs any more.
    pub(crate) forgotten: Vec<(Name, SpaceId)>,
    /// A message that is passed over, by whom.
    pub(crate) dead: Option<(Name, DeadRow)>,
}

/// All subscriptions.
pub(crate) async fn subscriptions(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<SubscriptionRow>> {
    waxwing_sqlite::query_as("SELECT id, app, sealed FROM topic_subscription").fetch_all(db).await
}

/// All cursors.
pub(crate) async fn cursors(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<CursorRow>> {
    waxwing_sqlite::query_as(
        "SELECT app, space, version, store, place, missed, tries, marks FROM topic_cursor",
    )
    .fetch_all(db)
    .await
}

/// The newest messages that an app was passed over with.
pub(crate) async fn dead(
    db: impl Executor<'_>,
    app: &Name,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<DeadRow>> {
    let sql = "SELECT space, seq, tries, at FROM topic_dead WHERE app = ? ORDER BY id DESC LIMIT ?";
    waxwing_sqlite::query_as(sql).bind(app.as_str()).bind(limit as i64).fetch_all(db).await
}

/// Writes all of it.
pub(crate) async fn keep(db: &mut Connection, kept: &Kept) -> waxwing_sqlite::Result<()> {
    if let Some(SubscriptionRow { id, app, sealed }) = &kept.subscription {
        waxwing_sqlite::query("INSERT OR REPLACE INTO topic_subscription (id, app, sealed) VALUES (?, ?, ?)")
            .bind(&id[..])
            .bind(app.as_str())
            .bind(&sealed[..])
            .execute(&mut *db)
            .await?;
    }
    if let Some(id) = &kept.ended {
        waxwing_sqlite::query("DELETE FROM topic_subscription WHERE id = ?")
            .bind(&id[..])
            .execute(&mut *db)
            .await?;
    }
    for cursor in &kept.cursors {
        put(&mut *db, cursor).await?;
    }
    for (app, space) in &kept.forgotten {
        for sql in [
            "DELETE FROM topic_cursor WHERE app = ? AND space = ?",
            "DELETE FROM topic_dead WHERE app = ? AND space = ?",
        ] {
            waxwing_sqlite::query(sql)
                .bind(app.as_str())
                .bind(&space.as_bytes()[..])
                .execute(&mut *db)
                .await?;
        }
    }
    if let Some((app, dead)) = &kept.dead {
        waxwing_sqlite::query("INSERT INTO topic_dead (app, space, seq, tries, at) VALUES (?, ?, ?, ?, ?)")
            .bind(app.as_str())
            .bind(&dead.space.as_bytes()[..])
            .bind(number(dead.seq))
            .bind(dead.tries)
            .bind(millis(dead.at))
            .execute(db)
            .await?;
    }
    Ok(())
}

#[expect(clippy::expect_used, reason = "a plain map into memory; nothing in it can fail to encode")]
async fn put(db: &mut Connection, cursor: &CursorRow) -> waxwing_sqlite::Result<()> {
    let marks = rmp_serde::to_vec(&cursor.marks).expect("encodes");
    waxwing_sqlite::query(
        "INSERT INTO topic_cursor (app, space, version, store, place, missed, tries, marks) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (app, space) DO UPDATE SET version = excluded.version, store = excluded.store, \
         place = excluded.place, missed = excluded.missed, tries = excluded.tries, marks = excluded.marks \
         WHERE excluded.version > version",
    )
    .bind(cursor.app.as_str())
    .bind(&cursor.space.as_bytes()[..])
    .bind(number(cursor.version))
    .bind(&cursor.store.as_bytes()[..])
    .bind(number(cursor.place))
    .bind(number(cursor.missed))
    .bind(cursor.tries)
    .bind(marks)
    .execute(db)
    .await
    .map(|_| ())
}

fn app(row: &Row) -> waxwing_sqlite::Result<Name> {
    row.try_get::<&str, _>("app")?.parse().map_err(|_| damaged("app name"))
}

fn space(row: &Row) -> waxwing_sqlite::Result<SpaceId> {
    SpaceId::try_from(row.try_get::<&[u8], _>("space")?).map_err(|_| damaged("space id"))
}

impl FromRow for SubscriptionRow {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        let id = row.try_get::<&[u8], _>("id")?.try_into().map_err(|_| damaged("subscription"))?;
        Ok(Self { id, app: app(row)?, sealed: row.try_get("sealed")? })
    }
}

impl FromRow for CursorRow {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        let store = row.try_get::<&[u8], _>("store")?;
        let marks = rmp_serde::from_slice(row.try_get("marks")?).map_err(|_| damaged("cursor"))?;
        Ok(Self {
            app: app(row)?,
            space: space(row)?,
            version: unsigned(row.try_get("version")?),
            store: store.try_into().map(StoreId::from_bytes).map_err(|_| damaged("store id"))?,
            place: unsigned(row.try_get("place")?),
            missed: unsigned(row.try_get("missed")?),
            tries: row.try_get("tries")?,
            marks,
        })
    }
}

impl FromRow for DeadRow {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            space: space(row)?,
            seq: unsigned(row.try_get("seq")?),
            tries: row.try_get("tries")?,
            at: time(row.try_get("at")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::database;

    fn cursor(version: u64, place: u64) -> CursorRow {
        CursorRow {
            app: "ci".parse().unwrap(),
            space: SpaceId::from_bytes([7; 32]),
            version,
            store: StoreId::from_bytes([1; 16]),
            place,
            missed: 2,
            tries: 3,
            marks: BTreeMap::from([(NodeId::from_bytes([9; 16]), 4)]),
        }
    }

    #[tokio::test]
    async fn an_older_state_of_a_cursor_does_not_take_the_place_of_a_newer_one() {
        let (_folder, mut writer, db) = database().await;
        for row in [cursor(2, 20), cursor(1, 10)] {
            keep(&mut writer, &Kept { cursors: vec![row], ..Kept::default() }).await.unwrap();
        }
        assert_eq!(cursors(&db).await.unwrap(), [cursor(2, 20)]);
    }

    #[tokio::test]
    async fn what_is_kept_is_read_and_what_is_forgotten_is_gone() {
        let (_folder, mut writer, db) = database().await;
        let (app, space): (Name, _) = ("ci".parse().unwrap(), SpaceId::from_bytes([7; 32]));
        let subscription = SubscriptionRow { id: [5; ID], app: app.clone(), sealed: vec![1, 2] };
        let dead = DeadRow { space, seq: 8, tries: 10, at: Timestamp::from_millis(5) };
        let kept = Kept {
            subscription: Some(subscription.clone()),
            cursors: vec![cursor(1, 10)],
            dead: Some((app.clone(), dead)),
            ..Kept::default()
        };
        keep(&mut writer, &kept).await.unwrap();
        assert_eq!(subscriptions(&db).await.unwrap(), [subscription]);
        assert_eq!(super::dead(&db, &app, 10).await.unwrap(), [dead]);
        let gone = Kept { ended: Some([5; ID]), forgotten: vec![(app.clone(), space)], ..Kept::default() };
        keep(&mut writer, &gone).await.unwrap();
        assert_eq!(subscriptions(&db).await.unwrap(), []);
        assert_eq!(cursors(&db).await.unwrap(), []);
        assert_eq!(super::dead(&db, &app, 10).await.unwrap(), []);
    }
}
