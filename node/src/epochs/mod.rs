//! The mesh's state keys at this node: kept, caught up with the log, and made anew when they must be.
//!
//! ```text
//! log shows a newer epoch   fetch: own slot from the broker -> proven by the log's root -> opened -> kept
//! somebody left, a resume   proposal: an admin's node seals a fresh key to everybody who is in, and appends an epoch
//! revoke                    the same, in the entry that revokes
//! invite                    carries all keys held, so it is made only while the newest is
//! ```
//!
//! What is kept is encrypted under the storage key, and no longer sealed to a sealing key: another of these loses nothing.
//! Nothing here is fast: whoever needs the newest keys waits for them, and whoever makes an epoch waits a random moment,
//! in which another admin's node may do it.

mod fetch;
mod proposal;
mod sealed;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use waxwing_crypto::membership::{Body, Role, SignedEntry};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::storage::StorageKeys;
use waxwing_protocol::api::{EventBody, StateKeyHealth};
use waxwing_sqlite::Readers;

pub(crate) use proposal::Proposal;
pub(crate) use sealed::{Sealed, SealingKeyOfInvite};

use crate::error::Result;
use crate::link::{Backoff, CallError, Calls, Ended, between, ended};
use crate::mesh::Mesh;
use crate::writer::WriteError;

/// Before an admin's node makes an epoch, it waits for a random part of this: another may be doing so.
const MAKE_WITHIN: Duration = Duration::from_secs(2);
/// One that lacks the newest keys leaves the others so much time first: they can hand on more.
const MAKE_LATE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(15));
/// Whoever needs the newest keys waits so long for them.
const KEYS_WITHIN: Duration = Duration::from_secs(5);

/// The state keys of one mesh.
#[derive(Debug)]
pub(crate) struct Epochs {
    held: watch::Sender<Arc<StateKeys>>,
    /// Of the invite by which this node joined, until the keys of the epoch in which it did are held.
    invite: Mutex<Option<SealingKeyOfInvite>>,
    /// The log has grown, or a link is up.
    nudged: Notify,
    /// Why the newest keys are not held, or no epoch is made that is wanted.
    problem: Mutex<Option<String>>,
    /// The last alarm, so that it is not told again with each attempt.
    told: Mutex<Option<(u64, &'static str)>>,
}

/// Why an attempt failed.
pub(super) enum Trouble {
    /// Again in a while; for people.
    Later(String),
    /// The link ends with it.
    Ended(Ended),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { detail, .. } => Self::Later(detail),
            error @ (CallError::NoKeys { .. } | CallError::Limited { .. }) => Self::Later(error.to_string()),
            error
            @ (CallError::Lost | CallError::Unanswered(_) | CallError::Grow(_) | CallError::Read(_)) => {
                Self::Ended(ended(error))
            }
        }
    }
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::DiskFull => Self::Later(error.to_string()),
            WriteError::Failed(_) => Self::Ended(Ended::Database(error.to_string())),
        }
    }
}

impl Epochs {
    /// What is kept in a mesh's database.
    pub(crate) async fn load(db: &Readers, keys: &StorageKeys) -> Result<Self> {
        let (held, invite) = sealed::read(db, keys).await?;
        Ok(Self {
            held: watch::Sender::new(Arc::new(held)),
            invite: Mutex::new(invite),
            nudged: Notify::new(),
            problem: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// The keys held.
    pub(crate) fn held(&self) -> Arc<StateKeys> {
        Arc::clone(&self.held.borrow())
    }

    /// The keys held, once that of this epoch is among them.
    pub(crate) async fn holding(&self, epoch: u64) -> Option<Arc<StateKeys>> {
        let mut held = self.held.subscribe();
        let holding = held.wait_for(|keys| keys.get(epoch).is_some());
        Some(Arc::clone(&*timeout(KEYS_WITHIN, holding).await.ok()?.ok()?))
    }

    /// Says that there may be something to do.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// What people are told.
    pub(crate) fn health(&self, epoch: u64) -> StateKeyHealth {
        let problem = lock(&self.problem).clone();
        StateKeyHealth { held: self.held.borrow().get(epoch).is_some(), problem }
    }

    fn set_problem(&self, problem: Option<String>) {
        let mut known = lock(&self.problem);
        if let Some(problem) = problem.as_ref().filter(|problem| known.as_ref() != Some(problem)) {
            warn!("{problem}");
        }
        *known = problem;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the keys of one mesh up with its log while a link is up. Begins with the first nudge, once the log is known, and
/// ends only with the link.
pub(crate) async fn run(mesh: &Mesh, calls: &Calls) -> Ended {
    let mut backoff = Backoff::EPOCHS;
    mesh.epochs.nudged.notified().await;
    loop {
        match follow(mesh, calls).await {
            Ok(()) => {
                backoff.reset();
                mesh.epochs.set_problem(None);
                mesh.epochs.nudged.notified().await;
            }
            Err(Trouble::Ended(ended)) => return ended,
            Err(Trouble::Later(why)) => {
                mesh.epochs.set_problem(Some(why));
                // Whatever has grown may have mended it.
                let _ = timeout(backoff.next(), mesh.epochs.nudged.notified()).await;
            }
        }
    }
}

async fn follow(mesh: &Mesh, calls: &Calls) -> Result<(), Trouble> {
    let caught_up = fetch::catch_up(mesh, calls).await;
    if let Err(ended @ Trouble::Ended(_)) = caught_up {
        return Err(ended);
    }
    if !is_wanted(mesh) {
        return caught_up;
    }
    if caught_up.is_ok() {
        sleep(between(Duration::ZERO, MAKE_WITHIN)).await;
    } else {
        let late = between(MAKE_LATE.0, MAKE_LATE.1);
        if timeout(late, mesh.epochs.nudged.notified()).await.is_ok() {
            mesh.epochs.nudge();
            return caught_up;
        }
    }
    if !is_wanted(mesh) {
        return Ok(()); // The growth of the log that brought it is looked at next.
    }
    let epoch = mesh.roster(waxwing_crypto::membership::Roster::epoch);
    calls.append(mesh, Proposal::Epoch { after: epoch }).await.map_err(|error| match error.into() {
        Trouble::Later(why) => Trouble::Later(format!("a new epoch is wanted and cannot be made: {why}")),
        ended @ Trouble::Ended(_) => ended,
    })?;
    info!(after = epoch, "a new epoch was wanted, and there is one");
    Ok(())
}

/// Whether this node is to make an epoch.
fn is_wanted(mesh: &Mesh) -> bool {
    let wanted = mesh.roster(|roster| {
        let is_admin = roster.member(&mesh.identity.node).is_some_and(|member| member.role == Role::Admin);
        is_admin && roster.wants_epoch()
    });
    wanted && mesh.resume_wanted().is_none()
}

/// Forgets the keys of epochs that began in these entries: another log has taken their place.
pub(crate) async fn forget(mesh: &Mesh, entries: &[SignedEntry]) -> Result<(), WriteError> {
    let begun = entries.iter().filter_map(|entry| match entry.parse().ok()?.body {
        Body::Epoch(epoch) => Some(epoch.n),
        Body::Revoke(revoke) => Some(revoke.epoch?.n),
        Body::Genesis(_)
        | Body::Invite(_)
        | Body::Join(_)
        | Body::Update(_)
        | Body::Grant(_)
        | Body::Leave(_)
        | Body::Resume(_) => None,
    });
    let Some(first) = begun.min() else { return Ok(()) };
    let mut held = StateKeys::clone(&mesh.epochs.held());
    held.forget_from(first);
    debug!(from = first, "keys of epochs that are in the log no longer are forgotten");
    keep(mesh, held, false).await
}

/// Keeps keys on disk, and then in memory. `settled`: the invite's key has served.
async fn keep(mesh: &Mesh, keys: StateKeys, settled: bool) -> Result<(), WriteError> {
    let invite = if settled { None } else { lock(&mesh.epochs.invite).clone() };
    let sealed = Sealed::new(&mesh.keys, &keys, invite.as_ref());
    mesh.writer.state_keys(sealed).await?;
    *lock(&mesh.epochs.invite) = invite;
    mesh.epochs.held.send_replace(Arc::new(keys));
    Ok(())
}

/// Tells apps that keys are not what they should be, once per epoch and kind.
async fn alarm(mesh: &Mesh, epoch: u64, what: &'static str, detail: &str) -> Result<(), WriteError> {
    if lock(&mesh.epochs.told).replace((epoch, what)) == Some((epoch, what)) {
        return Ok(());
    }
    warn!(epoch, what, "{detail}");
    let (what, detail) = (what.to_owned(), detail.to_owned());
    mesh.writer.tell_all(EventBody::Security { what, node: None, detail }).await
}
