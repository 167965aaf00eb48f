//! What this node says of itself and its apps: held against what stands in the space, and the difference written.
//!
//! So nothing is written when a link comes back and all of it still stands, and everything is when it does not. While there is
//! no link nothing is written, and nothing is lost: what is to be said follows from the profile and the registered apps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};
use waxwing_crypto::space::Condition;
use waxwing_protocol::link::ChangeOutcome;

use super::record::{AppSays, NodeSays, Says, Who};
use super::view::View;
use crate::clock;
use crate::mesh::Mesh;
use crate::spaces::{Draft, DraftChange, Space};

/// What changes within this time is written at once.
const GATHER: Duration = Duration::from_millis(10);
/// Between two writes there is at least this much.
const PAUSE: Duration = Duration::from_millis(250);
/// What the broker did not take is not tried again before.
const AGAIN: Duration = Duration::from_secs(5);
/// An app that was registered with this node before it was started may come back for so long.
const APPS_COME_BACK: Duration = Duration::from_secs(10);
/// What was written and does not show in the copy by then has been taken away again.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
/// Changes in one write: of 16 KiB each, so that they fit into a frame.
const AT_ONCE: usize = 16;

/// What has been written and is not seen in the copy yet.
#[derive(Debug)]
struct UnderWay {
    /// The place of the change.
    place: u64,
    /// It takes the record away.
    away: bool,
    until: Instant,
}

impl UnderWay {
    /// Whether the copy has not come to it, that has a record from this place.
    fn is_unseen(&self, seq: Option<u64>) -> bool {
        seq.map_or(!self.away, |seq| seq < self.place)
    }
}

#[derive(Debug, Default)]
struct Publisher {
    written: HashMap<Who, UnderWay>,
    /// Who was to stand since this node was started: he may be taken away.
    been: BTreeSet<Who>,
    /// The broker did not take everything.
    not_before: Option<Instant>,
}

/// Publishes until it is dropped.
pub(super) async fn run(mesh: &Mesh, space: &Space) {
    let presence = &mesh.presence;
    let (mut moved, mut apps) = (presence.moved.subscribe(), mesh.apps.changes());
    let mut freshness = space.freshness();
    let come_back = Instant::now() + APPS_COME_BACK;
    let mut publisher = Publisher::default();
    loop {
        moved.mark_unchanged();
        apps.mark_unchanged();
        let complete = freshness.borrow_and_update().complete;
        if !complete {
            publisher.written.clear();
        } else if presence.with(|state| state.complete) && !presence.is_leaving() {
            publisher.publish(mesh, space, come_back <= Instant::now()).await;
        }
        let come_back = Some(come_back).filter(|at| complete && *at > Instant::now());
        let look_again = [mesh.apps.next_end(), come_back, publisher.next()].into_iter().flatten().min();
        tokio::select! {
            _ = moved.changed() => {}
            _ = apps.changed() => {}
            _ = freshness.wait_for(|now| now.complete != complete) => {}
            () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {}
        }
        sleep(GATHER).await;
    }
}

impl Publisher {
    /// Writes what does not stand as it should. `gone_for_good`: who has not come back since the start will not.
    async fn publish(&mut self, mesh: &Mesh, space: &Space, gone_for_good: bool) {
        let now = Instant::now();
        self.not_before = self.not_before.filter(|at| *at > now);
        let wanted = wanted(mesh);
        self.been.extend(wanted.keys().cloned());
        let changes = mesh.presence.with(|state| {
            let seq = |who: &Who| state.view.get(who).map(|stands| stands.seq);
            self.written.retain(|who, under_way| under_way.until > now && under_way.is_unseen(seq(who)));
            self.difference(&state.view, mesh, &wanted, gone_for_good)
        });
        if changes.is_empty() || self.not_before.is_some() {
            return;
        }
        if !self.write(mesh, space, changes).await {
            self.not_before = Some(Instant::now() + AGAIN);
        }
        sleep(PAUSE).await;
    }

    /// When there is something to do though nothing happens.
    fn next(&self) -> Option<Instant> {
        let unseen = self.written.values().map(|under_way| under_way.until).min();
        self.not_before.into_iter().chain(unseen).min()
    }

    /// What is to be written: a value, or none to take it away. What is on its way is not written again.
    fn difference(
        &self,
        view: &View,
        mesh: &Mesh,
        wanted: &BTreeMap<Who, Says>,
        gone_for_good: bool,
    ) -> Vec<(Who, Option<Bytes>)> {
        let node = mesh.identity.node;
        let mut changes = Vec::new();
        for (who, says) in wanted {
            let value = says.encode();
            if view.get(who).is_none_or(|stands| stands.value != value) && !self.written.contains_key(who) {
                changes.push((who.clone(), Some(value)));
            }
        }
        let hidden = !mesh.presence.profile().visible;
        for (which, _) in view.apps(&node) {
            let who = Who::app(node, which.clone());
            let may_go = hidden || gone_for_good || self.been.contains(&who);
            if may_go && !wanted.contains_key(&who) && !self.written.contains_key(&who) {
                changes.push((who, None));
            }
        }
        changes
    }

    /// Writes them. False if the broker has not taken all.
    async fn write(&mut self, mesh: &Mesh, space: &Space, changes: Vec<(Who, Option<Bytes>)>) -> bool {
        let mut all = true;
        for changes in changes.chunks(AT_ONCE) {
            let outcomes = match space.write(mesh, changes.iter().map(draft).collect()).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    debug!(%error, "peers are not told of this node");
                    return false;
                }
            };
            for ((who, value), outcome) in changes.iter().zip(outcomes) {
                match outcome {
                    ChangeOutcome::Applied { seq: place } => {
                        let until = Instant::now() + SHOWS_WITHIN;
                        let under_way = UnderWay { place, away: value.is_none(), until };
                        self.written.insert(who.clone(), under_way);
                    }
                    ChangeOutcome::NotFound => {} // It has gone by itself.
                    ChangeOutcome::Touched { .. }
                    | ChangeOutcome::Conflict { .. }
                    | ChangeOutcome::NotYours
                    | ChangeOutcome::TooLarge
                    | ChangeOutcome::Full
                    | ChangeOutcome::IdReused
                    | ChangeOutcome::BadChange => {
                        warn!(?outcome, "the broker does not take what this node says of itself");
                        all = false;
                    }
                }
            }
        }
        all
    }
}

fn draft((who, value): &(Who, Option<Bytes>)) -> Draft {
    let (key, when) = (who.key(), Condition::Any);
    let change = match value.clone() {
        Some(value) => DraftChange::Put { key, own: true, when, ttl: None, bound: Some(0), value },
        None => DraftChange::Delete { key, own: true, seq: None, when },
    };
    Draft { id: None, app: who.app.as_ref().map(|which| which.name.clone()), change }
}

/// What is to stand.
fn wanted(mesh: &Mesh) -> BTreeMap<Who, Says> {
    let node = mesh.identity.node;
    let own = mesh.presence.profile();
    // As long as the record stands it is the same time online.
    let since = mesh.presence.with(|state| {
        let stands = state.view.get(&Who::node(node)).map(|standing| standing.says.clone());
        match stands {
            Some(Says::Node(says)) => says.since,
            Some(Says::App(_)) | None => clock::now(),
        }
    });
    let profile = own.visible.then_some(own.profile);
    let says = NodeSays { since, version: crate::VERSION.to_owned(), profile };
    let mut wanted = BTreeMap::from([(Who::node(node), Says::Node(says))]);
    if own.visible {
        wanted.extend(mesh.apps.list().into_iter().map(|app| {
            let says = AppSays { since: app.since, details: app.details };
            (Who::app(node, app.which), Says::App(Box::new(says)))
        }));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_under_way_until_the_copy_has_come_to_it() {
        let (until, place) = (Instant::now(), 7);
        let put = UnderWay { place, away: false, until };
        let away = UnderWay { away: true, ..put };
        for (seq, put_unseen, away_unseen) in
            [(None, true, false), (Some(6), true, true), (Some(7), false, false), (Some(8), false, false)]
        {
            assert_eq!((put.is_unseen(seq), away.is_unseen(seq)), (put_unseen, away_unseen), "{seq:?}");
        }
    }
}
