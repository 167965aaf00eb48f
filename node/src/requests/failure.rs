//! Why there is no answer, as whoever waits is told.

use waxwing_crypto::Name;
use waxwing_crypto::sealing::{Refusal, Why};
use waxwing_protocol::api::{Problem, ProblemCode};

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The other side says so: the app, or its node.
    Refusal(Refusal),
    /// The other node is not online, as presence has it.
    PeerOffline(Name),
    /// It was, and is not any more.
    NodeGone,
    /// This node has no link.
    Offline,
    /// The broker or the other node does not take it, for this reason.
    Undeliverable(String),
    /// The deadline has passed.
    Timeout,
    /// Somebody has cancelled it.
    Cancelled,
    /// The mesh is being closed.
    Closed,
}

impl Failure {
    /// The same, as the caller sees it.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Refusal(Refusal { why, code, detail }) => {
                let mut problem = Problem::new(match why {
                    Why::NoResponder => ProblemCode::NoResponder,
                    Why::Busy => ProblemCode::ResponderBusy,
                    Why::Refused => ProblemCode::Refused,
                    Why::PeerGone => ProblemCode::PeerGone,
                });
                (problem.reason, problem.detail) = (code, detail);
                problem
            }
            Self::PeerOffline(node) => {
                let detail = format!("{node} is not linked to the broker; nothing was sent");
                Problem::new(ProblemCode::PeerOffline).detail(detail)
            }
            Self::NodeGone => Problem::new(ProblemCode::PeerGone)
                .detail("its node went offline before an answer came; it may have been done"),
            Self::Offline => Problem::new(ProblemCode::Offline)
                .detail("there is no link; only apps of this node can be asked"),
            Self::Undeliverable(reason) => {
                let detail = match reason.as_str() {
                    "unsupported_version" => "its node is of a version that knows no requests".to_owned(),
                    "blocked" => "its node refuses all that comes from this one".to_owned(),
                    "blocked_here" => "this node refuses all that comes from that one".to_owned(),
                    other => format!("refused on the way: {other}"),
                };
                let mut problem = Problem::new(ProblemCode::Undeliverable).detail(detail);
                problem.reason = Some(reason);
                problem
            }
            Self::Timeout => {
                Problem::new(ProblemCode::Timeout).detail("it may have been done, or be done yet")
            }
            Self::Cancelled => Problem::new(ProblemCode::Cancelled),
            Self::Closed => {
                Problem::new(ProblemCode::MeshClosed).detail("it was closed before an answer came")
            }
        }
    }

    /// Nobody is there who could answer.
    pub(super) fn nobody(app: &Name, registered: bool) -> Refusal {
        let detail = if registered {
            format!("{app} is registered there, but no stream of it asks for requests")
        } else {
            format!("no app is registered there as {app}")
        };
        Refusal { why: Why::NoResponder, code: None, detail: Some(detail) }
    }

    /// Whoever could is not to be given more.
    pub(super) fn busy(detail: &str) -> Refusal {
        Refusal { why: Why::Busy, code: None, detail: Some(detail.to_owned()) }
    }

    /// Whoever was given it is not there any more.
    pub(super) fn gone() -> Refusal {
        let detail = "its stream ended before it answered; it may have been done";
        Refusal { why: Why::PeerGone, code: None, detail: Some(detail.to_owned()) }
    }
}
