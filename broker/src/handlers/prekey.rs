//! `prekey.put` and `prekey.get`.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_crypto::sealing::Prekey;
use waxwing_protocol::limits;
use waxwing_protocol::link::{self, Code, PeerPrekey, PrekeyGet, Prekeys, ToNode};

use super::{answer_page, refuse, reserve};
use crate::accept::{Answer, Change, PrekeyPut};
use crate::error::Result;
use crate::link::{End, Session};
use crate::refusal::Refusal;
use crate::store;
use crate::store::prekey::PrekeyRow;

/// Keeps the node's newest prekey, if it is one.
pub(super) async fn put(
    frame: link::PrekeyPut,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let link::PrekeyPut { req, prekey } = frame;
    let owner = session.peer.key;
    let key = session.mesh.borrow().roster.member(&owner.node).map(|member| member.signing);
    let verified = match key {
        Some(key) => Prekey::verify(&prekey, owner.node, &key).map_err(Refusal::from),
        None => Err(Refusal::new(Code::NotAllowed, "this node is no longer a member")),
    };
    let id = match verified {
        Ok(verified) => verified.id,
        Err(refusal) => return refuse(answers, req, refusal).await,
    };
    let reply = reserve(answers).await?;
    let row = PrekeyRow { owner, id, prekey };
    let peer = Arc::clone(&session.peer);
    Ok(session.state.writer.submit(Change::Prekey(PrekeyPut { peer, row, req, reply })).await?)
}

/// Reads the newest prekeys of members.
pub(super) async fn get(
    frame: &PrekeyGet,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    if frame.nodes.is_empty() || frame.nodes.len() > limits::PREKEY_PAGE {
        let detail = format!("a prekey.get names 1 to {} members", limits::PREKEY_PAGE);
        return refuse(answers, frame.req, Refusal::new(Code::BadFrame, detail)).await;
    }
    answer_page(answers, session, find(frame, session)).await
}

async fn find(frame: &PrekeyGet, session: &Session) -> Result<ToNode> {
    let mut db = session.state.readers.acquire().await?;
    let found = store::prekey::find(&mut db, session.peer.key.mesh, &frame.nodes).await?;
    let prekeys = frame.nodes.iter().map(|node| PeerPrekey { node: *node, prekey: found.get(node).cloned() });
    Ok(ToNode::Prekeys(Prekeys { req: frame.req, prekeys: prekeys.collect() }))
}
