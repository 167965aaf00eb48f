//! Answers to `space.follow`.

use std::sync::Arc;

use waxwing_protocol::link::{Mark, SpaceChanges, SpaceFollow};

use crate::error::{Error, Result};
use crate::followers::{Follower, Question, Tail};
use crate::state::State;
use crate::store;
use crate::store::record::Page;

/// The answer to a link's next question, if it can be answered now.
///
/// # Errors
/// If the store fails.
pub(super) async fn next(follower: &Follower, state: &State) -> Result<Option<SpaceChanges>> {
    let Some(Question { asked, tail }) = follower.next() else { return Ok(None) };
    let answer = match tail {
        Some(tail) => handed_over(&asked, &tail, state.life.mark(state.life.m())),
        None => match read(follower, &asked, state).await? {
            Some(answer) => answer,
            None => return Ok(None),
        },
    };
    let told = (!answer.changes.is_empty()).then_some(answer.upto);
    Ok(follower.answer(&asked, told).then_some(answer))
}

/// An answer from what a commit has added.
fn handed_over(asked: &SpaceFollow, tail: &Arc<Tail>, mark: Mark) -> SpaceChanges {
    SpaceChanges {
        req: asked.req,
        changes: tail.changes.clone().unwrap_or_default(),
        upto: tail.head,
        head: tail.head,
        begun: asked.begun,
        reset: false,
        mark,
    }
}

/// An answer from the store; none if there is nothing to say and the question waits.
async fn read(follower: &Follower, asked: &SpaceFollow, state: &State) -> Result<Option<SpaceChanges>> {
    let key = follower.key(asked.space);
    let turn = state.reading.acquire().await.map_err(|err| Error::Internal(err.into()))?;
    let mut page = store::record::page(&state.readers, key, asked.after).await?;
    let reset = is_too_old(asked, &page);
    if reset {
        page = store::record::page(&state.readers, key, 0).await?;
    }
    drop(turn);
    follower.saw(asked.space, page.head);
    if asked.wait && page.head <= asked.after {
        return Ok(None);
    }
    let begun = if reset || asked.after == 0 { page.head } else { asked.begun };
    let Page { head, upto, changes, m, .. } = page;
    let mark = state.life.mark(m.max(state.life.m())); // Of a space that is not there, nothing was read.
    Ok(Some(SpaceChanges { req: asked.req, changes, upto, head, begun, reset, mark }))
}

/// Whether something was forgotten that a copy may still have: it knows of all before its place, and of nothing that was gone
/// when it was begun.
fn is_too_old(asked: &SpaceFollow, page: &Page) -> bool {
    asked.after > 0 && asked.after.max(asked.begun) < page.horizon
}
