//! Crash images: what a machine that loses its power may find of a SQLite database, at each of its syncs.
//!
//! ```text
//! a test     drives what keeps a database in a recorded folder, and notes each acknowledgement as it is given
//! vfs        stands before SQLite's own file system in this process, and notes each write, cut, sync and deletion there
//! history    what the database held at each acknowledgement
//! windows    at each sync: what was on the disk before it for certain, and what was written and may be there or not
//! images     some or all of that, also only some sectors of a write, put into a folder
//! a test     opens each as after a crash; the history says what it must hold
//! ```
//!
//! A write is on the disk once its file was synced after it; a file that was deleted is gone once any file was synced after it. Before,
//! each may be there without the others. At a sync, the images of every earlier moment since the last are among those that are to be had.
//!
//! What an image holds is compared as a whole: it is what there was at the last acknowledgement before, or that and the one transaction
//! that was under way. So nothing acknowledged is lost, nothing is there in part or twice, and nothing counts anew.

mod contents;
mod history;
mod recording;
mod run;
mod vfs;
mod window;

pub use history::{Broken, History};
pub use run::Run;
pub use window::{Choice, Dice, Window, Windows};

use std::path::Path;

use waxwing_sqlite::Options;

/// How much of a log a checkpoint moves into the database.
#[derive(Clone, Copy, Debug)]
pub enum Checkpoint {
    /// What nobody is in the way of, as a writer's own connection does after some thousand pages.
    Passive,
    /// All of it: what is written next begins at the log's beginning.
    Restart,
}

/// Has a database's log moved into it.
///
/// # Errors
/// If SQLite cannot.
pub async fn checkpoint(database: &Path, how: Checkpoint) -> waxwing_sqlite::Result<()> {
    let sql = match how {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
    };
    let mut db = Options::new(database).open()?;
    waxwing_sqlite::query(sql).execute(&mut db).await?;
    db.close()
}
