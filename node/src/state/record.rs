//! What is written in the space `state`: which key a record is of, and what it says.

use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::space::{KeyName, Stands};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Timestamp};
use waxwing_protocol::api::Category;
use waxwing_protocol::limits;

use crate::records;
use crate::spaces::Entry;

/// The space that all of it is in.
pub(super) const SPACE: &str = "state";
/// What the key of the version that stands begins with: its scope is the mesh.
const NOW: &str = "now:mesh/";
/// What the key of a version of before begins with; behind it comes which of the places for those.
const PAST: &str = "past:mesh/";

/// A key of shared state: text without control characters, compared byte by byte.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key(String);

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=limits::STATE_KEY).contains(&text.len()) && !text.contains(char::is_control);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("a key is 1 to 256 bytes without control characters")
        }
    }
}

impl Key {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the version that stands is.
    pub(super) fn now(&self) -> KeyName {
        name(&format!("{NOW}{}", self.0))
    }

    /// Where a version of before is: in one of so many places in turn.
    pub(super) fn past(&self, version: u64) -> KeyName {
        let places = limits::STATE_VERSIONS as u64;
        name(&format!("{PAST}{:02}/{}", version % places, self.0))
    }

    /// All places for versions of before.
    pub(super) fn places(&self) -> Vec<KeyName> {
        (0..limits::STATE_VERSIONS as u64).map(|place| self.past(place)).collect()
    }

    /// The key of which a record is the version that stands, if it is one: anybody may replace it, and nothing but time ends it.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let stands = entry.stands == Stands::Shared && entry.bound.is_none();
        entry.key.as_str().strip_prefix(NOW).filter(|_| stands)?.parse().ok()
    }
}

#[expect(clippy::expect_used, reason = "a key has neither control characters nor 1,024 bytes")]
fn name(text: &str) -> KeyName {
    text.parse().expect("a short name")
}

/// Who has said something.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct By {
    pub(crate) node: NodeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Name>,
}

/// What the record of a version says. Who has written it, and which version it is, the space says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Says {
    pub(crate) value: Bytes,
    pub(crate) category: Category,
    /// Of the app that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Name>,
    /// Nothing stood there.
    pub(crate) first: bool,
    /// Who began, as everybody after him hands on: what is of another beginning is not of this key's history.
    pub(crate) created_by: By,
    pub(crate) created_at: Timestamp,
    /// What the app called its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<ClientMessageId>,
}

/// A version of a key. As the value of a record: one of before, as whoever replaced it has kept it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Version {
    pub(crate) version: u64,
    /// Its place.
    pub(crate) seq: u64,
    pub(crate) by: By,
    pub(crate) at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    pub(crate) says: Says,
}

impl Version {
    /// The version that a record is, if what it says can be read.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let says: Says = records::decode(&entry.value)?;
        let by = By { node: entry.writer, app: entry.app.clone(), instance: says.instance.clone() };
        let Entry { seq, version, at, expires, .. } = *entry;
        Some(Self { version, seq, by, at, expires, says })
    }

    /// One of before, if it can be read.
    pub(super) fn kept(entry: &Entry) -> Option<Self> {
        records::decode(&entry.value)
    }

    /// As it is called, and as nothing else is.
    pub(crate) fn etag(&self) -> String {
        format!("{}-{}", self.version, self.seq)
    }

    /// Whether both are of the same life of their key.
    pub(super) fn is_of_one_life_with(&self, other: &Self) -> bool {
        let began = |version: &Self| (version.says.created_by.clone(), version.says.created_at);
        began(self) == began(other)
    }
}

/// What a record of the version that stands says, written again.
pub(crate) fn again(entry: &Entry) -> Option<Bytes> {
    Key::of(entry)?;
    Version::of(entry).map(|version| encode(&version.says))
}

/// The same of one of before.
pub(crate) fn kept_again(entry: &Entry) -> Option<Bytes> {
    Version::kept(entry).map(|version| encode(&version))
}

/// As a record's value.
#[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
pub(super) fn encode(value: &impl Serialize) -> Bytes {
    rmp_serde::to_vec_named(value).expect("encodes").into()
}
