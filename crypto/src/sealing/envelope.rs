//! The envelope: what the broker queues and cannot read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::aead::NONCE;
use crate::codec;
use crate::error::Result;
use crate::id::{MeshId, NodeId, SessionId, Timestamp, WireId};
use crate::keys::Signed;
use crate::mac::Transcript;
use crate::priority::Priority;

/// What is encoded beside the box and what an opening says takes less, in bytes.
const BESIDE: usize = 192;

/// A message sealed for one recipient node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope {
    /// The session whose key opens it.
    #[serde(rename = "s")]
    pub session: SessionId,
    /// The session's signed opening, until the sender knows that the recipient has it.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Signed>,
    /// XChaCha20's nonce.
    #[serde(rename = "n", with = "serde_bytes")]
    pub nonce: [u8; NONCE],
    /// XChaCha20-Poly1305 of the padded plaintext, tag last.
    #[serde(rename = "b")]
    pub sealed: Bytes,
}

impl Envelope {
    /// The bytes that travel.
    ///
    /// # Errors
    /// `Malformed` only if encoding fails.
    pub fn encode(&self) -> Result<Bytes> {
        let opening = self.opening.as_ref().map_or(0, |signed| signed.bytes.len());
        codec::named(self, BESIDE + self.sealed.len() + opening, "envelope").map(Bytes::from)
    }

    /// Reads bytes from outside, which their carrier has bounded.
    ///
    /// # Errors
    /// `Malformed` if they are not exactly one envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        codec::exactly(bytes, "envelope")
    }
}

/// What the broker sees beside the envelope and must not change: authenticated with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The mesh.
    pub mesh: MeshId,
    /// Sender node.
    pub from: NodeId,
    /// Recipient node.
    pub to: NodeId,
    /// The sender's wire id.
    pub id: WireId,
    /// Priority.
    pub priority: Priority,
    /// Expiry, on the broker's clock.
    pub expires: Timestamp,
}

impl Header {
    /// Associated data: a label, the session id, and each field with its length.
    pub(super) fn aad(&self, session: &SessionId) -> Transcript {
        Transcript::new(b"waxwing envelope v1")
            .field(session.as_bytes())
            .field(self.mesh.as_bytes())
            .field(self.from.as_bytes())
            .field(self.to.as_bytes())
            .field(self.id.as_bytes())
            .field(&[self.priority.as_u8()])
            .number(self.expires.as_millis())
    }
}
