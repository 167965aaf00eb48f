//! What operators do: give a message up, and perhaps send it again under another id.

use waxwing_crypto::Timestamp;
use waxwing_protocol::api::MessageState;
use waxwing_sqlite::Connection;

use super::{Effects, Sends};
use crate::store::outbox::{self, NewRow};

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum GivenUp {
    /// It is aborted, and its successor, if any, is pending.
    Done,
    /// It is delivered, or was given up before.
    WrongState,
    /// The successor's id is taken.
    IdTaken,
}

pub(super) async fn apply(
    db: &mut Connection,
    row: i64,
    successor: Option<NewRow>,
    now: Timestamp,
    sends: &mut Sends,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<GivenUp> {
    let id = successor.as_ref().map(|row| row.client_id.clone());
    if let Some(id) = &id
        && (!outbox::find(db, &[id]).await?.is_empty() || sends.takes(id))
    {
        return Ok(GivenUp::IdTaken);
    }
    let Some(aborted) = outbox::abort(db, row, id.as_ref(), now).await? else {
        return Ok(GivenUp::WrongState);
    };
    effects.tell_sender(aborted, MessageState::Aborted, id.as_ref().map(|_| "sent again"));
    sends.own.extend(successor);
    Ok(GivenUp::Done)
}
