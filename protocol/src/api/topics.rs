//! Topics: messages for whoever has subscribed, kept for a while, with a durable cursor for each app.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Timestamp};

use crate::{TopicName, TopicPattern};

/// `POST /v1/topics/publish`: a message for all who have subscribed. Repeating a request with the same id is safe.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The topic.
    pub topic: TopicName,
    /// The body as text. This or `body_base64`; neither is an empty body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as base64 (RFC 4648, padded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Media type of the body; `text/plain` for `body`, `application/octet-stream` for `body_base64` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Metadata: any JSON object, at most 16 KiB and 64 levels of nesting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
    /// For those alone whose stream is open: it is no part of the history, and nobody gets it later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// The app's idempotency key. A ULID when absent here and in the `Idempotency-Key` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<ClientMessageId>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// It is in the broker's store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PublishAnswer {
    /// The topic.
    pub topic: TopicName,
    /// Its place in the topic: rises. Absent for a duplicate of a message that is not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What its app calls it.
    pub client_message_id: ClientMessageId,
    /// The same message was published before: nothing was added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Who has subscribed, as far as this node knows.
    pub subscribers: Subscribers,
}

/// How many have subscribed to a topic. That somebody has says nothing of whether he reads.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Subscribers {
    /// Apps of this node.
    pub here: u64,
    /// Those of them that have a stream open.
    pub connected: u64,
    /// Apps of other nodes, by their nodes' word. Absent while this node does not know how things are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<u64>,
}

/// Where a new subscription begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// With what is published from now on. It takes a link, and copies that are complete.
    #[default]
    Now,
    /// With all that is kept.
    Earliest,
}

/// `POST /v1/topics/subscribe`: from now on the node keeps for this app what is published, whether the app runs or not.
/// Subscribing again to the same pattern changes only `no_echo`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SubscribeRequest {
    /// A topic, or all behind a last `*`. Topics that are made later are meant too.
    pub pattern: TopicPattern,
    /// Where to begin: `now` (default) or `earliest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StartFrom>,
    /// Where to begin, in one topic: behind this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Without what this app has published itself, at this node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_echo: bool,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A subscription.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Subscription {
    /// What to.
    pub pattern: TopicPattern,
    /// Without what the app has published itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_echo: bool,
    /// Since when, on this node's clock.
    pub since: Timestamp,
}

/// What has become of a request to subscribe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SubscribeAnswer {
    /// Whose it is.
    pub app: Name,
    /// It was not there before.
    pub new: bool,
    /// As it is now.
    #[serde(flatten)]
    pub subscription: Subscription,
    /// The topics that it means at the moment, by name.
    pub topics: Vec<TopicName>,
}

/// `POST /v1/topics/unsubscribe`: the pattern goes, and the cursors that nothing else of the app's needs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeRequest {
    /// As it was subscribed to.
    pub pattern: TopicPattern,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `GET /v1/topics/subscriptions`, of the calling app.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Subscriptions {
    /// Whose.
    pub app: Name,
    /// By pattern.
    pub subscriptions: Vec<Subscription>,
    /// How far it has come in each topic that they mean, by topic.
    pub cursors: Vec<TopicCursor>,
    /// Messages that were passed over, the newest first, at most 100.
    pub dead: Vec<DeadMessage>,
    /// Copies are complete, and the counts with them.
    pub current: bool,
}

/// How far an app has come in a topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopicCursor {
    /// The topic.
    pub topic: TopicName,
    /// Everything up to here is acknowledged; 0 for nothing.
    pub acknowledged: u64,
    /// Messages behind it.
    pub pending: u64,
    /// Messages that ended before they were acknowledged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

/// A message that was handed over again and again, was never acknowledged, and was passed over. It is in the history as long
/// as others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeadMessage {
    /// The topic.
    pub topic: TopicName,
    /// Its place.
    pub seq: u64,
    /// How often it was handed over.
    pub tries: u32,
    /// When it was passed over, on this node's clock.
    pub at: Timestamp,
}

/// `GET /v1/topics/stream`: server-sent events. Each has its kind as `event`, and a [`TopicEvent`] as `data`. A stream begins
/// behind what the app has acknowledged; what is not acknowledged in time comes again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct TopicStreamQuery {
    /// Only topics that this means too. Default: all that the app has subscribed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", param(value_type = Option<String>))]
    pub pattern: Option<TopicPattern>,
    /// What was handed over and not acknowledged comes again after this long: `1s` to `1h` (default `60s`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeliver: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A message of a topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopicMessage {
    /// The topic.
    pub topic: TopicName,
    /// Its place there: rises, and is what an acknowledgement names.
    pub seq: u64,
    /// What its app calls it: the same when it comes again.
    pub client_message_id: ClientMessageId,
    /// The node that published it, by the name it has now. Its signature was checked.
    pub from: Name,
    /// Its id.
    pub from_node: NodeId,
    /// The app that published it, by its node's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// When the broker took it, on the broker's clock.
    pub at: Timestamp,
    /// Until when it is kept, on the broker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// It is for those alone whose stream is open, and need not be acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// Media type of the body.
    pub content_type: String,
    /// The body, if it is text (UTF-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What a stream of topics says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TopicEvent {
    /// A message.
    Message(Box<TopicMessage>),
    /// Messages have ended before the app acknowledged them. Told until something behind them is acknowledged.
    Lagged {
        /// Where.
        topic: TopicName,
        /// How many.
        missed: u64,
    },
    /// A message was handed over as often as one is, and is passed over from now on.
    Dead(DeadMessage),
}

impl TopicEvent {
    /// The word in `event:`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Lagged { .. } => "lagged",
            Self::Dead(_) => "dead",
        }
    }
}

/// `POST /v1/topics/ack`: the app has dealt with everything in a topic up to a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TopicAckRequest {
    /// The topic.
    pub topic: TopicName,
    /// The place of the last message.
    pub through: u64,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// How far the app has come now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopicAckAnswer {
    /// The topic.
    pub topic: TopicName,
    /// Everything up to here is acknowledged.
    pub acknowledged: u64,
    /// Something was that was not before.
    pub advanced: bool,
}

/// `GET /v1/topics/history`: what is kept of a topic. It changes nothing, and takes no subscription.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// The topic.
    #[cfg_attr(feature = "schema", param(value_type = String))]
    pub topic: TopicName,
    /// Only messages behind this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only so many of the newest, in place of `after` and `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
    /// Most messages in the answer, 1 to 1,000 (default 100). A page may end earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A part of a topic's history.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopicHistory {
    /// Messages, oldest first.
    pub items: Vec<TopicMessage>,
    /// What to pass as `after` to read on.
    pub next: u64,
    /// There is a link, and this is how things are.
    pub current: bool,
    /// When that was so last, on this node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// `GET /v1/topics`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct TopicsQuery {
    /// Only these. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", param(value_type = Option<String>))]
    pub pattern: Option<TopicPattern>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// The topics of a mesh.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topics {
    /// The mesh.
    pub mesh: Name,
    /// By name.
    pub topics: Vec<Topic>,
    /// There is a link, and this is how things are.
    pub current: bool,
    /// When that was so last, on this node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// A topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topic {
    /// Its name.
    pub topic: TopicName,
    /// How long its messages are kept, in milliseconds.
    pub retention_ms: u64,
    /// Messages in this node's copy. Absent if it has none: nobody here has published, subscribed or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// Who has subscribed, as far as this node knows.
    pub subscribers: Subscribers,
}

/// `POST /v1/topics/retention`: how long a topic keeps its messages, those published from now on. Makes the topic if need be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// The topic.
    pub topic: TopicName,
    /// As `12h` or `7d`: `1m` to `30d`.
    pub retention: String,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
