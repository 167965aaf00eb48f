//! What goes into one transaction.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::answers::Answered;
use super::handle::{Change, Changes};

/// Most changes in one transaction.
pub(super) const BATCH: usize = 1_024;
/// Most bytes of new messages in one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a change that nobody waits for does so for one to go with: a third of all commits are saved by it where messages come one
/// by one, since what the broker has accepted is often received a moment later.
const PATIENCE: Duration = Duration::from_millis(10);

impl Changes {
    /// Waits for a change, and takes what else is there, up to a batch; what can wait does so a while for what cannot. False at the end.
    pub(super) async fn collect(&mut self, batch: &mut Vec<Change>) -> bool {
        let (mut next, mut bytes, mut waits) = (self.0.recv().await, 0, true);
        let until = Instant::now() + PATIENCE;
        while let Some(change) = next {
            (bytes, waits) = (bytes + change.bytes(), waits && change.can_wait());
            batch.push(change);
            if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                break;
            }
            next = match self.0.try_recv() {
                Ok(change) => Some(change),
                Err(_) if waits => timeout_at(until, self.0.recv()).await.ok().flatten(),
                Err(_) => {
                    // Where the processors are busy, whoever was answered a moment ago is about to ask again: a third of all commits are
                    // saved by letting him go first. Where they are not, this takes no time.
                    std::thread::yield_now();
                    self.0.try_recv().ok()
                }
            };
        }
        !batch.is_empty()
    }
}

impl Change {
    /// Whether nobody waits for it: what is lost of it is asked for again, and answered the same.
    fn can_wait(&self) -> bool {
        if let Self::Answered { answered, .. } = self {
            answered.iter().all(|answered| matches!(answered, Answered::Accepted(_)))
        } else {
            false
        }
    }

    /// Bytes of new messages.
    fn bytes(&self) -> usize {
        match self {
            Self::Accept { rows, .. } => rows.iter().map(|row| row.content.len()).sum(),
            Self::Received { delivered, .. } => delivered.bytes(),
            Self::Answered { .. }
            | Self::Read { .. }
            | Self::Delete { .. }
            | Self::GiveUp { .. }
            | Self::Event { .. }
            | Self::Log { .. }
            | Self::Life { .. }
            | Self::Unlinked { .. }
            | Self::Refused { .. }
            | Self::Block { .. }
            | Self::Presence { .. }
            | Self::State { .. }
            | Self::Profile { .. }
            | Self::StateKeys { .. }
            | Self::Roster { .. }
            | Self::Prekey { .. }
            | Self::Published { .. }
            | Self::PeerPrekey { .. }
            | Self::Forget { .. }
            | Self::Recount { .. }
            | Self::Prune { .. }
            | Self::Expire { .. }
            | Self::PassOver { .. }
            | Self::Space { .. }
            | Self::BeginSpace { .. }
            | Self::ForgetOld { .. }
            | Self::Numbers { .. }
            | Self::Topics { .. }
            | Self::Nothing { .. } => 0,
            Self::Followed { following, .. } => following.put.iter().map(|row| row.sealed.len()).sum(),
        }
    }
}
