//! Waiting for something to become true, with a deadline, instead of sleeping and hoping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// Pause between two looks. Short against any deadline, long enough to leave the processor to those waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value.
///
/// # Errors
/// `Timeout` naming `what`, if it has not within the time given.
pub async fn eventually<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout { what: what.to_owned(), within });
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_needed_and_no_longer() {
        let mut looks = 0;
        let third = eventually(Duration::from_secs(1), "the third look", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third.await.unwrap(), 3);
        let never = eventually(Duration::from_secs(1), "never", async || None::<()>).await.unwrap_err();
        assert_eq!(never.to_string(), "not within 1s: never");
    }
}
