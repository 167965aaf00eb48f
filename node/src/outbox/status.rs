//! What a message is now, in the words that every surface uses. No state is shown before it is true.

use waxwing_protocol::Address;
use waxwing_protocol::api::{Change, MessageState, SendStatus, Voucher};

use crate::mesh::Mesh;
use crate::store::outbox::{self, Life, State, Which};

/// One message's life, or none if the id was never used.
pub(crate) async fn status(mesh: &Mesh, which: Which<'_>) -> waxwing_sqlite::Result<Option<SendStatus>> {
    Ok(outbox::life(&mesh.db, which).await?.map(|life| show(mesh, life)))
}

/// A message's life as people see it.
pub(crate) fn show(mesh: &Mesh, life: Life) -> SendStatus {
    // That the link holds it at this moment is no state of the message.
    let state = match state(mesh, &life) {
        MessageState::Inflight => MessageState::Queued,
        state @ (MessageState::Queued
        | MessageState::Accepted
        | MessageState::Delivered
        | MessageState::Read
        | MessageState::Dead
        | MessageState::Expired
        | MessageState::Aborted) => state,
    };
    SendStatus {
        mesh: mesh.name.clone(),
        history: history(&life),
        client_message_id: life.client_id,
        to: Address { app: life.to_app, node: life.to_node },
        from_app: life.from_app,
        state,
        reason: life.reason,
        priority: life.priority,
        expires_at: life.expires,
        broker_message_id: life.message_id,
        seal: life.seal,
        superseded_by: life.superseded_by,
    }
}

/// The word for what a message is now.
pub(crate) fn state(mesh: &Mesh, life: &Life) -> MessageState {
    match life.state {
        State::Aborted => MessageState::Aborted,
        _ if life.read_at.is_some() => MessageState::Read,
        _ if life.delivered_at.is_some() => MessageState::Delivered,
        State::Pending if mesh.signals.is_inflight(life.row) => MessageState::Inflight,
        State::Pending => MessageState::Queued,
        State::Done => MessageState::Accepted,
        State::Dead => end(life),
    }
}

fn end(life: &Life) -> MessageState {
    let expired = life.reason.as_ref().is_some_and(|reason| reason.starts_with("expired"));
    if expired { MessageState::Expired } else { MessageState::Dead }
}

/// Every change of state, oldest first.
fn history(life: &Life) -> Vec<Change> {
    let ended = if life.state == State::Aborted { MessageState::Aborted } else { end(life) };
    let changes = [
        (MessageState::Queued, Some(life.queued_at), Voucher::Node),
        (MessageState::Accepted, life.accepted_at, Voucher::Broker),
        (MessageState::Delivered, life.delivered_at, Voucher::Recipient),
        (MessageState::Read, life.read_at, Voucher::Recipient),
        (ended, life.ended_at, life.ended_by),
    ];
    let mut history: Vec<Change> =
        changes.into_iter().filter_map(|(state, at, by)| at.map(|at| Change { state, at, by })).collect();
    history.sort_by_key(|change| change.at);
    history
}
