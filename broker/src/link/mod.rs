//! One link, from upgrade to goodbye.
//!
//! ```text
//! handshake   challenge, hello, a login number from the writer, welcome
//! upload      in between, if the store has lost it: the log of the mesh
//! entering    a founder's or an invite's: reads the log, appends its one entry
//! member      reader and writer, two futures over the two halves; when one ends, both do
//!               reader   frames in -> handlers -> changes for the store's writer, or answers
//!               writer   answers, the log's growth, deliveries (pump), pings -> frames out
//! goodbye     goaway, close
//! ```
//!
//! Handlers may be dropped at any `.await`: what they have submitted is done or not, and every frame may be repeated.

mod buffered;
mod end;
mod entering;
mod follow;
mod handshake;
mod member;
mod pump;
mod reader;
mod socket;
mod upload;
mod websocket;
mod window;
mod writer;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::{info, warn};
use waxwing_crypto::MeshId;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Reason, ToNode};

pub(crate) use end::End;
pub(crate) use member::Session;
pub(crate) use upload::Uploads;
pub(crate) use websocket::WebSocket;

use crate::meter::Meter;
use crate::metrics::Kind;
use crate::state::State;
use crate::store::{LoginNumber, NodeKey};
use crate::strangers::Stranger;
use handshake::{Admitted, Guest};

/// A node that neither reads nor settles what it is sent for so long is too slow.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// Serves one link until it ends, and logs how it did.
///
/// Each stage is boxed: an idle link should not have what another stage needs.
pub(crate) async fn run(
    upgraded: Upgraded,
    meter: Arc<Meter>,
    (peer, stranger): (SocketAddr, Arc<Stranger>),
    state: Arc<State>,
) {
    if let Some(member) = Box::pin(begin(upgraded, meter, (peer, stranger), state)).await {
        member.await;
    }
}

/// The login; and an entering link, from there to its end. A member's is returned.
async fn begin(
    upgraded: Upgraded,
    meter: Arc<Meter>,
    (peer, stranger): (SocketAddr, Arc<Stranger>),
    state: Arc<State>,
) -> Option<Pin<Box<impl Future<Output = ()>>>> {
    let mut socket = WebSocket::new(TokioIo::new(upgraded)).await;
    let end = match login(&mut socket, &meter, (peer, &stranger), &state).await {
        Ok(Admitted::Member(member)) => {
            meter.lift();
            return Some(Box::pin(member::run(socket.split(), member, peer, state)));
        }
        Ok(Admitted::Entering(guest)) => {
            meter.lift();
            enter(&mut socket, &guest, (peer, stranger), &state).await
        }
        Err(end) => {
            state.metrics.login_refused(&end);
            report_stranger(peer, &end, &state);
            end
        }
    };
    goodbye(socket, &end, &state).await;
    None
}

/// Serves an entering link.
async fn enter(
    socket: &mut WebSocket,
    guest: &Guest,
    (peer, stranger): (SocketAddr, Arc<Stranger>),
    state: &State,
) -> End {
    // Anybody may be about to found a mesh: that is no reason to keep a place.
    let stranger = Some(stranger).filter(|_| !guest.known);
    let _counted = state.metrics.login(Kind::Entering);
    let end = tokio::select! {
        end = entering::run(socket, guest, state) => end,
        () = ousted(stranger.as_deref()) => crowded(),
    };
    state.metrics.link_ended(&end);
    report_entering(guest.mesh, peer, &end, state);
    end
}

async fn login(
    socket: &mut WebSocket,
    meter: &Meter,
    (peer, stranger): (SocketAddr, &Stranger),
    state: &Arc<State>,
) -> Result<Admitted, End> {
    if state.limiter.login(peer.ip()).is_err() {
        return Err(End::told(Reason::Busy, "too many logins from this address"));
    }
    let steps = async {
        let asked = within(handshake::ask(socket, state)).await?;
        if let Some(hello) = asked.member() {
            within(handshake::check_mark(hello, state)).await?;
            upload::obtain(socket, meter, hello, state).await?;
        }
        within(handshake::admit(socket, &asked, state)).await
    };
    tokio::select! {
        done = steps => done,
        () = stranger.ousted() => Err(crowded()),
        () = state.stop.cancelled() => Err(End::told(Reason::Restarting, "the broker is stopping")),
    }
}

async fn ousted(stranger: Option<&Stranger>) {
    match stranger {
        Some(stranger) => stranger.ousted().await,
        None => std::future::pending().await,
    }
}

/// Another has taken its place among those who are not logged in as members.
fn crowded() -> End {
    End::told(Reason::Busy, "too many connections wait to log in")
}

/// A step of the login takes no longer than the whole may.
async fn within<T>(step: impl Future<Output = Result<T, End>>) -> Result<T, End> {
    timeout(limits::LOGIN_WITHIN, step).await.unwrap_or(Err(End::Silent))
}

/// Whose link it is, as logs name it: ids by their first characters.
struct Who {
    node: NodeKey,
    login: LoginNumber,
    peer: SocketAddr,
}

/// The one line that says how a member's link ended.
fn report(who: &Who, end: &End) {
    let (mesh, node, login) = (short(&who.node.mesh), short(&who.node.node), who.login.0);
    let (peer, reason) = (who.peer, end.reason());
    match end {
        End::Failed(cause) => warn!(mesh, node, login, %peer, reason, %cause, "link failed"),
        End::Told(Reason::ProtocolViolation | Reason::FrameTooLarge, detail) => {
            warn!(mesh, node, login, %peer, reason, detail, "link ended: the node has a bug");
        }
        End::Gone | End::Silent | End::Told(..) | End::NotYet(_) => {
            info!(mesh, node, login, %peer, reason, %end, "link ended");
        }
    }
}

/// The line about the end of an entering link. Whoever may found a mesh here is a stranger.
fn report_entering(mesh: MeshId, peer: SocketAddr, end: &End, state: &State) {
    let (mesh, reason) = (short(&mesh), end.reason());
    if let End::Failed(cause) = end {
        warn!(mesh, %peer, reason, %cause, "entering link failed");
    } else if let Some(unsaid) = state.stranger_lines.may() {
        info!(mesh, %peer, reason, %end, unsaid, "entering link ended");
    }
}

/// The line about a link that was not logged in. Strangers can cause these, so only some are written.
fn report_stranger(peer: SocketAddr, end: &End, state: &State) {
    let reason = end.reason();
    if let End::Failed(cause) = end {
        warn!(%peer, reason, %cause, "link failed");
    } else if let Some(unsaid) = state.stranger_lines.may() {
        info!(%peer, reason, %end, unsaid, "login refused");
    }
}

fn short(id: &impl fmt::Display) -> String {
    format!("{:.8}", id.to_string())
}

/// Says why, if anybody is left to hear it, and closes.
async fn goodbye(mut socket: WebSocket, end: &End, state: &State) {
    if let Some(goaway) = end.goaway(&state.drain) {
        // Whether it arrives is the node's business; it comes back without it too.
        let goaway = ToNode::GoAway(goaway);
        let _ = timeout(socket::GOODBYE_WITHIN, socket::send(&mut socket, &goaway)).await;
    }
    socket::close(socket).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F>(_: impl FnOnce() -> F) -> usize {
        size_of::<F>()
    }

    fn any<T>() -> T {
        unreachable!("only types are looked at")
    }

    /// Not a promise, but a broker holds one for every node: 12 KiB in all are the budget.
    #[test]
    fn a_link_that_does_nothing_is_small() {
        let task =
            size(|| run(any(), any(), any(), any())) + size(|| member::run(any(), any(), any(), any()));
        assert!(task <= 2_304, "{task} bytes");
        let place = size_of::<Box<crate::accept::Answer>>();
        assert!(place <= 8, "{place} bytes, for each of many places");
    }
}
