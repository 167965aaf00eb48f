//! `log.get` and `log.append`.

use std::sync::Arc;

use tokio::sync::mpsc;
use waxwing_crypto::membership::{Roster, SignedEntry};
use waxwing_crypto::{MeshId, Signature};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Log, LogAppend, LogGet, ToNode};

use super::{answer_page, reserve};
use crate::accept::{Answer, Append, Author, Change};
use crate::error::Result;
use crate::link::{End, Session};
use crate::state::State;
use crate::store;

/// Answers with a page.
pub(super) async fn get(
    frame: &LogGet,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    answer_page(answers, session, page(frame, session.peer.key.mesh, &session.state)).await
}

/// Submits an entry.
pub(super) async fn append(
    frame: LogAppend,
    session: &Session,
    answers: &mpsc::Sender<Box<Answer>>,
) -> Result<(), End> {
    let LogAppend { req, entry } = frame;
    let reply = reserve(answers).await?;
    let author = Author::Member(Arc::clone(&session.peer));
    Ok(session.state.writer.submit(Change::Append(Append { author, entry, req, reply })).await?)
}

/// The answer to a `log.get`.
pub(crate) async fn page(frame: &LogGet, mesh: MeshId, state: &State) -> Result<ToNode> {
    let log = match state.meshes.get(mesh) {
        Some(mesh) => after(frame.after, &mesh.roster, state).await?,
        None => Log { req: None, entries: Vec::new(), head: None, mark: None },
    };
    Ok(ToNode::Log(Log { req: Some(frame.req), ..log }))
}

/// The entries after a place, as many as a frame takes, as a frame that answers nobody.
pub(crate) async fn after(after: u64, roster: &Roster, state: &State) -> Result<Log> {
    let head = roster.head();
    // Nothing beyond the head: the mark below must cover what it comes with.
    let limit = usize::try_from(head.seq.saturating_sub(after)).unwrap_or(usize::MAX).min(limits::LOG_PAGE);
    let mut entries = match limit {
        0 => Vec::new(),
        limit => store::log::page(&state.readers, roster.mesh(), after, limit).await?,
    };
    let mut left = limits::LOG_PAGE_BYTES;
    let fits = |entry: &SignedEntry| {
        let rest = left.checked_sub(entry.bytes.len() + entry.signatures.len() * Signature::SIZE);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    entries.truncate(entries.iter().map(fits).take_while(|fits| *fits).count());
    Ok(Log { req: None, entries, head: Some(head), mark: Some(state.life.mark(state.life.m())) })
}
