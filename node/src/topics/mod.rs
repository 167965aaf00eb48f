//! Topics: messages for whoever has subscribed, each stored once however many those are.
//!
//! ```text
//! publish -> list (the topic is listed, or is put there) -> append to the topic's space -> the broker's commit -> seq
//! subscribe -> subscriptions, cursors: in memory and on the disk
//! the space's news -> feed (opened once, made ready as bytes) -> tail -> each stream, from where its app's cursor is
//! ack -> the cursor, one commit -> what is not acknowledged in time comes again; ten times in vain, and it is passed over
//! ```
//!
//! The space `topics` lists them, and each node says there what its apps want; a topic has a space of its own, `topic:NAME`. A
//! message is an appended record that ends by itself. Of a subscriber nothing is stored but what he wants and how far he has
//! come. A place in a space is of one life of the broker's store: when that is lost, what was acknowledged is known by its writers'
//! own numbers of their records.

mod feed;
mod limiter;
mod listing;
mod look;
mod publish;
mod record;
mod state;
mod stream;
mod subscribe;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error};
use waxwing_crypto::space::Condition;
use waxwing_crypto::storage::{Place, StorageKeys};
use waxwing_crypto::{SpaceId, Timestamp};
use waxwing_protocol::api::{Problem, ProblemCode, Subscribers};
use waxwing_protocol::{StoreId, TopicName, TopicPattern};
use waxwing_sqlite::Readers;

use self::feed::Feed;
use self::limiter::Limiter;
use self::listing::Listing;
use self::state::{Kept, State};
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::spaces::{Draft, DraftChange, Freshness, Space};
use crate::store::topics::{self as table, CursorRow, ID};
use crate::writer::WriteError;

pub(crate) use self::look::{backlog, history, list};
pub(crate) use self::publish::{publish, set_retention};
pub(crate) use self::record::{listing_again, message_again, wanted_again};
pub(crate) use self::stream::Reader;
pub(crate) use self::subscribe::{acknowledge, subscribe, subscriptions, unsubscribe};

/// Whoever needs a copy as it is now waits so long for it.
const COMPLETE_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to tell others, and two things to tell them.
const PAUSE: Duration = Duration::from_millis(200);

/// The topics of one mesh, and who wants them here.
#[derive(Debug)]
pub(crate) struct Topics {
    state: Mutex<State>,
    listing: Mutex<Listing>,
    feeds: Mutex<BTreeMap<TopicName, Arc<Feed>>>,
    limiter: Limiter,
    /// The last places at which this node has published: what is complete goes at least so far.
    published: Mutex<HashMap<SpaceId, u64>>,
    /// One change of subscriptions at a time.
    changing: tokio::sync::Mutex<()>,
    /// Somebody has used topics here: the list is followed.
    used: AtomicBool,
    /// Rises when a stream may have to look which topics it is for.
    shape: AtomicU64,
    /// Rises when a stream may have something to say, and with `used` and `shape`.
    moved: watch::Sender<u64>,
}

/// What is kept of a subscription, encrypted.
#[derive(Debug, Deserialize, Serialize)]
struct Sealed {
    pattern: TopicPattern,
    no_echo: bool,
    since: Timestamp,
}

impl Topics {
    /// As they are kept.
    pub(crate) async fn load(db: &Readers, keys: &StorageKeys) -> Result<Self> {
        let damaged = || Error::Damaged("a subscription in node.db cannot be read".into());
        let mut subscriptions = Vec::new();
        for row in table::subscriptions(db).await? {
            let opened = keys.open(place(&row.id), &row.sealed).map_err(|_| damaged())?;
            let Sealed { pattern, no_echo, since } = rmp_serde::from_slice(&opened).map_err(|_| damaged())?;
            subscriptions.push((row.app, pattern, Kept { id: row.id, no_echo, since }));
        }
        let used = !subscriptions.is_empty();
        Ok(Self {
            state: Mutex::new(State::new(subscriptions, table::cursors(db).await?)),
            listing: Mutex::default(),
            feeds: Mutex::default(),
            limiter: Limiter::default(),
            published: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            used: AtomicBool::new(used),
            shape: AtomicU64::new(0),
            moved: watch::Sender::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn listing(&self) -> MutexGuard<'_, Listing> {
        lock(&self.listing)
    }

    fn feed(&self, topic: &TopicName) -> Option<Arc<Feed>> {
        lock(&self.feeds).get(topic).cloned()
    }

    /// This node has published.
    fn has_published(&self, space: SpaceId, seq: u64) {
        let mut published = lock(&self.published);
        let last = published.entry(space).or_default();
        *last = seq.max(*last);
    }

    /// Waits until topics are watched that somebody wants now. It is no failure if that takes longer.
    async fn watched(&self, topics: &[TopicName]) {
        let (mut moved, until) = (self.moved.subscribe(), Instant::now() + COMPLETE_WITHIN);
        let is = |topic: &TopicName| self.feed(topic).is_some_and(|feed| feed.last().is_some());
        while !topics.iter().all(is) {
            if !matches!(timeout_at(until, moved.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Streams have something to look at.
    fn has_moved(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }

    /// Which topics somebody wants may have changed.
    fn has_changed(&self) {
        self.shape.fetch_add(1, Ordering::Relaxed);
        self.has_moved();
    }

    /// Takes cursors over into this life of the store, as far as it is known what was acknowledged in the one before.
    async fn reborn(&self, mesh: &Mesh, space: &Space, store: StoreId) -> Result<()> {
        let others = self.state().of_other_lives(space.id(), store);
        let mut rows = Vec::with_capacity(others.len());
        for before in others {
            let marks = space.before_loss(mesh, before.place).await?;
            rows.push(self.state().reborn(&before, store, &marks));
        }
        self.keep(mesh, rows).await
    }

    /// Messages of a topic have ended, which some may not have acknowledged.
    async fn ended(&self, mesh: &Mesh, feed: &Feed, store: StoreId, seqs: &[u64]) -> Result<()> {
        let rows = self.state().ended(&feed.topic, feed.id(), store, seqs);
        self.keep(mesh, rows).await
    }

    /// Writes cursors. A full disk is no reason to stop: they are written with the next change.
    async fn keep(&self, mesh: &Mesh, rows: Vec<CursorRow>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        match mesh.writer.topics(table::Kept { cursors: rows.clone(), ..table::Kept::default() }).await {
            Ok(()) => self.state().save(&rows),
            Err(error @ WriteError::DiskFull) => debug!(%error, "cursors are not written"),
            Err(error @ WriteError::Failed(_)) => {
                return Err(Error::Database(waxwing_sqlite::Error::Writer(error.to_string())));
            }
        }
        Ok(())
    }
}

fn place(id: &[u8; ID]) -> Place<'_> {
    Place { table: "topic_subscription", column: "sealed", row: id }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the list and the topics that are wanted here, and tells others which those are; until it is dropped or the database
/// fails. A node on which nobody has used topics does nothing.
pub(crate) async fn run(mesh: &Mesh) -> Result<()> {
    let topics = &mesh.topics;
    let mut moved = topics.moved.subscribe();
    if !topics.used.load(Ordering::Relaxed) && !mesh.has_copy(&record::list()).await? {
        let closed = moved.wait_for(|_| topics.used.load(Ordering::Relaxed)).await.is_err();
        if closed {
            return std::future::pending().await;
        }
    }
    let space = mesh.space(&record::list());
    tokio::select! {
        ended = follow_list(mesh, &space) => ended,
        ended = follow_wanted(mesh, moved) => ended,
        () = tell_wanted(mesh, &space) => Ok(()),
    }
}

/// Takes in what becomes of the list.
async fn follow_list(mesh: &Mesh, space: &Space) -> Result<()> {
    let topics = &mesh.topics;
    let mut news = space.news();
    read_list(mesh, space).await?;
    loop {
        match news.recv().await {
            Ok(page) => topics.listing().apply(&page),
            Err(RecvError::Lagged(_)) => {
                news = space.news();
                read_list(mesh, space).await?;
            }
            // Not while the space is held here.
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
        topics.has_changed();
    }
}

async fn read_list(mesh: &Mesh, space: &Space) -> Result<()> {
    let entries = match space.entries(mesh).await {
        // No reason to stop a mesh: what is listed from now on is heard.
        Err(Error::Damaged(why)) => {
            error!(%why, "the topics are not known");
            Vec::new()
        }
        entries => entries?,
    };
    *mesh.topics.listing() = Listing::of(&entries);
    mesh.topics.has_changed();
    Ok(())
}

/// Watches each topic that is listed and wanted.
async fn follow_wanted(mesh: &Mesh, mut moved: watch::Receiver<u64>) -> Result<()> {
    let topics = &mesh.topics;
    let mut running = FuturesUnordered::new();
    let mut shape = None;
    loop {
        moved.mark_unchanged();
        let now = topics.shape.load(Ordering::Relaxed);
        if shape != Some(now) {
            shape = Some(now);
            let new = new_feeds(mesh);
            if !new.is_empty() {
                topics.has_changed();
            }
            running.extend(new.into_iter().map(|feed| feed::run(mesh, feed)));
        }
        tokio::select! {
            Some(ended) = running.next() => return ended,
            changed = moved.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
        }
    }
}

/// Topics that are wanted and not watched yet.
fn new_feeds(mesh: &Mesh) -> Vec<Arc<Feed>> {
    let topics = &mesh.topics;
    let names: Vec<TopicName> = topics.listing().topics().keys().cloned().collect();
    let state = topics.state();
    let mut feeds = lock(&topics.feeds);
    let wanted = names.into_iter().filter(|name| !feeds.contains_key(name) && state.is_wanted(name));
    let new: Vec<_> = wanted
        .map(|name| {
            let space = mesh.space(&record::space(&name));
            Arc::new(Feed::new(name, space))
        })
        .collect();
    feeds.extend(new.iter().map(|feed| (feed.topic.clone(), Arc::clone(feed))));
    new
}

/// Tells other nodes what apps of this one want.
async fn tell_wanted(mesh: &Mesh, space: &Space) {
    let topics = &mesh.topics;
    let (mut moved, mut freshness) = (topics.moved.subscribe(), space.freshness());
    loop {
        moved.mark_unchanged();
        let complete = freshness.borrow_and_update().complete;
        let wanted = topics.state().wanted();
        let told = topics.listing().wanted(&mesh.identity.node).cloned().unwrap_or_default();
        if complete && wanted != told {
            let change = DraftChange::Put {
                key: record::wanted(),
                own: true,
                when: Condition::Any,
                ttl: None,
                bound: None,
                value: record::encode(&wanted),
            };
            match space.write(mesh, vec![Draft { id: None, app: None, change }]).await {
                Ok(outcomes) => {
                    if let Some(seq) = outcomes.first().and_then(applied) {
                        let _ = timeout(COMPLETE_WITHIN, space.reached(seq)).await;
                    }
                }
                Err(error) => debug!(%error, "others are not told what is wanted here"),
            }
            sleep(PAUSE).await;
            continue;
        }
        tokio::select! {
            _ = moved.changed() => {}
            _ = freshness.changed() => {}
        }
    }
}

/// Where a change was made, if it was.
const fn applied(outcome: &waxwing_protocol::link::ChangeOutcome) -> Option<u64> {
    use waxwing_protocol::link::ChangeOutcome;
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

/// The list, which is followed from now on.
fn list_space(mesh: &Mesh) -> Arc<Space> {
    let topics = &mesh.topics;
    if !topics.used.swap(true, Ordering::Relaxed) {
        topics.has_moved();
    }
    mesh.space(&record::list())
}

/// The list, read from its copy, and whether that is as the broker has it: for whoever must know what stands in it at this moment.
async fn read_now(mesh: &Mesh, space: &Space) -> Result<Listing, Box<Problem>> {
    space.entries(mesh).await.map(|entries| Listing::of(&entries)).map_err(|error| internal(&error))
}

/// Waits until a copy is as the broker has it, with all that this node has published.
async fn complete(mesh: &Mesh, space: &Space) -> Result<(), Box<Problem>> {
    let published = lock(&mesh.topics.published).get(&space.id()).copied().unwrap_or(0);
    let is = |freshness: &Freshness| freshness.complete && freshness.place >= published;
    let mut freshness = space.freshness();
    if is(&freshness.borrow()) {
        return Ok(());
    }
    if mesh.calls().is_none() {
        return Err(offline("there is no link to the broker"));
    }
    match timeout(COMPLETE_WITHIN, freshness.wait_for(is)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(offline("the copy of a topic is not complete yet")),
    }
}

fn offline(detail: &str) -> Box<Problem> {
    Box::new(Problem::new(ProblemCode::Offline).detail(detail))
}

/// A failure of this node, for whoever asked.
fn internal(error: &Error) -> Box<Problem> {
    error!(%error, "a topic cannot be read");
    Box::new(Problem::new(ProblemCode::Internal))
}

/// Who has subscribed to a topic, as far as is known here.
fn subscribers(mesh: &Mesh, topic: &TopicName, current: bool) -> Subscribers {
    let (here, connected) = mesh.topics.state().subscribers(topic);
    let is_other = |node: &waxwing_crypto::NodeId| {
        *node != mesh.identity.node && mesh.roster(|roster| roster.member(node).is_some())
    };
    let elsewhere = current.then(|| mesh.topics.listing().subscribers(topic, is_other));
    Subscribers { here, connected, elsewhere }
}

/// Writes what has become of subscriptions.
async fn keep(mesh: &Mesh, kept: table::Kept) -> Result<(), Box<Problem>> {
    mesh.writer.topics(kept).await.map_err(|error| Box::new(crate::outbox::write_problem(&error)))
}
