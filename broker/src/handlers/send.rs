//! `send`: items to be accepted.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, Progress, Send};

use super::{refuse, reserve};
use crate::accept::{Answer, Budget, Change, Sends};
use crate::error::Error;
use crate::link::{End, Session};
use crate::refusal::Refusal;

/// Waits for room in the link's window and in the writer's memory, in this order, and submits the items.
pub(super) async fn handle(
    frame: Send,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let Send { req, rows, items } = frame;
    if items.is_empty() || items.len() > limits::WINDOW_ITEMS {
        let detail = format!("a send has 1 to {} items", limits::WINDOW_ITEMS);
        return refuse(answers, req, Refusal::new(Code::BadFrame, detail)).await;
    }
    if rows > Progress::MAX {
        return Err(End::violation("the rows are beyond all measure"));
    }
    let reply = reserve(answers).await?;
    let bytes = items.iter().map(|item| item.env.len()).sum();
    let budget = [window(session, items.len(), bytes).await?, session.state.writer.reserve(bytes).await?];
    let peer = Arc::clone(&session.peer);
    let change = Change::Send(Sends { peer, req, rows, items, reply, budget });
    Ok(session.state.writer.submit(change).await?)
}

/// A frame's share of what may be under way from this node. The window has two measures and one semaphore: an item counts
/// for its bytes, or for its share of the window if that is more.
pub(super) async fn window(session: &Session, items: usize, bytes: usize) -> Result<Budget, End> {
    let limits = session.state.limits;
    let share = limits.window_bytes / limits.window_items;
    let cost = bytes.max(items * share as usize).min(limits.window_bytes as usize);
    let permit =
        Arc::clone(&session.incoming).acquire_many_owned(u32::try_from(cost).unwrap_or(u32::MAX)).await;
    permit.map(Budget::new).map_err(|err| End::Failed(Error::Internal(err.into())))
}
