//! What this node says of whoever is at it. Kept on its disk, under the storage key.

use serde::{Deserialize, Serialize};
use waxwing_crypto::storage::{Place, StorageKeys};
use waxwing_protocol::api::{Profile, ProfileRequest};
use waxwing_sqlite::Readers;

use crate::apps::text;
use crate::error::{Error, Result};
use crate::store::meta;

/// The profile, and whether it is to be seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Own {
    pub(crate) visible: bool,
    pub(crate) profile: Profile,
}

impl Default for Own {
    fn default() -> Self {
        Self { visible: true, profile: Profile::default() }
    }
}

impl Own {
    /// As it is kept.
    pub(super) async fn load(db: &Readers, keys: &StorageKeys) -> Result<Self> {
        let Some(sealed) = meta::bytes(db, meta::PROFILE).await? else { return Ok(Self::default()) };
        let damaged = || Error::Damaged("the profile in node.db cannot be read".into());
        let opened = keys.open(PLACE, &sealed).map_err(|_| damaged())?;
        rmp_serde::from_slice(&opened).map_err(|_| damaged())
    }

    /// To be kept.
    #[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
    pub(super) fn seal(&self, keys: &StorageKeys) -> Vec<u8> {
        keys.seal(&mut crate::rng(), PLACE, &rmp_serde::to_vec_named(self).expect("encodes"))
    }

    /// The same with what a request says: what that leaves out stays as it was.
    pub(super) fn changed(&self, request: &ProfileRequest) -> Self {
        let mut own = self.clone();
        let profile = &mut own.profile;
        text(&mut profile.summary, request.summary.as_ref());
        text(&mut profile.avatar, request.avatar.as_ref());
        text(&mut profile.title, request.title.as_ref());
        text(&mut profile.bio, request.bio.as_ref());
        profile.status = request.status.or(profile.status);
        if let Some(capabilities) = &request.capabilities {
            profile.capabilities.clone_from(capabilities);
        }
        own.visible = request.visible.unwrap_or(own.visible);
        own
    }
}

const PLACE: Place<'static> = Place { table: "meta", column: "value", row: b"profile" };
