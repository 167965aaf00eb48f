//! `space.write`, `space.follow`, `space.offer` and `bye`.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_protocol::limits;
use waxwing_protocol::link::{self, Code, SpaceFollow, SpaceOffer, SpaceWrite, ToBroker};

use super::send::window;
use super::{refuse, reserve};
use crate::accept::{Answer, Budget, Bye, Change, Reply, SpaceOffers, SpaceWrites, changes_size};
use crate::link::{End, Session};
use crate::refusal::Refusal;

/// Whether a frame asks on where the last answer has ended: that was paid for with the first.
pub(super) fn continues(frame: &ToBroker, session: &Session) -> bool {
    matches!(frame, ToBroker::SpaceFollow(follow) if session.follower.continues(follow))
}

/// Submits changes.
pub(super) async fn write(
    frame: SpaceWrite,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let SpaceWrite { req, space, changes } = frame;
    let (records, bytes) = changes_size(&changes);
    let sizes = sealed_sizes(&changes);
    let Some((reply, budget)) = admit(req, (changes.len(), records, bytes), sizes, session, answers).await?
    else {
        return Ok(());
    };
    let peer = Arc::clone(&session.peer);
    let change = Change::Write(SpaceWrites { peer, req, space, changes, reply, budget });
    Ok(session.state.writer.submit(change).await?)
}

/// Submits what a node has from before a loss.
pub(super) async fn offer(
    frame: SpaceOffer,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let SpaceOffer { req, space, records } = frame;
    let bytes = records.iter().map(|record| record.sealed.len()).sum();
    let sizes = records.iter().map(|record| record.sealed.len()).collect();
    let size = (records.len(), records.len(), bytes);
    let Some((reply, budget)) = admit(req, size, sizes, session, answers).await? else {
        return Ok(());
    };
    let peer = Arc::clone(&session.peer);
    let change = Change::Offer(SpaceOffers { peer, req, space, records, reply, budget });
    Ok(session.state.writer.submit(change).await?)
}

/// Asks what has changed. The link's writer answers.
pub(super) async fn follow(
    frame: SpaceFollow,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    if session.follower.ask(frame) {
        return Ok(());
    }
    let detail = format!("a link follows {} spaces at most", limits::SPACES_FOLLOWED);
    refuse(answers, frame.req, Refusal::new(Code::NotAllowed, detail)).await
}

/// Ends the node's lease. Nothing may follow.
pub(super) async fn bye(
    frame: link::Bye,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let reply = reserve(answers).await?;
    session.say_bye();
    let peer = Arc::clone(&session.peer);
    Ok(session.state.writer.submit(Change::Bye(Bye { peer, req: frame.req, reply })).await?)
}

/// Whether a frame with so many entries, that concern so many records and so many sealed bytes, may be handed to the store's
/// writer: if so, with the place of its answer, and room in the link's window and in the writer's memory. Otherwise it was
/// refused as a whole.
async fn admit(
    req: u64,
    (entries, records, bytes): (usize, usize, usize),
    sizes: Vec<usize>,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<Option<(Reply, [Budget; 2])>, End> {
    if entries == 0 || entries > limits::SPACE_PAGE || bytes > limits::FRAME_ENVELOPES {
        let (most, sealed) = (limits::SPACE_PAGE, limits::FRAME_ENVELOPES);
        let detail = format!("a frame has 1 to {most} changes, with at most {sealed} sealed bytes");
        refuse(answers, req, Refusal::new(Code::BadFrame, detail)).await?;
        return Ok(None);
    }
    let state = &session.state;
    if let Err(after) = state.limiter.write(session.peer.key, records, &sizes) {
        state.metrics.requests_limited.inc();
        refuse(answers, req, after.into()).await?;
        return Ok(None);
    }
    let reply = reserve(answers).await?;
    let budget = [window(session, entries, bytes).await?, state.writer.reserve(bytes).await?];
    Ok(Some((reply, budget)))
}

fn sealed_sizes(changes: &[link::Change]) -> Vec<usize> {
    changes.iter().map(|change| changes_size(std::slice::from_ref(change)).1).collect()
}
