//! Long polls: an answer that waits for something to answer with.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waxwing_protocol::api::{Problem, ProblemCode};

use super::problem::Refused;
use crate::mesh::Mesh;

/// Longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// How long a request may go on asking. Made before the first look, so that no change is missed.
pub(super) struct Wait {
    deadline: Option<Instant>,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
}

impl Wait {
    /// By the request's `wait` parameter.
    pub(super) fn new(
        mesh: &Mesh,
        wait: Option<&str>,
        changes: watch::Receiver<u64>,
    ) -> Result<Self, Refused> {
        let deadline = match wait {
            None => None,
            Some(wait) => {
                let duration = humantime::parse_duration(wait).ok().filter(|wait| *wait <= LONGEST);
                let malformed =
                    || Problem::new(ProblemCode::Malformed).detail("wait must be at most 60s, as 30s");
                Some(Instant::now() + duration.ok_or_else(malformed)?)
            }
        };
        Ok(Self { deadline, changes, stop: mesh.stop.clone() })
    }

    /// Waits until something has changed. False when it is time to answer with what there is.
    pub(super) async fn again(&mut self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        tokio::select! {
            changed = self.changes.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = self.stop.cancelled() => false,
        }
    }
}
