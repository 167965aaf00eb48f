//! This node's keys, while others take their place.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::info;
use waxwing_crypto::{Digest, SigningKey};

use super::Mesh;
use crate::error::{Error, Result};
use crate::host;
use crate::identity::Identity;

impl Mesh {
    /// The signing key that stands in the log, while this node's own is not in it yet.
    pub(crate) fn giving_up(&self) -> Option<Arc<SigningKey>> {
        self.giving_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Destroys the key that was given up: the log has this node's own in its place.
    pub(crate) fn has_given_up(&self) -> Result<()> {
        let mut identity = Identity::load(&self.folder)?;
        identity.giving_up = None;
        identity.save(&self.folder)?;
        *self.giving_up.lock().unwrap_or_else(PoisonError::into_inner) = None;
        info!("this node's new keys are in the log");
        Ok(())
    }

    /// Destroys the sealing keys from before this one on disk: nothing is sealed to them any more that this node lacks.
    pub(crate) fn forget_former_sealing(&self) -> Result<()> {
        if self.identity.former_sealing.is_empty() || self.giving_up().is_some() {
            return Ok(());
        }
        let mut identity = Identity::load(&self.folder)?;
        if identity.former_sealing.is_empty() {
            return Ok(());
        }
        identity.former_sealing.clear();
        identity.save(&self.folder)
    }

    /// Waits until the log has this node's own key, and says whether it has by then.
    pub(crate) async fn until_keys_in_log(&self, within: Duration) -> bool {
        let mut link = self.link.subscribe();
        let known = async {
            // Whoever comes up has given its old key up before.
            while self.giving_up().is_some() && link.changed().await.is_ok() {}
        };
        let _ = timeout(within, known).await;
        self.giving_up().is_none()
    }

    /// What the log is to say of this host.
    pub(crate) fn host_commitment(&self) -> Result<Digest> {
        match host::record(&self.folder)? {
            Some(Ok(record)) => Ok(record.commitment()),
            Some(Err(_)) | None => Err(Error::Damaged(format!("{} has no host record", self.name))),
        }
    }
}
