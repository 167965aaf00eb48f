//! One link, from upgrade to goodbye.
//!
//! ```text
//! handshake   challenge, hello, a login number from the writer, welcome
//! entering    a founder's or an invite's: reads the log, appends its one entry
//! member      reader and writer, two futures over the two halves; when one ends, both do
//!               reader   frames in -> handlers -> changes for the store's writer, or answers
//!               writer   answers, the log's growth, deliveries (pump), pings -> frames out
//! goodbye     goaway, close
//! ```
//!
//! Handlers may be dropped at any `.await`: what they have submitted is done or not, and every frame may be repeated.

mod end;
mod entering;
mod handshake;
mod member;
mod pump;
mod reader;
mod socket;
mod window;
mod writer;

use std::sync::Arc;

use tokio::time::timeout;
use tracing::{info, warn};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Reason, ToNode};

pub(crate) use end::End;
pub(crate) use member::Session;
pub(crate) use socket::{WebSocket, accept};

use crate::meter::Meter;
use crate::state::State;
use handshake::Admitted;

/// Serves one link until it ends, and logs how it did.
pub(crate) async fn run(mut socket: WebSocket, meter: &Meter, state: Arc<State>) {
    let end = match login(&mut socket, &state).await {
        Err(end) => {
            report("", &end);
            goodbye(socket, &end).await;
            return;
        }
        Ok(admitted) => {
            meter.lift();
            match admitted {
                Admitted::Member(admitted) => return member::run(socket, admitted, state).await,
                Admitted::Entering(guest) => entering::run(&mut socket, &guest, &state).await,
            }
        }
    };
    report("entering", &end);
    goodbye(socket, &end).await;
}

async fn login(socket: &mut WebSocket, state: &Arc<State>) -> Result<Admitted, End> {
    tokio::select! {
        done = timeout(limits::LOGIN_WITHIN, handshake::run(socket, state)) => done.unwrap_or(Err(End::Silent)),
        () = state.stop.cancelled() => Err(End::told(Reason::Restarting, "the broker is stopping")),
    }
}

/// The one line that says how a link ended.
fn report(who: &str, end: &End) {
    match end {
        End::Failed(cause) => warn!(who, %cause, "link failed"),
        End::Told(Reason::ProtocolViolation | Reason::FrameTooLarge, detail) => {
            warn!(who, detail, "link ended: the node has a bug");
        }
        End::Gone | End::Silent | End::Stuck | End::Told(..) => info!(who, %end, "link ended"),
    }
}

/// Says why, if anybody is left to hear it, and closes.
async fn goodbye(mut socket: WebSocket, end: &End) {
    if let Some(goaway) = end.goaway() {
        // Whether it arrives is the node's business; it comes back without it too.
        let _ = socket::send(&mut socket, &ToNode::GoAway(goaway)).await;
    }
    socket::close(socket).await;
}
