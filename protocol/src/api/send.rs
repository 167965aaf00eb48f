//! Sending: the request, the answer, and what became of it.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, Priority, Timestamp};

use super::Problem;
use crate::{Address, MessageId};

/// `POST /v1/send`: a message for one mailbox. Repeating a request with the same `client_message_id` is safe.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// `node` or `app@node`.
    pub to: String,
    /// The body as text. This or `body_base64`; neither is an empty body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as base64 (RFC 4648, padded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Media type of the body; `text/plain` for `body`, `application/octet-stream` for `body_base64` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `now`, `next` (default) or `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How long to try, as `30s` or `7d` (default `7d`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ClientMessageId>,
    /// Thread, at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Metadata: any JSON object, at most 16 KiB and 64 levels of nesting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
    /// The sending app. Default: the `Waxwing-App` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// The app's idempotency key. A ULID when absent here and in the `Idempotency-Key` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<ClientMessageId>,
    /// What to be told of: its arrival only (default), or also that it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptWanted>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// What a sender wants to be told of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptWanted {
    /// That it is in the recipient node's inbox.
    #[default]
    Delivered,
    /// Also that an app there has acknowledged it.
    Read,
}

/// What a message is, in the same words everywhere. None is shown before it is true.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// On this node's disk.
    Queued,
    /// On this node's disk, and handed to the broker, which has not answered yet.
    Inflight,
    /// In the broker's store.
    Accepted,
    /// In the recipient node's inbox, by its receipt.
    Delivered,
    /// Acknowledged by an app at the recipient, by its node's word.
    Read,
    /// Refused for good; the reason says why.
    Dead,
    /// Its lifetime ended before a receipt came. If the reason says that the delivery is unknown, it may have arrived: it was
    /// handed over, and the broker's answer is missing or its store lost. A receipt that comes yet makes it delivered.
    Expired,
    /// Given up by an operator.
    Aborted,
}

impl MessageState {
    /// Whether nothing more is to be expected of the message than what it is: a delivered one may still be read.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Read | Self::Dead | Self::Expired | Self::Aborted)
    }

    /// How far on the way from `queued` to `read` it is; none for the other ends.
    pub const fn rung(self) -> Option<u8> {
        match self {
            Self::Queued | Self::Inflight => Some(0),
            Self::Accepted => Some(1),
            Self::Delivered => Some(2),
            Self::Read => Some(3),
            Self::Dead | Self::Expired | Self::Aborted => None,
        }
    }

    /// The word people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Inflight => "inflight",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Aborted => "aborted",
        }
    }
}

/// Whose word a state or reason is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Voucher {
    /// This node's own knowledge.
    Node,
    /// The broker says so; nobody can check it.
    Broker,
    /// The recipient's node has proved it, by a receipt or a signature.
    Recipient,
}

/// The answer to an accepted send: 202 when it is stored here, 200 when it was already known to be at the broker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SendAnswer {
    /// The id it is bound to.
    pub client_message_id: ClientMessageId,
    /// The state now.
    pub state: MessageState,
    /// Whether the link to the broker is up at this moment.
    pub link: super::LinkState,
    /// Set when the same request had been accepted before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// What the broker calls it, once accepted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_message_id: Option<MessageId>,
    /// When the recipient's receipt came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When the recipient's read receipt came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
}

/// `POST /v1/send/batch`: up to 1,000 sends, stored in one commit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The sends, in the order they shall be delivered.
    pub items: Vec<SendRequest>,
}

/// The answer to a batch: one outcome per item, in the same order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BatchAnswer {
    /// The outcomes.
    pub items: Vec<BatchOutcome>,
}

/// One item's outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum BatchOutcome {
    /// Stored, now or before.
    Sent(SendAnswer),
    /// Refused; nothing was written for it.
    Refused(Problem),
}

/// `GET /v1/send/{id}`: which mesh, and whether to wait.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// Answer only when the state is another than now, or after this long, as `30s` (at most 60s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// With `wait`: the state that the caller knows of, so that no change between two requests is waited past. Default:
    /// what it is when asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<MessageState>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// `GET /v1/send/{id}`: one message's life.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SendStatus {
    /// The app's id.
    pub client_message_id: ClientMessageId,
    /// The mesh.
    pub mesh: Name,
    /// The recipient as it was addressed.
    pub to: Address,
    /// Sending app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// The state now.
    pub state: MessageState,
    /// Why it is dead or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Priority.
    pub priority: Priority,
    /// When it ends if it is not delivered, on this node's clock.
    pub expires_at: Timestamp,
    /// What the broker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_message_id: Option<MessageId>,
    /// How often it had to be sealed anew.
    pub seal: u32,
    /// Of an aborted one: the id it was sent under again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ClientMessageId>,
    /// Every change of state, oldest first.
    pub history: Vec<Change>,
}

/// One change of a message's state.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// The state reached.
    pub state: MessageState,
    /// When, on this node's clock.
    pub at: Timestamp,
    /// Whose word it is.
    pub by: Voucher,
}
