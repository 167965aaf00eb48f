//! After a loss of the broker's store: what the new one lacks of what this node holds.
//!
//! Every node does so, at a moment of its own; the broker takes one of each. A record is offered where nothing stands, or
//! something of a lower version. Bound records are not: the leases are gone, and their writers make them anew.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info};
use waxwing_crypto::space::Condition;
use waxwing_protocol::limits;
use waxwing_protocol::link::{ChangeOutcome, Offered};

use super::{Link, Space};
use crate::epochs::Trouble;
use crate::link::{CallError, Ended, between};
use crate::store::records::{self, Row, Slot};
use crate::store::spaces::Progress;

/// Nodes that come back together do not offer the same at the same moment.
const WITHIN: Duration = Duration::from_secs(1);

/// Offers what is old and not in the new copy. Returns the place at which all that was taken has come back.
pub(super) async fn run(link: Link<'_>, space: &Space, progress: &Progress) -> Result<u64, Trouble> {
    let failed = |error: sqlx::Error| Trouble::Ended(Ended::Database(error.to_string()));
    sleep(between(Duration::ZERO, WITHIN)).await;
    let old = records::all(&link.mesh.db, progress.row, true).await.map_err(failed)?;
    let new = records::all(&link.mesh.db, progress.row, false).await.map_err(failed)?;
    let now = link.mesh.clock.broker_now();
    let old = old.into_iter().filter(|row| row.expires.is_none_or(|expires| expires > now));
    let offers = lacking(old.collect(), &new);
    let mut taken = Vec::new();
    for part in parts(&offers) {
        match link.calls.offer_space(space.id(), part).await {
            Ok(outcomes) => {
                taken.extend(outcomes.iter().filter_map(place));
            }
            Err(CallError::Refused { detail, .. }) => {
                debug!(space = %space.id(), detail, "nothing may be offered");
                return Ok(0);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !offers.is_empty() {
        let (offered, taken) = (offers.len(), taken.len());
        info!(space = %space.id(), offered, taken, "the broker has lost a space: this node hands back what it has");
    }
    Ok(taken.into_iter().max().unwrap_or(0))
}

const fn place(outcome: &ChangeOutcome) -> Option<u64> {
    match outcome {
        ChangeOutcome::Applied { seq } => Some(*seq),
        ChangeOutcome::Touched { .. }
        | ChangeOutcome::Conflict { .. }
        | ChangeOutcome::NotFound
        | ChangeOutcome::NotYours
        | ChangeOutcome::TooLarge
        | ChangeOutcome::Full
        | ChangeOutcome::IdReused
        | ChangeOutcome::BadChange => None,
    }
}

/// What of an old copy a new one has not, or has in a lower version.
fn lacking(old: Vec<Row>, new: &[Row]) -> Vec<Offered> {
    let slots: HashMap<_, _> = new.iter().map(|row| ((row.key, row.slot), row)).collect();
    let refs: std::collections::HashSet<_> =
        new.iter().map(|row| (row.key, row.writer, row.counter)).collect();
    let offer = |row: Row| {
        let when = match (row.slot, slots.get(&(row.key, row.slot))) {
            (Slot::Appended(_), _) if row.tombstone || refs.contains(&(row.key, row.writer, row.counter)) => {
                return None;
            }
            (Slot::Appended(_), _) => Condition::Any,
            (_, None) => Condition::Absent,
            (_, Some(there)) if there.version < row.version => Condition::Seq(there.seq),
            (_, Some(_)) => return None,
        };
        let Row { key, writer, tombstone, expires, sealed, .. } = row;
        Some(Offered { key, writer, stands: row.slot.stands(), tombstone, when, expires, sealed })
    };
    old.into_iter().filter(|row| row.bound.is_none()).filter_map(offer).collect()
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
