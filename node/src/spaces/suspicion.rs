//! What an honest broker and honest members would not show in a space: refused, and told to apps.

use tracing::{debug, warn};
use waxwing_crypto::NodeId;
use waxwing_protocol::api::EventBody;

use super::Space;
use crate::writer::Writer;

/// Something refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Suspicion {
    pub(super) what: Suspected,
    /// Who is named as the writer.
    pub(super) writer: Option<NodeId>,
    /// The place where it was shown.
    pub(super) at: u64,
}

/// What was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Suspected {
    /// A record that does not open, or that its writer has not signed for this place.
    Forged,
    /// A record that was there before, shown again.
    Replay,
    /// A record that its writer made under a condition that did not hold.
    Condition,
    /// The end of a record that cannot have ended.
    Ended,
    /// Another record at a place than its members were shown.
    Fork,
    /// Places that go back.
    Rollback,
}

impl Suspected {
    /// As in events.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "space_forged",
            Self::Replay => "space_replay",
            Self::Condition => "space_condition",
            Self::Ended => "space_ended",
            Self::Fork => "space_fork",
            Self::Rollback => "space_rollback",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Forged => "a record was refused: the member named as its writer has not written it there",
            Self::Replay => "a record was refused: it was there before, and the broker shows it again as new",
            Self::Condition => "a record was refused: what it was to follow did not stand there",
            Self::Ended => "the broker says that a record has ended which cannot have",
            Self::Fork => "the broker has shown another record at the same place to another member",
            Self::Rollback => "the broker shows an older state of a space than before",
        }
    }
}

/// Tells of what was refused, once per kind and page: a broker can cause as many as it likes.
pub(super) async fn tell(writer: &Writer, space: &Space, suspicions: &[Suspicion]) {
    let mut told = Vec::new();
    for suspicion in suspicions {
        if told.contains(&suspicion.what) {
            continue;
        }
        told.push(suspicion.what);
        let (what, detail) = (suspicion.what.as_str(), suspicion.what.detail());
        let detail = format!("{detail} (space {}, place {})", space.name(), suspicion.at);
        warn!(space = %space.id(), "{what}");
        let body = EventBody::Security { what: what.to_owned(), node: suspicion.writer, detail };
        if let Err(error) = writer.tell_all(body).await {
            debug!(%error, "apps are not told");
        }
    }
}
