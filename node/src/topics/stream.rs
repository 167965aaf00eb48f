//! One app's stream of what it has subscribed to: at the pace of whoever reads it, from where its cursors are, and again what is
//! not acknowledged in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::error;
use waxwing_crypto::{Name, SpaceId};
use waxwing_protocol::TopicPattern;
use waxwing_protocol::api::TopicEvent;

use super::feed::{Feed, event};
use super::subscribe::shown;
use super::tail::Frame;
use crate::clock;
use crate::error::Result;
use crate::mesh::Mesh;
use crate::store::topics::{CursorRow, DeadRow, Kept};

/// A message is handed over in vain so often, and then passed over.
const TRIES: u32 = 10;
/// Bytes that are handed over as one.
const TOGETHER: usize = 64 * 1024;
/// A comment goes out when nothing else has for this long, so that both ends notice a dead connection.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Such a comment.
const ALIVE: &[u8] = b":\n\n";

/// See the module.
pub(crate) struct Reader {
    mesh: Arc<Mesh>,
    app: Name,
    only: Option<TopicPattern>,
    redeliver: Duration,
    at: Vec<At>,
    shape: Option<u64>,
    moved: watch::Receiver<u64>,
}

/// Where the stream is in one topic.
struct At {
    feed: Arc<Feed>,
    no_echo: bool,
    /// Everything up to here has been handed over, or is not for this app.
    place: u64,
    /// Of what is for those alone who are there: everything up to here has been handed over, or was before the stream.
    live: u64,
    /// The last that was handed over, and is to be acknowledged.
    given: u64,
    /// As far as it was acknowledged when that was looked at last, and since when nothing has moved.
    waits: Option<(u64, Instant)>,
    /// The app was told of so many that it has missed.
    missed: u64,
}

impl Reader {
    /// A stream for an app. It counts as one until it is dropped.
    pub(crate) fn new(mesh: &Arc<Mesh>, app: Name, only: Option<TopicPattern>, redeliver: Duration) -> Self {
        mesh.topics.state().stream_opened(&app, only.as_ref());
        let moved = mesh.topics.moved.subscribe();
        Self { mesh: Arc::clone(mesh), app, only, redeliver, at: Vec::new(), shape: None, moved }
    }

    /// Hands messages over until nobody wants more, or the mesh is closed.
    pub(crate) async fn run(mut self, out: mpsc::Sender<Bytes>) {
        let stop = self.mesh.stop.clone();
        let ended = tokio::select! {
            ended = self.hand_over(&out) => ended,
            () = out.closed() => Ok(()),
            () = stop.cancelled() => return,
        };
        let ended = match ended {
            Ok(()) => self.end().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            error!(%error, "a stream of topics cannot be read");
        }
    }

    async fn hand_over(&mut self, out: &mpsc::Sender<Bytes>) -> Result<()> {
        let mut silent = Instant::now() + KEEPALIVE;
        loop {
            self.moved.mark_unchanged();
            self.reshape();
            let mut any = false;
            for n in 0..self.at.len() {
                let bytes = self.next(n).await?;
                if bytes.is_empty() {
                    continue;
                }
                (any, silent) = (true, Instant::now() + KEEPALIVE);
                if out.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
            if any {
                continue;
            }
            let due = self.due().unwrap_or(silent).min(silent);
            tokio::select! {
                changed = self.moved.changed() => if changed.is_err() { return Ok(()) },
                () = sleep_until(due) => {
                    let mut bytes = self.overdue().await?;
                    if bytes.is_empty() && silent <= Instant::now() {
                        bytes = Bytes::from_static(ALIVE);
                    }
                    if !bytes.is_empty() {
                        silent = Instant::now() + KEEPALIVE;
                        if out.send(bytes).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Looks which topics it is for, if that may have changed.
    fn reshape(&mut self) {
        let topics = &self.mesh.topics;
        let shape = topics.shape.load(Ordering::Relaxed);
        if self.shape == Some(shape) {
            return;
        }
        let first = self.shape.replace(shape).is_none();
        let feeds: Vec<_> = super::lock(&topics.feeds).values().cloned().collect();
        let state = topics.state();
        let mut before = std::mem::take(&mut self.at);
        for feed in feeds {
            if self.only.as_ref().is_some_and(|only| !only.matches(&feed.topic)) {
                continue;
            }
            let Some(no_echo) = state.wants(&self.app, &feed.topic) else { continue };
            let known = before.iter().position(|at| Arc::ptr_eq(&at.feed, &feed));
            let mut at = match known {
                Some(known) => before.swap_remove(known),
                None => {
                    let place = state.cursor(&self.app, feed.id()).map_or(0, |row| row.place);
                    // Of a topic that was made after the stream was opened, all is new.
                    let there = feed.last().unwrap_or(0).max(feed.space.freshness().borrow().place);
                    let live = if first { there } else { 0 };
                    At { feed, no_echo, place, live, given: 0, waits: None, missed: 0 }
                }
            };
            at.no_echo = no_echo;
            self.at.push(at);
        }
    }

    /// What there is to hand over in one topic, as much as goes at once.
    async fn next(&mut self, n: usize) -> Result<Bytes> {
        let Self { mesh, app, at, .. } = self;
        let Some(at) = at.get_mut(n) else { return Ok(Bytes::new()) };
        let cursor = mesh.topics.state().cursor(app, at.feed.id()).cloned();
        let mut bytes = BytesMut::new();
        let missed = cursor.as_ref().map_or(0, |row| row.missed);
        if missed > at.missed {
            bytes.put(event(&TopicEvent::Lagged { topic: at.feed.topic.clone(), missed }));
        }
        at.missed = missed;
        if at.feed.last().is_none() {
            return Ok(bytes.freeze());
        }
        loop {
            let behind = at.feed.behind(mesh, at.place).await?;
            for frame in &behind.frames {
                at.place = frame.seq;
                if at.is_for(mesh, app, cursor.as_ref(), frame) {
                    at.note(frame, cursor.as_ref());
                    bytes.put_slice(&frame.bytes);
                }
                if bytes.len() >= TOGETHER {
                    return Ok(bytes.freeze());
                }
            }
            // Nothing of a part may be for this app: then there may be more behind it.
            let more = behind.upto > at.place;
            at.place = at.place.max(behind.upto);
            if !bytes.is_empty() || (!more && behind.frames.is_empty()) {
                return Ok(bytes.freeze());
            }
        }
    }

    /// When the next message is to come again.
    fn due(&self) -> Option<Instant> {
        let redeliver = self.redeliver;
        self.at.iter().filter_map(|at| at.waits.map(|(_, since)| since + redeliver)).min()
    }

    /// Goes back to what was not acknowledged in time. Returns what the app is to be told of it.
    async fn overdue(&mut self) -> Result<Bytes> {
        let (now, mut told) = (Instant::now(), BytesMut::new());
        for at in &mut self.at {
            let Some((seen, since)) = at.waits else { continue };
            if since + self.redeliver > now {
                continue;
            }
            let place = acknowledged(&self.mesh, &self.app, at.feed.id());
            if place >= at.given {
                at.waits = None;
            } else if place > seen {
                at.waits = Some((place, now)); // Somebody is at work on it.
            } else {
                if let Some(dead) = tried(&self.mesh, &self.app, at).await? {
                    told.put(event(&TopicEvent::Dead(shown(&at.feed.topic, &dead))));
                }
                at.live = at.live.max(at.place);
                at.place = acknowledged(&self.mesh, &self.app, at.feed.id());
                (at.given, at.waits) = (0, None);
                // What follows it is to be handed over again.
                self.mesh.topics.has_moved();
            }
        }
        Ok(told.freeze())
    }

    /// The stream has ended: what was handed over and not acknowledged was handed over in vain.
    async fn end(&mut self) -> Result<()> {
        for at in &self.at {
            if acknowledged(&self.mesh, &self.app, at.feed.id()) < at.given {
                tried(&self.mesh, &self.app, at).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.mesh.topics.state().stream_ended(&self.app, self.only.as_ref());
    }
}

impl At {
    /// Whether a message is for an app that has come so far.
    fn is_for(&self, mesh: &Mesh, app: &Name, cursor: Option<&CursorRow>, frame: &Frame) -> bool {
        let echo = frame.writer == mesh.identity.node && frame.app.as_ref() == Some(app);
        if self.no_echo && echo {
            return false;
        }
        if frame.ephemeral {
            return frame.seq > self.live;
        }
        // What was handed back after a loss may have been acknowledged before it.
        let handed_back = self.feed.store() != Some(frame.life);
        let mark = cursor.and_then(|row| row.marks.get(&frame.writer).copied()).unwrap_or(0);
        !(handed_back && frame.counter <= mark)
    }

    /// A message is handed over.
    fn note(&mut self, frame: &Frame, cursor: Option<&CursorRow>) {
        if frame.ephemeral {
            self.live = frame.seq;
            return;
        }
        self.given = self.given.max(frame.seq);
        self.waits.get_or_insert_with(|| (cursor.map_or(0, |row| row.place), Instant::now()));
    }
}

/// Up to where an app has acknowledged.
fn acknowledged(mesh: &Mesh, app: &Name, space: SpaceId) -> u64 {
    mesh.topics.state().cursor(app, space).map_or(0, |row| row.place)
}

/// The first message behind a cursor was handed over in vain. Returns it if that was once too often: it is passed over.
async fn tried(mesh: &Mesh, app: &Name, at: &At) -> Result<Option<DeadRow>> {
    let Some(store) = at.feed.store() else { return Ok(None) };
    let space = at.feed.id();
    let row = mesh.topics.state().change(app, space, store, |row| row.tries += 1);
    if row.tries < TRIES {
        mesh.topics.keep(mesh, vec![row]).await?;
        return Ok(None);
    }
    let Some(seq) = first(mesh, app, at, &row).await? else { return Ok(None) };
    let dead = DeadRow { space, seq, tries: row.tries, at: clock::now() };
    let row = mesh.topics.state().change(app, space, store, |row| {
        (row.place, row.tries) = (row.place.max(seq), 0);
    });
    let kept = Kept { cursors: vec![row.clone()], dead: Some((app.clone(), dead)), ..Kept::default() };
    match mesh.writer.topics(kept).await {
        Ok(()) => mesh.topics.state().save(&[row]),
        Err(error) => error!(%error, "it is not written that a message was passed over"),
    }
    Ok(Some(dead))
}

/// The first message behind a cursor that is for its app.
async fn first(mesh: &Mesh, app: &Name, at: &At, row: &CursorRow) -> Result<Option<u64>> {
    let mut place = row.place;
    loop {
        let behind = at.feed.behind(mesh, place).await?;
        let mut kept = behind.frames.iter().filter(|frame| !frame.ephemeral);
        if let Some(frame) = kept.find(|frame| at.is_for(mesh, app, Some(row), frame)) {
            return Ok(Some(frame.seq));
        }
        let upto = behind.upto.max(behind.frames.last().map_or(place, |frame| frame.seq));
        if upto <= place {
            return Ok(None);
        }
        place = upto;
    }
}
