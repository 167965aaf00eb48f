//! What the store says of itself: its id, its secret, its openings, and how often it has been committed.

use std::collections::HashMap;

use waxwing_crypto::Timestamp;
use waxwing_crypto::mark::StoreSecret;
use waxwing_protocol::{RunId, StoreId};

use super::db::{Connection, Db, Row, array, integer, number, query};
use crate::error::{Error, Result};
use crate::life::Opened;

/// Random values for an opening, of which a store that exists needs the run alone.
pub(crate) struct Fresh {
    /// Id of a new store.
    pub(crate) store: StoreId,
    /// Secret of a new store.
    pub(crate) secret: StoreSecret,
    /// This opening.
    pub(crate) run: RunId,
}

impl Fresh {
    /// From the operating system's random source.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn mint() -> Result<Self> {
        let secret = random::<32>()?;
        Ok(Self {
            store: StoreId::from_bytes(random()?),
            secret: StoreSecret::from_bytes(secret),
            run: RunId::from_bytes(random()?),
        })
    }
}

/// Random bytes.
///
/// # Errors
/// If the operating system has none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|err| Error::Internal(err.into()))?;
    Ok(bytes)
}

/// Notes an opening. A store without an id, new or brought back from a backup, gets one; if it holds meshes, each then
/// waits for an admin's word on which log is right.
pub(crate) async fn open(db: &mut Connection, fresh: &Fresh, now: Timestamp) -> Result<Opened> {
    db.begin().await?;
    let minted = query(
        "INSERT INTO meta (id, store, secret, m, created, began) VALUES (1, $1, $2, 0, $3, $3)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(fresh.store.as_bytes())
    .bind(fresh.secret.reveal())
    .bind(integer(now.as_millis()))
    .execute(&mut *db)
    .await?;
    if minted == 1 {
        super::mesh::wait_all(&mut *db).await?;
        super::space::begin_life(db, now).await?;
    }
    super::space::raise(db, now).await?;
    let meta = query("SELECT store, secret, m, began FROM meta").fetch_one(&mut *db).await?;
    let m = number(&meta, 2)?;
    let runs = query("SELECT run, first FROM run ORDER BY id").fetch_all(&mut *db).await?;
    let past = ends(&runs, m)?;
    query("INSERT INTO run (run, first) VALUES ($1, $2)")
        .bind(fresh.run.as_bytes())
        .bind(integer(m))
        .execute(&mut *db)
        .await?;
    db.commit().await?;
    let store = StoreId::from_bytes(array(&meta, 0)?);
    let secret = StoreSecret::from_bytes(array(&meta, 1)?);
    let began = Timestamp::from_millis(number(&meta, 3)?);
    Ok(Opened { store, secret, run: fresh.run, m, past, began })
}

/// Each run with the number at which the next one began; the last one's is `m`.
fn ends(runs: &[Row], m: u64) -> Result<HashMap<RunId, u64>> {
    let mut past = HashMap::with_capacity(runs.len());
    for (at, row) in runs.iter().enumerate() {
        let end = runs.get(at + 1).map_or(Ok(m), |next| number(next, 1))?;
        past.insert(RunId::from_bytes(array(row, 0)?), end);
    }
    Ok(past)
}

/// What a store says of itself now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Its id.
    pub(crate) store: StoreId,
    /// Its last opening.
    pub(crate) run: RunId,
    /// The number of its last commit.
    pub(crate) m: u64,
}

/// Reads what a store says of itself.
///
/// # Errors
/// If it was never opened, or fails.
pub(crate) async fn now(db: &mut Connection) -> Result<Now> {
    let row = query("SELECT store, (SELECT run FROM run ORDER BY id DESC LIMIT 1), m FROM meta")
        .fetch_one(db)
        .await?;
    let (store, run) = (StoreId::from_bytes(array(&row, 0)?), RunId::from_bytes(array(&row, 1)?));
    Ok(Now { store, run, m: number(&row, 2)? })
}

/// Counts a commit.
///
/// # Errors
/// If the number is not the one before: somebody else writes to this store.
pub(crate) async fn raise(db: impl Into<Db<'_>>, m: u64) -> Result<()> {
    let raised = query("UPDATE meta SET m = $1 WHERE m = $2")
        .bind(integer(m))
        .bind(integer(m.saturating_sub(1)))
        .execute(db)
        .await?;
    if raised == 1 {
        Ok(())
    } else {
        Err(Error::damaged("its number of commits is not the one that this broker has counted"))
    }
}

/// Begins a new life: another id, every mesh waits, and spaces are [of the life before](super::space::begin_life).
pub(crate) async fn renew(db: &mut Connection, store: StoreId, now: Timestamp) -> Result<()> {
    query("UPDATE meta SET store = $1, began = $2")
        .bind(store.as_bytes())
        .bind(integer(now.as_millis()))
        .execute(&mut *db)
        .await?;
    super::space::begin_life(&mut *db, now).await?;
    super::mesh::wait_all(db).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::database;

    const NOW: Timestamp = Timestamp::from_millis(1);

    #[tokio::test]
    async fn a_store_keeps_its_id_and_secret_and_every_opening_is_another_run() {
        let mut db = database().await;
        let first = open(&mut db, &Fresh::mint().unwrap(), NOW).await.unwrap();
        assert_eq!((first.m, first.past.len()), (0, 0));
        raise(&mut db, 1).await.unwrap();
        raise(&mut db, 2).await.unwrap();
        raise(&mut db, 2).await.unwrap_err();
        let second = open(&mut db, &Fresh::mint().unwrap(), NOW).await.unwrap();
        assert_eq!((second.store, second.secret.reveal()), (first.store, first.secret.reveal()));
        assert_eq!((second.m, &second.past), (2, &HashMap::from([(first.run, 2)])));
        raise(&mut db, 3).await.unwrap();
        let third = open(&mut db, &Fresh::mint().unwrap(), NOW).await.unwrap();
        assert_eq!(third.past, HashMap::from([(first.run, 2), (second.run, 3)]));
    }

    /// Found by the model of leases (node/src/leases/model): until a node showed a mark of the lost future, the store went on giving
    /// places from where its copy stood, and two leases had one token.
    #[tokio::test]
    async fn a_store_that_was_set_back_and_does_not_know_it_gives_no_place_twice() {
        use crate::store::space::{self, Space, SpaceKey};
        let mut db = database().await;
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        open(&mut db, &Fresh::mint().unwrap(), at(1)).await.unwrap();
        let mesh = waxwing_crypto::MeshId::from_bytes([1; 16]);
        let key = SpaceKey { mesh, space: waxwing_crypto::SpaceId::from_bytes([2; 32]) };
        let copied = Space::new(at(1));
        space::put(&mut db, &[(key, copied)]).await.unwrap();
        // What was given between the copy and the loss.
        let lost = copied.last + 1_000_000;
        open(&mut db, &Fresh::mint().unwrap(), at(3)).await.unwrap();
        let last = space::find(&mut db, &[key]).await.unwrap()[&key].last;
        assert!(last > lost, "{last} after {lost}");
        open(&mut db, &Fresh::mint().unwrap(), at(2)).await.unwrap();
        assert_eq!(space::find(&mut db, &[key]).await.unwrap()[&key].last, last, "whatever the clock says");
    }
}
