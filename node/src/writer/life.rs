//! The life of the broker's store, as far as this node has seen it.

use waxwing_protocol::StoreId;
use waxwing_protocol::api::EventBody;
use waxwing_protocol::link::Mark;
use waxwing_sqlite::Connection;

use super::{Copy, Effects};
use crate::store::{meta, outbox};

/// Keeps a mark, if it is newer than the one kept. It is committed together with what it came with: a mark that this
/// node shows vouches for everything that it has been told until then.
pub(super) async fn note_mark(
    db: &mut Connection,
    copy: &mut Copy,
    mark: Option<Mark>,
) -> waxwing_sqlite::Result<()> {
    let Some(mark) = mark else { return Ok(()) };
    let is_older = |kept: &Mark| (kept.store, kept.run) == (mark.store, mark.run) && kept.m >= mark.m;
    if copy.mark.as_ref().is_some_and(is_older) {
        return Ok(());
    }
    meta::set_mark(db, &mark).await?;
    copy.mark = Some(mark);
    Ok(())
}

/// Notes a login, whose deliveries are counted from 0, the life of the store, and the mesh's pass. Of a life that was not seen before, the broker has nothing that it
/// had accepted: all of it is pending again. Says how many messages.
pub(super) async fn begin(
    db: &mut Connection,
    copy: &mut Copy,
    (login, store): (u64, StoreId),
    pass: Option<Vec<u8>>,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<u64> {
    meta::set_number(&mut *db, meta::LOGIN, login).await?;
    meta::set_number(&mut *db, meta::THROUGH, 0).await?;
    // Before anything is handed over.
    meta::set_number(&mut *db, meta::LINKED, 1).await?;
    meta::remove(&mut *db, meta::REFUSED).await?;
    if let Some(pass) = pass {
        meta::set_bytes(&mut *db, meta::PASS, &pass).await?;
    }
    let known = meta::bytes(&mut *db, meta::STORE).await?;
    if known.as_deref() == Some(&store.as_bytes()[..]) {
        return Ok(0);
    }
    meta::set_bytes(&mut *db, meta::STORE, store.as_bytes()).await?;
    if known.is_none() {
        return Ok(0);
    }
    meta::remove(&mut *db, meta::MARK).await?;
    copy.mark = None;
    effects.tell_all(EventBody::System { what: "broker_store_lost".into() });
    outbox::take_back(db).await
}

/// Notes the end of a link, and what it had handed over without an answer.
pub(super) async fn end_link(db: &mut Connection, lost: &[i64]) -> waxwing_sqlite::Result<()> {
    outbox::doubt(&mut *db, lost, None, None).await?;
    meta::set_number(db, meta::LINKED, 0).await
}
