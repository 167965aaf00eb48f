//! State keys as they are kept: encrypted under the storage key.

use std::sync::Arc;

use waxwing_crypto::SealingKey;
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::storage::{Place, StorageKeys};
use waxwing_sqlite::{Connection, Readers};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::store::meta;

/// What opens the slots of the invite by which this node joined. Kept while it may be needed.
pub(crate) type SealingKeyOfInvite = Arc<SealingKey>;

/// State keys, and the invite's sealing key while that is needed, encrypted.
pub(crate) struct Sealed {
    keys: Vec<u8>,
    invite: Option<Vec<u8>>,
}

impl Sealed {
    /// Encrypts them.
    pub(crate) fn new(storage: &StorageKeys, keys: &StateKeys, invite: Option<&SealingKeyOfInvite>) -> Self {
        let mut rng = crate::rng();
        let invite = invite.map(|key| storage.seal(&mut rng, place(b"invite_key"), &*key.reveal_seed()));
        Self { keys: storage.seal(&mut rng, place(b"state_keys"), &keys.to_bytes()), invite }
    }

    /// Writes them in the place of those before.
    pub(crate) async fn write(&self, db: &mut Connection) -> waxwing_sqlite::Result<()> {
        meta::set_bytes(&mut *db, meta::STATE_KEYS, &self.keys).await?;
        match &self.invite {
            Some(invite) => meta::set_bytes(db, meta::INVITE_KEY, invite).await,
            None => meta::remove(db, meta::INVITE_KEY).await,
        }
    }
}

/// Reads and opens what is kept.
pub(super) async fn read(
    db: &Readers,
    storage: &StorageKeys,
) -> Result<(StateKeys, Option<SealingKeyOfInvite>)> {
    let damaged = |what: &str| Error::Damaged(format!("the {what} in node.db cannot be read"));
    let sealed = meta::bytes(db, meta::STATE_KEYS).await?.unwrap_or_default();
    let opened = storage.open(place(b"state_keys"), &sealed).map_err(|_| damaged("state keys"))?;
    let keys = StateKeys::from_bytes(&opened).map_err(|_| damaged("state keys"))?;
    let Some(sealed) = meta::bytes(db, meta::INVITE_KEY).await? else { return Ok((keys, None)) };
    let opened = storage.open(place(b"invite_key"), &sealed).map_err(|_| damaged("invite's key"))?;
    let seed = Zeroizing::new(opened.as_slice().try_into().map_err(|_| damaged("invite's key"))?);
    Ok((keys, Some(Arc::new(SealingKey::from_seed(&seed)))))
}

const fn place(row: &'static [u8]) -> Place<'static> {
    Place { table: "meta", column: "value", row }
}
