//! Giving a lease back, or more time to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use waxwing_crypto::space::KeyName;
use waxwing_protocol::api::LeaseEnd;
use waxwing_protocol::link::ChangeOutcome;

use super::acquire::refused;
use super::record::{Says, removal};
use super::table::{Own, Stage};
use super::{Denied, Leases, Queue};
use crate::apps::{Holder, Which};
use crate::mesh::Mesh;
use crate::spaces::{Draft, NotWritten};

/// For so long an answer to a release waits until this node's copy shows it.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

impl Leases {
    /// Gives something back.
    pub(crate) async fn release(
        self: &Arc<Self>,
        mesh: &Mesh,
        holder: &Holder,
        key: &KeyName,
        token: u64,
    ) -> Result<(), Denied> {
        match self.release_with(mesh, holder, key, token, Vec::new()).await?.last() {
            Some(ChangeOutcome::Applied { .. }) => Ok(()),
            Some(ChangeOutcome::NotFound) | None => Err(Denied::Expired),
            Some(outcome) => Err(refused(outcome)),
        }
    }

    /// The same behind other changes, in one commit. Says what became of those, and then of it.
    pub(crate) async fn release_with(
        self: &Arc<Self>,
        mesh: &Mesh,
        holder: &Holder,
        key: &KeyName,
        token: u64,
        before: Vec<Draft>,
    ) -> Result<Vec<ChangeOutcome>, Denied> {
        let space = self.space(mesh);
        self.must_hold(mesh, holder, key, token).await?;
        let _turn = self.turn(key, &holder.which).await;
        let drafts = before.into_iter().chain([removal(key.clone(), token)]).collect();
        let outcomes = space.write(mesh, drafts).await;
        if !matches!(outcomes, Err(NotWritten::Offline)) {
            self.change(|table| table.end(token, Stage::Ended(LeaseEnd::Expired)));
        }
        let outcomes = outcomes?;
        if let Some(ChangeOutcome::Applied { seq }) = outcomes.last() {
            // For the next who asks this node, and does not wait. It is released though the copy learns of it later.
            let _ = timeout(SEEN_WITHIN, space.reached(*seq)).await;
        }
        Ok(outcomes)
    }

    /// Takes an app out of the line, or from what it has: its record is nobody's then, and is taken away.
    pub(crate) fn give_up(&self, key: &KeyName, which: &Which) {
        self.change(|table| table.find(key, which).and_then(|seq| table.end(seq, Stage::GivenUp)));
    }

    /// More time on something.
    pub(crate) async fn renew(
        &self,
        mesh: &Mesh,
        holder: &Holder,
        key: &KeyName,
        token: u64,
        ttl: Option<Duration>,
    ) -> Result<Duration, Denied> {
        self.must_hold(mesh, holder, key, token).await?;
        if !self.table().own.get(&token).is_some_and(Own::is_held) {
            return Err(Denied::NotHolder);
        }
        self.extend(mesh, token, ttl).await
    }

    /// Whether an app has this, or waits for it.
    async fn must_hold(&self, mesh: &Mesh, holder: &Holder, key: &KeyName, token: u64) -> Result<(), Denied> {
        if self.table().find(key, &holder.which) == Some(token) {
            return Ok(());
        }
        let space = self.space(mesh);
        let (queue, place): (Queue, u64) = (self.queue(mesh, key).await?, space.freshness().borrow().place);
        let its = queue.get(token).map(|standing| {
            let which = standing.says.as_ref().map(Says::which);
            standing.writer == mesh.identity.node && which.as_ref() == Some(&holder.which)
        });
        Err(match queue.holders().last() {
            // This node has given it up already, and takes its record away.
            _ if its == Some(true) => Denied::Expired,
            _ if its.is_some() || token == 0 || token > place => Denied::NotHolder,
            Some(holder) if holder.seq > token => Denied::Stale,
            Some(_) | None => Denied::Expired,
        })
    }
}
