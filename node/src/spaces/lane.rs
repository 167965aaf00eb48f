//! Writing to a space: numbered, signed, sealed, and one `space.write` under way at a time, so that no change of this node
//! overtakes another.
//!
//! What is under way when a link is lost may have been made or not. It is sent again, the very same bytes, before anything else
//! on the next link: the broker knows changes by their ids, and answers as it did; unless its store was lost: what is signed is
//! for one life of it, and comes back from those who hold it. What has not been sent by then is not kept: whoever wanted it is
//! told that there is no link.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tracing::debug;
use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::link::{Change, ChangeOutcome};
use waxwing_protocol::{StoreId, limits};

use super::make::{Maker, Unmade};
use super::{Draft, DraftChange, Link, Space};
use crate::epochs::Trouble;
use crate::link::{CallError, Ended, ended};
use crate::mesh::Mesh;
use crate::store::spaces::SpaceRow;
use crate::writer::WriteError;

/// Whoever writes waits no longer than this for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Numbers that are taken at once: a commit of this node's for so many changes.
const NUMBERS: u64 = 1_024;
/// What a sealed record has beside its value, give or take: names, numbers, signature, padding.
const AROUND: usize = 1_024;

/// Why a change was not made, or is not known to be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotWritten {
    /// There is no link: nothing was changed.
    #[error("there is no link to the broker, and a space is changed there")]
    Offline,
    /// The link was lost, or the broker is slow: it may have been made, or still be.
    #[error("the broker has not answered: the change may have been made")]
    Unanswered,
    /// A value is larger than a record may have.
    #[error("a value has {} bytes at most", limits::VALUE)]
    TooLarge,
    /// Too many changes at once.
    #[error("at most {} changes are made at once", limits::SPACE_PAGE)]
    TooMany,
    /// The broker refuses, or what the change is about is not here.
    #[error("{0}")]
    Refused(String),
}

impl NotWritten {
    /// For whoever asked for the change.
    pub(crate) fn problem(&self) -> Problem {
        let code = match self {
            Self::Offline => ProblemCode::Offline,
            Self::Unanswered => ProblemCode::Unanswered,
            Self::TooLarge | Self::TooMany => ProblemCode::TooLarge,
            Self::Refused(_) => ProblemCode::Conflict,
        };
        Problem::new(code).detail(self.to_string())
    }
}

/// What waits to be written, and what is under way.
#[derive(Default)]
pub(super) struct Lane {
    waiting: Mutex<VecDeque<Waiting>>,
    come: Notify,
    /// Sent, and not answered.
    under_way: Mutex<Option<UnderWay>>,
    numbers: tokio::sync::Mutex<Numbers>,
}

struct Waiting {
    drafts: Vec<Draft>,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Vec<ChangeOutcome>, NotWritten>>;

/// One `space.write`.
struct UnderWay {
    /// The life of the store that it was sent to. Another does not know it by its ids.
    store: StoreId,
    changes: Vec<Change>,
    /// Who waits for how many of the outcomes, in order.
    answers: Vec<(usize, Answer)>,
}

/// Numbers that have been taken and not given.
#[derive(Default)]
struct Numbers {
    last: u64,
    taken: u64,
}

impl Lane {
    /// Has changes made, and waits for what became of them.
    pub(super) async fn write(
        &self,
        mesh: &Mesh,
        drafts: Vec<Draft>,
    ) -> Result<Vec<ChangeOutcome>, NotWritten> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        fits(&drafts)?;
        if mesh.calls().is_none() {
            return Err(NotWritten::Offline);
        }
        let (answer, answered) = oneshot::channel();
        self.waiting().push_back(Waiting { drafts, answer });
        self.come.notify_one();
        let answered = timeout(ANSWER_WITHIN, answered).await;
        answered.map_or(Err(NotWritten::Unanswered), |answered| answered.unwrap_or(Err(NotWritten::Offline)))
    }

    /// What goes out as one: the next writer's changes, and those of others as far as they fit.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        // Who has given up does not want it any more.
        waiting.retain(|waiting| !waiting.answer.is_closed());
        let (mut count, mut bytes, mut next) = (0, 0, Vec::new());
        while let Some(first) = waiting.front() {
            count += first.drafts.len();
            bytes += size(&first.drafts);
            let fits = count <= limits::SPACE_PAGE && bytes <= limits::FRAME_ENVELOPES;
            if !fits && !next.is_empty() {
                break;
            }
            next.extend(waiting.pop_front());
        }
        next
    }

    /// What a store that was lost may have made comes back from those who hold it; sent again, it could be made twice.
    fn give_up_what_was_for_another(&self, store: StoreId) {
        let under_way = self.under_way().take_if(|under_way| under_way.store != store);
        if let Some(UnderWay { answers, .. }) = under_way {
            tell(answers, Err(NotWritten::Unanswered));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, Option<UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number of a change, durable before it is given.
    pub(super) async fn number(&self, mesh: &Mesh, space: SpaceRow) -> Result<u64, WriteError> {
        let mut numbers = self.numbers.lock().await;
        if numbers.last == numbers.taken {
            numbers.last = mesh.writer.numbers(space, NUMBERS).await?;
            numbers.taken = numbers.last + NUMBERS;
        }
        numbers.last += 1;
        Ok(numbers.last)
    }
}

fn fits(drafts: &[Draft]) -> Result<(), NotWritten> {
    if drafts.iter().any(|draft| value(draft) > limits::VALUE) {
        return Err(NotWritten::TooLarge);
    }
    let fits = drafts.len() <= limits::SPACE_PAGE
        && (drafts.len() == 1 || size(drafts) <= limits::FRAME_ENVELOPES)
        && drafts.iter().all(|draft| {
            !matches!(&draft.change, DraftChange::Touch { seqs, .. } if seqs.len() > limits::SPACE_PAGE)
        });
    if fits { Ok(()) } else { Err(NotWritten::TooMany) }
}

const fn value(draft: &Draft) -> usize {
    match &draft.change {
        DraftChange::Put { value, .. } | DraftChange::Append { value, .. } => value.len(),
        DraftChange::Touch { .. } | DraftChange::Delete { .. } => 0,
    }
}

/// About what changes take up when they are sealed.
fn size(drafts: &[Draft]) -> usize {
    drafts.iter().map(|draft| value(draft) * 9 / 8 + AROUND).sum()
}

/// Writes what there is to write, until the link ends.
pub(super) async fn run(link: Link<'_>, space: &Space) -> Ended {
    let _down = Down(&space.lane);
    loop {
        if let Err(trouble) = step(link, space).await {
            return trouble;
        }
    }
}

/// One `space.write`, from what waits to its answers.
async fn step(link: Link<'_>, space: &Space) -> Result<(), Ended> {
    space.lane.give_up_what_was_for_another(link.store);
    let unanswered = space.lane.under_way().as_ref().map(|under_way| under_way.changes.clone());
    let changes = match unanswered {
        Some(changes) => changes,
        None => {
            space.lane.come.notified().await;
            let waiting = space.lane.next();
            if waiting.is_empty() {
                return Ok(());
            }
            space.lane.come.notify_one(); // There may be more than fits.
            let Some(made) = make(link, space, waiting).await? else { return Ok(()) };
            let changes = made.changes.clone();
            *space.lane.under_way() = Some(made);
            changes
        }
    };
    let outcomes = match link.calls.write_space(space.id(), &changes).await {
        Ok(outcomes) => Ok(outcomes),
        Err(CallError::Refused { detail, .. }) => Err(NotWritten::Refused(detail)),
        Err(error) => return Err(ended(error)),
    };
    if let Some(UnderWay { answers, .. }) = space.lane.under_way().take() {
        tell(answers, outcomes);
    }
    Ok(())
}

/// Gives everybody his share. Who has given up does not mind.
fn tell(answers: Vec<(usize, Answer)>, outcomes: Result<Vec<ChangeOutcome>, NotWritten>) {
    let mut outcomes = outcomes.map(Vec::into_iter);
    for (count, answer) in answers {
        let share = match &mut outcomes {
            Ok(outcomes) => Ok(outcomes.by_ref().take(count).collect()),
            Err(error) => Err(error.clone()),
        };
        let _ = answer.send(share);
    }
}

/// Signs and seals what waits. Who wants what cannot be is answered at once.
async fn make(link: Link<'_>, space: &Space, waiting: Vec<Waiting>) -> Result<Option<UnderWay>, Ended> {
    let mut maker = match Maker::begin(link, space).await {
        Ok(maker) => maker,
        Err(Trouble::Ended(ended)) => return Err(ended),
        Err(Trouble::Later(why)) => {
            debug!(space = %space.id(), %why, "nothing can be written now");
            waiting.into_iter().for_each(|waiting| {
                let _ = waiting.answer.send(Err(NotWritten::Refused(why.clone())));
            });
            return Ok(None);
        }
    };
    let mut under_way = UnderWay { store: link.store, changes: Vec::new(), answers: Vec::new() };
    for Waiting { drafts, answer } in waiting {
        let count = drafts.len();
        match maker.all(drafts).await {
            Ok(changes) => {
                under_way.changes.extend(changes);
                under_way.answers.push((count, answer));
            }
            Err(Unmade::NotWritten(why)) => {
                let _ = answer.send(Err(why));
            }
            Err(Unmade::Ended(ended)) => return Err(ended),
        }
    }
    Ok(Some(under_way).filter(|under_way| !under_way.changes.is_empty()))
}

/// There is no link any more: who waits and has not been sent is told.
struct Down<'a>(&'a Lane);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        for waiting in self.0.waiting().drain(..) {
            let _ = waiting.answer.send(Err(NotWritten::Offline));
        }
    }
}
