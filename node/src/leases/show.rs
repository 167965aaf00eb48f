//! Looking at leases, and taking them from others.

use std::collections::BTreeMap;
use std::time::Duration;

use waxwing_crypto::space::{KeyName, Stands};
use waxwing_protocol::api::TokenState;
use waxwing_protocol::link::ChangeOutcome;

use super::acquire::refused;
use super::look::heard;
use super::record::removal;
use super::{Denied, Leases, Queue};
use crate::error::Result;
use crate::mesh::Mesh;
use crate::spaces::Entry;

/// Whether a token counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Checked {
    pub(crate) state: TokenState,
    /// For how long it certainly does.
    pub(crate) remaining: Option<Duration>,
    /// The highest token that is held.
    pub(crate) newest: Option<u64>,
}

impl Leases {
    /// Whether a token counts now.
    pub(crate) async fn check(&self, mesh: &Mesh, key: &KeyName, token: u64) -> Result<Checked> {
        let space = self.space(mesh);
        if !space.freshness().borrow().complete {
            return Ok(Checked { state: TokenState::Unknown, remaining: None, newest: None });
        }
        let queue = self.queue(mesh, key).await?;
        let newest = queue.holders().last().map(|standing| standing.seq);
        let heard = heard(mesh);
        let own = self.table().own.get(&token).map(|own| own.end(heard).0.left());
        let by_broker = |standing: &super::Standing| {
            standing.expires.map_or(Duration::ZERO, |expires| expires.since(mesh.clock.broker_now()))
        };
        let left = queue.get(token).map(|standing| match own {
            Some(own) => own,
            // An own record that no app has any more is about to be taken away.
            None if standing.writer == mesh.identity.node => Duration::ZERO,
            None => by_broker(standing),
        });
        let state = match left {
            Some(left) if queue.holds(token) && !left.is_zero() => TokenState::Held,
            Some(_) if !queue.holds(token) => TokenState::Queued,
            Some(_) | None => TokenState::Ended,
        };
        Ok(Checked { state, remaining: left.filter(|_| state == TokenState::Held), newest })
    }

    /// Everything that somebody has or waits for, by name.
    pub(crate) async fn list(&self, mesh: &Mesh) -> Result<BTreeMap<KeyName, Queue>> {
        let space = self.space(mesh);
        let life = space.life(mesh).await?;
        let mut by_key: BTreeMap<KeyName, Vec<Entry>> = BTreeMap::new();
        for entry in space.entries(mesh).await? {
            if entry.stands == Stands::Appended {
                by_key.entry(entry.key.clone()).or_default().push(entry);
            }
        }
        let queues = by_key.into_iter().map(|(key, entries)| (key, Queue::of(entries, life)));
        Ok(queues.filter(|(_, queue)| !queue.all().is_empty()).collect())
    }

    /// Takes it from whoever has this token, or from everybody who has it. Says which tokens count no more.
    pub(crate) async fn revoke(
        &self,
        mesh: &Mesh,
        key: &KeyName,
        token: Option<u64>,
    ) -> std::result::Result<Vec<u64>, Denied> {
        let space = self.space(mesh);
        let queue = self.queue(mesh, key).await?;
        let of = match token {
            Some(token) => queue.get(token).map(std::slice::from_ref).unwrap_or_default(),
            None => queue.holders(),
        };
        let tokens: Vec<u64> = of.iter().map(|standing| standing.seq).collect();
        let drafts = tokens.iter().map(|token| removal(key.clone(), *token)).collect();
        let outcomes = space.write(mesh, drafts).await?;
        let mut revoked = Vec::new();
        for (token, outcome) in tokens.into_iter().zip(&outcomes) {
            match outcome {
                ChangeOutcome::Applied { .. } => revoked.push(token),
                ChangeOutcome::NotFound => {} // It has ended meanwhile.
                ChangeOutcome::Touched { .. }
                | ChangeOutcome::Conflict { .. }
                | ChangeOutcome::NotYours
                | ChangeOutcome::TooLarge
                | ChangeOutcome::Full
                | ChangeOutcome::IdReused
                | ChangeOutcome::BadChange => return Err(refused(outcome)),
            }
        }
        Ok(revoked)
    }
}
