//! Appending an entry for somebody who waits for it, through links that are lost.
//!
//! A link can be lost after an entry was handed over and before the broker has answered. Then the log may have it, or not.
//! So it is looked for there first, over the next link: finding it is success, and only otherwise is it made again.

use std::time::Duration;

use tokio::time::timeout;
use tracing::info;
use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::{LogHead, Roster};
use waxwing_protocol::api::LinkState;

use crate::epochs::Proposal;
use crate::link::{CallError, Calls};
use crate::mesh::Mesh;

/// Attempts, each of which ended with a lost link.
const ATTEMPTS: usize = 4;
/// Another link is waited for this long: longer than the longest pause before a node dials again.
const LINKED_WITHIN: Duration = Duration::from_secs(40);

/// Appends what is proposed, signed by this node.
pub(crate) async fn append(mesh: &Mesh, proposal: &Proposal) -> Result<(), CallError> {
    append_by(mesh, &mesh.identity.signing, proposal).await
}

/// The same, signed by another key.
pub(crate) async fn append_by(mesh: &Mesh, key: &SigningKey, proposal: &Proposal) -> Result<(), CallError> {
    surely(mesh, Wanted::Proposal(key, proposal)).await
}

/// Says by this key that the log held here, as it ends now, is the right one. Returns where it ended.
pub(crate) async fn resume_by(mesh: &Mesh, key: &SigningKey) -> Result<LogHead, CallError> {
    let head = mesh.roster(Roster::head);
    surely(mesh, Wanted::Resume(key, head)).await?;
    Ok(head)
}

/// What is wanted of the log.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// This, signed by this key.
    Proposal(&'a SigningKey, &'a Proposal),
    /// To go on from here, signed by this key.
    Resume(&'a SigningKey, LogHead),
}

impl Wanted<'_> {
    async fn attempt(self, mesh: &Mesh, calls: &Calls) -> Result<(), CallError> {
        match self {
            Self::Proposal(key, proposal) => calls.append_by(mesh, key, proposal).await,
            Self::Resume(key, head) => calls.resume(mesh, key, head).await,
        }
    }
}

/// Attempts it until there is an answer, or the entry is found in the log.
async fn surely(mesh: &Mesh, wanted: Wanted<'_>) -> Result<(), CallError> {
    let mut calls = mesh.calls().ok_or(CallError::Lost)?;
    let mut handed_over: Vec<LogHead> = Vec::new();
    for _ in 0..ATTEMPTS {
        let error = match wanted.attempt(mesh, &calls).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let CallError::Unanswered(place) = error {
            handed_over.push(place);
        } else if handed_over.is_empty() {
            return Err(error);
        } else if has_one(mesh, &handed_over) {
            // It came into the log after it was looked for, and is why another cannot.
            return Ok(());
        } else if !matches!(error, CallError::Lost) {
            return Err(error);
        }
        calls = another_link(mesh, &calls).await.ok_or_else(|| last(&handed_over))?;
        let read = calls.fetch_log(mesh).await;
        if has_one(mesh, &handed_over) {
            info!("an entry is in the log whose answer was lost");
            return Ok(());
        }
        match read {
            // That link is lost as well: the next attempt sees to it.
            Ok(()) | Err(CallError::Lost) => {}
            Err(error) => return Err(error),
        }
    }
    Err(last(&handed_over))
}

/// Whether the log has one of these.
fn has_one(mesh: &Mesh, places: &[LogHead]) -> bool {
    mesh.roster(|roster| places.iter().any(|place| roster.holds(*place)))
}

/// Why it is not known what has become of it.
fn last(handed_over: &[LogHead]) -> CallError {
    handed_over.last().map_or(CallError::Lost, |place| CallError::Unanswered(*place))
}

/// The next link than this one; none if none comes in time, or ever. If only an answer did not come, it is the same link.
async fn another_link(mesh: &Mesh, lost: &Calls) -> Option<Calls> {
    let mut link = mesh.watch_link();
    let another = async {
        loop {
            link.mark_unchanged();
            if let Some(calls) = mesh.calls().filter(|calls| !calls.is(lost)) {
                return Some(calls);
            }
            if mesh.link().state == LinkState::Stopped {
                return None;
            }
            tokio::select! {
                () = mesh.stop.cancelled() => return None,
                changed = link.changed() => changed.ok()?,
            }
        }
    };
    timeout(LINKED_WITHIN, another).await.unwrap_or_else(|_| mesh.calls())
}
