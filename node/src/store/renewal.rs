//! A new signing key: what belonged to the one before ends, and counting begins anew.

use sqlx::{Connection as _, SqliteConnection};
use waxwing_crypto::VerifyingKey;

use super::{meta, outbox, prekeys, sessions, spaces};

/// Begins anew if the database has last been used under another signing key: no prekeys or sessions, progress from zero,
/// and every unreceipted message a counter from 1 in its old order. Done once, however often it is called.
pub(crate) async fn begin_under(db: &mut SqliteConnection, signer: &VerifyingKey) -> sqlx::Result<()> {
    let known = meta::bytes(&mut *db, meta::SIGNER).await?;
    if known.as_deref() == Some(&signer.as_bytes()[..]) {
        return Ok(());
    }
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    if known.is_some() {
        sessions::drop_all(&mut *tx).await?;
        prekeys::drop_all(&mut *tx).await?;
        outbox::renumber(&mut tx).await?;
        spaces::skip_numbers(&mut *tx).await?;
        meta::set_number(&mut *tx, meta::LOGIN, 0).await?;
        meta::set_number(&mut *tx, meta::THROUGH, 0).await?;
        meta::remove(&mut *tx, meta::REFUSED).await?;
    }
    meta::set_bytes(&mut *tx, meta::SIGNER, signer.as_bytes()).await?;
    tx.commit().await
}
