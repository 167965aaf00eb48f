//! The reading half: frames in, handlers called, one at a time.

use tokio::sync::mpsc;
use waxwing_protocol::link::{DecodeError, ToBroker, decode};

use super::member::{Session, Source};
use super::{End, socket};
use crate::accept::Answer;
use crate::handlers;

/// Reads until the link ends.
pub(super) async fn run(source: &mut Source, session: &Session, answers: mpsc::Sender<Box<Answer>>) -> End {
    loop {
        if let Err(end) = step(source, session, &answers).await {
            return end;
        }
    }
}

async fn step(
    source: &mut Source,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let bytes = socket::next_noting(source, || session.hear()).await?;
    match decode::<ToBroker>(&bytes) {
        // Boxed: what a handler needs while it works, an idle link should not have.
        Ok(frame) => Box::pin(handlers::handle(frame, session, answers)).await,
        Err(DecodeError::TooLarge) => Err(End::too_large()),
        Err(err) => Box::pin(handlers::answer(answers, handlers::bad_frame(&err))).await,
    }
}
