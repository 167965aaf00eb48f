//! What stands in the space: one record for each who has a lease or waits for it.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::space::KeyName;
use waxwing_crypto::storage::StorageKeys;
use waxwing_crypto::{ClientMessageId, Name, WireId};
use waxwing_protocol::api::{LeaseMode, OnDisconnect};
use waxwing_protocol::{RegistrationId, limits};

use crate::apps::Which;
use crate::records;
use crate::spaces::{Draft, DraftChange, Entry};

/// What is said of whoever has a lease.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Says {
    pub(crate) app: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Name>,
    pub(crate) mode: LeaseMode,
    pub(crate) on_disconnect: OnDisconnect,
    /// How long it was asked for, in milliseconds.
    pub(crate) ttl: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) purpose: Option<String>,
    /// Of the app's registration, by which its node knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) registration: Option<Mark>,
}

/// What stands for a registration: a code of it under its node's key.
pub(crate) type Mark = WireId;

/// The mark of a registration.
pub(crate) fn mark(keys: &StorageKeys, registration: &RegistrationId) -> Option<Mark> {
    let text = format!("registration:{}", registration.as_str());
    text.parse::<ClientMessageId>().ok().map(|text| keys.wire_id(&text))
}

impl Says {
    /// Which app it is.
    pub(crate) fn which(&self) -> Which {
        Which { name: self.app.clone(), instance: self.instance.clone() }
    }

    /// How long it was asked for.
    pub(crate) const fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl)
    }

    /// How long it outlives its node's lease at the broker.
    pub(crate) const fn grace(&self) -> Duration {
        match self.on_disconnect {
            OnDisconnect::Grace => limits::LEASE_GRACE,
            // No time is longer than this. It is bound all the same: what is bound is not handed back after a loss of the store.
            OnDisconnect::Hold => limits::GRACE_MAX,
            OnDisconnect::Release => Duration::ZERO,
        }
    }

    /// As a record's value.
    #[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
    fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self).expect("encodes").into()
    }

    /// As a change of the space.
    pub(crate) fn draft(&self, key: KeyName) -> Draft {
        let value = self.encode();
        let bound = u64::try_from(self.grace().as_millis()).ok();
        let change = DraftChange::Append { key, if_empty: false, ttl: Some(self.ttl), bound, value };
        Draft { id: None, app: Some(self.app.clone()), change }
    }

    /// Out of a record's value.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        records::decode(value)
    }
}

/// What a record says, written again.
pub(crate) fn again(entry: &Entry) -> Option<Bytes> {
    Says::decode(&entry.value).map(|says| says.encode())
}

/// Takes a record away.
pub(crate) fn removal(key: KeyName, seq: u64) -> Draft {
    let when = waxwing_crypto::space::Condition::Any;
    Draft { id: None, app: None, change: DraftChange::Delete { key, own: false, seq: Some(seq), when } }
}
