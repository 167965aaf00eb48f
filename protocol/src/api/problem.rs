//! Errors of the local API: RFC 9457 problem documents with a stable code.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::MessageId;

/// Why a request was not served. `application/problem+json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Stable and machine-readable.
    pub code: ProblemCode,
    /// HTTP status.
    pub status: u16,
    /// What happened, for people.
    pub title: String,
    /// Why, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The step that mends it, where the code alone does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub hint: Option<Box<str>>,
    /// With `idempotency_key_reused`: the row's state and whether its content is the same, as
    /// `outbox_dead_fingerprint_match`. With `version_conflict`: the etag of what stands there, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
    /// With `idempotency_key_reused`: the first 16 hex digits of the node's fingerprint of what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// With a dead row: why it died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With a row that reached the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_message_id: Option<MessageId>,
    /// With `rate_limited`: when to try again, in milliseconds, as the header `Retry-After` says in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>))]
    pub retry_after_ms: Option<NonZeroU32>,
    /// With `unknown_recipient`: names that look alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
}

impl Problem {
    /// A problem with its code's status and title.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            code,
            status: code.status(),
            title: code.title().to_owned(),
            detail: None,
            hint: None,
            conflict: None,
            fingerprint: None,
            reason: None,
            broker_message_id: None,
            retry_after_ms: None,
            near: Vec::new(),
        }
    }

    /// The same with an explanation.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with the step that mends it.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.map(String::into_boxed_str);
        self
    }
}

impl ProblemCode {
    /// Whether the detail is a whole sentence that says what the title says, so that people need only read that.
    pub const fn is_said_by_detail(self) -> bool {
        matches!(
            self,
            Self::Usage
                | Self::NotFound
                | Self::Conflict
                | Self::NotAuthorised
                | Self::Revoked
                | Self::LastAdmin
                | Self::TokenUnknown
                | Self::TokenTruncated
                | Self::TokenDamaged
                | Self::TokenUnsupported
                | Self::InviteUnknown
                | Self::InviteExpired
                | Self::InviteUsedUp
                | Self::InviteRevoked
                | Self::InviteOtherName
                | Self::NameTaken
                | Self::RecoveryWords
                | Self::WrongBroker
                | Self::NoSuchMesh
                | Self::WrongHost
                | Self::Incompatible
                | Self::WrongPin
                | Self::WrongName
                | Self::CertificateExpired
                | Self::UnknownIssuer
                | Self::NoAuthorities
                | Self::BadCertificate
                | Self::Unreachable
        )
    }
}

/// Declares each code with its status and title, so that none can be without.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// What is wrong, stable across versions.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Its HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Its title.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request is not of its form.
    Malformed = "malformed", 400, "the request is malformed";
    /// A value cannot be: a URL, a name.
    Usage = "usage", 400, "this cannot be";
    /// The lifetime is longer than the broker's memory of ids allows.
    TtlTooLong = "ttl_too_long", 400, "the lifetime is too long";
    /// The request is about what an app holds, and says of no app.
    AppRequired = "app_required", 400, "say which app you are";
    /// The node is in several meshes and the request names none.
    MeshRequired = "mesh_required", 400, "say which mesh";
    /// A token of the local API in a query, where logs and histories keep it.
    TokenInQuery = "token_in_query", 400, "a token has no place in a URL";
    /// No such route.
    NoSuchRoute = "no_such_route", 404, "no such route";
    /// A path leads out of the repository that it is of.
    OutsideRoot = "outside_root", 400, "the path leads out of the repository";
    /// What the request needs does not exist.
    NotFound = "not_found", 404, "there is no such thing";
    /// The node is in no mesh yet.
    NoMesh = "no_mesh", 404, "this node is in no mesh yet";
    /// The node is not in this mesh.
    UnknownMesh = "unknown_mesh", 404, "this node is not in that mesh";
    /// No message with this id.
    UnknownMessage = "unknown_message", 404, "no message has this id";
    /// No app is registered under this name.
    UnknownApp = "unknown_app", 404, "no app is registered under this name";
    /// No topic of this name.
    UnknownTopic = "unknown_topic", 404, "no topic has this name";
    /// The app has not subscribed to this.
    NotSubscribed = "not_subscribed", 404, "the app has no such subscription";
    /// No member of this name.
    UnknownRecipient = "unknown_recipient", 404, "no member has this name";
    /// Nobody serves the app asked.
    NoResponder = "no_responder", 404, "nobody answers for this app";
    /// The request is over, or was never given to this app.
    UnknownRequest = "unknown_request", 404, "no such request is under way";
    /// The route exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "the method is not allowed here";
    /// The request did not arrive in time.
    TooSlow = "too_slow", 408, "the request did not arrive in time";
    /// An app of this name is registered already.
    AppRegistered = "app_registered", 409, "an app of this name is registered already";
    /// Another has taken this app's place.
    Superseded = "superseded", 409, "another has taken this app's place";
    /// As many apps are registered as may be.
    TooManyApps = "too_many_apps", 409, "too many apps are registered";
    /// The mesh has as many topics as it may have, or the node as many subscriptions.
    TooManyTopics = "too_many_topics", 409, "there are as many as may be";
    /// What was asked of the message cannot be done in the state it is in.
    WrongState = "wrong_state", 409, "the message is not in a state for this";
    /// The rules of the membership log forbid it as things are.
    NotNow = "not_now", 409, "the membership log does not allow this now";
    /// The mesh would be without an admin.
    LastAdmin = "last_admin", 409, "a mesh needs an admin";
    /// The broker has lost its store: until an admin resumes the mesh, its log takes no entry.
    ResumeWanted = "resume_wanted", 409, "an admin has to resume the mesh first";
    /// The node has not been given the newest state key of the mesh yet.
    KeysWanted = "keys_wanted", 409, "the mesh's newest state key is not here yet";
    /// The mesh does not wait for it.
    NothingToResume = "nothing_to_resume", 409, "the mesh does not wait to be resumed";
    /// The id is bound to another request, or to one that ended.
    IdempotencyKeyReused = "idempotency_key_reused", 409, "this message id is taken";
    /// Its time is over, or it was taken away: the app has it no more.
    LeaseExpired = "lease_expired", 409, "the lease is over";
    /// Another has been granted it since.
    StaleToken = "stale_token", 409, "another has it since";
    /// What the request would make exists already, or somebody else is at it.
    Conflict = "conflict", 409, "this cannot be done as things are";
    /// Whoever asked does not wait any more.
    Cancelled = "cancelled", 409, "the request was cancelled";
    /// What the request rests on does not stand there.
    VersionConflict = "version_conflict", 412, "another version stands there";
    /// The request is larger than allowed.
    TooLarge = "too_large", 413, "the request is too large";
    /// A write without `Content-Type: application/json`.
    UnsupportedMediaType = "unsupported_media_type", 415, "send application/json";
    /// The request is for another host.
    Misdirected = "misdirected", 421, "this node does not go by that name";
    /// The recipient is no longer a member.
    RevokedRecipient = "revoked_recipient", 422, "the recipient is no longer a member";
    /// The app asked has said that it does not answer, and why.
    Refused = "refused", 422, "the app has refused the request";
    /// The broker, or the mesh, does not let this node in.
    NotAuthorised = "not_authorised", 403, "not let in";
    /// The broker says that this node's membership has ended.
    Revoked = "revoked", 403, "the membership has ended";
    /// The text is no invite token at all.
    TokenUnknown = "token_unknown", 400, "this is no invite token";
    /// The end of the invite token is missing.
    TokenTruncated = "token_truncated", 400, "the invite token is cut off";
    /// The invite token was changed.
    TokenDamaged = "token_damaged", 400, "the invite token is damaged";
    /// The invite token was made by a later version.
    TokenUnsupported = "token_unsupported", 400, "the invite token is of a later version";
    /// The mesh's log does not have the invite.
    InviteUnknown = "invite_unknown", 403, "the invite lets nobody in";
    /// The invite's time is over.
    InviteExpired = "invite_expired", 403, "the invite lets nobody in any more";
    /// As many have joined by the invite as it was made for.
    InviteUsedUp = "invite_used_up", 403, "the invite lets nobody in any more";
    /// The invite was revoked.
    InviteRevoked = "invite_revoked", 403, "the invite lets nobody in any more";
    /// The invite is for another name.
    InviteOtherName = "invite_other_name", 403, "the invite is for another name";
    /// A member has the name that this node would take.
    NameTaken = "name_taken", 409, "the name is taken";
    /// The recovery words are not those of the mesh, or no recovery words at all.
    RecoveryWords = "recovery_words", 403, "not the recovery words of this mesh";
    /// A request over TCP that shows no token.
    TokenMissing = "token_missing", 401, "a token is needed here";
    /// A token that was never made, or has been ended.
    TokenRefused = "token_refused", 401, "this token lets nobody in";
    /// The token is for less than this.
    WrongScope = "wrong_scope", 403, "the token does not allow this";
    /// The token is for one app, and this is not about that one alone.
    OtherApp = "other_app", 403, "the token is for another app";
    /// The app is registered, and the caller has not shown its registration.
    UnprovenApp = "unproven_app", 403, "the app of this name is registered, and this is not shown to be it";
    /// It is another's, or nobody's.
    NotHolder = "not_holder", 403, "the app does not hold this";
    /// The request was made for a web page.
    ForeignOrigin = "foreign_origin", 403, "web pages have no business here";
    /// This host is not the one that the mesh's keys belong to.
    WrongHost = "wrong_host", 403, "the keys belong to another host";
    /// Only an admin may do this.
    NotAdmin = "not_admin", 403, "only an admin may do this";
    /// More requests at once than the node takes.
    Busy = "busy", 429, "too many requests at once";
    /// The app publishes faster than it may.
    RateLimited = "rate_limited", 429, "this comes too fast";
    /// The node failed.
    Internal = "internal", 500, "the node failed";
    /// The broker, or the log it shows, cannot be trusted or understood.
    Incompatible = "incompatible", 502, "the broker cannot be believed";
    /// The broker does not go by the URL that was dialled.
    WrongBroker = "wrong_broker", 502, "not the broker meant";
    /// The broker does not have the mesh that the invite is for.
    NoSuchMesh = "no_such_mesh", 502, "not the broker meant";
    /// The broker's key is not the pinned one.
    WrongPin = "wrong_pin", 502, "not the broker meant";
    /// The broker's certificate is for other names.
    WrongName = "wrong_name", 502, "not the broker meant";
    /// The broker's certificate was good once.
    CertificateExpired = "certificate_expired", 502, "not the broker meant";
    /// Nobody whom this host trusts vouches for the broker's certificate.
    UnknownIssuer = "unknown_issuer", 502, "not the broker meant";
    /// This host trusts nobody.
    NoAuthorities = "no_authorities", 502, "not the broker meant";
    /// The broker's certificate cannot be used.
    BadCertificate = "bad_certificate", 502, "not the broker meant";
    /// Whoever was given the request has gone, or his node has.
    PeerGone = "peer_gone", 502, "whoever was to answer has gone";
    /// The other node has refused the request, or it cannot be sent to it.
    Undeliverable = "undeliverable", 502, "the request was not delivered";
    /// The node of the app asked is not online.
    PeerOffline = "peer_offline", 503, "the node is not online";
    /// All who serve the app have as many requests as they may.
    ResponderBusy = "responder_busy", 503, "whoever answers for this app has enough to do";
    /// No answer has come in time.
    Timeout = "timeout", 504, "no answer in time";
    /// The broker of a mesh to be joined or founded does not answer.
    Unreachable = "unreachable", 503, "the broker cannot be reached";
    /// This needs the broker, and the link is down.
    Offline = "offline", 503, "the broker cannot be reached";
    /// The mesh's link was refused for good.
    MeshStopped = "mesh_stopped", 503, "this mesh is stopped";
    /// The mesh is being worked on, or could not be opened.
    MeshClosed = "mesh_closed", 503, "this mesh is closed at the moment";
    /// The broker has not answered: what was asked of it may have been done, or still be.
    Unanswered = "unanswered", 504, "the broker has not answered";
    /// The mesh has as much in its spaces as the broker keeps for it.
    SpaceFull = "space_full", 507, "the broker keeps no more for this mesh";
    /// The outbox is at its cap.
    OutboxFull = "outbox_full", 507, "the outbox is full";
    /// The disk is full.
    DiskFull = "disk_full", 507, "the disk is full";
}
