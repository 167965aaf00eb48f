//! Appends to the membership logs. The rules are the roster's; the broker adds that an entry is about as old as it says.

use std::sync::Arc;

use waxwing_crypto::membership::{Body, Entry, LogHead, MAX_CLOCK_SKEW, Roster, SignedEntry};
use waxwing_crypto::{MeshId, VerifyingKey};
use waxwing_protocol::link::{Code, Log, ToNode};

use super::batch::Batch;
use super::change::{Answer, Append, Author};
use super::keys;
use crate::error::Result;
use crate::meshes::Mesh;
use crate::refusal::Refusal;
use crate::store::log::LogRow;
use crate::store::{self, NodeKey};

/// Applies appends, one after the other: each moves the head that the next must stand on.
pub(super) async fn apply(batch: &mut Batch<'_>, appends: Vec<Append>) -> Result<()> {
    for Append { author, entry, req, reply } in appends {
        let member = matches!(author, Author::Member(_));
        if let Author::Member(peer) = &author
            && !batch.is_current(peer)
        {
            continue;
        }
        let frame = match append(batch, &author, &entry).await? {
            Ok(head) => {
                let mark = member.then_some(batch.mark);
                ToNode::Log(Log { req: Some(req), entries: vec![entry], head: Some(head), mark })
            }
            Err(refusal) => refusal.frame(Some(req)),
        };
        batch.effects.replies.push((reply, Box::new(Answer::Frame(frame))));
    }
    Ok(())
}

/// Appends one entry, if it may be.
async fn append(
    batch: &mut Batch<'_>,
    author: &Author,
    signed: &SignedEntry,
) -> Result<Result<LogHead, Refusal>> {
    let entry = match signed.parse() {
        Ok(entry) => entry,
        Err(err) => return Ok(Err(err.into())),
    };
    if let Err(refusal) = is_about_now(batch, &entry) {
        return Ok(Err(refusal));
    }
    let mesh = author.mesh();
    let before = match batch.mesh(mesh) {
        Some(known) => {
            if known.waiting.is_some() {
                return super::upload::resume(batch, &known, author, signed, &entry).await;
            }
            Some(known.roster.head())
        }
        None => None,
    };
    if before.is_some_and(|before| stands_on(&entry, before).is_ok())
        && let Err(refusal) = keys::are_held(batch, mesh, &entry.body).await?
    {
        return Ok(Err(refusal));
    }
    let head = match check(batch, author, before, signed, &entry) {
        Ok(head) => head,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match before {
        Some(before) => store::mesh::advance(&mut *batch.db, mesh, before, head).await?,
        None => store::mesh::insert(&mut *batch.db, mesh, head, false, batch.now).await?,
    }
    keep(batch, mesh, head, signed, &entry).await?;
    Ok(Ok(head))
}

/// Stores an entry that its roster has taken, and what follows from it.
pub(super) async fn keep(
    batch: &mut Batch<'_>,
    mesh: MeshId,
    head: LogHead,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<()> {
    let row = LogRow { mesh, seq: head.seq, entry: signed.clone() };
    store::log::insert(batch.db, &[row]).await?;
    follow(batch, mesh, &entry.body).await
}

fn is_about_now(batch: &Batch<'_>, entry: &Entry) -> Result<(), Refusal> {
    let skew = entry.at.since(batch.now).max(batch.now.since(entry.at));
    if skew > MAX_CLOCK_SKEW {
        let detail = format!("the entry is dated {} s from the broker's clock", skew.as_secs());
        return Err(Refusal::new(Code::ClockSkew, detail));
    }
    Ok(())
}

fn check(
    batch: &mut Batch<'_>,
    author: &Author,
    before: Option<LogHead>,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<LogHead, Refusal> {
    let before = match (before, author) {
        (Some(before), Author::Member(_)) => before,
        (Some(before), Author::Entering { key, .. }) => {
            enters_by(entry, key)?;
            before
        }
        (None, Author::Entering { mesh, key }) => return found(batch, *mesh, key, signed, entry),
        (None, Author::Member(_)) => return Err(Refusal::new(Code::NotAllowed, "there is no such mesh")),
    };
    stands_on(entry, before)?;
    batch.grow(author.mesh(), signed)
}

/// Whether an entry continues a log that ends there.
pub(super) fn stands_on(entry: &Entry, head: LogHead) -> Result<(), Refusal> {
    if entry.seq == head.seq + 1 && entry.prev == head.hash {
        return Ok(());
    }
    let detail = format!("the log has {} entries: read on, and sign again", head.seq);
    Err(Refusal::new(Code::LogConflict, detail))
}

/// A founder's one entry: a genesis that makes the mesh it named, signed by the key it logged in with.
fn found(
    batch: &mut Batch<'_>,
    mesh: MeshId,
    key: &VerifyingKey,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<LogHead, Refusal> {
    let is_own = matches!(&entry.body, Body::Genesis(genesis) if genesis.founder.signing == *key);
    if !is_own {
        return Err(Refusal::new(
            Code::NotAllowed,
            "this link may only found the mesh it named, with its own key",
        ));
    }
    let roster = Roster::genesis(signed).map_err(Refusal::from)?;
    if roster.mesh() != mesh {
        return Err(Refusal::new(Code::NotAllowed, "the genesis makes another mesh than the one named"));
    }
    let head = roster.head();
    batch.put_mesh(Mesh::settled(Arc::new(roster)));
    Ok(head)
}

/// The one entry of a link that enters: an invite's join, or an update by which a node gives this key up.
fn enters_by(entry: &Entry, key: &VerifyingKey) -> Result<(), Refusal> {
    match &entry.body {
        Body::Join(join) if join.invite == *key => Ok(()),
        // By which node's key the roster will ask.
        Body::Update(update) if update.signing.is_some() && entry.signers.first() == Some(key) => Ok(()),
        Body::Genesis(_) => Err(Refusal::new(Code::LogConflict, "this mesh has been founded already")),
        Body::Join(_)
        | Body::Invite(_)
        | Body::Update(_)
        | Body::Grant(_)
        | Body::Revoke(_)
        | Body::Leave(_)
        | Body::Epoch(_)
        | Body::Resume(_) => Err(Refusal::new(
            Code::NotAllowed,
            "this link may only join by its own invite, or give its key up for another",
        )),
    }
}

/// What an entry changes beside the roster.
pub(super) async fn follow(batch: &mut Batch<'_>, mesh: MeshId, body: &Body) -> Result<()> {
    match body {
        // Its prekey was signed by a key that is the node's no longer.
        Body::Update(update) if update.signing.is_some() => {
            let node = NodeKey { mesh, node: update.node };
            batch.forget_shown(node).await?;
            store::prekey::remove(&mut *batch.db, node).await
        }
        Body::Revoke(_) | Body::Leave(_) => {
            batch.effects.gone = true;
            Ok(())
        }
        Body::Update(_)
        | Body::Genesis(_)
        | Body::Invite(_)
        | Body::Join(_)
        | Body::Grant(_)
        | Body::Epoch(_)
        | Body::Resume(_) => Ok(()),
    }
}
