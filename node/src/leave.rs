//! `leave`: this node ends its own membership, and forgets the mesh.
//!
//! ```text
//! mark      a file in the mesh's folder: from here on, no member any more means that it has left
//! append    the entry, signed by this node
//! close     the link, the streams, the writer
//! remove    one rename takes the folder out of `meshes/`; then it is deleted
//! ```
//!
//! Killed before the append, the node is a member, and the mark goes at the next link. Killed after it, the broker says that
//! the membership has ended, and what is left to do is done at the next start. Without the mark, a broker's word removes
//! nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use waxwing_crypto::membership::{Body, Leave, Role};
use waxwing_crypto::{Name, NodeId};
use waxwing_protocol::api::LinkState;
use waxwing_protocol::link::Code;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::{self, Home};
use crate::link::{CallError, Calls};
use crate::mesh::Mesh;
use crate::meshes::{Changing, Meshes};
use crate::store::{inbox, outbox};

/// The mark, in the mesh's folder.
const MARK: &str = "leaving";
/// If the answer to the entry is lost, the next link tells. It is waited for this long.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// Attempts, each of which ended with a link that was lost before the entry was in the log.
const ATTEMPTS: usize = 3;

/// A mesh that was left.
#[derive(Clone, Debug)]
pub struct Left {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it, if it was a member.
    pub node: Option<Name>,
    /// This node's id in it.
    pub node_id: NodeId,
    /// Messages that nobody had read.
    pub unread: u64,
    /// Messages of this node that were not delivered yet.
    pub undelivered: u64,
}

/// What the broker says of this node's membership.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Member,
    Ended,
    /// Nothing: it refuses this node for another reason, or the mesh is being closed.
    Nothing,
}

/// Whether a mesh's folder is marked.
pub(crate) fn is_marked(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

fn mark(folder: &Path) -> Result<()> {
    home::write_private(&folder.join(MARK), b"")
}

fn unmark(folder: &Path) -> Result<()> {
    let path = folder.join(MARK);
    std::fs::remove_file(&path).map_err(Error::file("cannot remove", &path))?;
    home::sync_folder(folder)
}

/// Leaves a mesh, and removes its folder. One that this node is no member of any more is only removed.
///
/// # Errors
/// `LastAdmin`; `Offline` while the broker cannot be asked, or if whether it has the entry is not known yet: then it is
/// found out at the next link, and what is to be done is done. `Conflict` if the log does not take it.
pub(crate) async fn leave(changing: Changing, name: Name) -> Result<Left> {
    let mesh = changing.mesh(&name)?;
    let left = Left::of(&mesh).await?;
    if mesh.is_member() {
        may_leave(&mesh)?;
        let folder = changing.home().mesh(&name);
        mark(&folder)?;
        match append(&mesh).await {
            Ok(true) => {}
            Ok(false) => {
                // Whoever waits for the link finds out.
                changing.meshes().watch_leaving(&mesh);
                return Err(Error::Offline(format!(
                    "the link was lost before the broker had answered: whether this node has left {name} shows when it is \
                     reached again"
                )));
            }
            Err(error) => {
                unmark(&folder)?;
                return Err(error);
            }
        }
    }
    drop(mesh);
    remove(&changing, &name).await?;
    Ok(left)
}

/// Leaves a mesh on a state folder that no node is running on: this process opens a link for that alone.
///
/// # Errors
/// As for a node; `AlreadyRunning`; `NotFound`, `UnknownMesh` or `Usage` if it is not clear which mesh is meant; `WrongHost`.
pub async fn leave_without_node(config: Config, only: Option<&Name>) -> Result<Left> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let name = home.only(only)?;
    let stop = CancellationToken::new();
    let (meshes, _failed) = Meshes::new(config, stop.clone(), TaskTracker::new());
    let left = meshes.change(|changing| open_and_leave(changing, name)).await;
    stop.cancel();
    meshes.end().await;
    left
}

async fn open_and_leave(changing: Changing, name: Name) -> Result<Left> {
    changing.open(&name).await?;
    let mesh = changing.mesh(&name)?;
    // If nothing is told in time, that there is no link says why.
    let _ = timeout(TOLD_WITHIN, told(&mesh, None)).await;
    drop(mesh);
    leave(changing, name).await
}

/// Closes a mesh and removes its folder.
async fn remove(changing: &Changing, name: &Name) -> Result<()> {
    changing.close(name, "this node is leaving it").await?;
    changing.remove(name)?;
    info!(mesh = %name, "this node has left; its folder is gone");
    Ok(())
}

/// Waits until the broker tells what has become of a leave that was under way when the process or the link ended: then
/// removes the folder, or the mark.
pub(crate) async fn find_out(meshes: Meshes, mesh: Arc<Mesh>) {
    let name = mesh.name.clone();
    if told(&mesh, None).await == Told::Nothing {
        return;
    }
    // Whoever holds a mesh keeps it from being closed.
    drop(mesh);
    let settling = name.clone();
    if let Err(error) = meshes.change(|changing| settle(changing, settling)).await {
        warn!(mesh = %name, %error, "what a leave has left behind stays until the next start");
    }
}

/// Removes the folder or the mark, by what the broker says now that nobody else is at work on it.
async fn settle(changing: Changing, name: Name) -> Result<()> {
    let folder = changing.home().mesh(&name);
    if !is_marked(&folder) {
        return Ok(());
    }
    let mesh = changing.mesh(&name)?;
    match tells(&mesh, None) {
        Some(Told::Ended) => {
            drop(mesh);
            remove(&changing, &name).await
        }
        Some(Told::Member) => {
            info!(mesh = %name, "this node did not leave: the log has no such entry");
            unmark(&folder)
        }
        Some(Told::Nothing) => Ok(()),
        None => {
            changing.meshes().watch_leaving(&mesh);
            Ok(())
        }
    }
}

/// What can be said without asking the broker.
fn may_leave(mesh: &Mesh) -> Result<()> {
    let name = &mesh.name;
    let (admins, members, is_admin) = mesh.roster(|roster| {
        let admins = roster.members().filter(|member| member.role == Role::Admin).count();
        let own = roster.member(&mesh.identity.node).is_some_and(|member| member.role == Role::Admin);
        (admins, roster.members().count(), own)
    });
    if is_admin && admins == 1 {
        let instead = if members == 1 {
            "nobody else is in it: stop the node and delete the mesh's folder, and the mesh is no more"
        } else {
            "first make another member one, with `waxwing grant NODE admin`"
        };
        return Err(Error::LastAdmin(format!("this node is the last admin of {name}: {instead}")));
    }
    if mesh.calls().is_some() {
        return Ok(());
    }
    let reason = mesh.link().reason.unwrap_or_else(|| "not connected yet".into());
    Err(Error::Offline(format!("to leave {name} is an entry in its log, and there is no link: {reason}")))
}

/// Appends the entry. False if the answer is lost, and nothing tells in time whether the log has it.
async fn append(mesh: &Mesh) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some(calls) = mesh.calls() else { return Ok(false) };
        let refused = match calls.append(mesh, Body::Leave(Leave { node: mesh.identity.node })).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        match refused {
            CallError::Refused { code: Code::LogConflict, .. } | CallError::Limited { .. } => {
                return Err(Error::Conflict(format!("try again in a moment: {refused}")));
            }
            CallError::Refused { .. } | CallError::NoKeys { .. } => {
                return Err(Error::Conflict(refused.to_string()));
            }
            // The broker ends the link of a node that has left: the answer and the end are under way together.
            CallError::Lost | CallError::Unanswered(_) | CallError::Grow(_) | CallError::Read(_) => {
                match timeout(TOLD_WITHIN, told(mesh, Some(&calls))).await {
                    Ok(Told::Ended) => return Ok(true),
                    Ok(Told::Member) => {}
                    Ok(Told::Nothing) | Err(_) => return Ok(false),
                }
            }
        }
    }
    Ok(false)
}

/// Waits until a link other than this one tells whether this node is a member.
async fn told(mesh: &Mesh, other_than: Option<&Calls>) -> Told {
    let mut link = mesh.watch_link();
    loop {
        link.mark_unchanged();
        if let Some(told) = tells(mesh, other_than) {
            return told;
        }
        tokio::select! {
            () = mesh.stop.cancelled() => return Told::Nothing,
            changed = link.changed() => if changed.is_err() { return Told::Nothing },
        }
    }
}

/// What it tells at this moment, if anything.
fn tells(mesh: &Mesh, other_than: Option<&Calls>) -> Option<Told> {
    if !mesh.is_member() {
        return Some(Told::Ended);
    }
    let is_other = |calls: &Calls| other_than.is_none_or(|other| !calls.is(other));
    match mesh.link().state {
        LinkState::Stopped => Some(Told::Nothing),
        // The log was read to its end before the link was called up.
        LinkState::Up if mesh.calls().as_ref().is_some_and(is_other) => Some(Told::Member),
        LinkState::Up | LinkState::Down => None,
    }
}

impl Left {
    async fn of(mesh: &Mesh) -> Result<Self> {
        let (unread, held) = inbox::counts(&mesh.db).await?;
        let load = outbox::load(&mesh.db).await?;
        Ok(Self {
            mesh: mesh.name.clone(),
            node: mesh.node_name(),
            node_id: mesh.identity.node,
            unread: unread + held,
            undelivered: load.pending + load.unreceipted,
        })
    }
}
