//! Problems as answers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;
use waxwing_protocol::api::{Problem, ProblemCode};

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Box<Problem>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<sqlx::Error> for Refused {
    /// The cause is for the log; the caller cannot do anything about it.
    fn from(cause: sqlx::Error) -> Self {
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

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&*self.0)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response
    }
}

pub(super) async fn no_such_route() -> Refused {
    Problem::new(ProblemCode::NoSuchRoute).into()
}

pub(super) async fn method_not_allowed() -> Refused {
    Problem::new(ProblemCode::MethodNotAllowed).into()
}
