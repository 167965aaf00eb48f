//! After a loss of the broker's store: what the new one lacks of what this node holds.
//!
//! Every node does so, at a moment of its own; the broker takes one of each. A record is offered where nothing stands, or
//! something of a lower version that was handed back too: what was written since the loss stays. Who was away when the store
//! was lost may come first, with what others know to be outdated: then theirs is offered again, in the place of that. Bound
//! records are not offered: the leases are gone, and their writers make them anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info};
use waxwing_crypto::KeyId;
use waxwing_crypto::space::{Condition, Stands};
use waxwing_protocol::link::{ChangeOutcome, Offered};
use waxwing_protocol::{StoreId, limits};

use super::{Link, Space};
use crate::epochs::Trouble;
use crate::link::{CallError, Ended, between};
use crate::store::records::{self, Row, Slot};
use crate::store::spaces::Progress;

/// Nodes that come back together do not offer the same at the same moment.
const WITHIN: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1_000 });
/// How often something is offered in the place of something else that stands there. Each time, somebody has been faster.
const ROUNDS: u32 = 8;

/// What became of what this node hands back.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// There may be something to be offered.
    due: bool,
    /// Times that something was.
    rounds: u32,
    /// The place at which everything that was taken has come back, and everything that was in the way.
    back: u64,
    /// What was in the way, by its place; none for nothing any more.
    conflicts: HashMap<(KeyId, Slot), Option<u64>>,
}

impl Offers {
    /// Whether there may be something to be offered.
    pub(super) fn new(due: bool) -> Self {
        Self { due, ..Self::default() }
    }

    /// The new copy has all that the broker has: offers what that lacks of the old one. Says whether nothing is left to be
    /// offered, and everything that was has come back.
    pub(super) async fn settle(
        &mut self,
        link: Link<'_>,
        space: &Space,
        progress: &Progress,
    ) -> Result<bool, Trouble> {
        while progress.place >= self.back {
            if !self.due {
                return Ok(true);
            }
            self.round(link, space, progress).await?;
        }
        Ok(false)
    }

    async fn round(&mut self, link: Link<'_>, space: &Space, progress: &Progress) -> Result<(), Trouble> {
        let is_first = self.rounds == 0;
        if is_first {
            sleep(between(Duration::ZERO, WITHIN)).await;
        }
        let offers = self.lacking(link, progress).await?;
        self.rounds += 1;
        self.conflicts.clear();
        self.due = false;
        let mut taken = 0;
        for part in parts(&offers) {
            match link.calls.offer_space(space.id(), part).await {
                Ok(outcomes) => {
                    let outcomes = part.iter().zip(&outcomes);
                    taken += outcomes.filter(|(offered, outcome)| self.is_taken(offered, outcome)).count();
                }
                Err(CallError::Refused { detail, .. }) => {
                    debug!(space = %space.id(), detail, "nothing may be offered");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.due = !self.conflicts.is_empty() && self.rounds < ROUNDS;
        if !offers.is_empty() {
            let offered = offers.len();
            info!(space = %space.id(), offered, taken, "the broker has lost a space: this node hands back what it has");
        }
        Ok(())
    }

    /// What of the old copy the new one has not, or in a lower version. After the first time: of what met something else.
    async fn lacking(&self, link: Link<'_>, progress: &Progress) -> Result<Vec<Offered>, Trouble> {
        let failed = |error: waxwing_sqlite::Error| Trouble::Ended(Ended::Database(error.to_string()));
        let old = records::all(&link.mesh.db, progress.row, true).await.map_err(failed)?;
        let new = records::all(&link.mesh.db, progress.row, false).await.map_err(failed)?;
        let now = link.mesh.clock.broker_now();
        let is_left = |row: &Row| self.rounds == 0 || self.conflicts.contains_key(&(row.key, row.slot));
        let lives = |row: &Row| row.expires.is_none_or(|expires| expires > now);
        let old = old.into_iter().filter(|row| is_left(row) && lives(row));
        Ok(lacking(old, &new, link.store, &self.conflicts))
    }

    /// Takes what became of one that was offered. Says whether it was taken.
    fn is_taken(&mut self, offered: &Offered, outcome: &ChangeOutcome) -> bool {
        match outcome {
            ChangeOutcome::Applied { seq } => {
                self.back = self.back.max(*seq);
                true
            }
            ChangeOutcome::Conflict { seq } => {
                let named = match offered.when {
                    Condition::Any | Condition::Absent => None,
                    Condition::Seq(seq) => Some(seq),
                };
                // What was named and stands there stays: it was written since the loss.
                if offered.stands != Stands::Appended && *seq != named {
                    self.back = self.back.max(seq.unwrap_or(0));
                    let slot = Slot::of(offered.stands, offered.writer, 0);
                    self.conflicts.insert((offered.key, slot), *seq);
                }
                false
            }
            ChangeOutcome::Touched { .. }
            | ChangeOutcome::NotFound
            | ChangeOutcome::NotYours
            | ChangeOutcome::TooLarge
            | ChangeOutcome::Full
            | ChangeOutcome::IdReused
            | ChangeOutcome::BadChange => false,
        }
    }
}

/// What of an old copy a new one has not, or has in a lower version. `conflicts`: what stands in slots that are empty in the
/// new copy, which has refused it.
fn lacking(
    old: impl Iterator<Item = Row>,
    new: &[Row],
    store: StoreId,
    conflicts: &HashMap<(KeyId, Slot), Option<u64>>,
) -> Vec<Offered> {
    let slots: HashMap<_, _> = new.iter().map(|row| ((row.key, row.slot), row)).collect();
    let refs: HashSet<_> = new.iter().map(|row| (row.key, row.writer, row.counter)).collect();
    let offer = |row: Row| {
        let slot = (row.key, row.slot);
        let when = match (row.slot, slots.get(&slot)) {
            (Slot::Appended(_), _) if row.tombstone || refs.contains(&(row.key, row.writer, row.counter)) => {
                return None;
            }
            (Slot::Appended(_), _) => Condition::Any,
            (_, None) => conflicts.get(&slot).copied().flatten().map_or(Condition::Absent, Condition::Seq),
            (_, Some(there)) if there.life != store && there.version < row.version => {
                Condition::Seq(there.seq)
            }
            (_, Some(_)) => return None,
        };
        let Row { key, writer, tombstone, expires, sealed, .. } = row;
        Some(Offered { key, writer, stands: row.slot.stands(), tombstone, when, expires, sealed })
    };
    // What was written in this life of the store was not lost with the one before.
    old.filter(|row| row.bound.is_none() && row.life != store).filter_map(offer).collect()
}

/// As many as one frame takes, and so on.
fn parts(mut offers: &[Offered]) -> impl Iterator<Item = &[Offered]> {
    std::iter::from_fn(move || {
        let mut left = limits::FRAME_ENVELOPES;
        let fits = |offer: &&Offered| {
            let rest = left.checked_sub(offer.sealed.len());
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let count = offers.iter().take(limits::SPACE_PAGE).take_while(fits).count().max(1).min(offers.len());
        let (part, rest) = offers.split_at(count);
        offers = rest;
        Some(part).filter(|part| !part.is_empty())
    })
}
