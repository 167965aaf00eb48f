//! The log of a database that is written, beside the commits: room is made in it before they need it, and it is folded into the file.

mod checkpoint;
mod room;

use std::cell::Cell;

use rusqlite::hooks::Wal;

use self::checkpoint::Checkpoints;
use self::room::Room;
use crate::Options;

thread_local! {
    /// Pages in the log after a commit that this thread has just made.
    static COMMITTED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Of a connection that writes.
#[derive(Debug)]
pub(crate) struct Log {
    checkpoints: Checkpoints,
    room: Room,
}

impl Log {
    /// Takes over from SQLite.
    pub(crate) fn begin(options: &Options, db: &rusqlite::Connection) -> Self {
        db.wal_hook(Some(note));
        Self { checkpoints: Checkpoints::new(options.clone()), room: Room::new(options.clone()) }
    }

    /// To be called after each statement.
    pub(crate) fn go_on(&mut self, db: &rusqlite::Connection) {
        if let Some(pages) = COMMITTED.take() {
            self.checkpoints.look(db, pages);
            self.room.look(pages);
        }
    }

    /// Waits until nobody works on it.
    pub(crate) fn end(&mut self) {
        self.room.end();
        self.checkpoints.end();
    }
}

fn note(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    COMMITTED.set(u32::try_from(pages).ok());
    Ok(())
}

#[cfg(test)]
mod tests;
