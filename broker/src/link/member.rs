//! A member's link: a reader and a writer, until one of them ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{SplitSink, SplitStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use waxwing_protocol::link::Reason;

use super::handshake::{Member, replaced, set_back};
use super::window::Window;
use super::{End, WebSocket, Who, goodbye, reader, report, writer};
use crate::accept::Peer;
use crate::followers::Follower;
use crate::leases::Hold;
use crate::meshes::Mesh;
use crate::metrics::Kind;
use crate::state::State;

/// Answers that wait to be written. A node that does not read them is not read from.
const ANSWERS: usize = 64;

/// Large ones among them: a page of the log has half a MiB.
const PAGES: usize = 2;

/// The half that is written to.
pub(super) type Sink = SplitSink<WebSocket, Message>;
/// The half that is read from.
pub(super) type Source = SplitStream<WebSocket>;

/// What the halves of a member's link share.
pub(crate) struct Session {
    /// The broker.
    pub(crate) state: Arc<State>,
    /// The link, for the store's writer.
    pub(crate) peer: Arc<Peer>,
    /// The mesh.
    pub(crate) mesh: watch::Receiver<Mesh>,
    /// What is under way to the node.
    pub(crate) window: Arc<Window>,
    /// What may be under way from the node, in bytes.
    pub(crate) incoming: Arc<Semaphore>,
    /// Places for large answers that wait to be written.
    pub(crate) pages: Arc<Semaphore>,
    /// What the node asks about spaces.
    pub(crate) follower: Arc<Follower>,
    /// The node's lease.
    lease: Hold,
    /// The node has said goodbye.
    said_bye: AtomicBool,
}

impl Session {
    /// Something has come from the node.
    pub(super) fn hear(&self) {
        self.lease.renew();
    }

    /// Whether the node has said goodbye.
    pub(crate) fn said_bye(&self) -> bool {
        self.said_bye.load(Ordering::Relaxed)
    }

    /// The node says goodbye.
    pub(crate) fn say_bye(&self) {
        self.said_bye.store(true, Ordering::Relaxed);
    }
}

/// Serves the link until it ends, says goodbye, and logs how it went.
pub(super) async fn run(
    (mut sink, mut source): (Sink, Source),
    member: Box<Member>,
    peer: SocketAddr,
    state: Arc<State>,
) {
    let counted = state.metrics.login(Kind::Member);
    let end = serve(&mut sink, &mut source, &member, Arc::clone(&state)).await;
    drop(counted);
    state.metrics.link_ended(&end);
    report(&Who { node: member.peer.key, login: member.peer.login, peer }, &end);
    if let Ok(socket) = sink.reunite(source) {
        Box::pin(goodbye(socket, &end, &state)).await;
    }
}

async fn serve(sink: &mut Sink, source: &mut Source, member: &Member, state: Arc<State>) -> End {
    let (stop, limits) = (state.stop.clone(), state.limits);
    let session = Session {
        follower: Arc::new(state.followers.join(member.peer.key.mesh)),
        lease: state.leases.hold(member.peer.key),
        said_bye: AtomicBool::new(false),
        state,
        peer: Arc::clone(&member.peer),
        mesh: member.mesh.clone(),
        window: Arc::new(Window::new(limits.window_items as usize, limits.window_bytes as usize)),
        incoming: Arc::new(Semaphore::new(limits.window_bytes as usize)),
        pages: Arc::new(Semaphore::new(PAGES)),
    };
    let (answers_in, mut answers) = mpsc::channel(ANSWERS);
    let mut writer = writer::Writer::new(sink, &session, member);
    // Dropping the reader drops its end of the answers, so that they end with the last one that is under way.
    let end = tokio::select! {
        end = reader::run(source, &session, answers_in) => end,
        end = writer.run(&mut answers) => end,
        () = member.registration.replaced.cancelled() => replaced(),
        () = member.life.cancelled() => set_back(),
        () = stop.cancelled() => End::told(Reason::Restarting, "the broker is stopping"),
    };
    // The node has done nothing wrong, and waits for what it has asked.
    if matches!(end, End::Told(Reason::Restarting, _)) {
        writer.finish(&mut answers).await;
    }
    end
}
