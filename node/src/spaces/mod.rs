//! Spaces at this node: a copy to read from, kept up with the broker while there is a link, and a lane to write by.
//!
//! ```text
//! reader -> copy                 the records as they came, opened when they are read: at once, and offline
//! writer -> lane                 numbered, signed, sealed; one `space.write` under way at a time -> the broker's outcomes
//! broker -> follow -> check      `space.changes`: opened, signatures checked against the roster of their time
//!                     judge      what is believed: nothing replayed, nothing ended that cannot end, no condition broken
//!                     writer     one commit per page -> news
//!           offer                after a loss of the store: what the new one lacks of the old copy
//! ```
//!
//! A broker keeps spaces and cannot read them, so what it says is believed only as far as it can be checked: see [`judge`].
//! What it withholds cannot be told, nor that it ends what may end. The copy is the sealed records themselves: their keys
//! are kept under the storage key, so nothing readable is on the disk.

mod check;
mod copy;
mod draft;
mod follow;
mod held;
mod judge;
mod lane;
mod make;
mod offer;
mod part;
mod suspicion;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{broadcast, watch};
use waxwing_crypto::space::{self, KeyName, NamingKey, SpaceName, Stands};
use waxwing_crypto::{KeyId, Name, NodeId, SpaceId, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{ChangeOutcome, EndedBy};
use waxwing_sqlite::Readers;

use self::lane::Lane;
use crate::error::Result;
use crate::link::{Calls, Ended};
use crate::mesh::Mesh;
use crate::store::spaces;

pub(crate) use self::draft::{Draft, DraftChange};
pub(crate) use self::lane::NotWritten;
pub(crate) use self::part::Part;

/// Pages of news that a reader may lag behind before it has to read the copy anew.
const NEWS: usize = 64;

/// The spaces of one mesh that somebody uses.
#[derive(Debug)]
pub(crate) struct Spaces {
    open: Mutex<HashMap<SpaceName, Arc<Space>>>,
    /// How many there are.
    count: watch::Sender<usize>,
}

impl Default for Spaces {
    fn default() -> Self {
        Self { open: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Spaces {
    fn all(&self) -> Vec<Arc<Space>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Mesh {
    /// The handle on a space, the same for the same name. From now on it is followed while there is a link.
    pub(crate) fn space(&self, name: &SpaceName) -> Arc<Space> {
        let mut open = self.spaces.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = open.get(name) {
            return Arc::clone(space);
        }
        let naming = NamingKey::of(self.identity.mesh, &self.epochs.held());
        let space = Arc::new(Space::new(space::Space::new(self.identity.mesh, &naming, name.clone())));
        open.insert(name.clone(), Arc::clone(&space));
        self.spaces.count.send_replace(open.len());
        space
    }
}

impl Mesh {
    /// What the broker calls a space. It is not followed for that.
    pub(crate) fn space_id(&self, name: &SpaceName) -> SpaceId {
        NamingKey::of(self.identity.mesh, &self.epochs.held()).space(name)
    }

    /// Whether a copy of a space is on the disk: it was followed once.
    pub(crate) async fn has_copy(&self, name: &SpaceName) -> Result<bool> {
        Ok(spaces::find(&self.db, &self.space_id(name)).await?.is_some())
    }
}

/// One space.
pub(crate) struct Space {
    /// As its members know it.
    sealing: space::Space,
    freshness: watch::Sender<Freshness>,
    news: broadcast::Sender<Arc<News>>,
    /// Held while a page is committed and told.
    committing: Arc<tokio::sync::Mutex<()>>,
    lane: Lane,
    /// Apps were told that records on the disk do not open.
    damaged: AtomicBool,
}

/// How far a copy can be relied on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Freshness {
    /// There is a link, and everything that the broker had is here.
    pub(crate) complete: bool,
    /// When that was so last, on this node's clock; none if it never was.
    pub(crate) as_of: Option<Timestamp>,
    /// The life of the broker's store that the copy is of.
    pub(crate) store: Option<StoreId>,
    /// The last place that the copy has come to.
    pub(crate) place: u64,
}

/// A live record.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Entry {
    /// Its place.
    pub(crate) seq: u64,
    /// Its key's name.
    pub(crate) key: KeyName,
    /// Who wrote it: its signature was checked.
    pub(crate) writer: NodeId,
    /// How it stands under its key.
    pub(crate) stands: Stands,
    /// One more than that of the record it replaced.
    pub(crate) version: u64,
    /// When the broker committed it, on the broker's clock.
    pub(crate) at: Timestamp,
    /// When it ends, on the broker's clock.
    pub(crate) expires: Option<Timestamp>,
    /// It ends so many milliseconds after its writer's lease.
    pub(crate) bound: Option<u64>,
    /// The writer's own number of it: rises, in every life of the broker's store.
    pub(crate) counter: u64,
    /// The life of the broker's store that it was written in: where that is not the copy's, it was handed back after a loss.
    pub(crate) life: StoreId,
    /// The app that wrote it, if it named itself.
    pub(crate) app: Option<Name>,
    /// The value.
    pub(crate) value: Bytes,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, by {}, {} bytes)", self.seq, self.writer, self.value.len())
    }
}

/// One page of what has changed in a copy, after its commit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct News {
    /// What has changed, in the order of places.
    pub(crate) facts: Vec<Fact>,
    /// The copy is begun anew: what is in it now is to be read.
    pub(crate) reset: bool,
    /// The copy is complete with this page.
    pub(crate) complete: bool,
}

/// One thing that has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fact {
    /// A record is there, in the place of what stood there.
    Set(Entry),
    /// A record ends at another moment.
    Touched {
        /// Which.
        seq: u64,
        /// On the broker's clock.
        expires: Timestamp,
    },
    /// A record is not there any more.
    Gone {
        /// Which.
        seq: u64,
        /// Why.
        why: Gone,
        /// When, on the broker's clock.
        at: Timestamp,
    },
}

/// Why a record is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gone {
    /// A member has deleted it.
    Deleted,
    /// It has ended.
    Ended(EndedBy),
}

impl Space {
    fn new(sealing: space::Space) -> Self {
        Self {
            sealing,
            freshness: watch::Sender::new(Freshness::default()),
            news: broadcast::Sender::new(NEWS),
            committing: Arc::default(),
            lane: Lane::default(),
            damaged: AtomicBool::new(false),
        }
    }

    /// As the broker knows it.
    pub(crate) fn id(&self) -> SpaceId {
        self.sealing.id()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &SpaceName {
        self.sealing.name()
    }

    /// How far the copy can be relied on.
    pub(crate) fn freshness(&self) -> watch::Receiver<Freshness> {
        self.freshness.subscribe()
    }

    /// A key of it, as the broker knows that.
    pub(crate) fn key(&self, name: &KeyName) -> KeyId {
        self.sealing.key(name)
    }

    /// The same, also of a copy that is on the disk and has had no link since this node was started.
    pub(crate) async fn known(&self, mesh: &Mesh) -> Result<Freshness> {
        let now = *self.freshness.borrow();
        if now.as_of.is_some() {
            return Ok(now);
        }
        let as_of = self.progress(&mesh.db).await?.and_then(|progress| progress.as_of);
        Ok(Freshness { as_of, ..now })
    }

    /// The life of the broker's store that the copy is of, also before there was a link.
    pub(crate) async fn life(&self, mesh: &Mesh) -> Result<Option<StoreId>> {
        let known = self.freshness.borrow().store;
        Ok(if known.is_some() {
            known
        } else {
            self.progress(&mesh.db).await?.and_then(|progress| progress.store)
        })
    }

    /// What changes from now on. Who lags reads the copy anew.
    pub(crate) fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// Waits until the copy has come to a place.
    pub(crate) async fn reached(&self, seq: u64) {
        // The sender is here, so this cannot fail.
        let _ = self.freshness().wait_for(|freshness| freshness.place >= seq).await;
    }

    /// Every live record of the copy, in the order of places.
    pub(crate) async fn entries(&self, mesh: &Mesh) -> Result<Vec<Entry>> {
        copy::entries(self, mesh, None).await
    }

    /// Those under one key.
    pub(crate) async fn under(&self, mesh: &Mesh, key: &KeyName) -> Result<Vec<Entry>> {
        copy::entries(self, mesh, Some(key)).await
    }

    /// The shared ones under some keys.
    pub(crate) async fn shared(&self, mesh: &Mesh, keys: &[KeyName]) -> Result<Vec<Entry>> {
        copy::shared(self, mesh, keys).await
    }

    /// Makes changes, one after the other. Answered after the broker's commit, one outcome per change.
    pub(crate) async fn write(
        &self,
        mesh: &Mesh,
        drafts: Vec<Draft>,
    ) -> Result<Vec<ChangeOutcome>, NotWritten> {
        self.lane.write(mesh, drafts).await
    }

    /// How far the copy has come, as the database has it.
    async fn progress(&self, db: &Readers) -> waxwing_sqlite::Result<Option<spaces::Progress>> {
        spaces::find(db, &self.id()).await
    }

    /// There is no link any more.
    fn link_lost(&self) {
        self.freshness.send_if_modified(|freshness| std::mem::take(&mut freshness.complete));
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({})", self.id())
    }
}

/// What the parts of a space work with on one link.
#[derive(Clone, Copy)]
struct Link<'a> {
    mesh: &'a Mesh,
    calls: &'a Calls,
    /// The life of the broker's store.
    store: StoreId,
}

/// Keeps the spaces of a mesh up while a link is up. Ends only with the link.
pub(crate) async fn run(mesh: &Mesh, calls: &Calls, store: StoreId) -> Ended {
    let link = Link { mesh, calls, store };
    let _down = Down(mesh);
    let mut count = mesh.spaces.count.subscribe();
    let mut served = Vec::new();
    let mut running = FuturesUnordered::new();
    loop {
        count.mark_unchanged();
        for space in mesh.spaces.all() {
            if !served.contains(&space.id()) {
                served.push(space.id());
                running.push(serve(link, space));
            }
        }
        tokio::select! {
            Some(ended) = running.next() => return ended,
            changed = count.changed() => if changed.is_err() {
                return Ended::Lost("the mesh is closing".into());
            },
        }
    }
}

async fn serve(link: Link<'_>, space: Arc<Space>) -> Ended {
    tokio::select! {
        ended = follow::run(link, &space) => ended,
        ended = lane::run(link, &space) => ended,
    }
}

/// Says that copies are not kept up any more.
struct Down<'a>(&'a Mesh);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.spaces.all().iter().for_each(|space| space.link_lost());
    }
}
