//! Spaces that are followed: how far each copy has come, and how far each writer.

use std::collections::HashMap;

use waxwing_crypto::{SpaceId, Timestamp, VerifyingKey};
use waxwing_protocol::StoreId;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, Executor, FromRow};

use super::columns::moment;
use super::{damaged, millis, number, unsigned};

/// What names a space in the other tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct SpaceRow(pub(super) i64);

/// How far the copy of a space has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Progress {
    pub(crate) row: SpaceRow,
    /// The life of the store that places are of.
    pub(crate) store: Option<StoreId>,
    /// The last place known.
    pub(crate) place: u64,
    /// The end of the space when the copy was begun.
    pub(crate) begun: u64,
    /// When it was last complete.
    pub(crate) as_of: Option<Timestamp>,
}

impl FromRow for Progress {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        let store: &[u8] = row.try_get("store")?;
        let store = (!store.is_empty()).then(|| store.try_into().map_err(|_| damaged("store id")));
        Ok(Self {
            row: SpaceRow(row.try_get("id")?),
            store: store.transpose()?.map(StoreId::from_bytes),
            place: unsigned(row.try_get("place")?),
            begun: unsigned(row.try_get("begun")?),
            as_of: moment(row, "as_of")?,
        })
    }
}

/// How far a writer has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Reached {
    /// The highest number seen.
    pub(crate) counter: u64,
    /// That when the broker's store was last found to be lost.
    pub(crate) lost: u64,
}

/// Writers by their signing keys.
pub(crate) type Writers = HashMap<[u8; VerifyingKey::SIZE], Reached>;

/// A space, if it is known.
pub(crate) async fn find(db: impl Executor<'_>, space: &SpaceId) -> waxwing_sqlite::Result<Option<Progress>> {
    let query = waxwing_sqlite::query_as("SELECT id, store, place, begun, as_of FROM space WHERE space = ?");
    query.bind(&space.as_bytes()[..]).fetch_optional(db).await
}

/// Makes a space known.
pub(crate) async fn insert(db: impl Executor<'_>, space: &SpaceId) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "INSERT INTO space (space, store, place, begun, counter) VALUES (?, x'', 0, 0, 0) ON CONFLICT DO NOTHING",
    )
    .bind(&space.as_bytes()[..])
    .execute(db)
    .await
    .map(|_| ())
}

/// Notes how far a copy has come.
pub(crate) async fn set(db: impl Executor<'_>, progress: &Progress) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("UPDATE space SET store = ?, place = ?, begun = ?, as_of = ? WHERE id = ?")
        .bind(progress.store.as_ref().map_or(&[][..], |store| &store.as_bytes()[..]))
        .bind(number(progress.place))
        .bind(number(progress.begun))
        .bind(progress.as_of.map(millis))
        .bind(progress.row.0)
        .execute(db)
        .await
        .map(|_| ())
}

/// Takes so many numbers for changes of this node. Returns the one before the first.
pub(crate) async fn take_numbers(
    db: impl Executor<'_>,
    space: SpaceRow,
    count: u64,
) -> waxwing_sqlite::Result<u64> {
    let last: i64 =
        waxwing_sqlite::query_scalar("UPDATE space SET counter = counter + ? WHERE id = ? RETURNING counter")
            .bind(number(count))
            .bind(space.0)
            .fetch_one(db)
            .await?;
    Ok(unsigned(last).saturating_sub(count))
}

/// Leaves out more numbers than anybody gives: under another signing key no change is to have the number of one that a copy of
/// this state may have made.
pub(crate) async fn skip_numbers(db: impl Executor<'_>) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("UPDATE space SET counter = counter + (1 << 40)").execute(db).await.map(|_| ())
}

/// Every writer of a space.
pub(crate) async fn writers(db: impl Executor<'_>, space: SpaceRow) -> waxwing_sqlite::Result<Writers> {
    let query = waxwing_sqlite::query("SELECT signer, counter, lost FROM space_writer WHERE space = ?");
    let rows = query.bind(space.0).fetch_all(db).await?;
    let writer = |row: &Row| {
        let signer = row.try_get::<&[u8], _>("signer")?.try_into().map_err(|_| damaged("signing key"))?;
        let reached =
            Reached { counter: unsigned(row.try_get("counter")?), lost: unsigned(row.try_get("lost")?) };
        Ok((signer, reached))
    };
    rows.iter().map(writer).collect()
}

/// Notes how far some writers have come.
pub(crate) async fn set_writers(
    db: &mut Connection,
    space: SpaceRow,
    writers: &[([u8; VerifyingKey::SIZE], Reached)],
) -> waxwing_sqlite::Result<()> {
    const SET: &str = "INSERT INTO space_writer (space, signer, counter, lost) VALUES (?, ?, ?, ?) ON CONFLICT (space, signer) DO UPDATE SET counter = excluded.counter, lost = excluded.lost";
    let query = writers.iter().fold(waxwing_sqlite::query(SET), |query, (signer, reached)| {
        query.bind(space.0).bind(&signer[..]).bind(number(reached.counter)).bind(number(reached.lost))
    });
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// The store is lost: what there was up to now may come back.
pub(crate) async fn lose_writers(db: impl Executor<'_>, space: SpaceRow) -> waxwing_sqlite::Result<()> {
    let sql = "UPDATE space_writer SET lost = counter WHERE space = ?";
    waxwing_sqlite::query(sql).bind(space.0).execute(db).await.map(|_| ())
}
