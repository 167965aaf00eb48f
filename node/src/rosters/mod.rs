//! The roster between runs: kept in the database, so that a start need not replay the whole log.
//!
//! What is kept is under a code of the storage key, and stands for one entry of the log that is on disk beside it. If
//! anything about it is not as it should be, the log is replayed instead: that is slow, and always right.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};
use waxwing_crypto::MeshId;
use waxwing_crypto::membership::{LogHead, Roster, SignedEntry};
use waxwing_crypto::storage::StorageKeys;
use waxwing_sqlite::Readers;

use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::store::{log, roster};
use crate::writer::WriteError;

/// New entries after which the roster is kept again, at least. Replaying so many takes a few milliseconds.
const ENTRIES: u64 = 64;
/// And this part of the log, so that keeping, which costs as much as the roster is large, stays cheap per entry.
const PART: u64 = 8;
/// Fewer are kept after so long.
const AGE: Duration = Duration::from_secs(10 * 60);

/// A roster that was read, and what that took.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) roster: Roster,
    /// The place that is kept; 0 for none.
    pub(crate) kept: u64,
    /// Entries that were replayed.
    pub(crate) replayed: u64,
}

/// What is kept, by place and time.
#[derive(Debug)]
pub(crate) struct Kept(Mutex<(u64, Instant)>);

impl Kept {
    pub(crate) fn at(seq: u64) -> Self {
        Self(Mutex::new((seq, Instant::now())))
    }

    fn set(&self, seq: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (seq, Instant::now());
    }

    fn get(&self) -> (u64, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a log that ends here has grown enough to be kept again.
    pub(crate) fn is_due(&self, head: u64) -> bool {
        let (kept, since) = self.get();
        let grown = head.abs_diff(kept);
        grown >= ENTRIES.max(head / PART) || (grown > 0 && since.elapsed() >= AGE)
    }
}

/// The roster of a mesh's log, as far as that is on this disk.
///
/// # Errors
/// `Damaged` if the log does not hold, or is of another mesh.
pub(crate) async fn open(db: &Readers, keys: &StorageKeys, mesh: MeshId) -> Result<Opened> {
    match from_kept(db, keys, mesh).await {
        Ok(Some(opened)) => return Ok(opened),
        Ok(None) => {}
        Err(error) => warn!(%error, "the roster that was kept is not used: the whole log is replayed"),
    }
    let entries = log::after(db, 0).await?;
    let replayed = entries.len() as u64;
    let roster = off_thread(move || Roster::replay(&entries)).await?;
    if roster.mesh() != mesh {
        return Err(Error::Damaged("the log is of another mesh".into()));
    }
    Ok(Opened { roster, kept: 0, replayed })
}

/// What is kept, brought up to the end of the log. None if nothing is.
async fn from_kept(db: &Readers, keys: &StorageKeys, mesh: MeshId) -> Result<Option<Opened>> {
    let Some((seq, kept)) = roster::kept(db).await? else { return Ok(None) };
    let entry = log::at(db, seq).await?;
    let entry = entry.ok_or_else(|| Error::Damaged(format!("the log has no entry {seq}")))?;
    let roster = keys.kept_roster(mesh, LogHead { seq, hash: entry.hash() }, &kept)?;
    let entries = log::after(db, seq).await?;
    let replayed = entries.len() as u64;
    let roster =
        if entries.is_empty() { roster } else { off_thread(move || continued(roster, &entries)).await? };
    Ok(Some(Opened { roster, kept: seq, replayed }))
}

fn continued(mut roster: Roster, entries: &[SignedEntry]) -> waxwing_crypto::Result<Roster> {
    for entry in entries {
        roster.apply(entry)?;
    }
    Ok(roster)
}

/// An entry takes about 100 µs, and there may be many.
async fn off_thread(
    replay: impl FnOnce() -> waxwing_crypto::Result<Roster> + Send + 'static,
) -> Result<Roster> {
    let replayed = tokio::task::spawn_blocking(replay).await;
    Ok(replayed.map_err(|error| Error::Damaged(error.to_string()))??)
}

/// Keeps the roster, if it has grown enough since it last was.
pub(crate) async fn keep_if_due(mesh: &Mesh) -> Result<(), WriteError> {
    let head = mesh.roster(|roster| roster.head().seq);
    if mesh.kept.is_due(head) { keep(mesh).await } else { Ok(()) }
}

/// Keeps the roster at the end of a run, if it has grown at all.
pub(crate) async fn keep_at_end(mesh: &Mesh) {
    let head = mesh.roster(|roster| roster.head().seq);
    if mesh.kept.get().0 == head {
        return;
    }
    if let Err(error) = keep(mesh).await {
        info!(%error, "the roster is not kept: the next start replays what is new");
    }
}

async fn keep(mesh: &Mesh) -> Result<(), WriteError> {
    let (seq, kept) = mesh.roster(|roster| (roster.head().seq, mesh.keys.keep_roster(roster)));
    debug!(seq, bytes = kept.len(), "keeping the roster");
    mesh.writer.keep_roster(seq, kept).await?;
    mesh.kept.set(seq);
    Ok(())
}

#[cfg(test)]
mod tests;
