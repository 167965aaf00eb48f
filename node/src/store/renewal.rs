//! A new signing key: what belonged to the one before ends, and counting begins anew.

use waxwing_crypto::VerifyingKey;
use waxwing_sqlite::Connection;

use super::{meta, outbox, prekeys, sessions, spaces};

/// Begins anew if the database has last been used under another signing key: no prekeys or sessions, progress from zero,
/// and every unreceipted message a counter from 1 in its old order. Done once, however often it is called.
pub(crate) async fn begin_under(db: &mut Connection, signer: &VerifyingKey) -> waxwing_sqlite::Result<()> {
    let known = meta::bytes(&mut *db, meta::SIGNER).await?;
    if known.as_deref() == Some(&signer.as_bytes()[..]) {
        return Ok(());
    }
    db.run("BEGIN IMMEDIATE")?;
    let begun = match begin(db, signer, known.is_some()).await {
        Ok(()) => db.run("COMMIT"),
        Err(error) => Err(error),
    };
    if begun.is_err() {
        let _ = db.run("ROLLBACK");
    }
    begun
}

async fn begin(db: &mut Connection, signer: &VerifyingKey, had_another: bool) -> waxwing_sqlite::Result<()> {
    if had_another {
        sessions::drop_all(&mut *db).await?;
        prekeys::drop_all(&mut *db).await?;
        outbox::renumber(db).await?;
        spaces::skip_numbers(&mut *db).await?;
        meta::set_number(&mut *db, meta::LOGIN, 0).await?;
        meta::set_number(&mut *db, meta::THROUGH, 0).await?;
        meta::remove(&mut *db, meta::REFUSED).await?;
    }
    meta::set_bytes(db, meta::SIGNER, signer.as_bytes()).await
}
