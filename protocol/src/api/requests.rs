//! Requests: an app asks another and waits for its one answer.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Timestamp};

/// `POST /v1/request`: asks whoever serves an app, and waits for the answer. With `Accept: text/event-stream` the answer is a
/// stream: a [`CallProgress`] each as `progress`, then the [`CallAnswer`] as `reply` or a [`Problem`](super::Problem) as `problem`.
/// Closing the connection cancels the request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// `app@node`.
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
    /// Metadata: any JSON object, at most 16 KiB and 64 levels of nesting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<serde_json::Map<String, serde_json::Value>>,
    /// How long to wait for the answer, as `30s` (default) or `10m` (the longest). Whoever answers is told until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A name to cancel it by, of the caller's own: no other request of his that is under way has it. Default: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ClientMessageId>,
    /// The asking app. Default: the `Waxwing-App` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// The answer to a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallAnswer {
    /// The request, as the caller named it.
    pub request: ClientMessageId,
    /// The node that answers.
    pub from: Name,
    /// The app that answers.
    pub app: Name,
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
    /// Milliseconds from the request to this.
    pub took_ms: u64,
}

/// A note on the way to an answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallProgress {
    /// The request, as the caller named it.
    pub request: ClientMessageId,
    /// Which note, from 1. One that is missing was dropped, because this stream was not read in time.
    pub number: u64,
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

/// `POST /v1/request/cancel`: nobody waits for the answer any more. Whoever waited is told `cancelled`, whoever serves it too.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// As the caller named it.
    pub request: ClientMessageId,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A request for an app of this node, as its stream is given it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RequestItem {
    /// What the reply names. Only this stream has been told it.
    pub id: ClientMessageId,
    /// Asking node, by the name it has now.
    pub from: Name,
    /// Asking node.
    pub from_node: NodeId,
    /// Asking app, if it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_app: Option<Name>,
    /// The app asked.
    pub app: Name,
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
    /// Whether whoever asks looks at progress. Where he does not, it is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
    /// Until when he waits, on this node's clock.
    pub deadline: Timestamp,
}

/// Why nobody waits for an answer any more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Whoever asked has said so, or has gone.
    Cancelled,
    /// Its deadline has passed.
    Timeout,
}

impl CancelReason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
        }
    }
}

/// `POST /v1/reply`: answers a request that this app's stream was given, or refuses it, or tells how it goes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplyRequest {
    /// The request, by the id in its event.
    pub request: ClientMessageId,
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
    /// There is no answer, and this is why. In the place of a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyError>,
    /// This is a note on the way, not the answer: at most 1,000 of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

impl ReplyRequest {
    /// An empty answer to a request.
    pub const fn to(request: ClientMessageId) -> Self {
        Self {
            request,
            body: None,
            body_base64: None,
            content_type: None,
            meta: None,
            error: None,
            progress: false,
            mesh: None,
        }
    }
}

/// Why an app does not answer a request: whoever asked gets a [`Problem`](super::Problem) with the code `refused`, `code` as its
/// `reason` and `message` as its `detail`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplyError {
    /// A word of the app's own, for programs: at most 64 bytes of `[a-z0-9_-]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people: at most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
