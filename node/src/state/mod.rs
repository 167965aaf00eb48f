//! State that a mesh shares: values under keys, each with a version and its authors. Made of the space `state` alone, so a broker
//! reads none of it.
//!
//! ```text
//! PUT, DELETE -> change   what stands in the copy, on the condition that it still does: two records in one `space.write`,
//!                         the version that stands now to where versions of before are, the new one in its place
//! GET         <- read     the copy: at once, and offline, with its age
//! the space's news -> view (which keys stand) -> told (what apps were told) -> one commit: events, what they tell
//! ```
//!
//! The version that stands is the shared record under `now:SCOPE/KEY`; those before it are under `past:SCOPE/N/KEY`, with N their
//! number modulo 16. Whoever replaces a version has the same to keep there, so it does not matter who does.
//!
//! The space is followed from its first use on. A node on which nobody uses state knows nothing of it.

mod change;
mod read;
mod record;
mod told;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::error;
use waxwing_crypto::Name;
use waxwing_crypto::space::SpaceName;
use waxwing_protocol::api::Author;

use self::record::By;
use self::told::Told;
use self::view::View;
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::spaces::{Entry, NotWritten, Space};

pub(crate) use self::change::{When, Wish, delete, put};
pub(crate) use self::read::{Asked, find, history, list};
pub(crate) use self::record::{Key, Version, again, kept_again};

/// What could not be told is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Whoever waits for the copy waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// What somebody has been told of elsewhere is here after this, or not at all.
const BEHIND: Duration = Duration::from_secs(2);

/// The state of one mesh, as this node knows it.
#[derive(Debug)]
pub(crate) struct State {
    view: Mutex<View>,
    /// The view has changed.
    moved: watch::Sender<()>,
    /// Somebody uses it.
    used: watch::Sender<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self { view: Mutex::default(), moved: watch::Sender::new(()), used: watch::Sender::new(false) }
    }
}

/// Why something is not done, or not known to be.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no link, or no answer.
    NotWritten(NotWritten),
    /// Something else stands there: its etag, or nothing.
    Conflict(Option<String>),
    /// Nothing stands there.
    NotFound,
    /// The request's id is bound to another request.
    Reused,
    /// A member has put something there that is not anybody's to replace.
    NotYours,
    /// The broker keeps no more.
    Full,
    /// What is on the disk cannot be read.
    Failed(Error),
}

impl From<NotWritten> for Refusal {
    fn from(why: NotWritten) -> Self {
        Self::NotWritten(why)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl State {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys are known here.
    pub(crate) fn keys(&self) -> usize {
        self.view().len()
    }

    /// Waits for a while until the view is like this.
    async fn shows(&self, is_so: impl Fn(&View) -> bool) {
        let mut moved = self.moved.subscribe();
        let is_so = async {
            while !is_so(&self.view()) {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        // What waits has been done; only who looks right behind it might not see it.
        let _ = timeout(PATIENCE, is_so).await;
    }
}

#[expect(clippy::expect_used, reason = "a constant that is a name")]
fn space_name() -> SpaceName {
    record::SPACE.parse().expect("a name")
}

/// From now on state is used here: its changes are told.
pub(crate) fn begin(mesh: &Mesh) -> Arc<Space> {
    mesh.state.used.send_if_modified(|used| !std::mem::replace(used, true));
    mesh.space(&space_name())
}

/// The space, once its copy has been complete.
async fn known(mesh: &Mesh) -> Result<Arc<Space>, Refusal> {
    let space = begin(mesh);
    if space.known(mesh).await?.as_of.is_some() {
        return Ok(space);
    }
    complete(mesh, &space).await?;
    Ok(space)
}

/// The space, while its copy is complete.
async fn current(mesh: &Mesh) -> Result<Arc<Space>, Refusal> {
    let space = begin(mesh);
    complete(mesh, &space).await?;
    Ok(space)
}

async fn complete(mesh: &Mesh, space: &Space) -> Result<(), Refusal> {
    if mesh.calls().is_none() {
        return Err(NotWritten::Offline.into());
    }
    let mut freshness = space.freshness();
    let complete = timeout(PATIENCE, freshness.wait_for(|now| now.complete)).await;
    let is_complete = complete.is_ok_and(|complete| complete.is_ok());
    if !is_complete {
        return Err(NotWritten::Offline.into());
    }
    // Whoever is answered is told of what happens from then on.
    mesh.state.shows(|view| view.is_told).await;
    Ok(())
}

/// Somebody, as apps are shown him.
pub(crate) fn author(mesh: &Mesh, by: &By) -> Author {
    let node: Option<Name> = mesh.roster(|roster| roster.former(&by.node).map(|member| member.name.clone()));
    Author { node, node_id: by.node, app: by.app.clone(), instance: by.instance.clone() }
}

/// Follows state once it is used, until it is dropped or the database fails.
pub(crate) async fn run(mesh: &Mesh) -> Result<()> {
    if mesh.has_copy(&space_name()).await? {
        begin(mesh);
    }
    let mut used = mesh.state.used.subscribe();
    // The sender is in the mesh, so this cannot fail.
    let _ = used.wait_for(|used| *used).await;
    let space = mesh.space(&space_name());
    let mut news = space.news();
    // What was in the copy before it was begun anew is shown until it is complete.
    let mut anew = !space.freshness().borrow().complete;
    let mut told = Told::load(mesh).await?;
    read(mesh, &space).await?;
    loop {
        mesh.state.moved.send_replace(());
        let due = news.is_empty() && !anew && space.freshness().borrow().complete;
        let again = due && !told.tell(mesh, &space).await?;
        let page = tokio::select! {
            page = news.recv() => page,
            () = sleep(AGAIN), if again => continue,
        };
        match page {
            Ok(page) if page.reset => anew = true,
            Ok(page) => {
                mesh.state.view().apply(&page.facts);
                if page.complete && std::mem::take(&mut anew) {
                    read(mesh, &space).await?;
                }
            }
            Err(RecvError::Lagged(_)) => {
                news = space.news();
                anew = !space.freshness().borrow().complete;
                read(mesh, &space).await?;
            }
            // Not while the space is held here.
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}

/// Reads what the copy has.
async fn read(mesh: &Mesh, space: &Space) -> Result<()> {
    let place = space.freshness().borrow().place;
    let entries: Vec<Entry> = match space.entries(mesh).await {
        // No reason to stop a mesh: what its members write from now on is read.
        Err(Error::Damaged(why)) => {
            error!(%why, "shared state cannot be read");
            Vec::new()
        }
        entries => entries?,
    };
    mesh.state.view().reload(place, &entries);
    mesh.state.moved.send_replace(());
    Ok(())
}

/// Waits until a deadline for the copy to be another than it was.
async fn changes(space: &Space, place: u64, deadline: Instant) -> bool {
    let mut freshness = space.freshness();
    let moved = timeout_at(deadline, freshness.wait_for(|now| now.place != place)).await;
    moved.is_ok_and(|moved| moved.is_ok())
}

#[cfg(test)]
mod tests;
