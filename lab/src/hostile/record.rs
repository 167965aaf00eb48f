//! What a member writes into a space, with its true keys.

use bytes::Bytes;
use waxwing_crypto::SpaceId;
use waxwing_protocol::link::Put;

use super::Member;
use crate::error::Result;
use crate::records::Writer;

impl Member {
    /// A record of presence that holds, for a program of such a version, bound to its lease. Two under one `counter` are a lie.
    ///
    /// # Errors
    /// If it cannot be sealed.
    pub fn presence(&self, counter: u64, version: char) -> Result<(SpaceId, Put)> {
        self.writer().presence(counter, version)
    }

    /// A record of its own that holds, and the space that it goes into.
    ///
    /// # Errors
    /// If these are no names.
    pub fn record(
        &self,
        space: &str,
        key: &str,
        counter: u64,
        value: impl Into<Bytes>,
    ) -> Result<(SpaceId, Put)> {
        self.writer().own(space, key, counter, None, value.into())
    }

    fn writer(&self) -> Writer<'_> {
        let (mesh, log_seq) = (self.roster.mesh(), self.roster.head().seq);
        Writer { mesh, keys: &self.keys, log_seq, life: self.link.store, key: &self.key }
    }
}
