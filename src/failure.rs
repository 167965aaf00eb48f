//! How a command fails: what happened, why, the next command, and the exit code.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use waxwing_client::Error as ClientError;
use waxwing_client::api::{Problem, ProblemCode, Stop};
use waxwing_crypto::membership::RecoveryError;

/// A command's failure, as a person or a program sees it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    /// Stable and machine-readable.
    code: Cow<'static, str>,
    /// The process's exit code.
    exit: u8,
    /// What happened, and why.
    message: String,
    /// The command or step that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The node's own answer, if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<Box<Problem>>,
}

/// What a command gives.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A wrong argument or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", 2, message)
    }

    /// What was typed are no recovery words. Names places, never words.
    pub(crate) fn recovery(error: RecoveryError) -> Self {
        let code = match error {
            RecoveryError::Count => "recovery_words_count",
            RecoveryError::UnknownWord(_) => "recovery_word_unknown",
            RecoveryError::Checksum => "recovery_words_checksum",
        };
        Self::new(code, 2, error.to_string())
            .hint("`waxwing mesh recover` reads them from stdin, or asks for them")
    }

    /// Something this machine would not do.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new("failed", 1, message)
    }

    /// What is promised was not kept.
    pub(crate) fn broken_promise(message: impl Into<String>) -> Self {
        Self::new("broken_promise", 1, message)
    }

    /// What is on the other side, or on this disk, is of another version.
    pub(crate) fn incompatible(message: impl Into<String>) -> Self {
        Self::new("incompatible", 5, message)
    }

    /// What is on this disk is not as it was written.
    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new("damaged", 5, message)
    }

    /// What is asked for is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("not_found", 7, message)
    }

    /// Nothing answers.
    pub(crate) fn unreachable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, 6, message)
    }

    /// Somebody else has what this needs.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new("conflict", 8, message)
    }

    /// A command that was to be run cannot be started. With the exit code that shells have for it.
    pub(crate) fn cannot_run(exit: u8, message: impl Into<String>) -> Self {
        Self::new("cannot_run", exit, message)
    }

    /// It runs already.
    pub(crate) fn already_running(message: impl Into<String>) -> Self {
        Self::new("already_running", 8, message)
    }

    /// What was asked did not come about, and this says what did.
    pub(crate) fn not_reached(message: impl Into<String>) -> Self {
        Self::new("not_reached", 1, message)
    }

    /// This host is not the node's own, and nobody has said that it is.
    pub(crate) fn wrong_host(message: impl Into<String>) -> Self {
        Self::new("wrong_host", 4, message)
    }

    fn new(code: &'static str, exit: u8, message: impl Into<String>) -> Self {
        Self { code: code.into(), exit, message: message.into(), hint: None, problem: None }
    }

    /// A mesh was refused for good.
    pub(crate) fn stopped(stop: &Stop, message: String) -> Self {
        let (code, hint) = (stop.code.clone().into(), stop.hint.clone());
        Self { code, exit: stop.exit, message, hint, problem: None }
    }

    /// The same with the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what had been done before it.
    pub(crate) fn after(mut self, done: &str) -> Self {
        self.message = format!("{done}: {}", self.message);
        self
    }

    /// The same for a state folder that is not the default one: the next command names it too.
    pub(crate) fn on_state(mut self, state: Option<&Path>) -> Self {
        if let (Some(state), Some(hint)) = (state, &mut self.hint)
            && !hint.contains("--state ")
        {
            *hint = hint.replace("`waxwing ", &format!("`waxwing --state {} ", state.display()));
        }
        self
    }

    pub(crate) const fn exit(&self) -> u8 {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn next(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { .. } => {
                Self::unreachable("not_running", message).hint("start the node with `waxwing node up`")
            }
            ClientError::Lost(_) => Self::unreachable("lost", message)
                .hint("repeat the command; with the same --id a send stays one message"),
            ClientError::Incompatible(_) => {
                Self::incompatible(message).hint("use the `waxwing` that started the node")
            }
            ClientError::Problem(problem) => Self {
                code: problem.code.as_str().into(),
                exit: exit_code(problem.code),
                hint: problem.hint.as_deref().or_else(|| hint(problem.code)).map(str::to_owned),
                message,
                problem: Some(problem),
            },
        }
    }
}

impl From<waxwing_node::Error> for Failure {
    fn from(error: waxwing_node::Error) -> Self {
        Self {
            code: error.code().into(),
            exit: error.exit_code(),
            message: error.to_string(),
            hint: error.hint(),
            problem: None,
        }
    }
}

impl From<waxwing_lab::Error> for Failure {
    fn from(error: waxwing_lab::Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// The exit code of a refusal.
const fn exit_code(code: ProblemCode) -> u8 {
    match code {
        ProblemCode::Malformed
        | ProblemCode::Usage
        | ProblemCode::TtlTooLong
        | ProblemCode::MeshRequired
        | ProblemCode::TooLarge
        | ProblemCode::TokenInQuery
        | ProblemCode::TokenUnknown
        | ProblemCode::TokenTruncated
        | ProblemCode::TokenDamaged
        | ProblemCode::AppRequired
        | ProblemCode::OutsideRoot
        | ProblemCode::UnsupportedMediaType => 2,
        ProblemCode::NotAdmin
        | ProblemCode::NotAuthorised
        | ProblemCode::Revoked
        | ProblemCode::InviteUnknown
        | ProblemCode::InviteExpired
        | ProblemCode::InviteUsedUp
        | ProblemCode::InviteRevoked
        | ProblemCode::InviteOtherName
        | ProblemCode::RecoveryWords
        | ProblemCode::RevokedRecipient
        | ProblemCode::ForeignOrigin
        | ProblemCode::TokenMissing
        | ProblemCode::TokenRefused
        | ProblemCode::WrongScope
        | ProblemCode::OtherApp
        | ProblemCode::UnprovenApp
        | ProblemCode::NotHolder
        | ProblemCode::MeshStopped => 3,
        ProblemCode::WrongHost => 4,
        ProblemCode::NoSuchRoute
        | ProblemCode::MethodNotAllowed
        | ProblemCode::Incompatible
        | ProblemCode::TokenUnsupported
        | ProblemCode::WrongBroker
        | ProblemCode::NoSuchMesh
        | ProblemCode::WrongPin
        | ProblemCode::WrongName
        | ProblemCode::CertificateExpired
        | ProblemCode::UnknownIssuer
        | ProblemCode::NoAuthorities
        | ProblemCode::BadCertificate
        | ProblemCode::Misdirected => 5,
        ProblemCode::Offline
        | ProblemCode::Unreachable
        | ProblemCode::TooSlow
        | ProblemCode::Unanswered
        | ProblemCode::PeerOffline
        | ProblemCode::PeerGone => 6,
        ProblemCode::NotFound
        | ProblemCode::NoMesh
        | ProblemCode::UnknownMesh
        | ProblemCode::UnknownMessage
        | ProblemCode::UnknownRecipient
        | ProblemCode::UnknownTopic
        | ProblemCode::NotSubscribed
        | ProblemCode::UnknownApp
        | ProblemCode::NoResponder
        | ProblemCode::UnknownRequest => 7,
        ProblemCode::IdempotencyKeyReused
        | ProblemCode::AppRegistered
        | ProblemCode::Superseded
        | ProblemCode::TooManyApps
        | ProblemCode::LeaseExpired
        | ProblemCode::StaleToken
        | ProblemCode::TooManyTopics
        | ProblemCode::WrongState
        | ProblemCode::NotNow
        | ProblemCode::MeshClosed
        | ProblemCode::Conflict
        | ProblemCode::VersionConflict
        | ProblemCode::LastAdmin
        | ProblemCode::NameTaken
        | ProblemCode::ResumeWanted
        | ProblemCode::KeysWanted
        | ProblemCode::NothingToResume => 8,
        ProblemCode::Busy
        | ProblemCode::RateLimited
        | ProblemCode::Internal
        | ProblemCode::SpaceFull
        | ProblemCode::OutboxFull
        | ProblemCode::DiskFull
        | ProblemCode::Refused
        | ProblemCode::Cancelled
        | ProblemCode::Undeliverable
        | ProblemCode::ResponderBusy
        | ProblemCode::Timeout => 1,
    }
}

/// The next step after a refusal, where the node's own words do not name it.
const fn hint(code: ProblemCode) -> Option<&'static str> {
    match code {
        ProblemCode::MeshRequired => Some("say which with --mesh; `waxwing mesh list` shows them"),
        ProblemCode::NoMesh => Some("found one with `waxwing mesh create`, or join one with `waxwing join`"),
        ProblemCode::UnknownMesh
        | ProblemCode::MeshStopped
        | ProblemCode::MeshClosed
        | ProblemCode::Offline
        | ProblemCode::Unanswered => Some("`waxwing node status` shows how the node is"),
        ProblemCode::ResumeWanted => Some("on an admin's host: `waxwing mesh resume`"),
        ProblemCode::AppRegistered | ProblemCode::Superseded | ProblemCode::TooManyApps => {
            Some("`waxwing apps` shows who is registered; --takeover takes a name")
        }
        ProblemCode::AppRequired => Some("say which with --app"),
        ProblemCode::UnprovenApp => {
            Some("`waxwing apps` shows who is registered; act under another name, or from that app")
        }
        ProblemCode::KeysWanted => Some("`waxwing node status` says why; try again in a while"),
        ProblemCode::NothingToResume => Some("`waxwing node status` shows how the mesh is"),
        ProblemCode::TokenMissing | ProblemCode::TokenRefused => {
            Some("on the node's own account: `waxwing node token create NAME --scope send`")
        }
        ProblemCode::NoSuchRoute | ProblemCode::MethodNotAllowed => {
            Some("use the `waxwing` that started the node")
        }
        ProblemCode::PeerOffline => Some("`waxwing peers` shows who is; `waxwing send` waits for it"),
        ProblemCode::NoResponder => {
            Some("`waxwing apps --mesh-wide` shows who is registered; `waxwing serve` answers requests")
        }
        ProblemCode::Timeout => Some("--timeout lets it wait longer, up to 10m"),
        ProblemCode::Malformed
        | ProblemCode::NotSubscribed
        | ProblemCode::UnknownTopic
        | ProblemCode::TooManyTopics
        | ProblemCode::RateLimited
        | ProblemCode::UnknownRequest
        | ProblemCode::Refused
        | ProblemCode::Cancelled
        | ProblemCode::Undeliverable
        | ProblemCode::ResponderBusy
        | ProblemCode::PeerGone
        | ProblemCode::Usage
        | ProblemCode::TtlTooLong
        | ProblemCode::NotNow
        | ProblemCode::UnknownMessage
        | ProblemCode::UnknownRecipient
        | ProblemCode::UnknownApp
        | ProblemCode::OutsideRoot
        | ProblemCode::NotHolder
        | ProblemCode::LeaseExpired
        | ProblemCode::StaleToken
        | ProblemCode::WrongState
        | ProblemCode::IdempotencyKeyReused
        | ProblemCode::TooLarge
        | ProblemCode::TooSlow
        | ProblemCode::TokenInQuery
        | ProblemCode::ForeignOrigin
        | ProblemCode::WrongScope
        | ProblemCode::OtherApp
        | ProblemCode::Misdirected
        | ProblemCode::UnsupportedMediaType
        | ProblemCode::RevokedRecipient
        | ProblemCode::NotAdmin
        | ProblemCode::NotAuthorised
        | ProblemCode::Revoked
        | ProblemCode::LastAdmin
        | ProblemCode::TokenUnknown
        | ProblemCode::TokenTruncated
        | ProblemCode::TokenDamaged
        | ProblemCode::TokenUnsupported
        | ProblemCode::InviteUnknown
        | ProblemCode::InviteExpired
        | ProblemCode::InviteUsedUp
        | ProblemCode::InviteRevoked
        | ProblemCode::InviteOtherName
        | ProblemCode::NameTaken
        | ProblemCode::RecoveryWords
        | ProblemCode::WrongBroker
        | ProblemCode::NoSuchMesh
        | ProblemCode::WrongHost
        | ProblemCode::Incompatible
        | ProblemCode::WrongPin
        | ProblemCode::WrongName
        | ProblemCode::CertificateExpired
        | ProblemCode::UnknownIssuer
        | ProblemCode::NoAuthorities
        | ProblemCode::BadCertificate
        | ProblemCode::Unreachable
        | ProblemCode::NotFound
        | ProblemCode::Conflict
        | ProblemCode::VersionConflict
        | ProblemCode::SpaceFull
        | ProblemCode::Busy
        | ProblemCode::Internal
        | ProblemCode::OutboxFull
        | ProblemCode::DiskFull => None,
    }
}
