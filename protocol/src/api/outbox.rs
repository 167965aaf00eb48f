//! The outbox, for operators: what waits, what ended, and what to do about it.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Priority, Timestamp, WireId};

use super::{MessageState, SendStatus};
use crate::{Address, MessageId};

/// `GET /v1/outbox`: messages of this node, in the order accepted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct OutboxQuery {
    /// Only messages after this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// Most messages in the answer, 1 to 1,000 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// One page of the outbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxPage {
    /// Messages, oldest first.
    pub items: Vec<OutboxItem>,
    /// What to pass as `after` to read on; the same as asked when there was nothing.
    pub next: u64,
}

/// A message in the outbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxItem {
    /// Its row.
    pub row: u64,
    /// The app's id for it.
    pub client_message_id: ClientMessageId,
    /// The recipient as it was addressed.
    pub to: Address,
    /// Sending app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// The state now.
    pub state: MessageState,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Priority.
    pub priority: Priority,
    /// When it was accepted from the app.
    pub queued_at: Timestamp,
    /// When it ends if it is not delivered.
    pub expires_at: Timestamp,
    /// Bytes stored for it; 0 once its content is no longer kept.
    pub size: u64,
}

/// `GET /v1/outbox/{row}`: everything about one message, its content included.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxDetail {
    /// Its row.
    pub row: u64,
    /// Its life.
    #[serde(flatten)]
    pub status: SendStatus,
    /// Whether its content is no longer kept: then nothing below is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wiped: bool,
    /// Media type of the body.
    pub content_type: String,
    /// The body, if it is text (UTF-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ClientMessageId>,
    /// Thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// `POST /v1/outbox/requeue`: gives a message up and sends it again under another id, as a new message.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RequeueRequest {
    /// The message.
    pub id: String,
    /// The new one's id. A ULID when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_client_id: Option<ClientMessageId>,
    /// Another body, as text; the same as before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `POST /v1/outbox/abort`: gives a message up.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AbortRequest {
    /// The message.
    pub id: String,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// What became of a message that was given up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxAnswer {
    /// The message given up.
    pub aborted: ClientMessageId,
    /// It had left this node: it may arrive all the same.
    pub may_arrive: bool,
    /// The id it was sent under again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeued_as: Option<ClientMessageId>,
}

/// `GET /v1/send/{id}/broker`: exactly what the broker holds of one's own message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BrokerView {
    /// What it knows the message by.
    pub wire_id: WireId,
    /// What it calls it; absent if it remembers nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Recipient node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeId>,
    /// Priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The highest seal it has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<u32>,
    /// When it first accepted it, on its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// The sealed envelope's size in bytes, while it is in the recipient's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_bytes: Option<u64>,
}
