//! Renewing what this node's apps have, and taking away what none of them has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use waxwing_protocol::limits;
use waxwing_protocol::link::ChangeOutcome;

use super::Leases;
use super::look::Orphans;
use super::record::removal;
use super::table::{Own, Table};
use crate::clock::Boot;
use crate::mesh::Mesh;
use crate::spaces::{Draft, DraftChange, Space};

/// What the broker did not do is not tried again before.
const AGAIN: Duration = Duration::from_secs(1);
/// Records taken away at once.
const AT_ONCE: usize = 100;

/// Writes until it is dropped.
pub(super) async fn run(mesh: &Mesh, leases: &Leases, space: &Space, orphans: &watch::Sender<Orphans>) {
    let (mut moved, mut orphans) = (leases.moved.subscribe(), orphans.subscribe());
    let mut freshness = space.freshness();
    // Taken away, and not gone from the copy yet.
    let mut gone = BTreeSet::new();
    loop {
        moved.mark_unchanged();
        let complete = freshness.borrow_and_update().complete;
        let wanted = orphans.borrow_and_update().clone();
        gone.retain(|seq| wanted.iter().any(|(orphan, _)| orphan == seq));
        let mut done = true;
        if complete {
            done = leases.clear(mesh, space, &wanted, &mut gone).await;
            done &= leases.renew_due(mesh, space).await;
        }
        let next = if done { leases.table().next_due() } else { Some(Instant::now() + AGAIN) };
        let next = next.filter(|_| complete);
        tokio::select! {
            _ = moved.changed() => {}
            _ = orphans.changed() => {}
            _ = freshness.wait_for(|now| now.complete != complete) => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

impl Leases {
    /// Takes away what is nobody's. False if that is to be tried again.
    async fn clear(&self, mesh: &Mesh, space: &Space, orphans: &Orphans, gone: &mut BTreeSet<u64>) -> bool {
        let left: Vec<_> = orphans.iter().filter(|(seq, _)| !gone.contains(seq)).take(AT_ONCE).collect();
        if left.is_empty() {
            return true;
        }
        let drafts = left.iter().map(|(seq, key)| removal(key.clone(), *seq)).collect();
        match space.write(mesh, drafts).await {
            Ok(_) => gone.extend(left.iter().map(|(seq, _)| *seq)),
            Err(error) => {
                debug!(%error, "what is held no more is not taken away yet");
                return false;
            }
        }
        left.len() < AT_ONCE
    }

    /// Renews what is due. False if that is to be tried again.
    async fn renew_due(&self, mesh: &Mesh, space: &Space) -> bool {
        let mut by_time: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (seq, own) in self.table().own.iter().filter(|(_, own)| own.is_due()) {
            by_time.entry(own.says.ttl).or_default().push(*seq);
        }
        let mut done = true;
        for (ttl, seqs) in by_time {
            for seqs in seqs.chunks(limits::SPACE_PAGE) {
                done &= self.touch(mesh, space, seqs, ttl).await;
            }
        }
        done
    }

    async fn touch(&self, mesh: &Mesh, space: &Space, seqs: &[u64], ttl: u64) -> bool {
        let asked = Boot::now();
        let change = DraftChange::Touch { seqs: seqs.to_vec(), ttl };
        let outcomes = match space.write(mesh, vec![Draft { id: None, app: None, change }]).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                debug!(%error, "leases are not renewed yet");
                return false;
            }
        };
        let Some(ChangeOutcome::Touched { gone }) = outcomes.first() else { return false };
        // What is gone shows in the copy.
        self.change(|table| {
            for seq in seqs.iter().filter(|seq| !gone.contains(seq)) {
                if let Some(own) = table.own.get_mut(seq).filter(|own| own.says.ttl == ttl) {
                    own.renewed(asked);
                }
            }
        });
        gone.is_empty()
    }
}

impl Own {
    /// The broker has renewed it, and was asked then.
    pub(super) fn renewed(&mut self, asked: Boot) {
        self.until = asked.plus(self.says.ttl());
        (self.warned, self.fresh, self.unseen, self.over) = (false, false, false, None);
    }

    /// Whether the node renews it by itself: what a registered app has, and every place in line.
    fn is_renewed(&self) -> bool {
        let kept = self.says.registration.is_some() && self.alone_since.is_none();
        kept && !self.unseen || !self.is_held()
    }

    fn is_due(&self) -> bool {
        // Whoever waits for the answer has its time begin himself.
        let begins = self.is_held() && self.fresh && self.awaited == 0;
        begins || self.is_renewed() && self.due().left().is_zero()
    }
}

impl Table {
    fn next_due(&self) -> Option<Instant> {
        let left = self.own.values().filter(|own| own.is_renewed()).map(|own| own.due().left()).min();
        left.map(|left| Instant::now() + left)
    }
}
