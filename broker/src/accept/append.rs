//! Appends to the membership logs. The rules are the roster's; the broker adds that an entry is about as old as it says.

use waxwing_crypto::membership::{Body, Entry, LogHead, MAX_CLOCK_SKEW, Roster, SignedEntry};
use waxwing_crypto::{MeshId, NodeId, VerifyingKey};
use waxwing_protocol::link::{Code, Log, ToNode};

use super::batch::Batch;
use super::change::{Answer, Append, Author};
use crate::error::Result;
use crate::refusal::Refusal;
use crate::store::log::LogRow;
use crate::store::{self, NodeKey};

/// Applies appends, one after the other: each moves the head that the next must stand on.
pub(super) async fn apply(batch: &mut Batch<'_>, appends: Vec<Append>) -> Result<()> {
    let mut rows = Vec::new();
    for Append { author, entry, req, reply } in appends {
        if let Author::Member(peer) = &author
            && !batch.is_current(peer)
        {
            continue;
        }
        let frame = match check(batch, &author, &entry) {
            Ok(Appended { mesh, before, head, changes }) => {
                match before {
                    Some(before) => store::mesh::advance(&mut *batch.db, mesh, before, head).await?,
                    None => store::mesh::insert(&mut *batch.db, mesh, head, batch.now).await?,
                }
                follow(batch, mesh, changes).await?;
                rows.push(LogRow { mesh, seq: head.seq, entry: entry.clone() });
                ToNode::Log(Log { req: Some(req), entries: vec![entry], head: Some(head) })
            }
            Err(refusal) => refusal.frame(Some(req)),
        };
        batch.effects.replies.push((reply, Answer::Frame(frame)));
    }
    store::log::insert(batch.db, &rows).await
}

/// An entry that the roster has taken, and the store is about to.
struct Appended {
    mesh: MeshId,
    /// The head it stands on; none for a genesis.
    before: Option<LogHead>,
    head: LogHead,
    changes: Changes,
}

/// What an entry changes beside the roster.
enum Changes {
    /// A node's prekey was signed by a key that is the node's no longer.
    Key(NodeId),
    /// Somebody stopped being a member.
    Gone,
    Nothing,
}

fn check(batch: &mut Batch<'_>, author: &Author, signed: &SignedEntry) -> Result<Appended, Refusal> {
    let entry = signed.parse().map_err(Refusal::from)?;
    let skew = entry.at.since(batch.now).max(batch.now.since(entry.at));
    if skew > MAX_CLOCK_SKEW {
        let detail = format!("the entry is dated {} s from the broker's clock", skew.as_secs());
        return Err(Refusal::new(Code::ClockSkew, detail));
    }
    let mesh = author.mesh();
    let before = batch.roster(mesh).map(|roster| roster.head());
    let before = match (before, author) {
        (Some(before), Author::Member(_)) => before,
        (Some(before), Author::Entering { key, .. }) => {
            joins_by(&entry, key)?;
            before
        }
        (None, Author::Entering { key, .. }) => return found(batch, mesh, key, signed, &entry),
        (None, Author::Member(_)) => return Err(Refusal::new(Code::NotAllowed, "there is no such mesh")),
    };
    if entry.seq != before.seq + 1 || entry.prev != before.hash {
        let detail = format!("the log has {} entries: read on, and sign again", before.seq);
        return Err(Refusal::new(Code::LogConflict, detail));
    }
    let head = batch.grow(mesh, signed)?;
    Ok(Appended { mesh, before: Some(before), head, changes: Changes::of(&entry.body) })
}

/// A founder's one entry: a genesis that makes the mesh it named, signed by the key it logged in with.
fn found(
    batch: &mut Batch<'_>,
    mesh: MeshId,
    key: &VerifyingKey,
    signed: &SignedEntry,
    entry: &Entry,
) -> Result<Appended, Refusal> {
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
    batch.found(roster);
    Ok(Appended { mesh, before: None, head, changes: Changes::Nothing })
}

/// An invite's one entry: a join by it.
fn joins_by(entry: &Entry, key: &VerifyingKey) -> Result<(), Refusal> {
    match &entry.body {
        Body::Join(join) if join.invite == *key => Ok(()),
        Body::Genesis(_) => Err(Refusal::new(Code::LogConflict, "this mesh has been founded already")),
        Body::Join(_)
        | Body::Invite(_)
        | Body::Update(_)
        | Body::Grant(_)
        | Body::Revoke(_)
        | Body::Leave(_)
        | Body::Epoch(_)
        | Body::Resume(_) => Err(Refusal::new(Code::NotAllowed, "this link may only join by its own invite")),
    }
}

impl Changes {
    fn of(body: &Body) -> Self {
        match body {
            Body::Update(update) if update.signing.is_some() => Self::Key(update.node),
            Body::Revoke(_) | Body::Leave(_) => Self::Gone,
            Body::Update(_)
            | Body::Genesis(_)
            | Body::Invite(_)
            | Body::Join(_)
            | Body::Grant(_)
            | Body::Epoch(_)
            | Body::Resume(_) => Self::Nothing,
        }
    }
}

async fn follow(batch: &mut Batch<'_>, mesh: MeshId, changes: Changes) -> Result<()> {
    match changes {
        Changes::Key(node) => store::prekey::remove(&mut *batch.db, NodeKey { mesh, node }).await,
        Changes::Gone => {
            batch.effects.gone = true;
            Ok(())
        }
        Changes::Nothing => Ok(()),
    }
}
