//! State that a mesh shares: values under keys, each with a version.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, NodeId, Timestamp};

/// `PUT /v1/kv/{scope}/{key}`: says what stands under a key from now on.
///
/// The scope is `mesh`. A key is 1 to 256 bytes of text without control characters; a `/` in it is written `%2F`. The header
/// `If-Match` with an etag, or with a version, makes the change only where that stands; `If-None-Match: *` only where nothing
/// does. Repeated under the same `Idempotency-Key`, it is made once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KvPut {
    /// The value as text: 1 byte to 252 KiB. Either this or `value_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value as bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// What it is. Default: as it was; `context` of a new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// How long it stands, as `30m` (1s to 366d). Default: until it is replaced or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Something that was decided.
    Decision,
    /// How things are done.
    Convention,
    /// Something that was found out.
    Discovery,
    /// Something that is in the way.
    Blocker,
    /// Whatever else there is to know.
    #[default]
    Context,
}

impl Category {
    /// Every word.
    pub const ALL: [Self; 5] =
        [Self::Decision, Self::Convention, Self::Discovery, Self::Blocker, Self::Context];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Convention => "convention",
            Self::Discovery => "discovery",
            Self::Blocker => "blocker",
            Self::Context => "context",
        }
    }
}

impl std::str::FromStr for Category {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|word| word.as_str() == text);
        found.ok_or("it is decision, convention, discovery, blocker or context")
    }
}

/// Who has said something that a mesh shares.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Author {
    /// The node's name; absent if it never was a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// The node's id.
    pub node_id: NodeId,
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// Which of several of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
}

/// A key, and what is known of it beside its value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvKey {
    /// Where it is valid: `mesh`.
    pub scope: String,
    /// The key.
    pub key: String,
    /// What its value is.
    pub category: Category,
    /// How many times something was put there. It goes on behind a deletion, and counts from 1 again behind an end by `ttl`.
    pub version: u64,
    /// This version, as nothing else is ever called: for `If-Match`.
    pub etag: String,
    /// Who has put the first version there, as whoever came after him says.
    pub created_by: Author,
    /// When, on the clock of the node that did.
    pub created_at: Timestamp,
    /// Who has put this version there: his node has signed it.
    pub updated_by: Author,
    /// When, on the broker's clock.
    pub updated_at: Timestamp,
    /// When it ends by itself, on the broker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A key and its value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvEntry {
    /// The key.
    #[serde(flatten)]
    pub key: KvKey,
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// What a put has done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KvState {
    /// Nothing stood there.
    Created,
    /// It has taken the place of another version.
    Updated,
}

impl KvState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
        }
    }
}

/// Answers `PUT /v1/kv/{scope}/{key}`, with the etag in the header `ETag` too.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvPutAnswer {
    /// What was done.
    pub state: KvState,
    /// It was done before, under the same `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The key as it is now.
    #[serde(flatten)]
    pub key: KvKey,
}

/// Answers `GET /v1/kv/{scope}/{key}`, with the etag in the header `ETag` too.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvAnswer {
    /// The key and its value.
    #[serde(flatten)]
    pub entry: KvEntry,
    /// The mesh.
    pub mesh: Name,
    /// It is so now: there is a link.
    pub current: bool,
    /// When it was so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// Parameters of `GET /v1/kv/{scope}`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct KvQuery {
    /// Only keys that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only values of this category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Only keys behind this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many (1 to 1,000, default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// Keys in the order of their bytes, with their values.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvPage {
    /// The mesh.
    pub mesh: Name,
    /// The keys.
    pub entries: Vec<KvEntry>,
    /// There are more behind this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// It is so now: there is a link.
    pub current: bool,
    /// When it was so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// Answers `GET /v1/kv/{scope}/{key}/history`: the last 16 versions at most, the newest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KvHistory {
    /// The mesh.
    pub mesh: Name,
    /// The versions. Those before the newest are as whoever replaced them has kept them.
    pub versions: Vec<KvEntry>,
    /// It is so now: there is a link.
    pub current: bool,
    /// When it was so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// What has become of a key, in events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KvChange {
    /// Something was put there.
    Set,
    /// It was deleted.
    Deleted,
    /// Its `ttl` was over.
    Expired,
}

impl KvChange {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        }
    }
}
