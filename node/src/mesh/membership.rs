//! The mesh's membership log at this node: what is taken into it, and what is not.

use std::sync::PoisonError;

use tracing::{debug, warn};
use waxwing_crypto::membership::{Body, LogHead, Roster, SignedEntry};
use waxwing_crypto::{NodeId, SigningKey};
use waxwing_protocol::api::EventBody;
use waxwing_protocol::link::Mark;

use super::Mesh;
use crate::epochs;
use crate::store::log;
use crate::writer::{Growth, WriteError};

/// Why entries were not taken into the roster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowError {
    /// Entries between ours and these are missing: ask for them.
    #[error("entries are missing before this one")]
    Gap,
    /// The broker's log parts from the one held here.
    #[error("the broker shows another entry {0} than the one held here")]
    Parts(u64),
    /// The broker shows another history than the one this node holds, and no admin has said that it is right.
    #[error("log_rollback: {0}")]
    Rollback(String),
    /// Not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Not read.
    #[error(transparent)]
    Read(#[from] waxwing_sqlite::Error),
}

impl Mesh {
    /// Takes entries that the broker shows into the roster, once they are verified and on disk, with the mark that they
    /// came under. Those already held are compared and skipped.
    pub(crate) async fn grow(&self, entries: &[SignedEntry], mark: Option<Mark>) -> Result<(), GrowError> {
        let _one_at_a_time = self.growing.lock().await;
        let mut roster = self.roster(Roster::clone);
        let first = roster.head().seq + 1;
        let mut new = Vec::new();
        for entry in entries {
            let parsed = entry.parse().map_err(|error| GrowError::Rollback(error.to_string()))?;
            let head = roster.head();
            if parsed.seq <= head.seq {
                if roster.hash_at(parsed.seq) != Some(entry.hash()) {
                    return Err(GrowError::Parts(parsed.seq));
                }
                continue;
            }
            if parsed.seq > head.seq + 1 {
                return Err(GrowError::Gap);
            }
            if parsed.prev != head.hash {
                return Err(GrowError::Parts(head.seq));
            }
            roster.apply(entry).map_err(|error| GrowError::Rollback(error.to_string()))?;
            new.push(entry.clone());
        }
        if new.is_empty() {
            return Ok(());
        }
        let resumed = new.iter().any(is_resume);
        let gone = self.roster(|before| gone(before, &roster));
        self.no_alarm_for(&gone);
        self.writer.log(Growth { seq: first, entries: new, mark, gone }).await?;
        self.has_grown(roster);
        if resumed {
            self.set_resume_wanted(None).await;
            self.log_is_settled().await?;
        }
        Ok(())
    }

    fn has_grown(&self, roster: Roster) {
        let is_due = self.kept.is_due(roster.head().seq);
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = roster;
        self.epochs.nudge();
        if is_due {
            self.signals.look();
        }
    }

    /// Takes a log that parts from the one held here in its place: if it holds by itself, and behind the place where they
    /// part there is a `resume` by somebody who may sign one in the log held here as well.
    pub(crate) async fn adopt(&self, entries: Vec<SignedEntry>) -> Result<(), GrowError> {
        let _one_at_a_time = self.growing.lock().await;
        let ours = self.roster(Roster::clone);
        let refused = |why: &str| GrowError::Rollback(why.to_owned());
        // 100 µs per entry, and there may be many.
        let replayed =
            tokio::task::spawn_blocking(move || Roster::replay(&entries).map(|roster| (roster, entries)));
        let replayed = replayed.await.map_err(|error| GrowError::Rollback(error.to_string()))?;
        let (theirs, mut entries) = replayed.map_err(|error| GrowError::Rollback(error.to_string()))?;
        if theirs.mesh() != ours.mesh() {
            return Err(refused("the broker shows the log of another mesh"));
        }
        let shared = ours.shared_with(&theirs);
        let new = entries.split_off(usize::try_from(shared).unwrap_or(usize::MAX));
        if !new.iter().any(|entry| is_resume(entry) && is_by_admin(entry, &ours)) {
            return Err(refused(
                "the broker's log is shorter than the one held here, or another, and no admin has resumed it",
            ));
        }
        let detail = format!("an admin has resumed another log after entry {shared}: this node has taken it");
        warn!("{detail}");
        let gone = gone(&ours, &theirs);
        epochs::forget(self, &log::after(&self.db, shared).await?).await?;
        self.writer.log(Growth { seq: shared + 1, entries: new, mark: None, gone }).await?;
        self.has_grown(theirs);
        self.log_is_settled().await?;
        let what = EventBody::Security { what: "log_resumed".into(), node: None, detail };
        Ok(self.writer.tell_all(what).await?)
    }

    /// Whether the broker's log, which ends there, is not the one held here and no continuation of it, as far as the end
    /// alone tells.
    pub(crate) fn parts_from(&self, head: Option<LogHead>) -> bool {
        self.roster(|roster| match head {
            Some(head) if head.seq > roster.head().seq => false,
            Some(head) => roster.head() != head,
            None => true,
        })
    }

    /// The logs between which an admin has to choose, since the broker has lost its store; none when that is over.
    pub(crate) fn resume_wanted(&self) -> Option<Vec<LogHead>> {
        self.resume_wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the mesh waits for a `resume` while the broker's log ends there: at another place than when the waiting began,
    /// somebody has resumed it.
    pub(crate) fn waits_beside(&self, head: Option<LogHead>) -> bool {
        let wanted = self.resume_wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.as_ref().is_some_and(|branches| branches.first().copied() == head)
    }

    /// Notes that an admin has to choose, or has chosen, and tells apps when that is new.
    pub(crate) async fn set_resume_wanted(&self, wanted: Option<Vec<LogHead>>) {
        let begins = {
            let mut known = self.resume_wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = known.is_none() && wanted.is_some();
            *known = wanted;
            begins
        };
        if begins {
            let detail =
                "the broker has lost its store: an admin should say `waxwing mesh resume`".to_owned();
            warn!("{detail}");
            let what = EventBody::Security { what: "resume_wanted".into(), node: None, detail };
            if let Err(error) = self.writer.tell_all(what).await {
                debug!(%error, "apps are not told of the loss");
            }
        }
    }

    /// Signs an entry with this key, for the place after the head of this roster.
    pub(crate) fn sign_entry_on(&self, roster: &Roster, key: &SigningKey, body: Body) -> SignedEntry {
        roster.entry(self.clock.broker_now(), body).sign(&[key])
    }
}

/// Who is a member of the one and not of the other any more.
fn gone(before: &Roster, after: &Roster) -> Vec<NodeId> {
    before.members().map(|member| member.id).filter(|id| after.member(id).is_none()).collect()
}

fn is_resume(entry: &SignedEntry) -> bool {
    entry.parse().is_ok_and(|entry| matches!(entry.body, Body::Resume(_)))
}

/// Whether the keys that an entry names act for the mesh in this log.
fn is_by_admin(entry: &SignedEntry, roster: &Roster) -> bool {
    entry.parse().is_ok_and(|entry| entry.signers.iter().all(|key| roster.is_admin_key(key)))
}
