//! What happens, as it happens: a stream that can be resumed exactly where it was left.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Timestamp};

use super::{
    Author, CancelReason, Category, InboxItem, KvChange, LeaseEnd, LeaseNews, LinkState, MessageState,
    RequestItem,
};
use crate::RegistrationId;

/// `GET /v1/events`: server-sent events (`text/event-stream`). Each has the cursor as `id`, its kind as `event`, and an
/// [`Event`] as `data`. The first `id` comes alone and says where the stream begins. A client that reconnects sends the last
/// `id` as `Last-Event-ID` and misses nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Begin after this cursor. Default: `Last-Event-ID`, else with what happens from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only what is for this app; `*` for everything. Default: the `Waxwing-App` header's, else the default mailbox.
    /// What concerns the whole node is for every app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Only these kinds, separated by commas. Requests and their cancels are given only to a stream that asks for `request`, and
    /// registers its app: each to one of them, in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `1`: the app is registered for as long as the stream is open, and a few seconds longer, for it to come back. What more
    /// is to be said about the app is said by `PUT /v1/apps/{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<u8>,
    /// With `register`: the registration held, made up by the caller or told in an answer: a stream that comes back with it
    /// goes on where it was. Default: a new one, told in the header `Waxwing-Registration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationId>,
    /// With `register`: which of several apps of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// With `register`: `1` takes the name from whoever has it; he is told `superseded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<u8>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its place in the stream. Messages have the same number as in the inbox.
    pub cursor: u64,
    /// When, on this node's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// A message is in the inbox.
    Message {
        /// As the inbox shows it.
        message: Box<InboxItem>,
    },
    /// A message of this node has been delivered, or read.
    Receipt {
        /// Which.
        client_message_id: ClientMessageId,
        /// `delivered` or `read`.
        state: MessageState,
    },
    /// An app elsewhere, or of this node, waits for an answer from this stream's app: see `POST /v1/reply`. Given live to this stream
    /// alone, and not again: it takes no place of its own among events.
    Request {
        /// What it asks.
        request: Box<RequestItem>,
    },
    /// Nobody waits any more for the answer to a request that this stream was given.
    Cancel {
        /// Which.
        request: ClientMessageId,
        /// Why.
        reason: CancelReason,
    },
    /// A node is online.
    PeerJoin {
        /// Its name.
        node: Name,
        /// Its id.
        id: NodeId,
    },
    /// A node is not online any more.
    PeerLeave {
        /// Its name.
        node: Name,
        /// Its id.
        id: NodeId,
        /// Why; absent if that is not known, as after a loss of the broker's store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeaveReason>,
    },
    /// An app of another node is registered.
    AppJoin {
        /// Its name.
        app: Name,
        /// Which of several of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<Name>,
        /// Its node's name.
        node: Name,
        /// Its node's id.
        id: NodeId,
    },
    /// An app of another node is not registered any more.
    AppLeave {
        /// Its name.
        app: Name,
        /// Which of several of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<Name>,
        /// Its node's name.
        node: Name,
        /// Its node's id.
        id: NodeId,
        /// Why, as with a node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeaveReason>,
    },
    /// A key of shared state has changed. Of several changes that come together, the last is told. Told only at nodes where an
    /// app has used state.
    State {
        /// What was done.
        change: KvChange,
        /// Where the key is valid: `mesh`.
        scope: String,
        /// The key.
        key: String,
        /// Of what was set: what it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<Category>,
        /// Of what was set: the version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// Of what was set: who has done it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
    },
    /// The link to the broker came up, went down, or was stopped for good.
    BrokerStatus {
        /// What it is now.
        state: LinkState,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A message of this node ended without being delivered, or its recipient keeps refusing it.
    Outbox {
        /// Which.
        client_message_id: ClientMessageId,
        /// What it is now.
        state: MessageState,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Something about a lease of an app of this node.
    Lease {
        /// What.
        what: LeaseNews,
        /// What it is of.
        name: String,
        /// Its token.
        token: u64,
        /// The app.
        app: Name,
        /// Which of several of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<Name>,
        /// When `granted` or `expiring`: milliseconds for which the app certainly has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remaining: Option<u64>,
        /// When `lost`: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeaseEnd>,
    },
    /// Something about a claim of an app of this node.
    Claim {
        /// What: `expiring` or `lost`.
        what: LeaseNews,
        /// What it is on.
        key: String,
        /// Its token.
        token: u64,
        /// The app.
        app: Name,
        /// Which of several of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<Name>,
        /// When `expiring`: milliseconds for which the app certainly has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remaining: Option<u64>,
        /// When `lost`: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeaseEnd>,
    },
    /// Something that an honest peer and broker would not do.
    Security {
        /// What: `sequence_gap`, `sequence_replay`, `bad_seal`; `log_mismatch`, `log_withheld`, `log_rollback`: see
        /// [`Alarm`](super::Alarm), and `alarm_over`: the end of one; `resume_wanted`: the broker has lost its store;
        /// `log_resumed`: an admin has said that another log than the one held here is right; `node_duplicated`: the
        /// broker has refused a copy of this member's state; `state_keys_forged`: the broker has handed out state keys that
        /// no admin made for this node; `state_keys_wrong`, `state_keys_differ`: an admin's node has made some that do not
        /// hold, or that are not those held here; `space_forged`, `space_replay`, `space_condition`, `space_ended`: a record of a space, or
        /// its end, was refused: its writer has not written it there, it was there before, what it was to follow did not stand
        /// there, it cannot have ended; `space_fork`: the broker has shown others another record at a place; `space_rollback`: it
        /// shows an older state of a space than before.
        what: String,
        /// Who seems to have done it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// For people.
        detail: String,
    },
    /// What this stream asked for is no longer kept: it goes on after `cursor`, and messages are still in the inbox.
    Lagged,
    /// The node itself.
    System {
        /// What: `started`; `broker_store_lost`: what the broker had is sent again; `space_damaged`:
        /// records of a space on this node's disk cannot be read, and are not shown; `outbox_high`: four fifths of what the outbox
        /// may hold are in it, and `outbox_low`: less than seven tenths are again; `disk_full`: the disk was full, so that nothing
        /// was stored, and has room again; `superseded`: another has taken the place
        /// of this stream's app, and the stream ends; `unregistered`: somebody has ended its registration, and the stream goes on.
        what: String,
    },
}

/// Why somebody is not there any more. The broker's word, but for `unregistered`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// Its node has said so, or is no member any more.
    Goodbye,
    /// Nothing was heard of its node for the time of a lease.
    Silent,
    /// Its node has taken it off the list.
    Unregistered,
}

impl LeaveReason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Silent => "silent",
            Self::Unregistered => "unregistered",
        }
    }
}

/// What a [`EventBody::Security`] may be about, so far.
pub const SECURITY: [&str; 19] = [
    "sequence_gap",
    "sequence_replay",
    "bad_seal",
    "log_mismatch",
    "log_withheld",
    "log_rollback",
    "alarm_over",
    "resume_wanted",
    "log_resumed",
    "node_duplicated",
    "state_keys_forged",
    "state_keys_wrong",
    "state_keys_differ",
    "space_forged",
    "space_replay",
    "space_condition",
    "space_ended",
    "space_fork",
    "space_rollback",
];

/// What a hook is given on its standard input: an event, and the mesh in which it happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HookInput {
    /// The mesh.
    pub mesh: Name,
    /// As streams show it.
    #[serde(flatten)]
    pub event: Event,
}

/// The kinds, for filters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// See [`EventBody::Message`].
    Message,
    /// See [`EventBody::Receipt`].
    Receipt,
    /// See [`EventBody::Request`].
    Request,
    /// See [`EventBody::Cancel`].
    Cancel,
    /// See [`EventBody::PeerJoin`].
    PeerJoin,
    /// See [`EventBody::PeerLeave`].
    PeerLeave,
    /// See [`EventBody::AppJoin`].
    AppJoin,
    /// See [`EventBody::AppLeave`].
    AppLeave,
    /// See [`EventBody::State`].
    State,
    /// See [`EventBody::BrokerStatus`].
    BrokerStatus,
    /// See [`EventBody::Outbox`].
    Outbox,
    /// See [`EventBody::Lease`].
    Lease,
    /// See [`EventBody::Claim`].
    Claim,
    /// See [`EventBody::Security`].
    Security,
    /// See [`EventBody::Lagged`].
    Lagged,
    /// See [`EventBody::System`].
    System,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Message,
        Self::Receipt,
        Self::Request,
        Self::Cancel,
        Self::PeerJoin,
        Self::PeerLeave,
        Self::AppJoin,
        Self::AppLeave,
        Self::State,
        Self::BrokerStatus,
        Self::Outbox,
        Self::Lease,
        Self::Claim,
        Self::Security,
        Self::Lagged,
        Self::System,
    ];

    /// The word in `event:` and in filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Receipt => "receipt",
            Self::Request => "request",
            Self::Cancel => "cancel",
            Self::PeerJoin => "peer_join",
            Self::PeerLeave => "peer_leave",
            Self::AppJoin => "app_join",
            Self::AppLeave => "app_leave",
            Self::State => "state",
            Self::BrokerStatus => "broker_status",
            Self::Outbox => "outbox",
            Self::Lease => "lease",
            Self::Claim => "claim",
            Self::Security => "security",
            Self::Lagged => "lagged",
            Self::System => "system",
        }
    }
}

impl EventBody {
    /// What kind it is.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Message { .. } => EventKind::Message,
            Self::Receipt { .. } => EventKind::Receipt,
            Self::Request { .. } => EventKind::Request,
            Self::Cancel { .. } => EventKind::Cancel,
            Self::PeerJoin { .. } => EventKind::PeerJoin,
            Self::PeerLeave { .. } => EventKind::PeerLeave,
            Self::AppJoin { .. } => EventKind::AppJoin,
            Self::AppLeave { .. } => EventKind::AppLeave,
            Self::State { .. } => EventKind::State,
            Self::BrokerStatus { .. } => EventKind::BrokerStatus,
            Self::Outbox { .. } => EventKind::Outbox,
            Self::Lease { .. } => EventKind::Lease,
            Self::Claim { .. } => EventKind::Claim,
            Self::Security { .. } => EventKind::Security,
            Self::Lagged => EventKind::Lagged,
            Self::System { .. } => EventKind::System,
        }
    }
}
