//! Who is connected. One entry per node: its newest login.
//!
//! The hub is the only state that is this process's own. What it does is wake links; nothing is lost if it does not,
//! for a new link begins with its backlog.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{LoginNumber, NodeKey, Ranks};

/// The links that are current.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<HashMap<NodeKey, Entry>>>);

struct Entry {
    login: LoginNumber,
    bell: Arc<Bell>,
    replaced: CancellationToken,
}

/// Wakes one link's pump. Rung as often as one likes: it only says which ranks of the queue to look at.
#[derive(Default)]
pub(crate) struct Bell {
    ranks: AtomicU8,
    notify: Notify,
}

impl Bell {
    /// Says that these ranks may have something, or that the window may have opened.
    pub(crate) fn ring(&self, ranks: Ranks) {
        self.ranks.fetch_or(ranks.bits(), Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// Takes what has been rung for.
    pub(crate) fn take(&self) -> Ranks {
        Ranks::from_bits(self.ranks.swap(0, Ordering::AcqRel))
    }

    /// Waits for a ring, unless there was one since the last wait.
    pub(crate) async fn rung(&self) {
        self.notify.notified().await;
    }
}

impl Hub {
    /// Makes this login its node's current link, and ends the one before. None if a newer login is there already.
    pub(crate) fn register(&self, node: NodeKey, login: LoginNumber) -> Option<Registration> {
        let bell = Arc::new(Bell::default());
        bell.ring(Ranks::ALL); // A new link begins with its backlog.
        let replaced = CancellationToken::new();
        let entry = Entry { login, bell: Arc::clone(&bell), replaced: replaced.clone() };
        let older = {
            let mut links = self.lock();
            if links.get(&node).is_some_and(|current| current.login >= login) {
                return None;
            }
            links.insert(node, entry)
        };
        if let Some(older) = older {
            older.replaced.cancel();
        }
        Some(Registration { hub: self.clone(), node, login, bell, replaced })
    }

    /// Whether a node may have a link when there may be so many. In the place of its own it always may.
    pub(crate) fn has_room(&self, node: NodeKey, most: usize) -> bool {
        let links = self.lock();
        links.len() < most || links.contains_key(&node)
    }

    /// Wakes a node's link, if it has one.
    pub(crate) fn wake(&self, node: NodeKey, ranks: Ranks) {
        let bell = self.lock().get(&node).map(|entry| Arc::clone(&entry.bell));
        if let Some(bell) = bell {
            bell.ring(ranks);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link's place in the hub. Dropping it takes it out, unless a newer link has the place by then.
pub(crate) struct Registration {
    hub: Hub,
    node: NodeKey,
    login: LoginNumber,
    /// Rung when the node's queue changes.
    pub(crate) bell: Arc<Bell>,
    /// Cancelled when a newer login takes over.
    pub(crate) replaced: CancellationToken,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut links = self.hub.lock();
        if links.get(&self.node).is_some_and(|entry| entry.login == self.login) {
            links.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Rank;
    use crate::store::testing::node;

    #[test]
    fn the_newest_login_wins_in_whatever_order_they_come() {
        let hub = Hub::default();
        let first = hub.register(node(1), LoginNumber(1)).unwrap();
        let third = hub.register(node(1), LoginNumber(3)).unwrap();
        assert!(first.replaced.is_cancelled());
        assert!(hub.register(node(1), LoginNumber(2)).is_none());
        assert!(!third.replaced.is_cancelled());
        drop(first);
        third.bell.take();
        let mut ranks = Ranks::default();
        ranks.insert(Rank::Low);
        hub.wake(node(1), ranks);
        assert_eq!(third.bell.take(), ranks, "the late goodbye of the first did not evict the third");
        drop(third);
        assert!(hub.lock().is_empty());
    }

    #[tokio::test]
    async fn a_bell_rung_before_the_wait_is_heard() {
        let bell = Bell::default();
        bell.ring(Ranks::default());
        bell.rung().await;
        assert!(bell.take().is_empty());
    }
}
