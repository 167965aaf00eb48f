//! The wire between nodes and broker, in the test's hand: a WebSocket proxy that reads every frame it passes on.
//!
//! It ends the WebSocket on both sides and passes frames on verbatim. It knows frames by the protocol's own codec, and
//! a link's node by its `hello`. A rule waits for the next frame it describes and then holds it, drops it, cuts the link
//! at it, or puts others in its place; it can wait for one frame or stay.
//!
//! ```text
//! node  <- link -> Proxy <- link -> broker
//!                  per direction: read -> queue -> rules -> write
//! ```
//!
//! Below the frames a link can be cut on both sides or on one, be silent, or go byte by byte; a connection can be taken and not answered.
//!
//! While a frame is held, what follows it in its direction waits behind it, and a link whose end is gone ends: a frame
//! held when its sender is killed is a frame that was never sent. A node that is parted is as behind a network that has
//! fallen in two: its link stays open, and nothing comes through.

mod faults;
mod frame;
mod link;
mod rules;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waxwing_crypto::NodeId;

pub use faults::{Clouds, HalfOpen, Parted, Swallowing};
use faults::{Link, Links};
pub use frame::{Direction, Frame, When};
use rules::{Action, Rules};
pub use rules::{Happened, Held, Hold, Standing};
pub use wire::Weather;
use wire::{Sky, relay};

use crate::error::{Error, Result};

/// A broker on the same machine answers at once, or is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The weather of each node that has one.
type Skies = BTreeMap<NodeId, Weather>;

/// A frame that passed, or would have.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When, since the proxy started.
    pub at: Duration,
    /// The link's node; none on an entering link.
    pub node: Option<NodeId>,
    /// Which way it went.
    pub direction: Direction,
    /// The frame, read.
    pub frame: Frame,
    /// The frame as it was sent.
    pub bytes: Bytes,
}

/// A proxy on a port of its own. Dropping it cuts every link.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What links and the test share.
#[derive(Debug)]
struct Shared {
    broker: Mutex<Option<SocketAddr>>,
    rules: Mutex<Rules>,
    captured: Mutex<Vec<Captured>>,
    /// The links of the moment.
    links: Links,
    /// Nodes from and to whom nothing comes through.
    parted: watch::Sender<BTreeSet<NodeId>>,
    /// Nodes whose links are not as usual.
    skies: watch::Sender<Skies>,
    /// Whether connections are taken and not answered.
    swallowing: watch::Sender<bool>,
    started: Instant,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Proxy {
    /// Listens on a free port of the loopback interface. Until it is told where the broker is, it refuses links.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::io("listening"))?;
        let address = listener.local_addr().map_err(Error::io("listening"))?;
        let shared = Arc::new(Shared {
            broker: Mutex::default(),
            rules: Mutex::default(),
            captured: Mutex::default(),
            links: Links::default(),
            parted: watch::Sender::default(),
            skies: watch::Sender::default(),
            swallowing: watch::Sender::default(),
            started: Instant::now(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// The URL that nodes dial.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Says where the broker is now, or that there is none.
    pub fn set_broker(&self, address: Option<SocketAddr>) {
        *lock(&self.shared.broker) = address;
    }

    /// Holds the next such frame until the test lets it go.
    pub fn hold(&self, when: When) -> Hold {
        Hold::new(when, &mut lock(&self.shared.rules))
    }

    /// Loses the next such frame. The link goes on.
    pub fn drop_next(&self, when: When) -> Happened {
        self.once(when, Action::Drop)
    }

    /// Cuts the link in place of the next such frame.
    pub fn cut_at(&self, when: When) -> Happened {
        self.once(when, Action::Cut)
    }

    /// Puts what `rewrite` makes of the next such frame in its place.
    pub fn rewrite_next(
        &self,
        when: When,
        rewrite: impl FnOnce(Frame) -> Vec<Frame> + Send + 'static,
    ) -> Happened {
        self.once(when, Action::Rewrite(Box::new(rewrite)))
    }

    /// Puts what `rewrite` makes of it in the place of every such frame, for as long as the answer is kept. A rule for the
    /// next such frame goes before.
    pub fn rewrite_all(
        &self,
        when: When,
        rewrite: impl FnMut(Frame) -> Vec<Frame> + Send + 'static,
    ) -> Standing {
        lock(&self.shared.rules).stand(when, rewrite)
    }

    /// Everything that went over the wire so far, in the order it was read.
    pub fn captured(&self) -> Vec<Captured> {
        lock(&self.shared.captured).clone()
    }

    /// Forgets what went over the wire so far: for those who go on for long.
    pub fn forget(&self) {
        lock(&self.shared.captured).clear();
    }

    fn once(&self, when: When, action: Action) -> Happened {
        lock(&self.shared.rules).add(when, action)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
    }
}

impl Shared {
    fn capture(&self, node: Option<NodeId>, direction: Direction, frame: &Frame, bytes: &Bytes) {
        lock(&self.captured).push(Captured {
            at: self.started.elapsed(),
            node,
            direction,
            frame: frame.clone(),
            bytes: bytes.clone(),
        });
    }
}

/// Takes links until the proxy is dropped.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let links = async {
        loop {
            // A failing accept means no more descriptors: the test will say so.
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let stop = shared.stop.clone();
            let link = take(stream, Arc::clone(&shared));
            shared.tasks.spawn(async move {
                tokio::select! {
                    () = link => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    };
    tokio::select! {
        () = links => {}
        () = stop.cancelled() => {}
    }
}

/// One connection, from its first moment to its last.
async fn take(stream: TcpStream, shared: Arc<Shared>) {
    if *shared.swallowing.borrow() {
        // Its end is the end of this one too.
        let _ = shared.swallowing.subscribe().wait_for(|swallowing| !swallowing).await;
        return;
    }
    let broker = *lock(&shared.broker);
    // Without a broker the connection closes at once, as if refused.
    if let Some(broker) = broker {
        let link = shared.links.enter();
        join(stream, broker, &link, &shared).await;
    }
}

/// One link, end to end.
async fn join(mut node: TcpStream, address: SocketAddr, link: &Link, shared: &Arc<Shared>) {
    let Ok(Ok(mut broker)) = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await else {
        return;
    };
    // A proxy must not add the 40 ms that small writes wait for each other.
    if node.set_nodelay(true).and_then(|()| broker.set_nodelay(true)).is_err() {
        return;
    }
    let sky = Sky { member: Arc::clone(&link.member), skies: shared.skies.subscribe() };
    let ((to_node, node_pipe), (to_broker, broker_pipe)) = (wire::pipe(), wire::pipe());
    let frames = async {
        if let Some((node, broker)) = link::upgrade(to_node, to_broker, address).await {
            link::run(node, broker, &sky, shared).await;
        }
    };
    let carried = async {
        let ends = (relay(&mut node, node_pipe, sky.clone()), relay(&mut broker, broker_pipe, sky.clone()));
        tokio::join!(frames, ends.0, ends.1);
    };
    link.lasts(carried).await;
    link.is_kept(node, broker).await;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
