//! Folding the log into its file beside the commits, not in one of them.
//!
//! SQLite does it in the commit that finds the log long enough, and whoever waits for that one waits for all of its pages. Here a thread copies
//! them while commits go on, again and again until hardly any are left, and ends. The writer copies the last few between two commits: only when none
//! is left does the log begin anew.

use std::thread::JoinHandle;

use crate::{Options, Result};

/// Pages of a log that is folded in: 48 MiB.
pub(super) const LONG: u32 = 12_000;
/// A log that does not begin anew, since somebody reads it, is looked at again when it has grown by so many pages.
const AGAIN: u32 = 1_000;
/// So few pages are copied in a few milliseconds.
const FEW: u32 = 500;
/// How often a thread copies what has been added meanwhile.
const ROUNDS: usize = 8;

/// Of a connection that writes.
#[derive(Debug)]
pub(super) struct Checkpoints {
    options: Options,
    /// Who copies.
    work: Option<JoinHandle<()>>,
    /// Pages at which there is something to do.
    due: u32,
}

impl Checkpoints {
    pub(super) const fn new(options: Options) -> Self {
        Self { options, work: None, due: LONG }
    }

    /// Looks at a log of so many pages, between two commits.
    pub(super) fn look(&mut self, db: &rusqlite::Connection, pages: u32) {
        if pages < LONG {
            self.due = LONG;
        }
        if self.work.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end();
            // Another may have the same in hand, or the disk may be full: it is tried again when the log has grown.
            let _ = copy(db);
            self.due = pages.saturating_add(AGAIN);
        } else if self.work.is_none() && pages >= self.due {
            let options = self.options.clone();
            let thread = std::thread::Builder::new().name("checkpoint".to_owned());
            self.due = pages.saturating_add(AGAIN);
            self.work = thread.spawn(move || drop(catch_up(&options))).ok();
        }
    }

    /// Waits until nobody copies.
    pub(super) fn end(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = work.join();
        }
    }
}

/// Copies until hardly anything was left to copy.
fn catch_up(options: &Options) -> Result<()> {
    let db = options.beside()?;
    let mut copied = 0;
    for _ in 0..ROUNDS {
        let upto = copy(&db)?;
        if upto.saturating_sub(copied) < FEW {
            break;
        }
        copied = upto;
    }
    Ok(())
}

/// Copies what is in the log, but for what is being added. Says how many of its pages are in the file.
fn copy(db: &rusqlite::Connection) -> Result<u32> {
    Ok(db
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(2))?
        .try_into()
        .unwrap_or(0))
}
