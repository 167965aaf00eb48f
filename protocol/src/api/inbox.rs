//! Reading: listing changes nothing; only an acknowledgement marks read.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Priority, Timestamp};

/// `GET /v1/inbox`: messages in the order their lanes give them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct InboxQuery {
    /// Only messages after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only messages for this app; `*` for every mailbox. Default: the default mailbox, or the `Waxwing-App` header's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Only messages from this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    /// Only messages of this thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Only messages not acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// Most messages in the answer, 1 to 1,000 (default 100). A page may end earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// If there is nothing, answer only when there is something, or after this long, as `30s` (at most 60s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// One page of the inbox.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InboxPage {
    /// Messages, oldest first.
    pub items: Vec<InboxItem>,
    /// What to pass as `after` to read on; the same as asked when there was nothing.
    pub next: u64,
}

/// A message in the inbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InboxItem {
    /// Its place in this inbox: rises with the order shown, and is what an acknowledgement names.
    pub id: u64,
    /// Sending node, by the name it has now.
    pub from: Name,
    /// Sending node.
    pub from_node: NodeId,
    /// Sending app, if it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// Receiving app; absent for the default mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// The sender's id for it.
    pub client_message_id: ClientMessageId,
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
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ClientMessageId>,
    /// Thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Priority.
    pub priority: Priority,
    /// When the sender's node accepted it, on its clock.
    pub sent_at: Timestamp,
    /// When this node stored it, on its clock.
    pub received_at: Timestamp,
    /// When it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// Set if it was passed over in its lane, and is therefore shown after messages that were sent later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// `POST /v1/inbox/ack`: marks messages read. One of `ids` and `through`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// These messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u64>>,
    /// Every message up to and including this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
    /// With `through`: only those for this app; `*` for every mailbox. Default as for the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// How many messages an acknowledgement marked; those read before are not counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AckAnswer {
    /// Newly read.
    pub acknowledged: u64,
}
