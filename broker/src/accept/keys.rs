//! Sealed-key lists: an admin's node puts one here, in parts, and then appends the entry that names it.
//!
//! What a list holds has been proven part by part to belong to its root, so it is whole when it has as many slots as it
//! is said to have. Bounded: a list has no more slots than the mesh ever had members and invites, a node puts one at a
//! time, and a mesh has [`LISTS`] in all.

use std::time::Duration;

use waxwing_crypto::membership::{Body, NewEpoch, Role};
use waxwing_crypto::{Digest, MeshId, Timestamp};
use waxwing_protocol::link::{Code, Done, ToNode};

use super::batch::Batch;
use super::change::{Answer, KeysPut};
use crate::error::Result;
use crate::limiter::After;
use crate::refusal::Refusal;
use crate::store;

/// Most lists of one mesh, the newest epoch's included.
const LISTS: u64 = 8;
/// When to ask again while there are too many.
const AGAIN: After = After(Duration::from_secs(1));
/// A list that no entry names goes when nothing of it has come for so long.
const UNNAMED: Duration = Duration::from_secs(10 * 60);

/// Keeps parts of lists.
pub(super) async fn apply(batch: &mut Batch<'_>, puts: Vec<KeysPut>) -> Result<()> {
    for put in puts {
        if !batch.is_current(&put.peer) {
            continue;
        }
        let frame = match keep(batch, &put).await? {
            Ok(()) => ToNode::Done(Done { req: put.req }),
            Err(refusal) => refusal.frame(Some(put.req)),
        };
        batch.effects.replies.push((put.reply, Box::new(Answer::Frame(frame))));
    }
    Ok(())
}

async fn keep(batch: &mut Batch<'_>, put: &KeysPut) -> Result<Result<(), Refusal>> {
    let maker = put.peer.key;
    let newest = match may_put(batch, put) {
        Ok(newest) => newest,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let list = match store::keys::find(&mut *batch.db, maker.mesh, &put.root).await? {
        Some(list) => list,
        None => {
            store::keys::give_up(&mut *batch.db, maker, &put.root, newest.as_ref()).await?;
            if store::keys::count(&mut *batch.db, maker.mesh).await? >= LISTS {
                batch.effects.sweep = true;
                return Ok(Err(AGAIN.into()));
            }
            store::keys::begin(&mut *batch.db, maker, &put.root, &put.head).await?
        }
    };
    store::keys::put(batch.db, &list, &put.slots, batch.now).await?;
    Ok(Ok(()))
}

/// Whether this node may put such a list now. Returns the root of the newest epoch's.
fn may_put(batch: &mut Batch<'_>, put: &KeysPut) -> Result<Option<Digest>, Refusal> {
    let not_allowed = |why: &str| Refusal::new(Code::NotAllowed, why);
    let Some(mesh) = batch.mesh(put.peer.key.mesh) else {
        return Err(not_allowed("there is no such mesh"));
    };
    if mesh.waiting.is_some() {
        return Err(Refusal::new(Code::ResumeWanted, "the mesh waits for a resume, and takes no new epoch"));
    }
    let roster = &mesh.roster;
    let is_admin = roster.member(&put.peer.key.node).is_some_and(|member| member.role == Role::Admin);
    if !is_admin {
        return Err(not_allowed("only an admin's node may begin an epoch"));
    }
    if put.head.epoch != roster.epoch().saturating_add(1) {
        let detail = format!("the mesh is in epoch {}: read on, and seal the keys again", roster.epoch());
        return Err(Refusal::new(Code::LogConflict, detail));
    }
    if put.head.slots > roster.most_key_holders() {
        return Err(not_allowed("the list has more slots than the mesh ever had members and invites"));
    }
    Ok(roster.epoch_keys())
}

/// Whether the list that an entry names, if it names one, is here as a whole. Asked of an entry that stands on the head:
/// another is refused for that.
pub(super) async fn are_held(
    batch: &mut Batch<'_>,
    mesh: MeshId,
    body: &Body,
) -> Result<Result<(), Refusal>> {
    let Some(NewEpoch { n, keys }) = named(body) else { return Ok(Ok(())) };
    let list = store::keys::find(&mut *batch.db, mesh, &keys).await?;
    if list.is_some_and(|list| list.epoch == n && list.is_whole()) {
        batch.effects.sweep = true; // The one before it.
        return Ok(Ok(()));
    }
    let detail = "the sealed-key list that the entry names is not here: put it, and append again";
    Ok(Err(Refusal::new(Code::KeysWanted, detail)))
}

const fn named(body: &Body) -> Option<NewEpoch> {
    match body {
        Body::Epoch(epoch) => Some(*epoch),
        Body::Revoke(revoke) => revoke.epoch,
        Body::Genesis(_)
        | Body::Invite(_)
        | Body::Join(_)
        | Body::Update(_)
        | Body::Grant(_)
        | Body::Leave(_)
        | Body::Resume(_) => None,
    }
}

/// Takes out some slots of lists that no entry names, if they are old or given up. Says how many.
pub(super) async fn sweep(batch: &mut Batch<'_>, limit: usize) -> Result<usize> {
    let since = batch.now.as_millis().saturating_sub(UNNAMED.as_millis() as u64);
    let untouched = store::keys::untouched(&mut *batch.db, Timestamp::from_millis(since)).await?;
    let mut removed = 0;
    for list in untouched {
        let is_newest = batch.mesh(list.mesh).is_some_and(|mesh| mesh.roster.epoch_keys() == Some(list.root));
        if !is_newest && removed < limit {
            removed += store::keys::remove(batch.db, &list, limit - removed).await?;
        }
    }
    Ok(removed)
}
