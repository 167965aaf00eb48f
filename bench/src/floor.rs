//! What an fsync takes here, by itself: nobody who waits for one is faster.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

/// How many.
const SYNCS: usize = 300;
/// As much as a commit appends at the least.
const PAGE: [u8; 4_096] = [7; 4_096];

/// The median time of an appended page and its `fdatasync`, in milliseconds.
pub(crate) fn sync() -> Result<f64> {
    let mut file = tempfile::tempfile()?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(SYNCS / 2).copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3)
}
