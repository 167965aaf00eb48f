//! Keeping a copy up with the broker.
//!
//! One page is asked for while the one before is opened and those before that are judged and committed: a copy that catches up
//! takes several in one commit. What is asked for is always what follows the last answer, so an answer is acknowledged
//! by the next request, and the broker never sends more than that.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};
use waxwing_protocol::limits;
use waxwing_protocol::link::{SpaceChanges, SpaceFollow};

use super::check::{self, Page};
use super::held::{Held, Needed, Old};
use super::judge::{Verdict, judge};
use super::offer::Offers;
use super::suspicion::{self, Suspected, Suspicion};
use super::{Fact, Freshness, Link, News, Space, copy};
use crate::clock;
use crate::epochs::Trouble;
use crate::link::{Backoff, Ended};
use crate::store::records;
use crate::store::spaces::{self, Progress, Writers};
use crate::writer::{Following, WriteError};

/// Pages that wait to be judged.
const AHEAD: usize = 3;
/// Pages that are opened at once, each on a thread.
const CHECKED: usize = 2;
/// Pages that a copy which catches up has in one commit: keys are random, so each commit writes much of their index anew,
/// however little it adds to it. A page is 1,024 changes or 1 MiB at most.
const IN_ONE_COMMIT: usize = 5;
/// What has come is not held back for longer, for more to come: on a slow link each page is worth its commit.
const NEXT_WITHIN: Duration = Duration::from_millis(250);

/// Follows until the link ends.
pub(super) async fn run(link: Link<'_>, space: &Arc<Space>) -> Ended {
    let mut backoff = Backoff::SPACES;
    loop {
        let trouble = match Follower::begin(link, space).await {
            Ok(mut follower) => follower.follow(&mut backoff).await,
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Ended(ended) => return ended,
            Trouble::Later(why) => {
                info!(space = %space.id(), %why, "a space is not up to date");
                space.link_lost();
                sleep(backoff.next()).await;
            }
        }
    }
}

/// A copy on its way.
struct Follower<'a> {
    link: Link<'a>,
    space: &'a Arc<Space>,
    progress: Progress,
    writers: Writers,
    /// Records from before the copy was begun anew, until it is complete.
    old: Arc<Old>,
    /// The store that the old ones are of was lost: what the new one lacks is offered when the copy is complete.
    offers: Offers,
    /// The copy is all that stood at its place.
    exact: bool,
    /// Gone when the link is.
    alive: Arc<()>,
}

impl<'a> Follower<'a> {
    /// As the database has it. Another life of the store begins another copy.
    async fn begin(link: Link<'a>, space: &'a Arc<Space>) -> Result<Self, Trouble> {
        let mesh = link.mesh;
        drop(space.committing.lock().await); // What the link before has left under way.
        let known = space.progress(&mesh.db).await.map_err(failed)?;
        let progress = match known {
            Some(progress) => progress,
            None => mesh.writer.space(space.id()).await?,
        };
        let writers = spaces::writers(&mesh.db, progress.row).await.map_err(failed)?;
        let old = records::all(&mesh.db, progress.row, true).await.map_err(failed)?;
        let offers = Offers::new(!old.is_empty());
        let new = records::all(&mesh.db, progress.row, false);
        let new = if old.is_empty() { Vec::new() } else { new.await.map_err(failed)? };
        let old = Arc::new(copy::known(&old, &new));
        let (exact, alive) = (false, Arc::default());
        let mut follower = Self { link, space, progress, writers, old, offers, exact, alive };
        if progress.store != Some(link.store) {
            follower.begin_anew(progress.store.is_some()).await?;
        }
        Ok(follower)
    }

    /// Makes the copy an old one, and begins another. `lost`: the store that it is of was lost.
    async fn begin_anew(&mut self, lost: bool) -> Result<(), Trouble> {
        let mesh = self.link.mesh;
        let store = Some(self.link.store);
        // Too old to be offered: the tombstones of what was deleted since may be gone everywhere.
        let is_young = self.progress.as_of.is_some_and(|at| clock::now().since(at) < limits::TOMBSTONES);
        let progress = Progress { store, place: 0, begun: 0, ..self.progress };
        if self.progress.place > 0 || lost {
            debug!(space = %self.space.id(), lost, "a copy is begun anew");
            let (writer, space) = (mesh.writer.clone(), Arc::clone(self.space));
            self.whole(async move {
                writer.begin_space(progress, lost, !lost || is_young).await?;
                space.freshness.send_modify(|freshness| freshness.complete = false);
                // Nobody may be listening.
                let _ = space.news.send(Arc::new(News { reset: true, ..News::default() }));
                Ok(())
            })
            .await?;
            let old = records::all(&mesh.db, progress.row, true).await.map_err(failed)?;
            (self.old, self.offers) = (Arc::new(copy::known(&old, &[])), Offers::new(lost && is_young));
            self.writers = spaces::writers(&mesh.db, progress.row).await.map_err(failed)?;
        }
        self.progress = progress;
        Ok(())
    }

    /// Asks, checks, judges, commits: one stage after the other, each at work on another page.
    async fn follow(&mut self, backoff: &mut Backoff) -> Trouble {
        let (link, space) = (self.link, self.space);
        let from = (self.progress.place, self.progress.begun);
        let (answers, mut answered) = mpsc::channel(AHEAD);
        let (pages, mut checked) = mpsc::channel::<Page>(AHEAD);
        let check = async move {
            let mut checks = FuturesOrdered::new();
            loop {
                tokio::select! {
                    Some((answer, after)) = answered.recv(), if checks.len() < CHECKED => {
                        checks.push_back(check::check(link, space, answer, after));
                    }
                    Some(page) = checks.next() => if pages.send(page?).await.is_err() {
                        break;
                    },
                    else => break,
                }
            }
            Ok(())
        };
        let take = async {
            let mut next = None;
            while let Some(page) = match next.take() {
                Some(page) => Some(page),
                None => checked.recv().await,
            } {
                let (page, behind) = together(page, &mut checked).await;
                self.take(page).await?;
                next = behind;
                backoff.reset();
            }
            Ok(())
        };
        // Each ends only if it fails, or because another has.
        tokio::select! {
            trouble = ask(link, space, from, answers) => trouble,
            ended = check => or_later(ended),
            ended = take => or_later(ended),
        }
    }

    /// Judges a page and commits what is believed of it.
    async fn take(&mut self, page: Page) -> Result<(), Trouble> {
        self.in_order(&page).await?;
        if page.answer.reset && self.progress.place > 0 {
            self.begin_anew(false).await?;
        }
        let answer = Answer::of(&page.answer);
        let held = self.held(&page).await.map_err(failed)?;
        let forks = self.forks(&page).await.map_err(failed)?;
        let mut verdict = judge(page, held, &self.writers, self.link.store, self.exact);
        verdict.suspicions.extend(forks);
        self.exact = answer.upto == answer.head || verdict.gapless;
        self.commit(verdict, answer).await
    }

    /// Places rise, and do not go back behind what is known.
    async fn in_order(&self, page: &Page) -> Result<(), Trouble> {
        let answer = &page.answer;
        let rises =
            page.changes.iter().try_fold(page.after, |last, change| (change.n > last).then_some(change.n));
        let ends = rises.is_some_and(|last| last <= answer.upto)
            && page.after <= answer.upto
            && answer.upto <= answer.head;
        if ends {
            return Ok(());
        }
        let rollback = Suspicion { what: Suspected::Rollback, writer: None, at: answer.head };
        suspicion::tell(&self.link.mesh.writer, self.space, &[rollback]).await;
        Err(Trouble::Later(format!("places of a space go back: behind {} comes {}", page.after, answer.head)))
    }

    /// What is held of what a page is about.
    async fn held(&self, page: &Page) -> waxwing_sqlite::Result<Held> {
        let db = &self.link.mesh.db;
        let row = self.progress.row;
        let needed = Needed::by(page, &self.writers, self.exact, !self.old.is_empty());
        let mut rows = records::in_slots(db, row, false, &needed.slots).await?;
        rows.extend(records::at(db, row, &needed.seqs).await?);
        for key in &needed.appended {
            rows.extend(records::appended(db, row, key).await?);
        }
        rows.sort_unstable_by_key(|row| row.seq);
        rows.dedup_by_key(|row| row.seq);
        Ok(Held::of(rows, Arc::clone(&self.old)))
    }

    /// Writers that were shown another record than this node at the same place.
    async fn forks(&self, page: &Page) -> waxwing_sqlite::Result<Vec<Suspicion>> {
        let claims: HashMap<u64, _> =
            page.seen(self.link.store).map(|(seen, by)| (seen.seq, (seen.digest, by))).collect();
        if claims.len() > check::FORKS_LOOKED_FOR {
            return Ok(Vec::new()); // A copy that catches up.
        }
        let places: Vec<_> = claims.keys().copied().collect();
        let rows = records::at(&self.link.mesh.db, self.progress.row, &places).await?;
        let fork = |row: &records::Row| {
            let (digest, by) = claims.get(&row.seq)?;
            let differs = waxwing_crypto::space::digest(&row.sealed) != *digest;
            differs.then_some(Suspicion { what: Suspected::Fork, writer: Some(*by), at: row.seq })
        };
        Ok(rows.iter().filter_map(fork).collect())
    }

    /// Commits a page, and lets everybody know.
    async fn commit(&mut self, verdict: Verdict, answer: Answer) -> Result<(), Trouble> {
        let Verdict { put, remove, touch, writers, facts, suspicions, gapless: _, back } = verdict;
        if !back.is_empty() {
            let old = Arc::make_mut(&mut self.old);
            old.extend(back.into_iter().map(|record| (record, None)));
        }
        self.writers.extend(&writers);
        let has_all = answer.upto == answer.head;
        let progress = Progress { place: answer.upto, begun: answer.begun, ..self.progress };
        let changed = !put.is_empty() || !remove.is_empty() || !touch.is_empty();
        let page = (changed || progress != self.progress).then(|| {
            let (writers, mark) = (writers.into_iter().collect(), answer.mark);
            let as_of = if has_all { Some(clock::now()) } else { progress.as_of };
            self.progress = Progress { as_of, ..progress };
            Following { progress: self.progress, put, remove, touch, writers, mark }
        });
        let complete = has_all && self.old.is_empty();
        let news = self.news(facts, complete);
        let (writer, space) = (self.link.mesh.writer.clone(), Arc::clone(self.space));
        self.whole(async move {
            if let Some(page) = page {
                writer.followed(page).await?;
            }
            news.tell(&space);
            suspicion::tell(&writer, &space, &suspicions).await;
            Ok(())
        })
        .await?;
        if has_all && self.settle_old().await? {
            self.news(Vec::new(), true).tell(self.space);
        }
        Ok(())
    }

    /// Does something to its end, also if the link ends before: what is committed is told. The next follower waits for it.
    async fn whole(
        &self,
        work: impl Future<Output = Result<(), WriteError>> + Send + 'static,
    ) -> Result<(), Trouble> {
        let committing = Arc::clone(&self.space.committing).lock_owned().await;
        let done = self.link.mesh.tasks.spawn(async move {
            let _committing = committing;
            work.await
        });
        let done = done.await.map_err(|error| Trouble::Later(error.to_string()))?;
        Ok(done?)
    }

    /// The new copy has all that the broker has. What that lacks of the old one is offered; once it has come back, the old
    /// one is forgotten. Says whether it was now.
    async fn settle_old(&mut self) -> Result<bool, Trouble> {
        if self.old.is_empty() {
            return Ok(false);
        }
        let is_back = self.offers.settle(self.link, self.space, &self.progress).await?;
        if is_back {
            self.link.mesh.writer.forget_old(self.progress.row).await?;
            (self.old, self.offers) = (Arc::default(), Offers::default());
        }
        Ok(is_back)
    }

    fn news(&self, facts: Vec<Fact>, complete: bool) -> Telling {
        let news = News { facts, reset: false, complete };
        Telling { news, progress: self.progress, link: Arc::downgrade(&self.alive) }
    }
}

/// News that are told once they are on disk.
struct Telling {
    news: News,
    progress: Progress,
    link: Weak<()>,
}

impl Telling {
    fn tell(self, space: &Space) {
        let Progress { place, store, as_of, .. } = self.progress;
        let as_of = if self.news.complete { Some(clock::now()) } else { as_of };
        space.freshness.send_modify(|freshness| {
            let complete = self.news.complete && self.link.strong_count() > 0;
            *freshness = Freshness { complete, as_of, store, place };
        });
        // Nobody may be listening.
        let _ = space.news.send(Arc::new(self.news));
    }
}

/// A page, and those behind it, as far as they are one with it. Another that is not is given back.
async fn together(mut page: Page, behind: &mut mpsc::Receiver<Page>) -> (Page, Option<Page>) {
    for _ in 1..IN_ONE_COMMIT {
        if !page.has_more() {
            break;
        }
        let Ok(Some(next)) = timeout(NEXT_WITHIN, behind.recv()).await else { break };
        if let Some(next) = page.join(next) {
            return (page, Some(next));
        }
    }
    (page, None)
}

/// What a page says beside its changes.
struct Answer {
    upto: u64,
    head: u64,
    begun: u64,
    mark: waxwing_protocol::link::Mark,
}

impl Answer {
    const fn of(changes: &SpaceChanges) -> Self {
        Self { upto: changes.upto, head: changes.head, begun: changes.begun, mark: changes.mark }
    }
}

/// Asks for page after page, each behind the last. Ends with what is wrong.
async fn ask(
    link: Link<'_>,
    space: &Space,
    (mut after, mut begun): (u64, u64),
    answers: mpsc::Sender<(SpaceChanges, u64)>,
) -> Trouble {
    let mut wait = false;
    loop {
        let follow = |req| SpaceFollow { req, space: space.id(), after, begun, wait };
        let answer = match link.calls.follow(follow).await {
            Ok(answer) => answer,
            Err(error) => return error.into(),
        };
        let asked = if answer.reset { 0 } else { after };
        (after, begun, wait) = (answer.upto, answer.begun, answer.upto >= answer.head);
        if answers.send((answer, asked)).await.is_err() {
            return Trouble::Later("the copy is begun anew".into());
        }
    }
}

fn or_later(ended: Result<(), Trouble>) -> Trouble {
    ended.err().unwrap_or_else(|| Trouble::Later("nothing is asked for any more".into()))
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn failed(error: waxwing_sqlite::Error) -> Trouble {
    Trouble::Ended(Ended::Database(error.to_string()))
}
