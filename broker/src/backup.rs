//! A backup of a broker's store, while the broker runs or not.
//!
//! It is made by whoever asks, over a connection of its own that only reads: SQLite shows it one moment of the store,
//! and the broker goes on writing beside it. (Its log grows meanwhile: it is folded into the database when the copy is
//! done.)

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::interval;

use crate::config::{Config, Database};
use crate::error::{Error, Result};
use crate::store::{copy, inspect};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Copies a broker's store to a file that must not exist, and says how large it is. `progress` is told how many bytes are
/// written, of how many at most.
///
/// The copy is private to this user, on the disk, and has passed SQLite's integrity check. It has no store id: a broker
/// that starts on it is a new store to its nodes.
///
/// # Errors
/// `OnServer` if the store is in no file; `Config` if there is none; `Exists` if the file is there; `Damaged` if the store or its copy is; `Internal` if it
/// cannot be written.
pub async fn backup(config: &Config, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<u64> {
    let database = match config.store() {
        Database::Sqlite(file) => file,
        Database::Postgres(url) => return Err(Error::OnServer(url.to_string())),
    };
    let all = match fs::metadata(&database) {
        Ok(file) => file.len(),
        Err(err) => return Err(Error::Config(format!("no store at {}: {err}", database.display()))),
    };
    let mut db = inspect::file(&database).await?;
    let mut copying = std::pin::pin!(copy::copy(&mut db, to));
    let mut ticks = interval(TELL_EVERY);
    loop {
        tokio::select! {
            copied = &mut copying => {
                copied?;
                return Ok(fs::metadata(to)?.len());
            }
            _ = ticks.tick() => {
                let written = fs::metadata(copy::partial(to)).map_or(0, |file| file.len());
                progress(written.min(all), all);
            }
        }
    }
}
