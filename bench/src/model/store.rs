//! One of the model's three stores: rows in, and out again once they are committed.

use std::path::Path;
use std::sync::mpsc as threads;

use anyhow::{Result, bail};
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::ROOM;

/// Changes in one transaction.
const BATCH: usize = 512;

/// A message.
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) body: Bytes,
}

/// What a store is told.
pub(super) enum Change {
    /// Store this, and tell whoever waits for it.
    Add(Row, Option<oneshot::Sender<()>>),
    /// This one is done with. It waits for others, or for the next that is added.
    Done(u64),
}

/// What becomes of what is done with.
#[derive(Clone, Copy)]
pub(super) enum Done {
    Marked,
    Deleted,
}

/// What it is told by, what it has committed, and its end.
type Opened = (threads::SyncSender<Change>, mpsc::Receiver<Row>, JoinHandle<Result<()>>);

/// Opens one. It ends when nobody can tell it anything, or nobody takes what it has.
pub(super) fn store(file: &Path, done: Done) -> Result<Opened> {
    let db = Connection::open(file)?;
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    db.execute_batch(
        "PRAGMA synchronous=FULL;
         CREATE TABLE m(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL DEFAULT 0,
                        body BLOB NOT NULL);",
    )?;
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if mode != "wal" || synchronous != 2 {
        bail!("the model's stores are to be in WAL mode with synchronous=FULL, not {mode} and {synchronous}");
    }
    let (changes, told) = threads::sync_channel(ROOM);
    let (committed, out) = mpsc::channel(ROOM);
    Ok((changes, out, spawn_blocking(move || write(&db, done, &told, &committed))))
}

fn write(
    db: &Connection,
    done: Done,
    told: &threads::Receiver<Change>,
    committed: &mpsc::Sender<Row>,
) -> Result<()> {
    let (mut added, mut finished) = (Vec::new(), Vec::new());
    while let Ok(first) = told.recv() {
        let mut next = Some(first);
        while let Some(change) = next {
            match change {
                Change::Add(row, waits) => added.push((row, waits)),
                Change::Done(number) => finished.push(number),
            }
            next = if added.len() < BATCH { told.try_recv().ok() } else { None };
        }
        if added.is_empty() && finished.len() < BATCH {
            continue;
        }
        commit(db, done, &added, &mut finished)?;
        for (row, waits) in added.drain(..) {
            if let Some(waits) = waits {
                // Whoever waited may have gone.
                let _ = waits.send(());
            }
            if committed.blocking_send(row).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn commit(
    db: &Connection,
    done: Done,
    added: &[(Row, Option<oneshot::Sender<()>>)],
    finished: &mut Vec<u64>,
) -> Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let mut insert = db.prepare_cached("INSERT INTO m(number, id, body) VALUES(?1, ?2, ?3)")?;
    for (row, _) in added {
        let mut id = [0_u8; 16];
        id[..8].copy_from_slice(&row.number.to_be_bytes());
        insert.execute((row.number.cast_signed(), &id[..], &row.body[..]))?;
    }
    let mut finish = db.prepare_cached(match done {
        Done::Marked => "UPDATE m SET state=1 WHERE number=?1",
        Done::Deleted => "DELETE FROM m WHERE number=?1",
    })?;
    for number in finished.drain(..) {
        finish.execute([number.cast_signed()])?;
    }
    Ok(db.execute_batch("COMMIT")?)
}
