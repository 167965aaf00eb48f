//! What the records of topics say, and under which keys they stand.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::space::{KeyName, SpaceName, Stands};
use waxwing_crypto::{ClientMessageId, Name, NodeId};
use waxwing_protocol::api::TopicMessage;
use waxwing_protocol::{TopicName, TopicPattern};

use crate::content::{Content, is_content_type, is_meta};
use crate::records;
use crate::spaces::Entry;

/// The space that lists topics.
const LIST: &str = "topics";
/// Before the name of a topic: the name of its space, and its key in the list.
const TOPIC: &str = "topic:";
/// The key of messages that are kept.
const KEPT: &str = "message";
/// The key of messages for those alone who are there.
const LIVE: &str = "live";
/// The key under which each node says what its apps have subscribed to.
const WANTED: &str = "wanted";

/// A message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Says {
    /// What its app calls it.
    pub(super) id: ClientMessageId,
    /// What its app wrote.
    #[serde(flatten)]
    pub(super) content: Content,
}

/// A topic, as the list has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Listed {
    /// How long its messages are kept, in milliseconds.
    pub(super) retention: u64,
}

/// How many apps of a node have subscribed to what.
pub(super) type Wanted = Vec<(TopicPattern, u64)>;

#[expect(clippy::expect_used, reason = "a constant that is a name")]
pub(super) fn list() -> SpaceName {
    LIST.parse().expect("a name")
}

/// The space of a topic.
#[expect(clippy::expect_used, reason = "names of topics are short enough, and without control characters")]
pub(super) fn space(topic: &TopicName) -> SpaceName {
    format!("{TOPIC}{topic}").parse().expect("a name")
}

/// The key of a topic in the list.
pub(super) fn listed(topic: &TopicName) -> KeyName {
    key(&format!("{TOPIC}{topic}"))
}

/// The topic that a key of the list is about.
pub(super) fn of(key: &KeyName) -> Option<TopicName> {
    key.as_str().strip_prefix(TOPIC)?.parse().ok()
}

/// The key of a message.
pub(super) fn message(ephemeral: bool) -> KeyName {
    key(if ephemeral { LIVE } else { KEPT })
}

/// The key under which this node says what its apps have subscribed to.
pub(super) fn wanted() -> KeyName {
    key(WANTED)
}

#[expect(clippy::expect_used, reason = "short, and without control characters")]
fn key(name: &str) -> KeyName {
    name.parse().expect("a name")
}

/// As a record's value.
#[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
pub(super) fn encode(says: &impl Serialize) -> Bytes {
    rmp_serde::to_vec_named(says).expect("encodes").into()
}

/// A message, as apps see it. None for what is none, or is of a later version.
pub(super) fn shown(
    topic: &TopicName,
    entry: &Entry,
    name: impl Fn(&NodeId) -> Option<Name>,
) -> Option<TopicMessage> {
    let ephemeral = is_live(entry);
    if entry.stands != Stands::Appended || !(ephemeral || entry.key.as_str() == KEPT) {
        return None;
    }
    let Says { id, content } = records::decode(&entry.value)?;
    if !is_content_type(&content.content_type) || !is_meta(&content.meta) {
        return None;
    }
    let (body, body_base64) = content.shown_body();
    let meta = content.shown_meta();
    Some(TopicMessage {
        topic: topic.clone(),
        seq: entry.seq,
        client_message_id: id,
        from: name(&entry.writer)?,
        from_node: entry.writer,
        from_app: entry.app.clone(),
        at: entry.at,
        expires: entry.expires,
        ephemeral,
        content_type: content.content_type,
        body,
        body_base64,
        meta,
    })
}

/// Whether a message is for those alone who are there.
pub(super) fn is_live(entry: &Entry) -> bool {
    entry.key.as_str() == LIVE
}

/// What the list says of a topic. None for what says nothing of one.
pub(super) fn listing(entry: &Entry) -> Option<(TopicName, Listed)> {
    let topic = of(&entry.key).filter(|_| entry.stands == Stands::Shared)?;
    Some((topic, records::decode(&entry.value)?))
}

/// What a node says that its apps have subscribed to. Each speaks for itself.
pub(super) fn wants(entry: &Entry) -> Option<Wanted> {
    let own = entry.stands == Stands::Own && entry.key.as_str() == WANTED;
    records::decode(&entry.value).filter(|_| own)
}

/// A message that is shown, written again as it was read.
pub(crate) fn message_again(entry: &Entry) -> Option<Bytes> {
    shown(&"topic".parse().ok()?, entry, |_| "node".parse().ok())?;
    records::decode::<Says>(&entry.value).map(|says| encode(&says))
}

/// What the list says of a topic, written again.
pub(crate) fn listing_again(entry: &Entry) -> Option<Bytes> {
    listing(entry).map(|(_, listed)| encode(&listed))
}

/// What a node says that its apps have subscribed to, written again.
pub(crate) fn wanted_again(entry: &Entry) -> Option<Bytes> {
    wants(entry).map(|wanted| encode(&wanted))
}
