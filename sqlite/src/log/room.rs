//! Room in the log, on the disk before a commit needs it.
//!
//! A commit that makes its file longer waits for the file system's journal as well as for its own pages: nearly half as long again. A log is
//! as long as it ever was until its database is closed, so that goes on until it has begun anew once: for 48 MiB, which is hours of mail
//! that comes message by message. So a thread writes zeros behind the log's end, ahead of it. What is there is no frame to SQLite, as little as
//! what is left of an older log: a frame has the salt of its log, and a checksum.
//!
//! It holds SQLite's own lock for writers while it writes them, so that nobody can be at the end of the log meanwhile.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checkpoint::LONG;
use crate::{Options, Result, log_file};

/// A log of fewer pages is let be: most that are as short are closed before they are longer.
const SHORT: u32 = 64;
/// Pages that a log may have beyond those at which it is folded in, while it is.
const SPARE: u32 = 1_000;
/// Bytes of a page in the log, with its header. Of another size it would be another room, and nothing else.
pub(super) const PAGE: u64 = 4_096 + 24;
/// Bytes written at a time, under the lock: as long as it takes to copy them.
const STEP: usize = 256 * 1024;
/// How long it waits for the lock. It is tried again when the log has grown.
const PATIENCE: Duration = Duration::from_millis(500);

/// Of a connection that writes.
#[derive(Debug)]
pub(super) struct Room {
    options: Options,
    /// Pages that there is room for, or will be.
    pages: u32,
    work: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Room {
    pub(super) const fn new(options: Options) -> Self {
        Self { options, pages: 0, work: None }
    }

    /// Looks at a log of so many pages, after a commit: there should be half as much room again, until it is as long as logs become.
    pub(super) fn look(&mut self, pages: u32) {
        let wanted = (pages + pages / 2).min(LONG + SPARE);
        if pages < SHORT || self.pages >= wanted {
            return;
        }
        if self.work.as_ref().is_some_and(|(work, _)| !work.is_finished()) {
            return;
        }
        self.end();
        self.pages = (2 * pages).min(LONG + SPARE);
        let (options, bytes) = (self.options.clone(), u64::from(self.pages) * PAGE);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("log".to_owned());
        // The disk may be full, or somebody else writing all the time: then commits make the room that they need, as they would.
        let work = thread.spawn(move || drop(make(&options, bytes, &stopped))).ok();
        self.work = work.map(|work| (work, stop));
    }

    /// Waits until nobody works on it.
    pub(super) fn end(&mut self) {
        if let Some((work, stop)) = self.work.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = work.join();
        }
    }
}

/// Makes the log so long.
pub(super) fn make(options: &Options, bytes: u64, stop: &AtomicBool) -> Result<()> {
    let db = options.beside()?;
    db.busy_timeout(PATIENCE)?;
    let zeros = vec![0; STEP];
    while !stop.load(Ordering::Relaxed) {
        db.execute_batch("BEGIN IMMEDIATE")?;
        let written = lengthen(&log_file(options.path()), &zeros, bytes);
        db.execute_batch("ROLLBACK")?;
        match written {
            // Not under the lock: it takes longer than a commit.
            Ok(Some(log)) if log.sync_data().is_ok() => {}
            _ => break,
        }
    }
    Ok(())
}

/// Adds a step, unless it is as long as it is to be, or there is none.
fn lengthen(log: &Path, zeros: &[u8], bytes: u64) -> std::io::Result<Option<File>> {
    let mut file = fs::OpenOptions::new().write(true).open(log)?;
    if file.seek(SeekFrom::End(0))? >= bytes {
        return Ok(None);
    }
    file.write_all(zeros)?;
    Ok(Some(file))
}
