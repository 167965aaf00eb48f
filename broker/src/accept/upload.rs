//! After a loss: a new life of the store, logs that nodes bring back, and the `resume` by which an admin says which of
//! them is right.

use std::sync::Arc;

use tracing::{info, warn};
use waxwing_crypto::membership::{Body, Entry, LogHead, Roster, SignedEntry};
use waxwing_protocol::link::Code;
use waxwing_protocol::{StoreId, limits};

use super::append;
use super::batch::Batch;
use super::change::{Author, Renew, Upload};
use crate::error::Result;
use crate::meshes::Mesh;
use crate::refusal::Refusal;
use crate::store;
use crate::store::log::LogRow;
use crate::store::meta::random;

/// Begins a new life of the store, if one of these marks proves that it was set back.
pub(super) async fn renew(batch: &mut Batch<'_>, renewals: Vec<Renew>) -> Result<()> {
    let is_due = renewals.iter().any(|renew| batch.state.life.is_set_back(&renew.mark));
    batch.effects.heard.extend(renewals.into_iter().map(|renew| renew.answer));
    if !is_due {
        return Ok(());
    }
    let store = StoreId::from_bytes(random()?);
    warn!(%store, "the store was set back to an older copy: a new life begins, and every mesh waits for a resume");
    store::meta::renew(batch.db, store, batch.now).await?;
    batch.spaces.count_anew(store::space::usage(&mut *batch.db).await?);
    for id in batch.state.meshes.ids() {
        if let Some(mesh) = batch.mesh(id) {
            let waiting = mesh.waiting.unwrap_or_default();
            batch.put_mesh(Mesh { waiting: Some(waiting), ..mesh });
        }
    }
    batch.effects.renewed = Some(store);
    Ok(())
}

/// Takes logs that nodes have brought back.
pub(super) async fn apply(batch: &mut Batch<'_>, uploads: Vec<Upload>) -> Result<()> {
    for Upload { roster, after, entries, answer } in uploads {
        take(batch, roster, after, &entries).await?;
        batch.effects.heard.push(answer);
    }
    Ok(())
}

async fn take(batch: &mut Batch<'_>, roster: Roster, after: u64, entries: &[SignedEntry]) -> Result<()> {
    let known = batch.mesh(roster.mesh());
    match known {
        None => bring_back(batch, roster, entries).await,
        // Decided meanwhile, or nothing new.
        Some(known) if known.waiting.is_none() || known.holds(roster.head()) => Ok(()),
        Some(known) if roster.holds(known.roster.head()) => {
            continue_log(batch, &known, roster, after, entries).await
        }
        Some(known) => branch(batch, &known, roster, after, entries).await,
    }
}

/// A mesh that this store does not hold.
async fn bring_back(batch: &mut Batch<'_>, roster: Roster, entries: &[SignedEntry]) -> Result<()> {
    let (mesh, head) = (roster.mesh(), roster.head());
    info!(%mesh, entries = head.seq, "a member has brought the mesh's log back");
    store::mesh::insert(&mut *batch.db, mesh, head, true, batch.now).await?;
    let rows: Vec<_> =
        (1..).zip(entries).map(|(seq, entry)| LogRow { mesh, seq, entry: entry.clone() }).collect();
    store::log::insert(batch.db, &rows).await?;
    batch.put_mesh(Mesh::waiting(Arc::new(roster), Vec::new()));
    Ok(())
}

/// A log that continues ours takes its place: what it adds, we have lost.
async fn continue_log(
    batch: &mut Batch<'_>,
    known: &Mesh,
    roster: Roster,
    after: u64,
    entries: &[SignedEntry],
) -> Result<()> {
    let (mesh, ours, head) = (roster.mesh(), known.roster.head(), roster.head());
    info!(%mesh, from = ours.seq, to = head.seq, "a member has brought back what the log had lost");
    store::mesh::advance(&mut *batch.db, mesh, ours, head).await?;
    for (seq, signed) in (after + 1..).zip(entries).filter(|(seq, _)| *seq > ours.seq) {
        store::log::insert(batch.db, &[LogRow { mesh, seq, entry: signed.clone() }]).await?;
        if let Ok(entry) = signed.parse() {
            append::follow(batch, mesh, &entry.body).await?;
        }
    }
    let kept = beside(batch, known, &roster).await?;
    batch.put_mesh(Mesh::waiting(Arc::new(roster), kept));
    Ok(())
}

/// A log that parts from ours is kept beside it. One that continues a branch takes that one's place.
async fn branch(
    batch: &mut Batch<'_>,
    known: &Mesh,
    roster: Roster,
    after: u64,
    entries: &[SignedEntry],
) -> Result<()> {
    let mesh = roster.mesh();
    let mut kept = beside(batch, known, &roster).await?;
    if kept.len() >= limits::BRANCHES {
        warn!(%mesh, "too many logs of this mesh part from each other: one more is not kept");
        return Ok(());
    }
    let fork = known.roster.shared_with(&roster);
    warn!(%mesh, after = fork, "a member holds a log that parts from the one here: an admin has to choose");
    let own =
        entries.get(usize::try_from(fork.saturating_sub(after)).unwrap_or(usize::MAX)..).unwrap_or_default();
    store::branch::insert(batch.db, mesh, &roster.head().hash, fork + 1, own).await?;
    kept.push(Arc::new(roster));
    batch.put_mesh(Mesh::waiting(Arc::clone(&known.roster), kept));
    batch.effects.gone = true; // A right is held in every branch, so somebody may have lost his.
    Ok(())
}

/// The branches that stay beside a log. One that is a part of it is none any more, and is dropped.
async fn beside(batch: &mut Batch<'_>, known: &Mesh, log: &Roster) -> Result<Vec<Arc<Roster>>> {
    let branches = known.waiting.iter().flat_map(|branches| branches.iter().cloned());
    let (parts, kept): (Vec<_>, Vec<_>) = branches.partition(|branch| log.holds(branch.head()));
    for part in parts {
        store::branch::remove(&mut *batch.db, log.mesh(), &part.head().hash).await?;
    }
    Ok(kept)
}

/// The one entry that a mesh takes while it waits: a `resume`, signed by who is an admin in every branch, that stands
/// on the end of one. That one becomes the log, and the others are dropped.
pub(super) async fn resume(
    batch: &mut Batch<'_>,
    known: &Mesh,
    author: &Author,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<Result<LogHead, Refusal>> {
    let chosen = match choose(known, author, signed, entry) {
        Ok(chosen) => chosen,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (mesh, ours) = (chosen.mesh(), known.roster.head());
    let before = chosen.head();
    let mut resumed = Roster::clone(&chosen);
    if let Err(err) = resumed.apply(signed) {
        return Ok(Err(err.into()));
    }
    let head = resumed.head();
    if before != ours {
        let entries = store::branch::entries(&mut *batch.db, mesh, &before.hash).await?;
        let fork = known.roster.shared_with(&chosen);
        store::log::cut(&mut *batch.db, mesh, fork).await?;
        let rows: Vec<_> =
            (fork + 1..).zip(entries).map(|(seq, entry)| LogRow { mesh, seq, entry }).collect();
        store::log::insert(batch.db, &rows).await?;
    }
    store::mesh::advance(&mut *batch.db, mesh, ours, head).await?;
    store::branch::remove_all(&mut *batch.db, mesh).await?;
    store::mesh::settle(&mut *batch.db, mesh).await?;
    batch.put_mesh(Mesh::settled(Arc::new(resumed)));
    append::keep(batch, mesh, head, signed, entry).await?;
    batch.effects.gone = true;
    info!(%mesh, entry = head.seq, "an admin has resumed the mesh");
    Ok(Ok(head))
}

fn choose(
    known: &Mesh,
    author: &Author,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<Arc<Roster>, Refusal> {
    let is_resume = matches!(entry.body, Body::Resume(_)) && matches!(author, Author::Member(_));
    if !is_resume {
        let detail = "the broker has lost its store, and no admin has said `waxwing mesh resume` yet";
        return Err(Refusal::new(Code::ResumeWanted, detail));
    }
    let Some(chosen) = known.ending_at(&entry.prev) else {
        let detail = "the entry stands on the end of no log of this mesh: read on, and sign again";
        return Err(Refusal::new(Code::LogConflict, detail));
    };
    append::stands_on(entry, chosen.head())?;
    // The chosen log checks the signature; here it is only asked whose key it is in the others.
    let may = !signed.signatures.is_empty() && entry.signers.iter().all(|key| known.is_admin_key(key));
    if may {
        Ok(Arc::clone(chosen))
    } else {
        Err(Refusal::new(Code::NotAllowed, "only who is an admin in every branch may resume"))
    }
}
