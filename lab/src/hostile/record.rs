//! What a member writes into a space, with its true keys.

use bytes::Bytes;
use waxwing_crypto::SpaceId;
use waxwing_protocol::link::Put;

use super::Member;
use crate::error::Result;
use crate::records::Writer;

impl Member {
    /// A record of its own that holds, and the space that it goes into. Two under one `counter` are a lie.
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
        let (mesh, log_seq) = (self.roster.mesh(), self.roster.head().seq);
        let writer = Writer { mesh, keys: &self.keys, log_seq, key: &self.key };
        writer.own(space, key, counter, None, value.into())
    }
}
