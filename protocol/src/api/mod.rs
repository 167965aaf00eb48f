//! The local API: what an app and its node say to each other, HTTP/1.1 and JSON over the node's Unix socket.
//!
//! | route | in | out |
//! |---|---|---|
//! | `GET /v1/version` | | [`Version`] |
//! | `GET /v1/health` | | [`Health`] |
//! | `GET /v1/metrics` | | OpenMetrics text, as Prometheus reads it |
//! | `GET /v1/openapi.json` | | this API, described as OpenAPI does |
//! | `POST /v1/send` | [`SendRequest`] | [`SendAnswer`] |
//! | `POST /v1/send/batch` | [`BatchRequest`] | [`BatchAnswer`] |
//! | `GET /v1/send/{id}` | [`StatusQuery`] | [`SendStatus`] |
//! | `GET /v1/send/{id}/broker` | [`MeshQuery`] | [`BrokerView`] |
//! | `GET /v1/inbox` | [`InboxQuery`] | [`InboxPage`] |
//! | `POST /v1/inbox/ack` | [`AckRequest`] | [`AckAnswer`] |
//! | `DELETE /v1/inbox/{id}` | [`MeshQuery`] | |
//! | `GET /v1/events` | [`EventQuery`] | a stream of [`Event`] |
//! | `POST /v1/request` | [`CallRequest`] | [`CallAnswer`], or a stream that ends with it |
//! | `POST /v1/request/cancel` | [`CancelRequest`] | |
//! | `POST /v1/reply` | [`ReplyRequest`] | |
//! | `GET /v1/apps` | [`AppsQuery`] | [`Apps`] |
//! | `PUT /v1/apps/{name}` | [`Registration`] | [`Registered`] |
//! | `DELETE /v1/apps/{name}` | [`RemoveQuery`] | |
//! | `GET /v1/profile` | [`MeshQuery`] | [`OwnProfile`] |
//! | `POST /v1/profile` | [`ProfileRequest`] | [`OwnProfile`] |
//! | `GET /v1/claims` | [`ClaimsQuery`] | [`Claims`] |
//! | `POST /v1/claims/try` | [`ClaimRequest`] | [`ClaimAnswer`] |
//! | `POST /v1/claims/complete` | [`CompleteRequest`] | [`CompleteAnswer`] |
//! | `POST /v1/claims/abandon` | [`AbandonRequest`] | [`AbandonAnswer`] |
//! | `GET /v1/kv/{scope}` | [`KvQuery`] | [`KvPage`] |
//! | `GET /v1/kv/{scope}/{key}` | [`MeshQuery`] | [`KvAnswer`] |
//! | `PUT /v1/kv/{scope}/{key}` | [`KvPut`] | [`KvPutAnswer`] |
//! | `DELETE /v1/kv/{scope}/{key}` | [`MeshQuery`] | |
//! | `GET /v1/kv/{scope}/{key}/history` | [`MeshQuery`] | [`KvHistory`] |
//! | `GET /v1/leases` | [`LeasesQuery`] | [`Leases`] |
//! | `GET /v1/leases/check` | [`CheckQuery`] | [`CheckAnswer`] |
//! | `POST /v1/leases/acquire` | [`AcquireRequest`] | [`AcquireAnswer`] |
//! | `POST /v1/leases/renew` | [`RenewRequest`] | [`RenewAnswer`] |
//! | `POST /v1/leases/release` | [`ReleaseRequest`] | [`ReleaseAnswer`] |
//! | `POST /v1/leases/revoke` | [`RevokeLeaseRequest`] | [`RevokedLease`] |
//! | `GET /v1/outbox` | [`OutboxQuery`] | [`OutboxPage`] |
//! | `GET /v1/outbox/{row}` | [`MeshQuery`] | [`OutboxDetail`] |
//! | `POST /v1/outbox/requeue` | [`RequeueRequest`] | [`OutboxAnswer`] |
//! | `POST /v1/outbox/abort` | [`AbortRequest`] | [`OutboxAnswer`] |
//! | `GET /v1/peers` | [`MeshQuery`] | [`Peers`] |
//! | `GET /v1/members` | [`MembersQuery`] | [`Members`] |
//! | `POST /v1/mesh/invite` | [`InviteRequest`] | [`InviteAnswer`] |
//! | `GET /v1/mesh/invites` | [`MeshQuery`] | [`Invites`] |
//! | `POST /v1/mesh/invite/revoke` | [`RevokeInviteRequest`] | [`RevokedInvite`] |
//! | `POST /v1/mesh/recover` | [`RecoverRequest`] | [`MemberAnswer`] |
//! | `GET /v1/topics` | [`TopicsQuery`] | [`Topics`] |
//! | `POST /v1/topics/publish` | [`PublishRequest`] | [`PublishAnswer`] |
//! | `POST /v1/topics/subscribe` | [`SubscribeRequest`] | [`SubscribeAnswer`] |
//! | `POST /v1/topics/unsubscribe` | [`UnsubscribeRequest`] | |
//! | `GET /v1/topics/subscriptions` | [`MeshQuery`] | [`Subscriptions`] |
//! | `GET /v1/topics/stream` | [`TopicStreamQuery`] | a stream of [`TopicEvent`] |
//! | `POST /v1/topics/ack` | [`TopicAckRequest`] | [`TopicAckAnswer`] |
//! | `GET /v1/topics/history` | [`HistoryQuery`] | [`TopicHistory`] |
//! | `POST /v1/topics/retention` | [`RetentionRequest`] | [`Topic`] |
//! | `GET /v1/tokens` | | [`Tokens`] |
//! | `POST /v1/tokens` | [`TokenRequest`] | [`TokenAnswer`] |
//! | `DELETE /v1/tokens/{name}` | | |
//!
//! Every error is a [`Problem`]. Unknown fields of a request are refused: a misspelt option must not be ignored.

mod apps;
mod claims;
mod events;
mod health;
mod inbox;
mod leases;
mod members;
mod mesh;
mod meshes;
#[cfg(feature = "schema")]
pub mod openapi;
mod outbox;
mod problem;
mod profile;
mod requests;
mod routes;
mod send;
mod state;
mod tokens;
mod topics;

pub use apps::{Activity, App, AppDetails, Apps, AppsQuery, Registered, Registration, RemoveQuery, Scope};
pub use claims::{
    AbandonAnswer, AbandonRequest, Claim, ClaimAnswer, ClaimRequest, ClaimState, Claims, ClaimsQuery,
    CompleteAnswer, CompleteRequest, Completion,
};
pub use events::{Event, EventBody, EventKind, EventQuery, HookInput, LeaveReason, SECURITY};
pub use health::{Alarm, ClosedMesh, Health, Link, LinkState, MeshHealth, StateKeyHealth, Stop, Version};
pub use inbox::{AckAnswer, AckRequest, InboxItem, InboxPage, InboxQuery};
pub use leases::{
    AcquireAnswer, AcquireRequest, AcquireState, CheckAnswer, CheckQuery, Lease, LeaseEnd, LeaseHolder,
    LeaseMode, LeaseNews, Leases, LeasesQuery, OnDisconnect, ReleaseAnswer, ReleaseRequest, RenewAnswer,
    RenewRequest, RevokeLeaseRequest, RevokedLease, TokenState,
};
pub use members::{
    Invites, Member, Members, MembersQuery, OpenInvite, RecoverRequest, RevokeInviteRequest, RevokedInvite,
};
pub use mesh::{
    GrantRequest, InviteAnswer, InviteRequest, MemberAnswer, MeshQuery, Peer, PeerAnswer, PeerApp,
    PeerRequest, Peers, ResumeAnswer, ResumeRequest, RevokeRequest, VerifyAnswer,
};
pub use meshes::{
    BrokerAnswer, BrokerRequest, CreateAnswer, CreateRequest, JoinAnswer, JoinRequest, LeaveAnswer,
    LeaveRequest, RotateAnswer, RotateRequest,
};
pub use outbox::{
    AbortRequest, BrokerView, OutboxAnswer, OutboxDetail, OutboxItem, OutboxPage, OutboxQuery, RequeueRequest,
};
pub use problem::{Problem, ProblemCode};
pub use profile::{OwnProfile, Profile, ProfileRequest};
pub use requests::{
    CallAnswer, CallProgress, CallRequest, CancelReason, CancelRequest, ReplyError, ReplyRequest, RequestItem,
};
pub use routes::{ROUTES, Route};
pub use send::{
    BatchAnswer, BatchOutcome, BatchRequest, Change, MessageState, ReceiptWanted, SendAnswer, SendRequest,
    SendStatus, StatusQuery, Voucher,
};
pub use state::{
    Author, Category, KvAnswer, KvChange, KvEntry, KvHistory, KvKey, KvPage, KvPut, KvPutAnswer, KvQuery,
    KvState,
};
pub use tokens::{Token, TokenAnswer, TokenRequest, TokenScope, Tokens};
pub use topics::{
    DeadMessage, HistoryQuery, PublishAnswer, PublishRequest, RetentionRequest, StartFrom, SubscribeAnswer,
    SubscribeRequest, Subscribers, Subscription, Subscriptions, Topic, TopicAckAnswer, TopicAckRequest,
    TopicCursor, TopicEvent, TopicHistory, TopicMessage, TopicStreamQuery, Topics, TopicsQuery,
    UnsubscribeRequest,
};

/// Header in which an app names itself.
pub const APP_HEADER: &str = "waxwing-app";
/// Header in which an app says which of several of its name it is.
pub const INSTANCE_HEADER: &str = "waxwing-instance";
/// Media type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// Header in which a stream is told its app's registration, and by which a registered app proves to be it.
pub const REGISTRATION_HEADER: &str = "waxwing-registration";
/// Header that may carry the client message id.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Version of the local API.
pub const API_VERSION: u32 = 1;
