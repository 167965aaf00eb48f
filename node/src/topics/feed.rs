//! One topic that somebody here has subscribed to: its copy is watched, what comes is opened once, and who is told is told the
//! same bytes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::broadcast::error::RecvError;
use waxwing_crypto::SpaceId;
use waxwing_protocol::api::{TopicEvent, TopicMessage};
use waxwing_protocol::{StoreId, TopicName};

use super::record;
use super::tail::{Frame, Tail};
use crate::error::Result;
use crate::mesh::Mesh;
use crate::spaces::{Entry, Fact, News, Space};

/// Messages that are read from the copy at once.
const PART: usize = 64;
/// Parts of the copy that are held for others who read the same: streams that begin together.
const PARTS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) topic: TopicName,
    pub(super) space: Arc<Space>,
    tail: Mutex<Tail>,
    /// Held while one reads, so that others find what he has read.
    parts: tokio::sync::Mutex<VecDeque<Arc<Part>>>,
    /// Messages in the copy that were for those alone who were there.
    live: Mutex<HashSet<u64>>,
}

/// A part of the copy, opened.
#[derive(Debug)]
struct Part {
    after: u64,
    upto: u64,
    store: Option<StoreId>,
    frames: Vec<Arc<Frame>>,
}

/// What is behind a place.
pub(super) struct Behind {
    pub(super) frames: Vec<Arc<Frame>>,
    /// There is nothing else up to here.
    pub(super) upto: u64,
}

impl Feed {
    pub(super) fn new(topic: TopicName, space: Arc<Space>) -> Self {
        let (tail, mut floor) = (Mutex::default(), Tail::default());
        // Until it has been looked at, whoever reads reads the copy.
        floor.begin(u64::MAX, None);
        *lock(&tail) = floor;
        Self { topic, space, tail, parts: tokio::sync::Mutex::default(), live: Mutex::default() }
    }

    pub(super) fn id(&self) -> SpaceId {
        self.space.id()
    }

    /// The last place at which there is something; none while it was not looked at.
    pub(super) fn last(&self) -> Option<u64> {
        Some(lock(&self.tail).last()).filter(|last| *last < u64::MAX)
    }

    /// The life of the store that places are of.
    pub(super) fn store(&self) -> Option<StoreId> {
        lock(&self.tail).store()
    }

    /// What is behind a place: the newest as it was made ready, what is further back from the copy.
    pub(super) async fn behind(&self, mesh: &Mesh, place: u64) -> Result<Behind> {
        if let Some(frames) = lock(&self.tail).behind(place) {
            let upto = frames.last().map_or(place, |frame| frame.seq);
            return Ok(Behind { frames, upto });
        }
        let mut parts = self.parts.lock().await;
        let store = self.store();
        let has = |part: &&Arc<Part>| part.store == store && part.after <= place && place < part.upto;
        let part = match parts.iter().find(has) {
            Some(part) => Arc::clone(part),
            None => {
                let part = Arc::new(self.read(mesh, place).await?);
                parts.push_front(Arc::clone(&part));
                parts.truncate(PARTS);
                part
            }
        };
        drop(parts);
        let frames = part.frames.iter().filter(|frame| frame.seq > place).cloned().collect();
        Ok(Behind { frames, upto: part.upto.max(place) })
    }

    /// Reads a part of the copy. What was for those alone who were there is left out.
    async fn read(&self, mesh: &Mesh, after: u64) -> Result<Part> {
        let read = self.space.behind(mesh, after, PART).await?;
        let kept = read.entries.iter().filter(|entry| !record::is_live(entry));
        let frames = kept.filter_map(|entry| self.frame(mesh, entry)).map(Arc::new).collect();
        Ok(Part { after, upto: read.upto, store: read.store, frames })
    }

    /// Opens a message and makes it ready.
    fn frame(&self, mesh: &Mesh, entry: &Entry) -> Option<Frame> {
        let message = shown(mesh, &self.topic, entry)?;
        Some(Frame {
            seq: entry.seq,
            writer: entry.writer,
            app: entry.app.clone(),
            counter: entry.counter,
            life: entry.life,
            ephemeral: message.ephemeral,
            bytes: event(&TopicEvent::Message(Box::new(message))),
        })
    }

    /// Looks at the copy as it is.
    async fn begin(&self, mesh: &Mesh) -> Result<()> {
        let (place, store) = self.space.kept(mesh).await?;
        let live = self.space.under(mesh, &record::message(true)).await?;
        *lock(&self.live) = live.into_iter().map(|entry| entry.seq).collect();
        lock(&self.tail).begin(place, store);
        self.parts.lock().await.clear();
        match store {
            Some(store) => mesh.topics.reborn(mesh, &self.space, store).await,
            None => Ok(()),
        }
    }

    /// Takes in what has come. Returns the places of messages that have ended.
    fn take(&self, mesh: &Mesh, news: &News, ended: &mut Vec<u64>) {
        for fact in &news.facts {
            match fact {
                Fact::Set(entry) => {
                    if record::is_live(entry) {
                        lock(&self.live).insert(entry.seq);
                    }
                    if let Some(frame) = self.frame(mesh, entry) {
                        lock(&self.tail).push(frame);
                    }
                }
                Fact::Gone { seq, .. } => {
                    lock(&self.tail).remove(*seq);
                    if !lock(&self.live).remove(seq) {
                        ended.push(*seq);
                    }
                }
                Fact::Touched { .. } => {}
            }
        }
    }
}

/// Watches a topic for as long as somebody wants it.
pub(super) async fn run(mesh: &Mesh, feed: Arc<Feed>) -> Result<()> {
    let mut news = feed.space.news();
    feed.begin(mesh).await?;
    mesh.topics.has_moved();
    loop {
        let mut next = Some(news.recv().await);
        let (mut anew, mut ended) = (false, Vec::new());
        while let Some(page) = next {
            match page {
                Ok(page) => {
                    anew |= page.reset;
                    feed.take(mesh, &page, &mut ended);
                }
                Err(RecvError::Lagged(_)) => anew = true,
                // Not while the space is held here.
                Err(RecvError::Closed) => std::future::pending::<()>().await,
            }
            next = news.try_recv().ok().map(Ok);
        }
        // A copy that was not begun when this was begun is of the life that the news are of.
        let store = feed.space.freshness().borrow().store;
        lock(&feed.tail).learn(store);
        if anew {
            news = feed.space.news();
            feed.begin(mesh).await?;
        }
        if let Some(store) = feed.store().filter(|_| !ended.is_empty()) {
            feed.parts.lock().await.clear();
            mesh.topics.ended(mesh, &feed, store, &ended).await?;
        }
        mesh.topics.has_moved();
    }
}

/// A message as apps see it.
pub(super) fn shown(mesh: &Mesh, topic: &TopicName, entry: &Entry) -> Option<TopicMessage> {
    record::shown(topic, entry, |node| {
        mesh.roster(|roster| roster.former(node).map(|member| member.name.clone()))
    })
}

/// An event as streams have it.
pub(super) fn event(event: &TopicEvent) -> Bytes {
    let mut bytes = BytesMut::with_capacity(512);
    bytes.put_slice(b"event: ");
    bytes.put_slice(event.kind().as_bytes());
    bytes.put_slice(b"\ndata: ");
    let mut writer = bytes.writer();
    // Plain structs into memory: JSON in one line, which nothing in them can break.
    if serde_json::to_writer(&mut writer, event).is_err() {
        return Bytes::from_static(b": an event that cannot be encoded\n\n");
    }
    let mut bytes = writer.into_inner();
    bytes.put_slice(b"\n\n");
    bytes.freeze()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
