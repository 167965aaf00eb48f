//! How a link ends, and what its node is told.

use std::fmt;

use tokio_tungstenite::tungstenite;
use waxwing_protocol::limits;
use waxwing_protocol::link::{GoAway, Reason};

use crate::drain::Drain;
use crate::error::Error;
use crate::refusal::shortened;

/// Why a link ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The node closed it, or the connection broke.
    Gone,
    /// No frame for [`limits::DEAD_AFTER`], or no login in time.
    Silent,
    /// We end it, and say why.
    Told(Reason, String),
    /// The login is refused as unauthenticated, and may be good once the operator has done something.
    NotYet(String),
    /// Our side failed. The node is told to come back; the cause is logged.
    Failed(Error),
}

impl End {
    /// We end it.
    pub(crate) fn told(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Told(reason, detail.into())
    }

    /// The node broke the protocol.
    pub(crate) fn violation(detail: impl Into<String>) -> Self {
        Self::told(Reason::ProtocolViolation, detail)
    }

    /// The node does not read, or does not settle.
    pub(crate) fn too_slow(what: &str) -> Self {
        let seconds = super::DRAIN_WITHIN.as_secs();
        Self::told(Reason::TooSlow, format!("{what} for {seconds} s; it all waits here"))
    }

    /// The node's frame is larger than allowed.
    pub(crate) fn too_large() -> Self {
        Self::told(Reason::FrameTooLarge, format!("a frame may have {} bytes at most", limits::FRAME))
    }

    /// The last frame, if there is anybody to read it.
    pub(crate) fn goaway(&self, drain: &Drain) -> Option<GoAway> {
        let (reason, detail, again) = match self {
            Self::Gone | Self::Silent => return None,
            Self::Told(reason, detail) => (*reason, detail.as_str(), again(*reason, drain)),
            Self::NotYet(detail) => (Reason::Unauthenticated, detail.as_str(), again(Reason::Busy, drain)),
            Self::Failed(_) => (Reason::Busy, "the broker failed", again(Reason::Busy, drain)),
        };
        Some(GoAway { reason, detail: shortened(detail.to_owned()), again })
    }
}

/// When the node may come back, in milliseconds.
fn again(reason: Reason, drain: &Drain) -> Option<(u64, u64)> {
    match reason {
        Reason::Restarting => Some((0, drain.millis())),
        Reason::Busy => Some((1_000, 10_000)),
        // Its backlog waits on disk, and what it could not drain a moment ago it will hardly drain at once.
        Reason::TooSlow => Some((1_000, 15_000)),
        Reason::Replaced => Some((1_000, 5_000)),
        // A bug of the node: trying again at once would only repeat it.
        Reason::ProtocolViolation | Reason::FrameTooLarge => Some((0, 30_000)),
        Reason::Unauthenticated
        | Reason::Revoked
        | Reason::UnknownMesh
        | Reason::UnknownInvite
        | Reason::InviteExpired
        | Reason::InviteRevoked
        | Reason::StaleState
        | Reason::Superseded
        | Reason::Unsupported
        | Reason::WrongBroker => None,
    }
}

impl From<Error> for End {
    fn from(err: Error) -> Self {
        Self::Failed(err)
    }
}

impl From<tungstenite::Error> for End {
    fn from(err: tungstenite::Error) -> Self {
        use tungstenite::error::ProtocolError;
        match err {
            tungstenite::Error::Capacity(_) => Self::too_large(),
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            tungstenite::Error::Protocol(err) => Self::violation(err.to_string()),
            tungstenite::Error::Utf8(_) => Self::violation("not UTF-8"),
            tungstenite::Error::Io(err) if crate::meter::is_exhausted(&err) => {
                let detail =
                    format!("a link may send {} bytes before it has logged in", limits::BEFORE_LOGIN);
                Self::told(Reason::FrameTooLarge, detail)
            }
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Io(_)
            | tungstenite::Error::Tls(_)
            | tungstenite::Error::WriteBufferFull(_)
            | tungstenite::Error::AttackAttempt
            | tungstenite::Error::Url(_)
            | tungstenite::Error::Http(_)
            | tungstenite::Error::HttpFormat(_) => Self::Gone,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("gone"),
            Self::Silent => f.write_str("silent"),
            Self::Told(reason, detail) => write!(f, "{reason}: {detail}"),
            Self::NotYet(detail) => write!(f, "{}: {detail}", Reason::Unauthenticated),
            Self::Failed(err) => write!(f, "failed: {err}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = include_str!("../../../docs/protocol.md");

    #[test]
    fn when_to_come_back_is_as_documented() {
        let (_, goaways) = DOCUMENTATION.split_once("\n### `goaway`\n").unwrap();
        for reason in [
            Reason::Busy,
            Reason::TooSlow,
            Reason::Replaced,
            Reason::ProtocolViolation,
            Reason::FrameTooLarge,
            Reason::Unauthenticated,
            Reason::Revoked,
            Reason::StaleState,
            Reason::Superseded,
            Reason::Unsupported,
            Reason::WrongBroker,
        ] {
            let row = goaways.lines().find(|line| line.starts_with(&format!("| `{reason}` |"))).unwrap();
            let said = row.split('|').nth(2).unwrap().trim().replace(',', "");
            let goaway = End::told(reason, "why").goaway(&Drain::new(1)).unwrap();
            let span = goaway.again.map_or("never".to_owned(), |(from, to)| format!("{from} to {to}"));
            assert_eq!(said, span, "{row}");
        }
    }

    #[test]
    fn a_detail_is_no_longer_than_a_frame_may_have() {
        let goaway = End::violation("ä".repeat(1_000)).goaway(&Drain::new(1)).unwrap();
        assert_eq!(goaway.detail.chars().count(), limits::DETAIL);
    }
}
