//! Log lines that a stranger can cause are written up to so many in a minute: he cannot fill the disk with them, nor hide
//! what matters among them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines in one span.
const LINES: u32 = 30;
/// The span.
const SPAN: Duration = Duration::from_secs(60);

/// Says which lines of a kind are written.
#[derive(Default)]
pub(crate) struct Sparing(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Sparing {
    /// Whether one more may be written; and if so, how many before it were not.
    pub(crate) fn may(&self) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.is_none_or(|since| since.elapsed() >= SPAN) {
            lines.since = Some(Instant::now());
            lines.said = 0;
        }
        if lines.said == LINES {
            lines.unsaid += 1;
            return None;
        }
        lines.said += 1;
        Some(std::mem::take(&mut lines.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_in_a_minute_and_the_rest_are_counted() {
        let sparing = Sparing::default();
        let said = (0..1_000).filter(|_| sparing.may() == Some(0)).count();
        assert_eq!(said, LINES as usize);
        tokio::time::advance(SPAN).await;
        assert_eq!((sparing.may(), sparing.may()), (Some(1_000 - u64::from(LINES)), Some(0)));
    }
}
