//! Presence: who is there, and what he says of himself. Made of the space `presence` alone, so a broker reads none of it.
//!
//! ```text
//! profile, registered apps -> publish -> own records, bound to this node's lease, without grace
//! the space's news -> view (what stands) -> tracker (what apps were told) -> one commit: events, who is there
//! GET /v1/peers, /v1/apps <- view, tracker
//! ```
//!
//! A node's own record stands under `node:ID`, each of its apps' under `app:ID/NAME`; a reader takes only what the node of that id
//! wrote. A join is that the record appears, a leave that it ends: with the lease, at once with a goodbye, or because it was
//! taken away.

mod profile;
mod publish;
mod record;
mod tracker;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info};
use waxwing_crypto::space::SpaceName;
use waxwing_crypto::{Name, NodeId, Timestamp};
use waxwing_protocol::api::{AppDetails, EventBody, Profile, ProfileRequest};
use waxwing_protocol::limits;

use self::tracker::{Change, Tracker};
use self::view::{End, View};
use crate::apps::Which;
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::spaces::{Freshness, News, Space};
use crate::store::events::NewEvent;
use crate::store::presence::{self as table, Row};
use crate::writer::WriteError;

pub(crate) use self::profile::Own;
pub(crate) use self::record::{Who, again};

/// What could not be kept is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// The broker has so long to answer a goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// Who is there in one mesh.
#[derive(Debug)]
pub(crate) struct Presence {
    state: Mutex<State>,
    own: Mutex<Own>,
    /// One change of the profile at a time.
    setting: tokio::sync::Mutex<()>,
    /// How long a node is taken for online after its last frame.
    lease: Mutex<Duration>,
    /// What stands has changed, or what is to stand.
    moved: watch::Sender<()>,
    /// This node is saying goodbye: it is not to say that it is here.
    leaving: AtomicBool,
}

#[derive(Debug)]
struct State {
    view: View,
    /// The view is of a copy that was complete.
    complete: bool,
    /// With the time that each has been there since, on the broker's clock.
    tracker: Tracker<Timestamp>,
    /// When those that are not there were last, on the broker's clock.
    last_seen: HashMap<NodeId, Timestamp>,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Since when it is online, on the broker's clock; none if it is not.
    pub(crate) since: Option<Timestamp>,
    /// When it was last, if it is not.
    pub(crate) last_seen: Option<Timestamp>,
    /// Version of its program.
    pub(crate) version: Option<String>,
    /// What it says of itself.
    pub(crate) profile: Option<Profile>,
}

/// An app of another node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeenApp {
    pub(crate) node: NodeId,
    pub(crate) which: Which,
    pub(crate) since: Timestamp,
    pub(crate) details: AppDetails,
}

impl Presence {
    /// As it is kept.
    pub(crate) async fn load(
        db: &waxwing_sqlite::Readers,
        keys: &waxwing_crypto::storage::StorageKeys,
    ) -> Result<Self> {
        let (rows, store) = (table::all(db).await?, table::store(db).await?);
        let (there, gone): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.online);
        let there = there.into_iter().map(|row| (row.who, row.at)).collect::<BTreeMap<_, _>>();
        let last_seen = gone.into_iter().map(|row| (row.who.node, row.at)).collect();
        let state =
            State { view: View::default(), complete: false, tracker: Tracker::new(there, store), last_seen };
        Ok(Self {
            state: Mutex::new(state),
            own: Mutex::new(Own::load(db, keys).await?),
            setting: tokio::sync::Mutex::default(),
            lease: Mutex::new(limits::LEASE),
            moved: watch::Sender::new(()),
            leaving: AtomicBool::new(false),
        })
    }

    /// What this node says of itself.
    pub(crate) fn profile(&self) -> Own {
        lock(&self.own).clone()
    }

    /// The broker's word on how long a lease is.
    pub(crate) fn set_lease(&self, lease: Duration) {
        *lock(&self.lease) = lease;
    }

    /// The same.
    pub(crate) fn lease(&self) -> Duration {
        *lock(&self.lease)
    }

    /// What is known of a node.
    pub(crate) fn seen(&self, node: NodeId) -> Seen {
        self.with(|state| {
            let since = state.tracker.there().get(&Who::node(node)).copied();
            let says = since.and_then(|_| state.view.node(node));
            Seen {
                since,
                last_seen: state.last_seen.get(&node).copied().filter(|_| since.is_none()),
                version: says.map(|says| says.version.clone()),
                profile: says.and_then(|says| says.profile.clone()),
            }
        })
    }

    /// The apps of all other nodes, by node and name.
    pub(crate) fn apps(&self) -> Vec<SeenApp> {
        self.with(|state| {
            let app = |who: &Who| {
                let (node, which) = (who.node, who.app.clone()?);
                let says = state.view.app(who)?;
                Some(SeenApp { node, which, since: says.since, details: says.details.clone() })
            };
            state.tracker.there().keys().filter_map(app).collect()
        })
    }

    /// Told whenever somebody may have come or gone.
    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Whether this node says goodbye, or has said it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut lock(&self.state))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps presence up, until it is dropped or the database fails.
pub(crate) async fn run(mesh: &Mesh) -> Result<()> {
    let Some(space) = space(mesh) else { return Ok(()) };
    tokio::select! {
        ended = follow(mesh, &space) => ended,
        () = publish::run(mesh, &space) => Ok(()),
    }
}

/// How far what is known can be relied on.
pub(crate) fn freshness(mesh: &Mesh) -> Freshness {
    space(mesh).map(|space| *space.freshness().borrow()).unwrap_or_default()
}

/// Whether another node is online. None if that is not known at this moment.
pub(crate) fn is_online(mesh: &Mesh, node: NodeId) -> Option<bool> {
    let complete = freshness(mesh).complete;
    let who = Who::node(node);
    mesh.presence.with(|state| {
        // Whoever is held after a loss of the store counts as there.
        let there = state.view.get(&who).is_some() || state.tracker.there().contains_key(&who);
        (complete && state.complete).then_some(there)
    })
}

fn space(mesh: &Mesh) -> Option<Arc<Space>> {
    let name: SpaceName = record::SPACE.parse().ok()?;
    Some(mesh.space(&name))
}

/// Takes in what changes in the space, and tells apps.
async fn follow(mesh: &Mesh, space: &Space) -> Result<()> {
    let presence = &mesh.presence;
    let lease = || *lock(&presence.lease);
    let mut news = space.news();
    read(mesh, space).await?;
    // A copy that was being filled when this node stopped may have shown what the store no longer has.
    let mut look_at = Some(Instant::now() + lease());
    loop {
        let due = presence.with(|state| state.tracker.until()).into_iter().chain(look_at).min();
        let page = tokio::select! {
            page = news.recv() => Some(page),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        match page {
            Some(Ok(page)) => {
                if take(presence, page, &mut news) {
                    look_at = Some(Instant::now() + lease());
                }
            }
            // The copy is read anew: for whoever lags, and when a time is over for which something was held.
            Some(Err(RecvError::Lagged(_))) | None => {
                (look_at, news) = (None, space.news());
                let complete = space.freshness().borrow().complete;
                read(mesh, space).await?;
                presence.with(|state| {
                    state.complete = complete;
                    state.view.forget_before();
                });
            }
            // Not while the space is held here.
            Some(Err(RecvError::Closed)) => std::future::pending::<()>().await,
        }
        presence.moved.send_replace(());
        let complete = presence.with(|state| state.complete) && space.freshness().borrow().complete;
        if complete && !tell(mesh, space, lease()).await? {
            look_at = Some(Instant::now() + AGAIN);
        }
    }
}

/// Reads what the copy has.
async fn read(mesh: &Mesh, space: &Space) -> Result<()> {
    let entries = match space.entries(mesh).await {
        // No reason to stop a mesh: what its members say from now on is heard.
        Err(Error::Damaged(why)) => {
            error!(%why, "who was there is not known");
            Vec::new()
        }
        entries => entries?,
    };
    mesh.presence.with(|state| state.view.reload(entries));
    Ok(())
}

/// Takes in all that has come, before anything is told of it. True if the copy was begun anew.
fn take(presence: &Presence, first: Arc<News>, news: &mut broadcast::Receiver<Arc<News>>) -> bool {
    let (mut next, mut reset) = (Some(first), false);
    while let Some(page) = next {
        presence.with(|state| {
            state.view.apply(&page);
            state.complete = page.complete;
        });
        reset |= page.reset;
        // Who lags is told so by the next that is waited for.
        next = news.try_recv().ok();
    }
    reset
}

/// Tells apps what has changed, and keeps that. False if there is no room for it now.
async fn tell(mesh: &Mesh, space: &Space, lease: Duration) -> Result<bool> {
    let presence = &mesh.presence;
    let own = mesh.identity.node;
    let store = space.freshness().borrow().store;
    let looked = presence.with(|state| {
        let standing =
            mesh.roster(|roster| state.view.standing(|node| *node != own && roster.member(node).is_some()));
        let change = state.tracker.look(&standing, store, Instant::now(), lease)?;
        let joins = change.joined.iter().filter_map(|who| Some((who.clone(), state.view.get(who)?.at)));
        let joins: BTreeMap<Who, Timestamp> = joins.collect();
        let ends: HashMap<Who, End> =
            change.left.iter().filter_map(|who| Some((who.clone(), state.view.end(who)?))).collect();
        Some((change, joins, ends))
    });
    let Some((change, joins, ends)) = looked else { return Ok(true) };
    let at = |who: &Who| {
        let end = ends.get(who).map(|end| end.at);
        end.or_else(|| joins.get(who).copied()).unwrap_or_else(|| mesh.clock.broker_now())
    };
    let row = |who: &Who, online| Row { who: who.clone(), online, at: at(who) };
    let rows = change.joined.iter().map(|who| row(who, true));
    let rows: Vec<Row> = rows.chain(change.left.iter().map(|who| row(who, false))).collect();
    match mesh.writer.presence(rows, events(mesh, &change, &ends), change.store).await {
        Ok(()) => {}
        Err(error @ WriteError::DiskFull) => {
            info!(%error, "apps are not told of their peers yet");
            return Ok(false);
        }
        Err(error @ WriteError::Failed(_)) => {
            return Err(Error::Database(waxwing_sqlite::Error::Writer(error.to_string())));
        }
    }
    presence.with(|state| {
        state.tracker.told(&change, at);
        state.view.forget_ends();
        for who in change.left.iter().filter(|who| who.app.is_none()) {
            state.last_seen.insert(who.node, at(who));
        }
    });
    presence.moved.send_replace(());
    Ok(true)
}

/// What apps are told of a change.
fn events(mesh: &Mesh, change: &Change, ends: &HashMap<Who, End>) -> Vec<NewEvent> {
    if change.first {
        return Vec::new();
    }
    let name = |node: &NodeId| -> Option<Name> {
        mesh.roster(|roster| roster.former(node).map(|member| member.name.clone()))
    };
    let joined = change.joined.iter().filter_map(|who| {
        let (node, id) = (name(&who.node)?, who.node);
        Some(match who.app.clone() {
            None => EventBody::PeerJoin { node, id },
            Some(Which { name, instance }) => EventBody::AppJoin { app: name, instance, node, id },
        })
    });
    let left = change.left.iter().filter_map(|who| {
        let (node, id) = (name(&who.node)?, who.node);
        let reason = ends.get(who).map(|end| end.reason);
        Some(match who.app.clone() {
            None => EventBody::PeerLeave { node, id, reason },
            Some(Which { name, instance }) => EventBody::AppLeave { app: name, instance, node, id, reason },
        })
    });
    left.chain(joined).map(|body| NewEvent { app: None, body }).collect()
}

impl Mesh {
    /// Says this of the node from now on.
    pub(crate) async fn set_profile(&self, request: &ProfileRequest) -> Result<Own, WriteError> {
        let _alone = self.presence.setting.lock().await;
        let own = self.presence.profile().changed(request);
        self.writer.profile(own.seal(&self.keys)).await?;
        *lock(&self.presence.own) = own.clone();
        self.presence.moved.send_replace(());
        Ok(own)
    }

    /// Lets peers know at once that this node goes. Returns when the broker has answered, or has had time to.
    pub(crate) async fn say_goodbye(&self) {
        self.presence.leaving.store(true, Ordering::Relaxed);
        let Some(calls) = self.calls() else { return };
        match timeout(GOODBYE_WITHIN, calls.bye()).await {
            Ok(Ok(())) => debug!(mesh = %self.name, "goodbye is said"),
            Ok(Err(error)) => {
                info!(mesh = %self.name, %error, "goodbye is not said: peers see it by the lease");
            }
            Err(_) => {
                info!(mesh = %self.name, "the broker does not answer a goodbye: peers see it by the lease");
            }
        }
    }
}

#[cfg(test)]
mod tests;
