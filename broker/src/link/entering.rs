//! An entering link: reads the log, appends one entry, and has nothing else to say.

use tokio::sync::mpsc;
use waxwing_protocol::link::{Code, DecodeError, Reason, ToBroker, ToNode, decode};

use super::handshake::Guest;
use super::{End, WebSocket, socket};
use crate::accept::{Answer, Append, Author, Change};
use crate::handlers::{self, bad_frame};
use crate::refusal::Refusal;
use crate::state::State;
use crate::store::NodeKey;

/// Serves the link until it ends.
pub(super) async fn run(socket: &mut WebSocket, guest: &Guest, state: &State) -> End {
    tokio::select! {
        end = serve(socket, guest, state) => end,
        () = state.stop.cancelled() => End::told(Reason::Restarting, "the broker is stopping"),
    }
}

async fn serve(socket: &mut WebSocket, guest: &Guest, state: &State) -> End {
    loop {
        match step(socket, guest, state).await {
            Ok(frame) => {
                if let Err(end) = socket::send(socket, &frame).await {
                    return end;
                }
            }
            Err(end) => return end,
        }
    }
}

/// Reads one frame, and answers it.
async fn step(socket: &mut WebSocket, guest: &Guest, state: &State) -> Result<ToNode, End> {
    let bytes = socket::next(socket).await?;
    let frame = match decode(&bytes) {
        Ok(frame) => frame,
        Err(DecodeError::TooLarge) => return Err(End::too_large()),
        Err(err) => return Ok(bad_frame(&err)),
    };
    let entering = NodeKey { mesh: guest.mesh, node: guest.key.node_id() };
    if let Some((req, worth)) = handlers::request(&frame)
        && let Err(after) = state.limiter.request(entering, worth)
    {
        state.metrics.requests_limited.inc();
        return Ok(Refusal::from(after).frame(Some(req)));
    }
    match frame {
        ToBroker::LogGet(get) => Ok(handlers::log::page(&get, guest.mesh, state).await?),
        ToBroker::LogAppend(append) => {
            let (answers, mut answered) = mpsc::channel(1);
            let reply = answers.reserve_owned().await.map_err(|_| End::Gone)?;
            let author = Author::Entering { mesh: guest.mesh, key: guest.key };
            let (entry, req) = (append.entry, append.req);
            state.writer.submit(Change::Append(Append { author, entry, req, reply })).await?;
            match *answered.recv().await.ok_or(End::Gone)? {
                Answer::Frame(frame) | Answer::Page { frame, .. } => Ok(frame),
                Answer::Settled { .. } => Err(End::Gone),
            }
        }
        ToBroker::Send(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::Settle(_) => Ok(not_allowed(None)),
        ToBroker::PrekeyPut(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::PrekeyGet(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::KeysPut(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::KeysGet(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::QueueShow(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::SpaceWrite(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::SpaceFollow(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::SpaceOffer(frame) => Ok(not_allowed(Some(frame.req))),
        ToBroker::Bye(frame) => Ok(not_allowed(Some(frame.req))),
    }
}

fn not_allowed(req: Option<u64>) -> ToNode {
    let detail = "an entering link may read the log and append its one entry";
    Refusal::new(Code::NotAllowed, detail).frame(req)
}
