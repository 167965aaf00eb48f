//! Whether the broker can do its work: whether its store takes commits.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::accept::Change;
use crate::state::State;

/// A commit that recent shows that the next one will do too.
const RECENT: Duration = Duration::from_secs(2);
/// A store that has not committed by then is stuck.
const COMMITS_WITHIN: Duration = Duration::from_secs(3);

/// Whether a broker can do its work.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether nodes are served.
    pub ready: bool,
    /// Why not, as a word: `store_stuck`, `store_failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
}

/// Asks the writer, unless it has committed a moment ago. Its migrations were applied before anybody could ask, and a
/// broker that stops answers nobody any more.
pub(super) async fn ask(state: &State) -> Readiness {
    if state.last_commit.is_within(RECENT) {
        return Readiness { ready: true, reason: None };
    }
    let (answer, answered) = oneshot::channel();
    let committed = async {
        state.writer.submit(Change::Probe(answer)).await.ok()?;
        answered.await.ok()
    };
    match timeout(COMMITS_WITHIN, committed).await {
        Ok(Some(())) => Readiness { ready: true, reason: None },
        Ok(None) => not("store_failed"),
        Err(_) => not("store_stuck"),
    }
}

const fn not(reason: &'static str) -> Readiness {
    Readiness { ready: false, reason: Some(Cow::Borrowed(reason)) }
}
