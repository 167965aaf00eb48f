//! The life of the store: its id, and the marks that say how far it has come.
//!
//! A store that is set back to an older copy does not know it. But each of its openings is a *run* with a random name,
//! a number rises with every commit, and nodes show the newest such mark that they were given. A mark that this store
//! cannot have given, under a code that only it can make, comes from a future that it has lost: then a new life begins,
//! under a new id, and nodes send again what was not receipted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use waxwing_crypto::Timestamp;
use waxwing_crypto::mark::StoreSecret;
use waxwing_protocol::link::Mark;
use waxwing_protocol::{RunId, StoreId};

/// What the store says of itself when it is opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its id.
    pub(crate) store: StoreId,
    /// What marks are made with.
    pub(crate) secret: StoreSecret,
    /// This opening.
    pub(crate) run: RunId,
    /// The number of the last commit.
    pub(crate) m: u64,
    /// The runs before, each with the number at which the next one began.
    pub(crate) past: HashMap<RunId, u64>,
    /// When this life of it began.
    pub(crate) began: Timestamp,
}

/// The life of the store, as links and the writer see it.
pub(crate) struct Life {
    secret: StoreSecret,
    run: RunId,
    past: HashMap<RunId, u64>,
    /// The last number committed.
    m: AtomicU64,
    current: RwLock<Current>,
}

/// What ends with a life.
#[derive(Clone)]
struct Current {
    store: StoreId,
    began: Timestamp,
    /// Cancelled when the life ends or is interrupted: so do the links that began in it.
    ended: CancellationToken,
}

impl Life {
    /// Begins with what the store says.
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { store, secret, run, m, past, began } = opened;
        let current = RwLock::new(Current { store, began, ended: CancellationToken::new() });
        Self { secret, run, past, m: AtomicU64::new(m), current }
    }

    /// The store's id.
    pub(crate) fn store(&self) -> StoreId {
        self.current().store
    }

    /// When this life began.
    pub(crate) fn began(&self) -> Timestamp {
        self.current().began
    }

    /// Cancelled when the life that is now ends, or is interrupted.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.current().ended
    }

    /// The number of the last commit.
    pub(crate) fn m(&self) -> u64 {
        self.m.load(Ordering::Acquire)
    }

    /// Notes a commit.
    pub(crate) fn committed(&self, m: u64) {
        self.m.store(m, Ordering::Release);
    }

    /// The mark of a commit.
    pub(crate) fn mark(&self, m: u64) -> Mark {
        let (store, run) = (self.store(), self.run);
        let code = self.secret.code(store.as_bytes(), run.as_bytes(), m);
        Mark { store, run, m, code }
    }

    /// Whether this mark is ours, and of a future that the store has lost.
    pub(crate) fn is_set_back(&self, mark: &Mark) -> bool {
        let Mark { store, run, m, code } = mark;
        let is_ours = self.secret.verifies(store.as_bytes(), run.as_bytes(), *m, code);
        let last = if *run == self.run { Some(self.m()) } else { self.past.get(run).copied() };
        is_ours && *store == self.store() && last.is_none_or(|last| *m > last)
    }

    /// Begins a new life, and ends the links of the one before.
    pub(crate) fn renew(&self, store: StoreId, began: Timestamp) {
        let next = Current { store, began, ended: CancellationToken::new() };
        let before =
            std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), next);
        before.ended.cancel();
    }

    /// Ends the links of this life, which goes on: what they had asked for was lost with a connection to the store.
    pub(crate) fn interrupt(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut current.ended);
        drop(current);
        before.cancel();
    }

    /// The name of this opening of the store.
    pub(crate) const fn run(&self) -> RunId {
        self.run
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId::from_bytes([1; 16]);

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    fn life(store: StoreId, secret: u8) -> Life {
        let secret = StoreSecret::from_bytes([secret; 32]);
        let past = HashMap::from([(run(1), 100), (run(2), 150)]);
        Life::new(Opened { store, secret, run: run(3), m: 150, past, began: Timestamp::default() })
    }

    /// A mark as this store's secret makes it.
    fn mark(life: &Life, run: RunId, m: u64) -> Mark {
        Mark { run, m, code: life.secret.code(life.store().as_bytes(), run.as_bytes(), m), ..life.mark(m) }
    }

    #[test]
    fn a_mark_of_an_unknown_run_or_past_the_end_of_a_known_one_proves_a_set_back() {
        let life = life(STORE, 7);
        life.committed(160);
        for (run, m, lost) in [
            (run(1), 100, false),
            (run(1), 101, true),
            (run(2), 150, false),
            (run(2), 151, true),
            (run(3), 160, false),
            (run(3), 161, true),
            (run(4), 1, true),
        ] {
            assert_eq!(life.is_set_back(&mark(&life, run, m)), lost, "{run} {m}");
        }
    }

    #[test]
    fn a_mark_of_another_store_or_with_a_made_up_code_proves_nothing() {
        let ours = life(STORE, 7);
        let theirs = life(STORE, 8);
        assert!(!ours.is_set_back(&mark(&theirs, run(4), 1)), "another secret");
        let other = life(StoreId::from_bytes([2; 16]), 7);
        assert!(!ours.is_set_back(&mark(&other, run(4), 1)), "another life");
    }

    #[test]
    fn a_new_life_ends_the_links_of_the_old_one_and_forgets_its_marks() {
        let life = life(STORE, 7);
        let (lost, ended) = (mark(&life, run(4), 1), life.ended());
        assert!(life.is_set_back(&lost));
        life.renew(StoreId::from_bytes([2; 16]), Timestamp::from_millis(9));
        assert_eq!(life.began(), Timestamp::from_millis(9));
        assert!(ended.is_cancelled());
        assert!(!life.ended().is_cancelled());
        assert!(!life.is_set_back(&lost), "it was of the life before");
    }
}
