//! What came of a space, opened, and whether its writers have said it.

use std::sync::Arc;

use waxwing_crypto::membership::Roster;
use waxwing_crypto::space::{self, Frame, Opened, Operation, Seen, Stands, Statement, epoch_of, verify_all};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{NodeId, Timestamp, VerifyingKey};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{Changed, Deleted, EndedRecord, Record, SpaceChanges, What};

use super::{Link, Space};
use crate::epochs::Trouble;

/// A page, opened and checked by itself; what it means for the copy is [`super::judge`]'s.
pub(super) struct Page {
    pub(super) changes: Vec<Change>,
    pub(super) answer: SpaceChanges,
    /// The place that was asked for.
    pub(super) after: u64,
}

/// One change of it.
pub(super) struct Change {
    pub(super) n: u64,
    pub(super) at: Timestamp,
    pub(super) what: Checked,
}

/// What it is.
pub(super) enum Checked {
    /// A record, if its writer has said so.
    Record(Record, Option<Said>),
    /// A tombstone, if its writer has said so.
    Deleted(Deleted, Option<Said>),
    Ended(EndedRecord),
    Touched {
        seq: u64,
        expires: Timestamp,
    },
}

/// What a writer has said, and under which signing key.
pub(super) struct Said {
    pub(super) statement: Statement,
    pub(super) signer: [u8; VerifyingKey::SIZE],
}

/// In a page with more claims of what was seen, none is looked into: it is of a copy that catches up.
pub(super) const FORKS_LOOKED_FOR: usize = 64;

impl Page {
    /// Makes one page of it and the next: what both do to the copy is the same, in one commit. Not where the copy is complete or
    /// begun anew between them, which is looked at by itself, nor where something is wrong with their places: it is given back.
    pub(super) fn join(&mut self, next: Self) -> Option<Self> {
        let (upto, last) = (self.answer.upto, self.changes.last().map_or(self.after, |change| change.n));
        let first = next.changes.first().map_or(next.answer.upto, |change| change.n);
        let follows = next.after == upto && last <= upto && upto < first && upto < self.answer.head;
        if !follows || next.answer.reset {
            return Some(next);
        }
        let reset = self.answer.reset;
        self.changes.extend(next.changes);
        self.answer = SpaceChanges { reset, ..next.answer };
        None
    }

    /// Whether more follows that the broker has already.
    pub(super) const fn has_more(&self) -> bool {
        self.answer.upto < self.answer.head
    }

    /// What writers say that they had seen in this life of the store, each with who says so. In another, other records may have
    /// stood at the same places.
    pub(super) fn seen(&self, life: StoreId) -> impl Iterator<Item = (Seen, NodeId)> {
        self.changes.iter().filter_map(move |change| {
            let (Checked::Record(_, Some(said)) | Checked::Deleted(_, Some(said))) = &change.what else {
                return None;
            };
            let is_of_this = said.statement.life == *life.as_bytes();
            Some((said.statement.seen.filter(|_| is_of_this)?, said.statement.writer))
        })
    }
}

/// Opens a page, and checks the signatures in it.
pub(super) async fn check(
    link: Link<'_>,
    space: &Space,
    mut answer: SpaceChanges,
    after: u64,
) -> Result<Page, Trouble> {
    let changes = std::mem::take(&mut answer.changes);
    let keys = keys(link, &changes).await?;
    let sealing = space.sealing.clone();
    let opened = blocking(move || open(&sealing, &keys, changes)).await?;
    let newest = opened.iter().filter_map(|(_, opened)| Some(opened.as_ref()?.log_seq())).max().unwrap_or(0);
    if newest > link.mesh.roster(|roster| roster.head().seq) {
        // Whoever wrote this has seen more of the log than has come here.
        link.calls.fetch_log(link.mesh).await?;
    }
    let signers: Vec<_> =
        link.mesh.roster(|roster| opened.iter().map(|(_, opened)| signer(roster, opened)).collect());
    let changes = blocking(move || believe(opened, signers)).await?;
    Ok(Page { changes, answer, after })
}

/// The state keys, with those that a page needs. Waits for them if the log has their epochs.
async fn keys(link: Link<'_>, changes: &[Changed]) -> Result<Arc<StateKeys>, Trouble> {
    let mesh = link.mesh;
    let held = mesh.epochs.held();
    let newest = changes.iter().filter_map(|change| epoch_of(sealed(&change.what)?).ok()).max().unwrap_or(0);
    if newest <= held.newest().0 {
        return Ok(held);
    }
    if newest > mesh.roster(Roster::epoch) {
        link.calls.fetch_log(mesh).await?;
    }
    let epoch = newest.min(mesh.roster(Roster::epoch));
    let later = || Trouble::Later(format!("records of epoch {epoch} wait for its state key"));
    mesh.epochs.holding(epoch).await.ok_or_else(later)
}

fn sealed(what: &What) -> Option<&[u8]> {
    match what {
        What::Record(record) => Some(&record.sealed),
        What::Deleted(deleted) => Some(&deleted.sealed),
        What::Ended(_) | What::Touched { .. } => None,
    }
}

/// Some microseconds per record, beside the threads that carry links.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Trouble::Later(format!("records could not be opened: {error}")))
}

fn open(sealing: &space::Space, keys: &StateKeys, changes: Vec<Changed>) -> Vec<(Changed, Option<Opened>)> {
    let mut opener = sealing.opener(keys);
    let open = |change: Changed| {
        let frame = frame(&change.what);
        let opened = frame.and_then(|(frame, sealed)| opener.open(sealed, &frame).ok());
        (change, opened)
    };
    changes.into_iter().map(open).collect()
}

/// What a change would have to be sealed for.
fn frame(what: &What) -> Option<(Frame, &[u8])> {
    match what {
        What::Record(record) => {
            let appended = record.stands == Stands::Appended;
            let operation = if appended { Operation::Append } else { Operation::Put };
            let Record { key, stands, writer, .. } = *record;
            Some((Frame { key, operation, stands, writer }, &record.sealed))
        }
        What::Deleted(deleted) => {
            let Deleted { key, stood: stands, writer, .. } = *deleted;
            Some((Frame { key, operation: Operation::Delete, stands, writer }, &deleted.sealed))
        }
        What::Ended(_) | What::Touched { .. } => None,
    }
}

/// The key that spoke for the writer when it wrote, as it says itself.
fn signer(roster: &Roster, opened: &Option<Opened>) -> Option<VerifyingKey> {
    let opened = opened.as_ref()?;
    let (writer, at): (NodeId, u64) = (opened.unverified().writer, opened.log_seq());
    // It may not name a place that the log has not come to: nobody could have checked that.
    let at = Some(at).filter(|at| *at <= roster.head().seq)?;
    roster.former(&writer)?.signing_at(at).copied()
}

fn believe(opened: Vec<(Changed, Option<Opened>)>, signers: Vec<Option<VerifyingKey>>) -> Vec<Change> {
    let (mut claims, mut changes) = (Vec::new(), Vec::with_capacity(opened.len()));
    for ((change, opened), signer) in opened.into_iter().zip(signers) {
        let claim = opened.zip(signer);
        changes.push((change, claim.as_ref().map(|(_, signer)| *signer.as_bytes())));
        claims.extend(claim);
    }
    let mut said = verify_all(claims, &mut crate::rng()).into_iter();
    let mut next = |signer: Option<[u8; VerifyingKey::SIZE]>| {
        let signer = signer?;
        Some(Said { statement: said.next()?.ok()?, signer })
    };
    let checked = |(change, signer): (Changed, _)| {
        let said = next(signer);
        let what = match change.what {
            What::Record(record) => Checked::Record(record, said),
            What::Deleted(deleted) => Checked::Deleted(deleted, said),
            What::Ended(ended) => Checked::Ended(ended),
            What::Touched { seq, expires } => Checked::Touched { seq, expires },
        };
        Change { n: change.n, at: change.at, what }
    };
    changes.into_iter().map(checked).collect()
}
