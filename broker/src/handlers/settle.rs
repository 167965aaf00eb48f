//! `settle`: what became of deliveries.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_protocol::link::Settle;

use super::reserve;
use crate::accept::{Answer, Change, Settles};
use crate::link::{End, Session};

/// Matches the settlements with what is under way, and submits them.
///
/// # Errors
/// A violation if they do not match: the two sides no longer agree on what was delivered.
pub(super) async fn handle(
    frame: Settle,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let settled = session.window.settle(frame.through, frame.items);
    let settled = settled.map_err(|mismatch| End::violation(mismatch.to_string()))?;
    // One that settles nothing says that the welcome is committed. After that it says nothing.
    if settled.is_empty() && frame.through > 0 {
        return Ok(());
    }
    let reply = reserve(answers).await?;
    let peer = Arc::clone(&session.peer);
    let change = Change::Settle(Settles { peer, through: frame.through, settled, reply });
    Ok(session.state.writer.submit(change).await?)
}
