//! What the members of a mesh are told at once, whoever is connected: a copy of somebody's state has shown up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use waxwing_crypto::{MeshId, NodeId};

use crate::store::NodeKey;

/// Alarms that a link may be late with. One that is later misses the oldest.
const WAITING: usize = 16;
/// A copy that tries again and again is told of once in so long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The alarms of all meshes.
#[derive(Default)]
pub(crate) struct Alarms(Mutex<HashMap<MeshId, Channel>>);

struct Channel {
    sender: broadcast::Sender<NodeId>,
    /// When each node was told of last. At most one place per member.
    told: HashMap<NodeId, Instant>,
}

impl Alarms {
    /// Everything raised in a mesh from now on.
    pub(crate) fn listen(&self, mesh: MeshId) -> broadcast::Receiver<NodeId> {
        let mut channels = self.lock();
        let channel = channels
            .entry(mesh)
            .or_insert_with(|| Channel { sender: broadcast::Sender::new(WAITING), told: HashMap::new() });
        channel.sender.subscribe()
    }

    /// Tells everybody who is connected that a copy of this member has shown up, unless they were told a moment ago. Says
    /// whether they were told now.
    pub(crate) fn duplicated(&self, node: NodeKey) -> bool {
        let mut channels = self.lock();
        let Some(channel) = channels.get_mut(&node.mesh) else { return false };
        let now = Instant::now();
        channel.told.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        let is_new = channel.told.insert(node.node, now).is_none();
        // Nobody may be listening.
        is_new && channel.sender.send(node.node).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MeshId, Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::node;

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_tries_again_and_again_is_told_of_once_a_minute() {
        let alarms = Alarms::default();
        assert!(!alarms.duplicated(node(1)), "nobody listens");
        let mut heard = alarms.listen(node(1).mesh);
        assert!(alarms.duplicated(node(1)));
        assert!(!alarms.duplicated(node(1)));
        assert!(alarms.duplicated(node(2)), "another is another matter");
        tokio::time::advance(AGAIN_AFTER).await;
        assert!(alarms.duplicated(node(1)));
        let told = [heard.recv().await.unwrap(), heard.recv().await.unwrap(), heard.recv().await.unwrap()];
        assert_eq!(told, [node(1).node, node(2).node, node(1).node]);
    }
}
