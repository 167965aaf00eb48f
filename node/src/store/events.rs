//! What happened beside messages. Shares its numbers with the inbox, so that both make one stream.

use waxwing_crypto::Timestamp;
use waxwing_protocol::api::EventBody;
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, Executor, FromRow};

use super::{damaged, millis, number, time, unsigned};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    /// Whom it is for: an app, or the empty name's mailbox; none for everybody.
    pub(crate) app: Option<String>,
    pub(crate) body: EventBody,
}

/// Stores events under the numbers from `first` on.
pub(crate) async fn insert(
    db: &mut Connection,
    first: u64,
    events: &[NewEvent],
    at: Timestamp,
) -> waxwing_sqlite::Result<()> {
    const INSERT: &str = "INSERT INTO event (seq, app, at, body) VALUES (?, ?, ?, ?)";
    let rows: Vec<(u64, &NewEvent)> = (first..).zip(events).collect();
    let mut query = waxwing_sqlite::query(INSERT);
    for (seq, event) in &rows {
        let body = serde_json::to_string(&event.body)
            .map_err(|error| waxwing_sqlite::Error::Writer(error.to_string()))?;
        query = query.bind(number(*seq)).bind(event.app.as_deref()).bind(millis(at)).bind(body);
    }
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// A stored event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) body: EventBody,
}

/// Events after a number: those for an app and those for everybody, or all.
pub(crate) async fn list(
    db: impl Executor<'_>,
    after: u64,
    app: Option<&str>,
    limit: usize,
) -> waxwing_sqlite::Result<Vec<Event>> {
    waxwing_sqlite::query_as(
        "SELECT seq, at, body FROM event WHERE seq > ?1 AND (?2 IS NULL OR app IS NULL OR app = ?2) ORDER BY seq LIMIT ?3",
    )
    .bind(number(after))
    .bind(app)
    .bind(number(limit as u64))
    .fetch_all(db)
    .await
}

impl FromRow for Event {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        let body = serde_json::from_str(row.try_get("body")?).map_err(|_| damaged("event"))?;
        Ok(Self { seq: unsigned(row.try_get("seq")?), at: time(row.try_get("at")?), body })
    }
}

/// Whether any event is older than this.
pub(crate) async fn any_before(db: impl Executor<'_>, at: Timestamp) -> waxwing_sqlite::Result<bool> {
    // Numbers and times rise together, so the first row tells.
    waxwing_sqlite::query_scalar("SELECT coalesce((SELECT at FROM event ORDER BY seq LIMIT 1) < ?, FALSE)")
        .bind(millis(at))
        .fetch_one(db)
        .await
}

/// Forgets events older than this, at most `limit`. Says up to which number, if any.
pub(crate) async fn forget(
    db: &mut Connection,
    at: Timestamp,
    limit: usize,
) -> waxwing_sqlite::Result<Option<u64>> {
    let gone: Vec<i64> = waxwing_sqlite::query_scalar(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE at < ? ORDER BY seq LIMIT ?) RETURNING seq",
    )
    .bind(millis(at))
    .bind(number(limit as u64))
    .fetch_all(db)
    .await?;
    Ok(gone.into_iter().max().map(unsigned))
}
