//! Sessions that others have opened to this node.

use waxwing_crypto::{NodeId, SessionId, Timestamp};
use waxwing_sqlite::{Connection, Executor};

use super::{millis, number};

/// Most sessions kept per sender; the oldest go first.
const PER_SENDER: u64 = 8;

/// A session about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) sender: NodeId,
    pub(crate) opened_at: Timestamp,
    pub(crate) not_after: Timestamp,
    /// Encrypted under the storage key.
    pub(crate) secret: Vec<u8>,
}

/// Stores a session, and forgets the sender's oldest ones.
pub(crate) async fn insert(db: &mut Connection, session: &NewSession) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "INSERT INTO session (id, sender, opened_at, not_after, secret) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&session.id.as_bytes()[..])
    .bind(&session.sender.as_bytes()[..])
    .bind(millis(session.opened_at))
    .bind(millis(session.not_after))
    .bind(&session.secret[..])
    .execute(&mut *db)
    .await?;
    waxwing_sqlite::query(
        "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE sender = ? ORDER BY opened_at DESC, id \
         LIMIT -1 OFFSET ?)",
    )
    .bind(&session.sender.as_bytes()[..])
    .bind(number(PER_SENDER))
    .execute(db)
    .await?;
    Ok(())
}

/// A sender's session.
pub(crate) async fn find(
    db: impl Executor<'_>,
    sender: NodeId,
    id: SessionId,
) -> waxwing_sqlite::Result<Option<Vec<u8>>> {
    waxwing_sqlite::query_scalar("SELECT secret FROM session WHERE id = ? AND sender = ?")
        .bind(&id.as_bytes()[..])
        .bind(&sender.as_bytes()[..])
        .fetch_optional(db)
        .await
}

/// Forgets sessions that ended before `ended` or were opened before `opened`.
pub(crate) async fn forget(
    db: &mut Connection,
    ended: Timestamp,
    opened: Timestamp,
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM session WHERE not_after < ? OR opened_at < ?")
        .bind(millis(ended))
        .bind(millis(opened))
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets every session.
pub(crate) async fn drop_all(db: impl Executor<'_>) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM session").execute(db).await.map(|_| ())
}
