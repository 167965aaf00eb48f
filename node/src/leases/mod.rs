//! Leases: something that one app of the mesh has at a time, in the order in which it was asked for. Made of one space.
//!
//! ```text
//! acquire  append a record under the name -> its place is the token, and the place in line
//!          the copy has come to that place: who stands before it -> acquired, queued, locked (queue)
//! hold     the record is renewed while its app is registered (renew), until the first of
//!          its time, this node's lease and grace, its app's end, its record's end (look)
//! release  delete the record -> the next in line, at whatever node, sees in its copy that it is the first
//! ```
//!
//! The broker sees no name and no holder, and decides nothing but the order of places and when a record ends. A node judges only
//! on a copy that has come to its own record's place, so all that stood before and still stands is in it. It counts time from
//! before it asked, on a clock that runs while the host is suspended, so it gives a lease up before the broker does. What it
//! cannot know is whether the app has stopped: that is what the token is for.
//!
//! All of this is the same for whatever else is tried for by many and held by one: [`Leases`] is of one space.

mod acquire;
mod ends;
mod look;
#[cfg(test)]
mod model;
mod path;
mod queue;
mod record;
mod release;
mod renew;
mod show;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use waxwing_crypto::space::{KeyName, SpaceName};
use waxwing_protocol::api::EventBody;

use self::table::Table;
use crate::apps::Which;
use crate::error::Result;
use crate::mesh::Mesh;
use crate::spaces::{NotWritten, Space};

pub(crate) use self::acquire::{Acquired, Got, Want};
pub(crate) use self::path::{FILE, file_name};
pub(crate) use self::queue::{Queue, Standing};
pub(crate) use self::record::again;
pub(crate) use self::table::{Counts, Told};

/// The space of leases.
pub(crate) const SPACE: &str = "leases";

/// What an app is told of a lease.
pub(crate) fn event(told: &Told) -> Option<EventBody> {
    Some(EventBody::Lease {
        what: told.what,
        name: told.key.to_string(),
        token: told.token,
        app: told.which.name.clone(),
        instance: told.which.instance.clone(),
        remaining: told.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        reason: told.reason,
    })
}

/// What is held by one at a time, in one space of one mesh.
#[derive(Debug)]
pub(crate) struct Leases {
    space: SpaceName,
    table: Mutex<Table>,
    /// Something is different in the table.
    moved: watch::Sender<()>,
    /// Somebody uses this: the space is followed.
    used: watch::Sender<bool>,
    /// What an app is told of what it has.
    event: fn(&Told) -> Option<EventBody>,
}

/// Why something about a lease was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Denied {
    /// The broker did not do it, or has not answered.
    NotWritten(NotWritten),
    /// It is another's, or nobody's.
    NotHolder,
    /// Another has been granted it since.
    Stale,
    /// It is over.
    Expired,
    /// It is held by the same app in another mode.
    OtherMode,
    /// The app has as many as it may.
    TooMany,
    /// Only an admin's node may do this.
    NotAdmin,
    /// The copy cannot be read.
    Failed(String),
}

impl From<NotWritten> for Denied {
    fn from(why: NotWritten) -> Self {
        Self::NotWritten(why)
    }
}

impl From<crate::error::Error> for Denied {
    fn from(error: crate::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Leases {
    /// None so far, in the space of this name.
    pub(crate) fn new(space: SpaceName, event: fn(&Told) -> Option<EventBody>) -> Self {
        Self {
            space,
            table: Mutex::default(),
            moved: watch::Sender::new(()),
            used: watch::Sender::new(false),
            event,
        }
    }

    /// The space. From now on it is followed.
    pub(crate) fn space(&self, mesh: &Mesh) -> Arc<Space> {
        let space = mesh.space(&self.space);
        self.used.send_if_modified(|used| !std::mem::replace(used, true));
        space
    }

    /// Who stands in line for something, by the copy as it is.
    pub(crate) async fn queue(&self, mesh: &Mesh, key: &KeyName) -> Result<Queue> {
        let space = self.space(mesh);
        // What comes after is of the same life, or is not in the queue.
        let life = space.life(mesh).await?;
        Ok(Queue::of(space.under(mesh, key).await?, life))
    }

    /// How many this node's apps hold and wait for.
    pub(crate) fn counts(&self) -> Counts {
        self.table().counts()
    }

    /// The broker is about to be heard again. What had ended by then without a word from it stays over: while this host was
    /// suspended nobody looked, and what is heard now says nothing of the time between.
    pub(crate) fn hears_again(&self, mesh: &Mesh) {
        let heard = look::heard(mesh);
        self.change_if(|table| table.note_over(heard));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table, and lets everybody know.
    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.table());
        self.moved.send_replace(());
        changed
    }

    /// The same, if something was changed.
    fn change_if(&self, change: impl FnOnce(&mut Table) -> bool) {
        let changed = change(&mut self.table());
        if changed {
            self.moved.send_replace(());
        }
    }

    /// Takes the place of whoever acts for one app on one name: one request at a time.
    async fn turn(self: &Arc<Self>, key: &KeyName, which: &Which) -> Turn {
        let mut moved = self.moved.subscribe();
        let who = (key.clone(), which.clone());
        loop {
            moved.mark_unchanged();
            if self.table().acting.insert(who.clone()) {
                return Turn { leases: Arc::clone(self), who };
            }
            // The sender is here.
            let _ = moved.changed().await;
        }
    }
}

/// Whoever acts for one app on one name, until it is dropped.
#[derive(Debug)]
struct Turn {
    leases: Arc<Leases>,
    who: (KeyName, Which),
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leases.change(|table| table.acting.remove(&self.who));
    }
}

/// Keeps up what is held in this space, until it is dropped or the database fails. Does nothing until it is used; if the copy
/// of it is on the disk, it was.
pub(crate) async fn run(mesh: &Mesh, leases: &Leases) -> Result<()> {
    if mesh.has_copy(&leases.space).await? {
        leases.space(mesh);
    }
    // The sender is here.
    let _ = leases.used.subscribe().wait_for(|used| *used).await;
    let space = leases.space(mesh);
    let orphans = watch::Sender::new(BTreeSet::new());
    tokio::select! {
        ended = look::run(mesh, leases, &space, &orphans) => ended,
        () = renew::run(mesh, leases, &space, &orphans) => Ok(()),
    }
}
