//! What a test does to links and not to frames: cut, half open, cut off, slow, in pieces, silent, or not there at all.

use std::sync::{Arc, Mutex, Weak};

use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use waxwing_crypto::NodeId;

use super::wire::Weather;
use super::{Direction, Proxy, Shared, lock};

/// Links that are there, as far as a test can reach them.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<Vec<Weak<Link>>>);

/// One link.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Whose, from its `hello` on.
    pub(super) member: Arc<Mutex<Option<NodeId>>>,
    end: CancellationToken,
    /// Which end's connection stays when it is ended, and until when.
    kept: Mutex<Option<(Direction, CancellationToken)>>,
}

impl Links {
    pub(super) fn enter(&self) -> Arc<Link> {
        let link = Arc::new(Link::default());
        let mut links = lock(&self.0);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        link
    }

    fn each(&self, of: Option<NodeId>, then: impl Fn(&Link)) {
        let links = lock(&self.0);
        let there = links.iter().filter_map(Weak::upgrade);
        there
            .filter(|link| of.is_none_or(|node| *lock(&link.member) == Some(node)))
            .for_each(|link| then(&link));
    }
}

impl Link {
    /// Until it is cut. How it ends otherwise is its ends' business.
    pub(super) async fn lasts(&self, carried: impl Future<Output = ()>) {
        tokio::select! {
            () = carried => {}
            () = self.end.cancelled() => {}
        }
    }

    /// Of a link that was cut on one side alone: leaves the other end with a connection on which nothing comes.
    pub(super) async fn is_kept(&self, node: TcpStream, broker: TcpStream) {
        let Some((end, until)) = lock(&self.kept).take() else { return };
        let (_kept, lost) = match end {
            Direction::ToNode => (node, broker),
            Direction::ToBroker => (broker, node),
        };
        drop(lost);
        until.cancelled().await;
    }
}

impl Proxy {
    /// Cuts every link there is. Nodes come back by themselves.
    pub fn cut_links(&self) {
        self.shared.links.each(None, |link| link.end.cancel());
    }

    /// Cuts the link of one node.
    pub fn cut(&self, node: NodeId) {
        self.shared.links.each(Some(node), |link| link.end.cancel());
    }

    /// Cuts the link of a node so that one end does not notice: the node (`ToNode`) or the broker (`ToBroker`) keeps a connection on
    /// which nothing comes, until the answer is dropped.
    pub fn half_open(&self, node: NodeId, end: Direction) -> HalfOpen {
        let until = CancellationToken::new();
        self.shared.links.each(Some(node), |link| {
            *lock(&link.kept) = Some((end, until.clone()));
            link.end.cancel();
        });
        HalfOpen(until.drop_guard())
    }

    /// Lets nothing through from this node and to it, for as long as the answer is kept; then all of it, late. Pings are answered.
    pub fn part(&self, node: NodeId) -> Parted {
        self.shared.parted.send_modify(|parted| {
            parted.insert(node);
        });
        Parted { node, shared: Arc::clone(&self.shared) }
    }

    /// Has the links of a node go through this, for as long as the answer is kept.
    pub fn weather(&self, node: NodeId, weather: Weather) -> Clouds {
        self.shared.skies.send_modify(|skies| {
            skies.insert(node, weather);
        });
        Clouds { node, shared: Arc::clone(&self.shared) }
    }

    /// Takes connections and says nothing on them, for as long as the answer is kept: as behind a firewall that drops. Links that are there
    /// go on.
    pub fn swallow(&self) -> Swallowing {
        self.shared.swallowing.send_replace(true);
        Swallowing(Arc::clone(&self.shared))
    }
}

/// A connection that one end has lost. Dropping this ends it for the other.
#[derive(Debug)]
#[must_use = "dropping it ends the connection for both"]
pub struct HalfOpen(#[expect(dead_code, reason = "it acts when it is dropped")] DropGuard);

/// A node that is cut off. Dropping this ends that.
#[derive(Debug)]
#[must_use = "dropping it lets everything through"]
pub struct Parted {
    node: NodeId,
    shared: Arc<Shared>,
}

/// The weather of a node's links. Dropping this clears the sky.
#[derive(Debug)]
#[must_use = "dropping it clears the sky"]
pub struct Clouds {
    node: NodeId,
    shared: Arc<Shared>,
}

/// Connections that are taken and not answered. Dropping this ends them, and the next ones are answered.
#[derive(Debug)]
#[must_use = "dropping it has connections answered again"]
pub struct Swallowing(Arc<Shared>);

impl Drop for Parted {
    fn drop(&mut self) {
        self.shared.parted.send_modify(|parted| {
            parted.remove(&self.node);
        });
    }
}

impl Drop for Clouds {
    fn drop(&mut self) {
        self.shared.skies.send_modify(|skies| {
            skies.remove(&self.node);
        });
    }
}

impl Drop for Swallowing {
    fn drop(&mut self) {
        self.0.swallowing.send_replace(false);
    }
}
