//! When the store took its last commit: for whoever asks whether it still does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The moment of the last commit.
#[derive(Default)]
pub(crate) struct LastCommit(Mutex<Option<Instant>>);

impl LastCommit {
    /// It is this moment.
    pub(super) fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// One has failed since: the last shows nothing any more.
    pub(super) fn is_past(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it is at most so long ago.
    pub(crate) fn is_within(&self, span: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= span)
    }
}
