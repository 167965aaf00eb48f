//! This node's prekeys, and the newest seen of each peer.

use bytes::Bytes;
use waxwing_crypto::sealing::PrekeyId;
use waxwing_crypto::{NodeId, Signature, Signed, Timestamp, VerifyingKey};
use waxwing_sqlite::{Connection, Executor};

use super::{damaged, millis, number, time, unsigned};
use crate::writer::Forget;

/// A prekey of this node.
#[derive(Clone, Debug)]
pub(crate) struct OwnPrekey {
    pub(crate) id: PrekeyId,
    pub(crate) signed: Signed,
    pub(crate) created_at: Timestamp,
    /// Encrypted under the storage key.
    pub(crate) secret: Vec<u8>,
}

/// Stores a new prekey.
pub(crate) async fn insert(db: &mut Connection, prekey: &OwnPrekey) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("INSERT INTO prekey (id, signed, created_at, secret) VALUES (?, ?, ?, ?)")
        .bind(number(prekey.id.as_u64()))
        .bind(pack(&prekey.signed))
        .bind(millis(prekey.created_at))
        .bind(&prekey.secret[..])
        .execute(db)
        .await?;
    Ok(())
}

/// The newest prekey.
pub(crate) async fn newest(db: impl Executor<'_>) -> waxwing_sqlite::Result<Option<OwnPrekey>> {
    type Row = (i64, Vec<u8>, i64, Vec<u8>);
    let row: Option<Row> = waxwing_sqlite::query_as(
        "SELECT id, signed, created_at, secret FROM prekey ORDER BY id DESC LIMIT 1",
    )
    .fetch_optional(db)
    .await?;
    row.map(|(id, signed, created_at, secret)| {
        let id = PrekeyId::from_u64(unsigned(id));
        Ok(OwnPrekey { id, signed: unpack(&signed)?, created_at: time(created_at), secret })
    })
    .transpose()
}

/// The secret of one prekey, encrypted under the storage key.
pub(crate) async fn secret(db: impl Executor<'_>, id: PrekeyId) -> waxwing_sqlite::Result<Option<Vec<u8>>> {
    waxwing_sqlite::query_scalar("SELECT secret FROM prekey WHERE id = ?")
        .bind(number(id.as_u64()))
        .fetch_optional(db)
        .await
}

/// Notes that the broker has a prekey; the first time counts.
pub(crate) async fn published(
    db: &mut Connection,
    id: PrekeyId,
    at: Timestamp,
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("UPDATE prekey SET published_at = coalesce(published_at, ?) WHERE id = ?")
        .bind(millis(at))
        .bind(number(id.as_u64()))
        .execute(db)
        .await?;
    Ok(())
}

/// Destroys the prekeys before the newest that was published before `published`, and all made before `created`.
pub(crate) async fn destroy(
    db: &mut Connection,
    published: Timestamp,
    created: Timestamp,
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "DELETE FROM prekey WHERE id < (SELECT max(id) FROM prekey WHERE published_at < ?1) OR created_at < ?2",
    )
    .bind(millis(published))
    .bind(millis(created))
    .execute(db)
    .await?;
    Ok(())
}

/// Whether any prekey or session has served its time.
pub(crate) async fn any_served(db: impl Executor<'_>, forget: &Forget) -> waxwing_sqlite::Result<bool> {
    waxwing_sqlite::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM session WHERE not_after < ?1 OR opened_at < ?3) OR EXISTS (SELECT 1 FROM prekey \
         WHERE id < (SELECT max(id) FROM prekey WHERE published_at < ?2) OR created_at < ?3)",
    )
    .bind(millis(forget.sessions_ended))
    .bind(millis(forget.prekeys_published))
    .bind(millis(forget.made))
    .fetch_one(db)
    .await
}

/// Keeps a peer's prekey, unless a newer one of the same signing key has been seen.
pub(crate) async fn keep(
    db: &mut Connection,
    node: NodeId,
    signer: &VerifyingKey,
    id: PrekeyId,
    signed: &Signed,
) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query(
        "INSERT INTO peer_prekey (node, signer, id, signed) VALUES (?, ?, ?, ?) ON CONFLICT (node) DO UPDATE \
         SET signer = excluded.signer, id = excluded.id, signed = excluded.signed \
         WHERE peer_prekey.signer <> excluded.signer OR peer_prekey.id < excluded.id",
    )
    .bind(&node.as_bytes()[..])
    .bind(&signer.as_bytes()[..])
    .bind(number(id.as_u64()))
    .bind(pack(signed))
    .execute(db)
    .await?;
    Ok(())
}

/// The newest prekey seen of a peer, as it signed it.
pub(crate) async fn of_peer(db: impl Executor<'_>, node: NodeId) -> waxwing_sqlite::Result<Option<Signed>> {
    let signed: Option<Vec<u8>> =
        waxwing_sqlite::query_scalar("SELECT signed FROM peer_prekey WHERE node = ?")
            .bind(&node.as_bytes()[..])
            .fetch_optional(db)
            .await?;
    signed.map(|signed| unpack(&signed)).transpose()
}

/// Signature, then the signed bytes.
fn pack(signed: &Signed) -> Vec<u8> {
    [&signed.signature.as_bytes()[..], &signed.bytes].concat()
}

fn unpack(bytes: &[u8]) -> waxwing_sqlite::Result<Signed> {
    let (signature, bytes) = bytes.split_at_checked(Signature::SIZE).ok_or_else(|| damaged("prekey"))?;
    let signature = Signature::from_bytes(signature).map_err(|_| damaged("prekey"))?;
    Ok(Signed { bytes: Bytes::copy_from_slice(bytes), signature })
}

/// Destroys every prekey of this node.
pub(crate) async fn drop_all(db: impl Executor<'_>) -> waxwing_sqlite::Result<()> {
    waxwing_sqlite::query("DELETE FROM prekey").execute(db).await.map(|_| ())
}
