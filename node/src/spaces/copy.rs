//! Reading the copy.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{debug, error};
use waxwing_crypto::space::{self, Frame, KeyName, Operation, Stands, Statement};
use waxwing_crypto::state_key::StateKeys;
use waxwing_protocol::api::EventBody;

use super::held::Old;
use super::{Entry, Space};
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::store::records::{self, Row, Slot};

/// Records that one thread opens well enough by itself.
const AT_ONCE: usize = 1_000;

/// Live records: all, or those under a key. What is old and not known to be in the new store is shown while nothing newer stands
/// in its slot.
pub(super) async fn entries(space: &Space, mesh: &Mesh, key: Option<&KeyName>) -> Result<Vec<Entry>> {
    let Some(progress) = space.progress(&mesh.db).await? else { return Ok(Vec::new()) };
    let read = async |old| match key {
        Some(key) => records::under(&mesh.db, progress.row, old, &space.key(key)).await,
        None => records::all(&mesh.db, progress.row, old).await,
    };
    let new = read(false).await?;
    opened(space, mesh, merged(read(true).await?, new)).await
}

/// The live shared records under these keys.
pub(super) async fn shared(space: &Space, mesh: &Mesh, keys: &[KeyName]) -> Result<Vec<Entry>> {
    let Some(progress) = space.progress(&mesh.db).await? else { return Ok(Vec::new()) };
    let slots: Vec<_> = keys.iter().map(|key| (space.key(key), Slot::Shared)).collect();
    let read = async |old| records::in_slots(&mesh.db, progress.row, old, &slots).await;
    let new = read(false).await?;
    opened(space, mesh, merged(read(true).await?, new)).await
}

/// Records, opened.
pub(super) async fn opened(space: &Space, mesh: &Mesh, mut rows: Vec<Row>) -> Result<Vec<Entry>> {
    let (sealing, keys) = (space.sealing.clone(), mesh.epochs.held());
    // Some microseconds each: where there are many, on two threads.
    let rest = if rows.len() > AT_ONCE { rows.split_off(rows.len() / 2) } else { Vec::new() };
    let halves = [rows, rest].map(|rows| {
        let (sealing, keys) = (sealing.clone(), Arc::clone(&keys));
        tokio::task::spawn_blocking(move || open(&sealing, &keys, &rows))
    });
    let (mut entries, mut damaged) = (Vec::new(), 0);
    for half in halves {
        let half = half.await.map_err(|_| Error::Damaged("the copy of a space cannot be read".into()))?;
        entries.extend(half.0);
        damaged += half.1;
    }
    if damaged > 0 {
        tell_damaged(space, mesh, damaged).await;
    }
    Ok(entries)
}

/// Apps are told once.
async fn tell_damaged(space: &Space, mesh: &Mesh, count: usize) {
    if space.damaged.swap(true, Ordering::Relaxed) {
        return;
    }
    error!(space = %space.id(), count, "records in node.db do not open: they are not shown");
    let body = EventBody::System { what: "space_damaged".into() };
    if let Err(error) = mesh.writer.tell_all(body).await {
        debug!(%error, "apps are not told");
    }
}

/// Both copies as one, in the order of places.
fn merged(old: Vec<Row>, new: Vec<Row>) -> Vec<Row> {
    if old.is_empty() {
        return new;
    }
    let slots: HashSet<_> = new.iter().map(|row| (row.key, row.slot)).collect();
    // An appended record has another place in the new store; its writer's number of it is the same.
    let refs: HashSet<_> = new.iter().map(|row| (row.key, row.writer, row.counter)).collect();
    let stands = |row: &Row| {
        let replaced = row.slot.stands() != Stands::Appended && slots.contains(&(row.key, row.slot));
        !replaced && !refs.contains(&(row.key, row.writer, row.counter))
    };
    let mut rows: Vec<_> = old.into_iter().filter(stands).collect();
    rows.extend(new);
    rows
}

/// Records as readers see them, and how many do not open: they opened when they came. Not shown either is what is sealed in an
/// epoch that is none of this mesh any more: an admin has resumed another log.
fn open(sealing: &space::Space, keys: &Arc<StateKeys>, rows: &[Row]) -> (Vec<Entry>, usize) {
    let (mut entries, mut damaged) = (Vec::with_capacity(rows.len()), 0);
    let mut opener = sealing.opener(keys);
    for row in rows.iter().filter(|row| !row.tombstone) {
        match opener.open(&row.sealed, &frame(row)) {
            Ok(opened) => entries.push(shown(row, opened.verified_before())),
            Err(waxwing_crypto::Error::NoKey) => {}
            Err(_) => damaged += 1,
        }
    }
    (entries, damaged)
}

/// What a record was sealed for.
fn frame(row: &Row) -> Frame {
    let operation = match (row.tombstone, row.slot) {
        (true, _) => Operation::Delete,
        (false, Slot::Appended(_)) => Operation::Append,
        (false, Slot::Shared | Slot::Own(_)) => Operation::Put,
    };
    Frame { key: row.key, operation, stands: row.slot.stands(), writer: row.writer }
}

/// A record as readers see it.
pub(super) fn shown(row: &Row, statement: Statement) -> Entry {
    Entry {
        seq: row.seq,
        key: statement.name,
        writer: row.writer,
        stands: row.slot.stands(),
        version: row.version,
        at: row.at,
        expires: row.expires,
        bound: row.bound,
        counter: row.counter,
        life: row.life,
        app: statement.app,
        value: statement.value,
    }
}

/// Numbers and digests of old records, by which one that comes again is known for what it is, once: those in the new copy have.
pub(super) fn known(old: &[Row], new: &[Row]) -> Old {
    let mut known: Old =
        old.iter().map(|row| ((row.writer, row.counter), Some(space::digest(&row.sealed)))).collect();
    for row in new {
        known.entry((row.writer, row.counter)).and_modify(|digest| *digest = None);
    }
    known
}
