//! `keys.put` and `keys.get`.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_crypto::MeshId;
use waxwing_crypto::state_key::Holder;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, FoundKeys, Keys, KeysGet, KeysPut, ToNode};

use super::send::window;
use super::{answer_page, refuse, reserve};
use crate::accept::{self, Answer, Change, keys_bytes};
use crate::error::{Error, Result};
use crate::link::{End, Session};
use crate::refusal::Refusal;
use crate::store;

/// How many slots of a `keys.put` count as a request.
pub(super) const SLOTS_PER_REQUEST: usize = 16;

/// Keeps a part of a list, if every slot is proven to be in it.
pub(super) async fn put(
    frame: KeysPut,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    if frame.slots.is_empty() || frame.slots.len() > limits::KEY_SLOTS {
        let detail = format!("a keys.put has 1 to {} slots", limits::KEY_SLOTS);
        return refuse(answers, frame.req, Refusal::new(Code::BadFrame, detail)).await;
    }
    let (slots, bytes) = (frame.slots.len(), keys_bytes(frame.slots.len(), &frame.head));
    let budget = [window(session, slots, bytes).await?, session.state.writer.reserve(bytes).await?];
    let mesh = session.peer.key.mesh;
    // Some milliseconds of hashing.
    let proven = tokio::task::spawn_blocking(move || prove(mesh, frame)).await;
    let KeysPut { req, root, head, slots } = match proven.map_err(|err| Error::Internal(err.into()))? {
        Ok(frame) => frame,
        Err((req, refusal)) => return refuse(answers, req, refusal).await,
    };
    let reply = reserve(answers).await?;
    let peer = Arc::clone(&session.peer);
    let change = Change::Keys(accept::KeysPut { peer, root, head, slots, req, reply, _budget: budget });
    Ok(session.state.writer.submit(change).await?)
}

fn prove(mesh: MeshId, frame: KeysPut) -> Result<KeysPut, (u64, Refusal)> {
    for slot in &frame.slots {
        slot.verify(mesh, &frame.head, &frame.root).map_err(|err| (frame.req, err.into()))?;
    }
    Ok(frame)
}

/// Reads the slot of the node that asks, or of the invite by which it joined.
pub(super) async fn get(
    frame: KeysGet,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    answer_page(answers, session, find(frame, session)).await
}

async fn find(frame: KeysGet, session: &Session) -> Result<ToNode> {
    let key = session.peer.key;
    let roster = Arc::clone(&session.mesh.borrow().roster);
    let newest = roster.epoch_keys().filter(|_| roster.epoch() == frame.epoch);
    let found = match (newest, roster.member(&key.node)) {
        (Some(root), Some(member)) => {
            let invite = member.invite.map(Holder::Invite);
            let holders: Vec<_> = std::iter::once(Holder::Node(key.node)).chain(invite).collect();
            let mut db = session.state.readers.acquire().await?;
            store::keys::slot(&mut db, key.mesh, &root, &holders).await?
        }
        (Some(_) | None, _) => None,
    };
    let found = found.map(|(head, slot)| Box::new(FoundKeys { head, slot }));
    Ok(ToNode::Keys(Keys { req: frame.req, found }))
}
