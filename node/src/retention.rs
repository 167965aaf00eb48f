//! What is over is kept for a while, and then goes: received messages after they were read, the content of sent ones
//! after their delivery, and last of all the ids of both, which is what makes a repeat a repeat.
//!
//! All of it goes by this host's clock, and so only while that is right: a clock that is set ahead must not make the node
//! forget what it has received.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::config::Kept;
use crate::mesh::Mesh;
use crate::store::retention::{self, Over};
use crate::writer::WriteError;

/// How long one turn may take while the node has nothing else to write. The next one goes on.
const TURN: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] waxwing_sqlite::Error),
}

/// Takes what has had its time, step by step: as many as fit into a turn, and only one while others write. Says whether
/// everything is done for now. `broker`: how long the broker remembers what it has accepted.
pub(crate) async fn turn(mesh: &Mesh, broker: Duration) -> Result<bool, PruneError> {
    if !mesh.clock.is_right() {
        return Ok(true);
    }
    let over = over(&mesh.retained, broker);
    if !retention::any(&mesh.db, &over).await? {
        return Ok(true);
    }
    let (began, mut rows) = (Instant::now(), 0);
    loop {
        let taken = mesh.writer.prune(over).await?;
        rows += taken;
        let done = taken == 0;
        if done || !mesh.writer.is_idle() || began.elapsed() > TURN {
            debug!(rows, done, "what had its time is gone");
            return Ok(done);
        }
    }
}

fn over(kept: &Kept, broker: Duration) -> Over {
    Over {
        inbox: Mesh::ago(kept.inbox()),
        sent: Mesh::ago(kept.sent()),
        received_ids: Mesh::ago(kept.received_ids()),
        sent_ids: Mesh::ago(kept.sent_ids(broker)),
    }
}
