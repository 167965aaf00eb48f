//! What is kept of a run for whoever wants to know what happened: what apps saw, and what was done to the mesh.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::schedule::Strike;
use crate::error::{Error, Result};
use crate::history::Recorder;

/// What is kept.
#[derive(Debug, Default)]
pub struct Diary {
    record: Recorder,
    strikes: Mutex<String>,
}

impl Diary {
    /// What apps saw so far.
    pub const fn record(&self) -> &Recorder {
        &self.record
    }

    /// All faults so far, a line each: in which round, when in it, and what.
    pub fn faults(&self) -> String {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what apps saw to a file, as JSON lines.
    ///
    /// # Errors
    /// If that fails.
    pub fn write(&self, file: &Path) -> Result<()> {
        let file = File::create(file).map_err(Error::io("writing a history"))?;
        let mut file = BufWriter::new(file);
        self.record.history().write(&mut file)?;
        std::io::Write::flush(&mut file).map_err(Error::io("writing a history"))
    }

    /// Keeps all of it in a new folder: `history.jsonl` and `faults.txt`.
    ///
    /// # Errors
    /// If that fails.
    pub fn keep(&self, seed: u64) -> Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix(&format!("waxwing-prove-{seed}-")).tempdir();
        let folder = folder.map_err(Error::io("making a folder for the history"))?;
        self.write(&folder.path().join("history.jsonl"))?;
        let faults = std::fs::write(folder.path().join("faults.txt"), self.faults());
        faults.map_err(Error::io("writing the faults"))?;
        Ok(folder.keep())
    }

    pub(super) fn strikes(&self, round: usize, strike: &Strike) {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string cannot fail.
        let _ = writeln!(strikes, "round {}, {strike}", round + 1);
    }
}
