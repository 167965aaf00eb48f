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
    answers: &mpsc::Sender<Answer>,
) -> Result<(), End> {
    let settled = session.window.settle(frame.through, frame.items);
    let settled = settled.map_err(|mismatch| End::violation(mismatch.to_string()))?;
    if settled.is_empty() {
        return Ok(());
    }
    let reply = reserve(answers).await?;
    let change = Change::Settle(Settles { peer: Arc::clone(&session.peer), settled, reply });
    Ok(session.state.writer.submit(change).await?)
}
