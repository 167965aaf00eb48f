//! Problems as answers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;
use waxwing_crypto::membership::TokenError;
use waxwing_protocol::api::{Problem, ProblemCode};

use crate::error::{Error, Uninvited, Untrusted};
use crate::spaces::NotWritten;
use crate::writer::WriteError;

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Box<Problem>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Box<Problem>> for Refused {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        crate::outbox::write_problem(&error).into()
    }
}

impl From<waxwing_sqlite::Error> for Refused {
    /// The cause is for the log; the caller cannot do anything about it.
    fn from(cause: waxwing_sqlite::Error) -> Self {
        error!(%cause, "a read failed");
        Problem::new(ProblemCode::Internal).into()
    }
}

impl From<waxwing_crypto::Error> for Refused {
    fn from(cause: waxwing_crypto::Error) -> Self {
        error!(%cause, "what is stored does not open");
        Problem::new(ProblemCode::Internal).into()
    }
}

impl From<NotWritten> for Refused {
    fn from(why: NotWritten) -> Self {
        why.problem().into()
    }
}

impl From<Error> for Refused {
    /// What a command on the folder would fail with, under the same code where there is one.
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Usage(_) | Error::TooOpen { .. } | Error::Hook { .. } => ProblemCode::Usage,
            Error::AlreadyRunning(_) | Error::Conflict(_) => ProblemCode::Conflict,
            Error::NotFound(_) => ProblemCode::NotFound,
            Error::UnknownMesh(_) => ProblemCode::UnknownMesh,
            Error::WrongHost { .. } | Error::StaleState(_) | Error::Superseded(_) => ProblemCode::WrongHost,
            Error::NotAuthorised(_) => ProblemCode::NotAuthorised,
            Error::Revoked(_) => ProblemCode::Revoked,
            Error::LastAdmin(_) => ProblemCode::LastAdmin,
            Error::Offline(_) => ProblemCode::Offline,
            Error::Token(error) => match error {
                TokenError::NotAToken => ProblemCode::TokenUnknown,
                TokenError::Truncated => ProblemCode::TokenTruncated,
                TokenError::Damaged => ProblemCode::TokenDamaged,
                TokenError::UnsupportedVersion => ProblemCode::TokenUnsupported,
            },
            Error::Invite(why) => match why {
                Uninvited::Unknown => ProblemCode::InviteUnknown,
                Uninvited::Expired => ProblemCode::InviteExpired,
                Uninvited::UsedUp => ProblemCode::InviteUsedUp,
                Uninvited::Revoked => ProblemCode::InviteRevoked,
                Uninvited::OtherName(_) => ProblemCode::InviteOtherName,
            },
            Error::NameTaken(_) => ProblemCode::NameTaken,
            Error::WrongBroker(_) => ProblemCode::WrongBroker,
            Error::NoSuchMesh(_) => ProblemCode::NoSuchMesh,
            Error::Incompatible(_) | Error::LogRollback(_) => ProblemCode::Incompatible,
            Error::Untrusted { cause, .. } => match cause {
                Untrusted::Pin { .. } => ProblemCode::WrongPin,
                Untrusted::Name(_) => ProblemCode::WrongName,
                Untrusted::Expired => ProblemCode::CertificateExpired,
                Untrusted::Issuer => ProblemCode::UnknownIssuer,
                Untrusted::NoAuthorities => ProblemCode::NoAuthorities,
                Untrusted::Unusable(_) => ProblemCode::BadCertificate,
            },
            Error::Unreachable { .. } => ProblemCode::Unreachable,
            Error::File { .. } | Error::Database(_) | Error::NotStored(_) | Error::Damaged(_) => {
                ProblemCode::Internal
            }
        };
        if code == ProblemCode::Internal {
            error!(%error, "a request failed");
        }
        Problem::new(code).detail(error.to_string()).hint(error.hint()).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&*self.0)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if let Some(millis) = self.0.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, millis.get().div_ceil(1_000).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(super) async fn no_such_route() -> Refused {
    Problem::new(ProblemCode::NoSuchRoute).into()
}

pub(super) async fn method_not_allowed() -> Refused {
    Problem::new(ProblemCode::MethodNotAllowed).into()
}
