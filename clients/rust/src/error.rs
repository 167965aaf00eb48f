//! What can go wrong between an app and its node, sorted by what the app does next.

use std::net::SocketAddr;

use waxwing_protocol::api::Problem;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node listens there: start it. Nothing was sent.
    #[error("no node answers on {place}: {source}")]
    Unreachable {
        /// The socket or address dialled.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection ended, or time did, before the answer came: whether the request was served is not known.
    /// Repeating it is safe for everything but a send without a `client_message_id`.
    #[error("the node went away before it answered: {0}")]
    Lost(String),
    /// The node refused.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// The node speaks another version of the local API, or it is no node.
    #[error("this is no node that this client can talk to: {0}")]
    Incompatible(String),
}

/// Another machine's address: a token would go there in the clear.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0} is not on this machine, and a token must not leave it without TLS: go through a tunnel (ssh -L)"
)]
pub struct NotLocal(pub SocketAddr);

impl Error {
    /// The refusal, if that is what it is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Unreachable { .. } | Self::Lost(_) | Self::Incompatible(_) => None,
        }
    }
}

fn describe(problem: &Problem) -> String {
    match &problem.detail {
        Some(detail) if problem.code.is_said_by_detail() => detail.clone(),
        Some(detail) => format!("{}: {detail}", problem.title),
        None => problem.title.clone(),
    }
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
