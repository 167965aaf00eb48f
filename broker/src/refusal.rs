//! What a peer is told when a request is not served: the one mapping from our errors to the codes of the wire.

use waxwing_crypto::Error;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, ErrorFrame, ToNode};

use crate::limiter::After;

/// A request that is not served. The link goes on.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) code: Code,
    /// The same for people.
    pub(crate) detail: String,
    /// When to ask again, in milliseconds, if that is all that is wrong.
    after: Option<u64>,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: shortened(detail.into()), after: None }
    }

    /// The frame that says so.
    pub(crate) fn frame(self, req: Option<u64>) -> ToNode {
        let Self { code, detail, after } = self;
        ToNode::Error(ErrorFrame { req, code, detail, after })
    }
}

impl From<After> for Refusal {
    fn from(after: After) -> Self {
        let detail = "this node asks for more than it may";
        Self { after: Some(after.millis()), ..Self::new(Code::RateLimited, detail) }
    }
}

impl From<Error> for Refusal {
    fn from(err: Error) -> Self {
        let code = match err {
            Error::NotAllowed(_) | Error::BadSignature(_) | Error::BadProof(_) => Code::NotAllowed,
            Error::Malformed(_)
            | Error::TooLarge(_)
            | Error::DoesNotOpen
            | Error::SessionEnded
            | Error::NoKey
            | Error::Elsewhere(_) => Code::BadFrame,
        };
        Self::new(code, err.to_string())
    }
}

/// At most as many characters as a detail may have.
pub(crate) fn shortened(detail: String) -> String {
    match detail.char_indices().nth(limits::DETAIL) {
        Some((end, _)) => detail[..end].to_owned(),
        None => detail,
    }
}
