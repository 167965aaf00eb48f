//! The encrypted part of a message's row, in outbox and inbox alike: what an app wrote.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use waxwing_crypto::storage::{Place, StorageKeys};
use waxwing_crypto::{ClientMessageId, NodeId};
use waxwing_protocol::limits;
use zeroize::Zeroizing;

/// What is encoded beside body and metadata takes mostly less, in bytes.
const BESIDE: usize = 512;

/// What an app wrote.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Content {
    /// Media type of the body.
    #[serde(rename = "ct")]
    pub(crate) content_type: String,
    /// The body.
    pub(crate) body: Bytes,
    /// Metadata as canonical JSON; empty when absent.
    pub(crate) meta: Bytes,
    /// The message that this one answers.
    #[serde(rename = "re", default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<ClientMessageId>,
    /// Thread. In the inbox it has a column of its own, for queries.
    #[serde(rename = "th", default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread: Option<String>,
}

impl Content {
    /// The body as apps see it: as text if it is text (UTF-8), else as base64.
    pub(crate) fn shown_body(&self) -> (Option<String>, Option<String>) {
        match std::str::from_utf8(&self.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&self.body))),
        }
    }

    /// The metadata as apps see it.
    pub(crate) fn shown_meta(&self) -> Option<Meta> {
        if self.meta.is_empty() { None } else { serde_json::from_slice(&self.meta).ok() }
    }

    /// Encrypts for an outbox row.
    pub(crate) fn seal_outgoing(&self, keys: &StorageKeys, id: &ClientMessageId) -> Vec<u8> {
        self.seal(keys, outgoing(id))
    }

    /// Decrypts an outbox row.
    pub(crate) fn open_outgoing(
        keys: &StorageKeys,
        id: &ClientMessageId,
        sealed: &[u8],
    ) -> waxwing_crypto::Result<Self> {
        Self::open(keys, outgoing(id), sealed)
    }

    /// Encrypts for an inbox row.
    pub(crate) fn seal_incoming(&self, keys: &StorageKeys, sender: &NodeId, id: &ClientMessageId) -> Vec<u8> {
        self.seal(keys, incoming(&row(sender, id)))
    }

    /// Decrypts an inbox row.
    pub(crate) fn open_incoming(
        keys: &StorageKeys,
        sender: &NodeId,
        id: &ClientMessageId,
        sealed: &[u8],
    ) -> waxwing_crypto::Result<Self> {
        Self::open(keys, incoming(&row(sender, id)), sealed)
    }

    #[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
    fn seal(&self, keys: &StorageKeys, place: Place<'_>) -> Vec<u8> {
        // Grown into what it takes, it would be copied several times, and its copies not wiped.
        let mut plain = Zeroizing::new(Vec::with_capacity(BESIDE + self.body.len() + self.meta.len()));
        self.serialize(&mut rmp_serde::Serializer::new(&mut *plain).with_struct_map()).expect("encodes");
        keys.seal(&mut crate::rng(), place, &plain)
    }

    fn open(keys: &StorageKeys, place: Place<'_>, sealed: &[u8]) -> waxwing_crypto::Result<Self> {
        let plain = keys.open(place, sealed)?;
        rmp_serde::from_slice(&plain).map_err(|_| waxwing_crypto::Error::Malformed("content"))
    }
}

/// A JSON object.
type Meta = serde_json::Map<String, Value>;

// What no app here may write is not taken from others either: apps would be shown less than was sent, or more than they bargained for.

/// Whether this can be the media type of what an app has written.
pub(crate) fn is_content_type(text: &str) -> bool {
    (1..=limits::CONTENT_TYPE).contains(&text.len()) && !text.contains(char::is_control)
}

/// Whether this can be a thread.
pub(crate) fn is_thread(text: &str) -> bool {
    (1..=limits::THREAD).contains(&text.len())
}

/// Whether this is metadata, or none.
pub(crate) fn is_meta(bytes: &[u8]) -> bool {
    bytes.is_empty() || serde_json::from_slice::<Meta>(bytes).is_ok_and(|meta| is_shallow(&meta))
}

/// What whoever writes metadata that is not shallow is told.
pub(crate) const TOO_DEEP: &str = "meta is nested too deep: it may have 64 levels";

/// Whether metadata can be read wherever it is shown: one object that is nested too deep makes its whole list unreadable.
pub(crate) fn is_shallow(meta: &Meta) -> bool {
    meta.values().all(|value| is_within(value, limits::META_DEPTH - 1))
}

/// Whether a value has at most so many levels.
fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| is_within(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn outgoing(id: &ClientMessageId) -> Place<'_> {
    Place { table: "outbox", column: "content", row: id.as_str().as_bytes() }
}

fn incoming(row: &[u8]) -> Place<'_> {
    Place { table: "inbox", column: "content", row }
}

/// An inbox row's key: the sender has a fixed length, so no two keys are alike.
fn row(sender: &NodeId, id: &ClientMessageId) -> Vec<u8> {
    [&sender.as_bytes()[..], id.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object with so many levels, every other one a list.
    fn nested(levels: usize) -> String {
        let (mut begins, mut ends) = (String::new(), String::new());
        for level in 0..levels {
            begins.push_str(if level % 2 == 0 { r#"{"a":"# } else { "[" });
            ends.insert(0, if level % 2 == 0 { '}' } else { ']' });
        }
        format!("{begins}1{ends}")
    }

    #[test]
    fn metadata_is_an_object_that_is_nested_no_deeper_than_its_readers_follow() {
        for levels in [1, 2, limits::META_DEPTH - 1, limits::META_DEPTH] {
            assert!(is_meta(nested(levels).as_bytes()), "{levels}");
            let listed = format!(r#"{{"messages":[{{"meta":{}}}]}}"#, nested(levels));
            assert!(serde_json::from_str::<Value>(&listed).is_ok());
        }
        for levels in [limits::META_DEPTH + 1, limits::META_DEPTH + 2, 120, 5_000] {
            assert!(!is_meta(nested(levels).as_bytes()), "{levels}");
        }
        assert!(TOO_DEEP.contains(&limits::META_DEPTH.to_string()));
        assert!(is_meta(b"") && !is_meta(b"[1]") && !is_meta(b"1") && !is_meta(b"{"));
    }
}
