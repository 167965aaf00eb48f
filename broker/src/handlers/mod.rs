//! What a member's frames ask for, one file per frame or pair. A handler checks what it can without the store's
//! writer, reserves the place of its answer, and submits a change; or reads, and answers itself.

mod keys;
pub(crate) mod log;
mod prekey;
mod queue;
mod send;
mod settle;
mod space;

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, DecodeError, ToBroker, ToNode};

use crate::accept::{Answer, Reply};
use crate::error::{Error, Result};
use crate::link::{End, Session};
use crate::refusal::Refusal;

/// Handles one frame.
///
/// # Errors
/// The end of the link.
pub(crate) async fn handle(
    frame: ToBroker,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    if session.said_bye() {
        return Err(End::violation("nothing may follow a bye"));
    }
    if let Some((req, worth)) = request(&frame)
        && !space::continues(&frame, session)
        && let Err(after) = session.state.limiter.request(session.peer.key, worth)
    {
        session.state.metrics.requests_limited.inc();
        return refuse(answers, req, after.into()).await;
    }
    match frame {
        ToBroker::Send(frame) => send::handle(frame, session, answers).await,
        ToBroker::Settle(frame) => settle::handle(frame, session, answers).await,
        ToBroker::PrekeyPut(frame) => prekey::put(frame, session, answers).await,
        ToBroker::PrekeyGet(frame) => prekey::get(&frame, session, answers).await,
        ToBroker::LogGet(frame) => log::get(&frame, session, answers).await,
        ToBroker::LogAppend(frame) => log::append(frame, session, answers).await,
        ToBroker::KeysPut(frame) => keys::put(frame, session, answers).await,
        ToBroker::KeysGet(frame) => keys::get(frame, session, answers).await,
        ToBroker::QueueShow(frame) => queue::show(frame, session, answers).await,
        ToBroker::SpaceWrite(frame) => space::write(frame, session, answers).await,
        ToBroker::SpaceFollow(frame) => space::follow(frame, session, answers).await,
        ToBroker::SpaceOffer(frame) => space::offer(frame, session, answers).await,
        ToBroker::Bye(frame) => space::bye(frame, session, answers).await,
    }
}

/// The number of a request other than a send, and how many requests it is worth. Sends have limits of their own, item by
/// item, and so have changes of spaces, which are worth none; a settle is owed.
pub(crate) const fn request(frame: &ToBroker) -> Option<(u64, usize)> {
    match frame {
        ToBroker::Send(_) | ToBroker::Settle(_) | ToBroker::Bye(_) => None,
        ToBroker::SpaceWrite(frame) => Some((frame.req, 0)),
        ToBroker::SpaceFollow(frame) => Some((frame.req, 1)),
        ToBroker::SpaceOffer(frame) => Some((frame.req, 0)),
        ToBroker::PrekeyGet(frame) => Some((frame.req, worth(frame.nodes.len(), limits::PREKEY_PAGE))),
        ToBroker::PrekeyPut(frame) => Some((frame.req, 1)),
        ToBroker::LogGet(frame) => Some((frame.req, 1)),
        ToBroker::LogAppend(frame) => Some((frame.req, 1)),
        ToBroker::KeysPut(frame) => {
            Some((frame.req, worth(frame.slots.len(), limits::KEY_SLOTS).div_ceil(keys::SLOTS_PER_REQUEST)))
        }
        ToBroker::KeysGet(frame) => Some((frame.req, 1)),
        ToBroker::QueueShow(frame) => Some((frame.req, 1)),
    }
}

/// At least 1: a request for too many or none is answered with what is wrong with it.
const fn worth(count: usize, most: usize) -> usize {
    if count > most || count == 0 { 1 } else { count }
}

/// Reserves the place of an answer: waits until the node has read enough of those before.
///
/// # Errors
/// `Gone` if nobody writes any more.
async fn reserve(answers: &mpsc::Sender<Box<Answer>>) -> Result<Reply, End> {
    answers.clone().reserve_owned().await.map_err(|_| End::Gone)
}

/// Answers at once.
///
/// # Errors
/// `Gone` if nobody writes any more.
pub(crate) async fn answer(answers: &mpsc::Sender<Box<Answer>>, frame: ToNode) -> Result<(), End> {
    answers.send(Box::new(Answer::Frame(frame))).await.map_err(|_| End::Gone)
}

/// Answers with a large frame, once the node has read enough of those before: they are made one by one.
///
/// # Errors
/// `Gone` if nobody writes any more; or why it cannot be made.
async fn answer_page(
    answers: &mpsc::Sender<Box<Answer>>,
    session: &Session,
    page: impl Future<Output = Result<ToNode>>,
) -> Result<(), End> {
    let place = Arc::clone(&session.pages).acquire_owned().await;
    let place = place.map_err(|err| Error::Internal(err.into()))?;
    let page = Box::new(Answer::Page { frame: page.await?, _place: place });
    answers.send(page).await.map_err(|_| End::Gone)
}

/// Refuses a request.
async fn refuse(answers: &mpsc::Sender<Box<Answer>>, req: u64, refusal: Refusal) -> Result<(), End> {
    answer(answers, refusal.frame(Some(req))).await
}

/// The answer to bytes that are no frame.
pub(crate) fn bad_frame(err: &DecodeError) -> ToNode {
    let code = match err {
        DecodeError::Unsupported(_) => Code::Unsupported,
        DecodeError::BadFrame(_) | DecodeError::TooLarge => Code::BadFrame,
    };
    Refusal::new(code, err.to_string()).frame(None)
}
