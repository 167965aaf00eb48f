//! `queue.show`: exactly what the broker holds of a message, for the node that sent it.

use tokio::sync::mpsc;
use waxwing_protocol::link::{QueueShow, QueueShown, Shown, ToNode};

use super::answer;
use crate::accept::Answer;
use crate::error::Result;
use crate::link::{End, Session};
use crate::store::dedupe::WireKey;
use crate::store::{self, NodeKey, QueueKey};

/// Looks the message up in what was accepted and in what is queued.
pub(super) async fn show(
    frame: QueueShow,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let shown = look_up(frame, session).await?;
    answer(answers, ToNode::QueueShown(QueueShown { req: frame.req, shown })).await
}

async fn look_up(frame: QueueShow, session: &Session) -> Result<Option<Shown>> {
    let key = WireKey { sender: session.peer.key, wire: frame.id };
    let mut db = session.state.readers.acquire().await?;
    let now = session.state.clock.now();
    let Some(record) = store::dedupe::find(&mut db, &[key], now).await?.remove(&key) else { return Ok(None) };
    let owner = NodeKey { mesh: key.sender.mesh, node: record.recipient };
    let row = QueueKey { owner, place: record.place };
    let queued = store::queue::sizes(&mut db, &[row]).await?.remove(&row);
    Ok(Some(Shown {
        message: record.message,
        to: record.recipient,
        pri: record.place.rank.priority().unwrap_or_default(),
        seal: record.seal,
        first_seen: record.first_seen,
        queued,
    }))
}
