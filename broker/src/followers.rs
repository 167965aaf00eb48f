//! Who follows which space. A link asks for what comes after a place, and is answered once there is something: it is never
//! sent what it has not asked for, so what it costs does not depend on how fast it is.
//!
//! ```text
//! link's reader   asks: the question waits at the link, one per space
//! writer          after the commit: hands the end of each changed space to the links that follow it
//! link's writer   answers what can be answered: from what it was handed, if the question begins where that does; else
//!                 from the store
//! ```
//!
//! What is handed over is a cache of the table's tail: without it, every answer is read from the store, and is the same.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use waxwing_crypto::{MeshId, SpaceId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Changed, SpaceFollow};

use crate::store::space::SpaceKey;

/// Sealed bytes of a tail that is handed over. A link holds one per question at most, and shares it with the others.
pub(crate) const TAIL_BYTES: usize = 64 * 1024;

/// What a commit has added to a space.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The end of the space before.
    pub(crate) before: u64,
    /// The end of the space now.
    pub(crate) head: u64,
    /// What has changed, unless it is too much to be handed over.
    pub(crate) changes: Option<Vec<Changed>>,
}

/// The spaces that links follow.
#[derive(Default)]
pub(crate) struct Followers {
    spaces: Mutex<HashMap<SpaceKey, Followed>>,
    links: AtomicU64,
}

/// A space that somebody follows.
#[derive(Default)]
struct Followed {
    /// Its end, if anything was heard of it since somebody has followed it.
    head: Option<u64>,
    links: HashMap<u64, Arc<Questions>>,
}

/// One link's place among the followers. Dropping it takes the link out.
pub(crate) struct Follower {
    followers: Arc<Followers>,
    mesh: MeshId,
    link: u64,
    questions: Arc<Questions>,
}

/// What one link has asked.
#[derive(Default)]
pub(crate) struct Questions {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    spaces: HashMap<SpaceId, Space>,
    /// Spaces whose question can be answered, or may be.
    ready: VecDeque<SpaceId>,
}

/// What a link has asked about one space.
#[derive(Default)]
struct Space {
    question: Option<Question>,
    is_ready: bool,
    /// The place up to which it was told something last; 0 once it was asked what comes after.
    answered: u64,
}

/// A question that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What was asked.
    pub(crate) asked: SpaceFollow,
    /// What has come since, if that is all there is.
    pub(crate) tail: Option<Arc<Tail>>,
}

impl Followers {
    /// A link of a member.
    pub(crate) fn join(self: &Arc<Self>, mesh: MeshId) -> Follower {
        let link = self.links.fetch_add(1, Ordering::Relaxed);
        Follower { followers: Arc::clone(self), mesh, link, questions: Arc::default() }
    }

    /// Hands over what a commit has added.
    pub(crate) fn hand_over(&self, tails: impl Iterator<Item = (SpaceKey, Tail)>) {
        for (space, tail) in tails {
            let links: Vec<_> = match self.lock().get_mut(&space) {
                Some(followed) => {
                    followed.head = Some(tail.head);
                    followed.links.values().cloned().collect()
                }
                None => continue,
            };
            let tail = Arc::new(tail);
            for link in links {
                link.hear(space.space, &tail);
            }
        }
    }

    /// How many links follow how many spaces, each pair counted.
    pub(crate) fn count(&self) -> usize {
        self.lock().values().map(|followed| followed.links.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpaceKey, Followed>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Asks. An older question about the same space is not answered any more. False if the link follows too many spaces.
    pub(crate) fn ask(&self, asked: SpaceFollow) -> bool {
        let forgotten = {
            let mut waiting = self.questions.lock();
            match waiting.make_room(asked.space) {
                Some(forgotten) => forgotten,
                None => return false,
            }
        };
        forgotten.into_iter().for_each(|space| self.leave(space));
        // First the question, then the look at the head: a commit between the two is heard of.
        self.questions.put(asked);
        let head = {
            let mut spaces = self.followers.lock();
            let followed = spaces.entry(self.key(asked.space)).or_default();
            followed.links.entry(self.link).or_insert_with(|| Arc::clone(&self.questions));
            followed.head
        };
        if !asked.wait || head != Some(asked.after) {
            self.questions.is_ready(&mut self.questions.lock(), asked.space);
        }
        true
    }

    /// Whether a question only goes on where the last answer has ended.
    pub(crate) fn continues(&self, asked: &SpaceFollow) -> bool {
        let mut waiting = self.questions.lock();
        let space = waiting.spaces.get_mut(&asked.space);
        space.is_some_and(|space| asked.after > 0 && std::mem::take(&mut space.answered) == asked.after)
    }

    /// Waits until there is something to be answered, perhaps.
    pub(crate) async fn ready(&self) {
        loop {
            if !self.questions.lock().ready.is_empty() {
                return;
            }
            self.questions.bell.notified().await;
        }
    }

    /// The next question that may be answered. It stays asked until it is.
    pub(crate) fn next(&self) -> Option<Question> {
        let mut waiting = self.questions.lock();
        let space = waiting.ready.pop_front()?;
        let space = waiting.spaces.get_mut(&space)?;
        space.is_ready = false;
        space.question.clone()
    }

    /// Notes the end of a space as it was read.
    pub(crate) fn saw(&self, space: SpaceId, head: u64) {
        if let Some(followed) = self.followers.lock().get_mut(&self.key(space)) {
            followed.head = followed.head.max(Some(head));
        }
    }

    /// Takes a question off that is about to be answered, up to a place if there is anything to say. False if another has taken
    /// its place meanwhile.
    pub(crate) fn answer(&self, asked: &SpaceFollow, upto: Option<u64>) -> bool {
        let mut waiting = self.questions.lock();
        let Some(space) = waiting.spaces.get_mut(&asked.space) else { return false };
        if space.question.as_ref().is_none_or(|question| question.asked != *asked) {
            return false;
        }
        space.question = None;
        space.answered = upto.unwrap_or_default();
        true
    }

    /// The mesh and space.
    pub(crate) const fn key(&self, space: SpaceId) -> SpaceKey {
        SpaceKey { mesh: self.mesh, space }
    }

    fn leave(&self, space: SpaceId) {
        let mut spaces = self.followers.lock();
        if let Some(followed) = spaces.get_mut(&self.key(space)) {
            followed.links.remove(&self.link);
            if followed.links.is_empty() {
                spaces.remove(&self.key(space));
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let spaces: Vec<_> = self.questions.lock().spaces.drain().map(|(space, _)| space).collect();
        spaces.into_iter().for_each(|space| self.leave(space));
    }
}

impl Questions {
    fn put(&self, asked: SpaceFollow) {
        let mut waiting = self.lock();
        let space = waiting.spaces.entry(asked.space).or_default();
        space.question = Some(Question { asked, tail: None });
    }

    /// Something was added to a space.
    fn hear(&self, key: SpaceId, tail: &Arc<Tail>) {
        let mut waiting = self.lock();
        let Some(question) = waiting.spaces.get_mut(&key).and_then(|space| space.question.as_mut()) else {
            return;
        };
        if question.asked.after >= tail.head {
            return;
        }
        let is_all = question.asked.after == tail.before && tail.changes.is_some();
        question.tail = is_all.then(|| Arc::clone(tail));
        self.is_ready(&mut waiting, key);
    }

    fn is_ready(&self, waiting: &mut Waiting, key: SpaceId) {
        if let Some(space) = waiting.spaces.get_mut(&key)
            && !std::mem::replace(&mut space.is_ready, true)
        {
            waiting.ready.push_back(key);
            self.bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Makes room for one space more by forgetting those that nothing is asked about: they are returned. None if there are too
    /// many others.
    fn make_room(&mut self, space: SpaceId) -> Option<Vec<SpaceId>> {
        if self.spaces.len() < limits::SPACES_FOLLOWED || self.spaces.contains_key(&space) {
            return Some(Vec::new());
        }
        let quiet: Vec<_> = self
            .spaces
            .iter()
            .filter(|(_, space)| space.question.is_none())
            .map(|(space, _)| *space)
            .collect();
        for space in &quiet {
            self.spaces.remove(space);
        }
        (!quiet.is_empty()).then_some(quiet)
    }
}
