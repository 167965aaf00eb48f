//! The inside of an envelope.

use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::padding;
use super::receipt::ReceiptSecret;
use crate::codec;
use crate::error::{Error, Result};
use crate::id::{ClientMessageId, Name, Timestamp};

/// Most ranges of counters that one message declares void.
pub const MAX_VOID_RANGES: usize = 64;

/// What is encoded beside body and metadata takes mostly less, in bytes.
const BESIDE: usize = 512;

/// Counters from the first to the last, both included; never empty.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct CounterRange {
    first: u64,
    last: u64,
}

impl CounterRange {
    /// The range, if `first` is at least 1 and not above `last`.
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (1 <= first && first <= last).then_some(Self { first, last })
    }

    /// As a standard range.
    pub const fn range(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    /// First counter.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Last counter.
    pub const fn last(&self) -> u64 {
        self.last
    }
}

impl TryFrom<(u64, u64)> for CounterRange {
    type Error = Error;

    fn try_from((first, last): (u64, u64)) -> Result<Self> {
        Self::new(first, last).ok_or(Error::Malformed("counter range"))
    }
}

impl From<CounterRange> for (u64, u64) {
    fn from(range: CounterRange) -> Self {
        (range.first, range.last)
    }
}

/// What kind of mail this is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From an app, for an app.
    Message,
    /// Says that the message it answers has been read. From a node, for a node: shown to nobody.
    Read,
    /// From an app that waits, for whoever serves an app. Its expiry is the deadline.
    Request,
    /// On the way to the answer of the request that it names.
    Progress,
    /// Answers the request that it names.
    Reply,
    /// Says that there will be no answer to the request that it names, as a [`Refusal`](super::Refusal).
    Refusal,
    /// Nobody waits any more for an answer to the request that it names.
    Cancel,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Message, Self::Read, Self::Request, Self::Progress, Self::Reply, Self::Refusal, Self::Cancel];

    /// The word in fingerprints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Read => "read",
            Self::Request => "request",
            Self::Progress => "progress",
            Self::Reply => "reply",
            Self::Refusal => "refusal",
            Self::Cancel => "cancel",
        }
    }

    /// Whether it is for somebody who waits at this moment: it has no place in its lane, waits for no other mail and keeps none
    /// waiting, and is never in an inbox.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Message | Self::Read)
    }
}

/// A message as its recipient will see it, with what the two nodes need to keep their promises.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plaintext {
    /// The sending app's id for it.
    pub id: ClientMessageId,
    /// Position in its lane, from 1; 0 of what is live, and has none. Kept across re-seals.
    pub counter: u64,
    /// Counters of this lane that will never come, at most [`MAX_VOID_RANGES`], nearest below `counter`.
    pub void: Vec<CounterRange>,
    /// What the receipt is computed from.
    pub receipt_secret: ReceiptSecret,
    /// Sending app, if it named itself.
    pub from_app: Option<Name>,
    /// Receiving app, or the default mailbox.
    pub to_app: Option<Name>,
    /// What kind of mail this is.
    pub kind: Kind,
    /// Media type of the body.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// Metadata as canonical JSON; empty when absent.
    pub meta: Bytes,
    /// Message that this one answers.
    pub reply_to: Option<ClientMessageId>,
    /// Thread.
    pub thread: Option<String>,
    /// The sender asks to be told when it is read; of a request: of progress.
    pub wants_read: bool,
    /// When the sender's node accepted it, on its clock.
    pub sent_at: Timestamp,
}

/// The encoded form: short names, and the secret as bytes.
#[derive(Deserialize, Serialize)]
struct Encoded<'a> {
    id: ClientMessageId,
    ctr: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    void: Vec<CounterRange>,
    #[serde(with = "serde_bytes")]
    sec: [u8; ReceiptSecret::SIZE],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Name>,
    kind: Kind,
    ct: String,
    #[serde(borrow, with = "serde_bytes")]
    body: &'a [u8],
    #[serde(borrow, with = "serde_bytes")]
    meta: &'a [u8],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    re: Option<ClientMessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    th: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rr: bool,
    at: Timestamp,
}

impl Plaintext {
    /// MessagePack, then Padmé padding.
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let encoded = Encoded {
            id: self.id.clone(),
            ctr: self.counter,
            void: self.void.clone(),
            sec: *self.receipt_secret.reveal(),
            from: self.from_app.clone(),
            to: self.to_app.clone(),
            kind: self.kind,
            ct: self.content_type.clone(),
            body: &self.body,
            meta: &self.meta,
            re: self.reply_to.clone(),
            th: self.thread.clone(),
            rr: self.wants_read,
            at: self.sent_at,
        };
        let size = BESIDE + self.body.len() + self.meta.len();
        let bytes = Zeroizing::new(codec::named(&encoded, size, "plaintext")?);
        Ok(padding::pad(&bytes))
    }

    /// Reads an opened box.
    ///
    /// # Errors
    /// `Malformed` for what a node of this version would not have sent.
    pub(super) fn decode(padded: &[u8]) -> Result<Self> {
        let content = padding::unpad(padded)?;
        let mut reader = rmp_serde::Deserializer::from_read_ref(content);
        reader.set_max_depth(codec::MAX_DEPTH);
        let encoded = Encoded::deserialize(&mut reader).map_err(|_| Error::Malformed("plaintext"))?;
        let counters = (encoded.ctr == 0) == encoded.kind.is_live()
            && encoded.void.len() <= MAX_VOID_RANGES
            && encoded.void.iter().all(|range| range.last < encoded.ctr);
        if !counters {
            return Err(Error::Malformed("plaintext"));
        }
        Ok(Self {
            id: encoded.id,
            counter: encoded.ctr,
            void: encoded.void,
            receipt_secret: ReceiptSecret::from_bytes(encoded.sec),
            from_app: encoded.from,
            to_app: encoded.to,
            kind: encoded.kind,
            content_type: encoded.ct,
            body: Bytes::copy_from_slice(encoded.body),
            meta: Bytes::copy_from_slice(encoded.meta),
            reply_to: encoded.re,
            thread: encoded.th,
            wants_read: encoded.rr,
            sent_at: encoded.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a later version may send: everything that a message has, and a kind of its own.
    #[derive(Serialize)]
    struct Later {
        id: &'static str,
        ctr: u64,
        #[serde(with = "serde_bytes")]
        sec: [u8; ReceiptSecret::SIZE],
        kind: &'static str,
        ct: &'static str,
        #[serde(with = "serde_bytes")]
        body: [u8; 1],
        #[serde(with = "serde_bytes")]
        meta: [u8; 0],
        at: u64,
    }

    #[test]
    fn sb_17_a_kind_of_mail_that_a_node_does_not_know_is_no_message_of_its_version() {
        let of = |ctr, kind| {
            let later = Later { id: "m-1", ctr, sec: [7; 16], kind, ct: "", body: [1], meta: [], at: 1 };
            Plaintext::decode(&padding::pad(&rmp_serde::to_vec_named(&later).unwrap()))
        };
        assert_eq!(of(1, "message").map(|text| text.kind), Ok(Kind::Message));
        assert_eq!(of(0, "request").map(|text| text.kind), Ok(Kind::Request));
        for counter in [0, 1] {
            assert_eq!(of(counter, "of_later"), Err(Error::Malformed("plaintext")));
        }
    }
}
