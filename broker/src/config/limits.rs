//! How much a broker takes on: from everybody, from one address, from one node. What concerns one node or queue can be
//! set for one mesh, over what holds for all.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_protocol::{limits, link};

use crate::error::{Error, Result};

/// How much a broker takes on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most envelopes in one node's queue; then senders are told `queue_full` and try again.
    pub queue_items: u64,
    /// Most envelope bytes in one node's queue.
    pub queue_bytes: u64,
    /// Items that one node may send per second, in the long run.
    pub send_items: u32,
    /// Items that it may send at once, after a pause.
    pub send_items_burst: u32,
    /// Envelope bytes that one node may send per second, in the long run.
    pub send_bytes: u64,
    /// Envelope bytes that it may send at once, after a pause.
    pub send_bytes_burst: u64,
    /// Requests other than sends that one node may make per second, in the long run.
    pub requests: u32,
    /// Requests that it may make at once, after a pause.
    pub requests_burst: u32,
    /// Most items in flight on one link, per direction. At most 1,024.
    pub window_items: u32,
    /// Most envelope bytes in flight on one link, per direction. 1 to 8 MiB.
    pub window_bytes: u32,
    /// Most records in the spaces of one mesh, with what is left of those that ended; then changes are told `full`.
    pub space_records: u64,
    /// Most sealed bytes of them.
    pub space_bytes: u64,
    /// How long a node's lease lasts after its last frame, in seconds.
    pub lease_seconds: u32,
    /// How long an accepted wire id is remembered, in days. At least 8; a message may live 5 days less.
    pub dedupe_days: u32,
    /// Most connections at once. More wait to be accepted.
    pub connections: u32,
    /// Most links of members at once. One more is told `busy`.
    pub links: u32,
    /// Most of them that have not logged in. Beyond that, a newcomer takes the place of whoever has waited longest.
    pub strangers: u32,
    /// Logins that may be begun per second from one address that is not this machine's, in the long run.
    pub logins: u32,
    /// Logins that may be begun from it at once, after a pause.
    pub logins_burst: u32,
}

/// What may be set for one mesh. What is not set is as for all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeshLimits {
    /// As [`Limits::queue_items`].
    pub queue_items: Option<u64>,
    /// As [`Limits::queue_bytes`].
    pub queue_bytes: Option<u64>,
    /// As [`Limits::send_items`].
    pub send_items: Option<u32>,
    /// As [`Limits::send_items_burst`].
    pub send_items_burst: Option<u32>,
    /// As [`Limits::send_bytes`].
    pub send_bytes: Option<u64>,
    /// As [`Limits::send_bytes_burst`].
    pub send_bytes_burst: Option<u64>,
    /// As [`Limits::space_records`].
    pub space_records: Option<u64>,
    /// As [`Limits::space_bytes`].
    pub space_bytes: Option<u64>,
    /// As [`Limits::requests`].
    pub requests: Option<u32>,
    /// As [`Limits::requests_burst`].
    pub requests_burst: Option<u32>,
}

/// What the file says of one mesh.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeshSettings {
    /// Limits that differ from those for all.
    pub limits: MeshLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_items: 100_000,
            queue_bytes: 1024 * 1024 * 1024,
            send_items: 20_000,
            send_items_burst: 100_000,
            send_bytes: 256 * 1024 * 1024,
            send_bytes_burst: 512 * 1024 * 1024,
            requests: 500,
            requests_burst: 5_000,
            window_items: limits::WINDOW_ITEMS as u32,
            window_bytes: limits::WINDOW_BYTES as u32,
            space_records: 1_000_000,
            space_bytes: 4 * 1024 * 1024 * 1024,
            lease_seconds: limits::LEASE.as_secs() as u32,
            dedupe_days: 35,
            connections: 16_384,
            links: 16_000,
            strangers: 1_024,
            logins: 50,
            logins_burst: 500,
        }
    }
}

impl Limits {
    /// Whether every value is one that the broker can work with.
    ///
    /// # Errors
    /// `Config`, naming the value and the section that it stands in.
    pub(super) fn check(&self, section: &str) -> Result<()> {
        const MOST: u64 = u32::MAX as u64;
        let within = |what: &str, value: u64, from: u64, to: u64| {
            if (from..=to).contains(&value) {
                Ok(())
            } else {
                Err(Error::Config(format!("{section}.{what} is {value}, and may be {from} to {to}")))
            }
        };
        within("queue_items", self.queue_items, 1, u64::MAX)?;
        within("queue_bytes", self.queue_bytes, limits::ENVELOPE as u64, u64::MAX)?;
        within("send_items", self.send_items.into(), 1, MOST)?;
        within("send_items_burst", self.send_items_burst.into(), 1, MOST)?;
        within("send_bytes", self.send_bytes, 1024, 1024 * MOST)?;
        within("send_bytes_burst", self.send_bytes_burst, limits::ENVELOPE as u64, 1024 * MOST)?;
        within("requests", self.requests.into(), 1, MOST)?;
        within("requests_burst", self.requests_burst.into(), limits::PREKEY_PAGE as u64, MOST)?;
        within("window_items", self.window_items.into(), 1, limits::WINDOW_ITEMS as u64)?;
        within("window_bytes", self.window_bytes.into(), limits::FRAME as u64, limits::WINDOW_BYTES as u64)?;
        within("space_records", self.space_records, 1, i64::MAX.unsigned_abs())?;
        within("space_bytes", self.space_bytes, limits::RECORD as u64, i64::MAX.unsigned_abs())?;
        within("lease_seconds", self.lease_seconds.into(), limits::LEASE_MIN.as_secs(), 24 * 60 * 60)?;
        within("dedupe_days", self.dedupe_days.into(), limits::DEDUPE_DAYS_MIN.into(), 3_650)?;
        within("connections", self.connections.into(), 1, MOST)?;
        within("links", self.links.into(), 1, MOST)?;
        within("strangers", self.strangers.into(), 1, 65_536)?;
        within("logins", self.logins.into(), 1, MOST)?;
        within("logins_burst", self.logins_burst.into(), 1, MOST)
    }

    /// These, with what is set for one mesh.
    pub(super) fn with(self, mesh: &MeshLimits) -> Self {
        Self {
            queue_items: mesh.queue_items.unwrap_or(self.queue_items),
            queue_bytes: mesh.queue_bytes.unwrap_or(self.queue_bytes),
            send_items: mesh.send_items.unwrap_or(self.send_items),
            send_items_burst: mesh.send_items_burst.unwrap_or(self.send_items_burst),
            send_bytes: mesh.send_bytes.unwrap_or(self.send_bytes),
            send_bytes_burst: mesh.send_bytes_burst.unwrap_or(self.send_bytes_burst),
            space_records: mesh.space_records.unwrap_or(self.space_records),
            space_bytes: mesh.space_bytes.unwrap_or(self.space_bytes),
            requests: mesh.requests.unwrap_or(self.requests),
            requests_burst: mesh.requests_burst.unwrap_or(self.requests_burst),
            ..self
        }
    }

    /// Most connections that have not logged in: others must find a place too.
    pub(crate) fn strangers(&self) -> u32 {
        self.strangers.min(self.connections / 2).max(1)
    }

    /// How long an accepted wire id is remembered.
    pub(crate) const fn dedupe(&self) -> Duration {
        Duration::from_secs(self.dedupe_days as u64 * 24 * 60 * 60)
    }

    /// How long a node's lease lasts after its last frame.
    pub(crate) const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds as u64)
    }

    /// How often a link is pinged: a node that is there is heard of several times in its lease.
    pub(crate) fn ping_every(&self) -> Duration {
        limits::PING_EVERY.min(self.lease() / 3)
    }

    /// The part that nodes are told.
    pub(crate) fn told(&self) -> link::Limits {
        let dedupe = u64::try_from(self.dedupe().as_millis()).unwrap_or(u64::MAX);
        let lease = u64::try_from(self.lease().as_millis()).unwrap_or(u64::MAX);
        link::Limits { items: self.window_items, bytes: self.window_bytes, dedupe, lease }
    }
}
