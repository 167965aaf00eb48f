//! What a crash may leave of a node's database: whatever of it is on the disk, it opens, and everything is there that was answered,
//! once and in its order.
//!
//! By default a sample; `just images` takes all images of few writes, and more of many. `WAXWING_SEED` repeats a run.

use std::collections::HashSet;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waxwing_crypto::{KeyId, SpaceId, VerifyingKey};
use waxwing_lab_images::{Checkpoint, Choice, Dice, History, Run, Window, checkpoint};

use super::*;
use crate::store::records::{Row, Slot};
use crate::store::spaces::{Progress, Reached};
use crate::store::whole::{Check, faults};

/// How far everybody has come with this node: ids and counters are numbers from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Come {
    /// The last message that an app was told is accepted.
    sent: u64,
    /// The last message whose sender was given a receipt.
    received: u64,
    /// The last number given to a change of the space.
    numbered: u64,
    /// How far the copy of the space has come.
    followed: u64,
}

const SPACE: SpaceId = SpaceId::from_bytes([7; 32]);

/// A node's writer at work, its folder recorded.
struct Work {
    f: Fixture,
    history: History<Come>,
    dice: Dice,
    come: Come,
    login: u64,
    through: u64,
}

impl Work {
    async fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path(), "node.db").unwrap();
        let f = Fixture::with(CAPS, folder).await;
        let (dice, come) = (Dice::new(seed), Come::default());
        let mut work = Self { f, history, dice, come, login: 0, through: 0 };
        work.f.writer.space(SPACE).await.unwrap();
        work.is_answered().await;
        work
    }

    async fn steps(mut self, count: usize) -> Self {
        for _ in 0..count {
            self = self.step().await;
        }
        self
    }

    /// The answer to what was done last has come.
    async fn is_answered(&mut self) {
        self.history.acknowledge(self.come).await.unwrap();
    }

    async fn step(mut self) -> Self {
        match self.dice.roll(16) {
            0..=2 => self.sends().await,
            3..=5 => self.receives().await,
            6 if self.come.sent > 0 => self.hears_of_one().await,
            7 if self.come.sent > 0 => self.is_receipted().await,
            8 => self.logs_in().await,
            9 if self.come.received > 0 => self.is_read().await,
            10 => self.numbers().await,
            11 => self.follows().await,
            12 => self.does_several_things_at_once().await,
            13 => {
                let how = if self.dice.roll(2) == 0 { Checkpoint::Passive } else { Checkpoint::Restart };
                checkpoint(&self.f.folder.path().join("node.db"), how).await.unwrap();
            }
            14 => {
                self.f = self.f.killed_and_restarted().await;
                // A start writes down that its link was up.
                self.is_answered().await;
            }
            15 => {
                self.f = reopened(self.f).await;
                self.is_answered().await;
            }
            _ => {}
        }
        self
    }

    /// The next messages of apps.
    fn rows(&mut self) -> Vec<NewRow> {
        let count = 1 + self.dice.roll(6);
        let next = self.come.sent + 1..=self.come.sent + count;
        self.come.sent += count;
        let mut large = || if self.dice.roll(8) == 0 { 20_000 } else { 100 };
        next.map(|n| NewRow { content: vec![n as u8; large()].into(), ..outgoing(n) }).collect()
    }

    /// The next messages from elsewhere, of which the first comes last.
    fn delivered(&mut self) -> Delivered {
        let count = 1 + self.dice.roll(5);
        let mut items: Vec<_> = (self.come.received + 1..=self.come.received + count).map(incoming).collect();
        items.rotate_left(1);
        self.come.received += count;
        self.through += count;
        Delivered { items, through: self.through, ..Delivered::default() }
    }

    async fn sends(&mut self) {
        let rows = self.rows();
        self.f.writer.accept(rows).await.unwrap();
        self.is_answered().await;
    }

    async fn receives(&mut self) {
        let delivered = self.delivered();
        self.f.writer.received(delivered).await.unwrap();
        self.is_answered().await;
    }

    /// As one transaction: they are all there before the writer looks.
    async fn does_several_things_at_once(&mut self) {
        let (rows, delivered) = (self.rows(), self.delivered());
        let writer = &self.f.writer;
        let (accepted, received) = tokio::join!(writer.accept(rows), writer.received(delivered));
        assert!(accepted.is_ok() && received.is_ok());
        self.is_answered().await;
    }

    async fn hears_of_one(&mut self) {
        let id = format!("out-{}", 1 + self.dice.roll(self.come.sent));
        self.f.accepted_by_broker(&id).await;
        self.is_answered().await;
    }

    async fn is_receipted(&mut self) {
        let id = format!("out-{}", 1 + self.dice.roll(self.come.sent));
        let news = vec![News::Delivered { row: self.f.row(&id).await }];
        let delivered = Delivered { news, through: self.through, ..Delivered::default() };
        self.f.writer.received(delivered).await.unwrap();
        self.is_answered().await;
    }

    async fn logs_in(&mut self) {
        (self.login, self.through) = (self.login + 1, 0);
        self.f.writer.welcomed(self.login, StoreId::from_bytes([1; 16]), None).await.unwrap();
        self.is_answered().await;
    }

    async fn is_read(&mut self) {
        let through = Through(1 + self.dice.roll(self.come.received));
        self.f.writer.read(through, None, crate::clock::now()).await.unwrap();
        self.is_answered().await;
    }

    async fn numbers(&mut self) {
        let (row, count) = (space(&self.f).await.row, 1 + self.dice.roll(4));
        self.come.numbered += count;
        let before = self.f.writer.numbers(row, count).await.unwrap();
        assert_eq!(before + count, self.come.numbered);
        self.is_answered().await;
    }

    /// A page of the space, in which some keys stand already.
    async fn follows(&mut self) {
        let next = self.come.followed + 1..=self.come.followed + 1 + self.dice.roll(4);
        let (put, store) = (next.clone().map(record).collect(), Some(StoreId::from_bytes([1; 16])));
        self.come.followed = *next.end();
        let progress = Progress { store, place: *next.end(), ..space(&self.f).await };
        let writers = vec![([8; VerifyingKey::SIZE], Reached { counter: *next.end(), lost: 0 })];
        let (remove, touch, mark) = (Vec::new(), Vec::new(), mark(*next.end()));
        self.f.writer.followed(Following { progress, put, remove, touch, writers, mark }).await.unwrap();
        self.is_answered().await;
    }
}

fn outgoing(n: u64) -> NewRow {
    send(&format!("out-{n}"), n as u8)
}

fn incoming(n: u64) -> ReceivedItem {
    item(&format!("in-{n}"), n)
}

fn record(seq: u64) -> Row {
    Row {
        seq,
        key: KeyId::from_bytes([(seq % 5) as u8; 32]),
        slot: Slot::Shared,
        tombstone: seq.is_multiple_of(4),
        writer: NodeId::from_bytes([9; 16]),
        version: seq,
        counter: seq,
        at: Timestamp::from_millis(seq),
        expires: None,
        bound: None,
        life: StoreId::from_bytes([1; 16]),
        sealed: Bytes::from(vec![seq as u8; 300]),
    }
}

async fn space(f: &Fixture) -> Progress {
    crate::store::spaces::find(&f.db, &SPACE).await.unwrap().unwrap()
}

/// Closed in order, and opened again.
async fn reopened(f: Fixture) -> Fixture {
    let Fixture { writer, db, task, folder, .. } = f;
    drop(writer);
    let connection = task.await.unwrap().unwrap();
    crate::store::close(connection, db).await.unwrap();
    Fixture::with(CAPS, folder).await
}

/// Opened as a mesh is after a crash, and then by a writer.
async fn opened(folder: tempfile::TempDir) -> Fixture {
    let file = folder.path().join("node.db");
    if !crate::store::was_closed(&file) {
        let (db, readers) = crate::store::open(&file).await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let goes_on = Check::begin(file, &stop, &tasks).await.unwrap();
        assert!(goes_on.is_none());
        crate::store::close(db, readers).await.unwrap();
    }
    Fixture::with(CAPS, folder).await
}

/// Looks at an image: what it holds, and what the node does with it.
async fn look(window: &Window, choice: &Choice, history: &History<Come>) {
    let folder = window.image(choice).unwrap();
    let come =
        history.judge(window, folder.path()).await.unwrap_or_else(|broken| panic!("{broken} ({choice:?})"));
    let f = opened(folder).await;
    assert_eq!(faults(&f.db).await.unwrap(), [""; 0]);
    let come = come.copied().unwrap_or_default();
    sends_again(&f, come.sent).await;
    receives_again(&f, come.received).await;
    f.writer.space(SPACE).await.unwrap();
    let numbered = f.writer.numbers(space(&f).await.row, 1).await.unwrap();
    assert!(numbered >= come.numbered, "{numbered} was given: {come:?}");
    drop(f.writer);
    crate::store::close(f.task.await.unwrap().unwrap(), f.db).await.unwrap();
}

/// Each message is known, and what is new gets a counter that no other has.
async fn sends_again(f: &Fixture, sent: u64) {
    let before = f.counters().await;
    for acceptance in f.writer.accept((1..=sent).map(outgoing).collect()).await.unwrap() {
        assert_eq!(name(&acceptance), "same");
    }
    f.accept(send("new", 0)).await;
    let counters = f.counters().await;
    let different: HashSet<_> = counters.values().collect();
    assert_eq!(different.len(), counters.len(), "{counters:?}");
    assert_eq!(counters["new"], before.values().max().map_or(1, |last| last + 1));
}

/// Each message is shown once, in its order, when it comes again and others behind it.
async fn receives_again(f: &Fixture, received: u64) {
    let last = received + 8;
    let again = f.receive((1..=last).map(incoming).collect()).await;
    for (n, stored) in (1..=last).zip(again) {
        assert_eq!(stored, Stored::Received(Receipt::from_bytes([n as u8; 16])));
    }
    let expected: Vec<_> = (1..=last).map(|n| (format!("in-{n}"), false)).collect();
    assert_eq!(f.shown().await, expected);
}

#[tokio::test]
async fn whatever_a_crash_leaves_of_a_nodes_database_has_all_that_was_answered_once_and_in_order() {
    let mut run = Run::of("node");
    let Work { history, f, .. } = Work::start(run.seed()).await.steps(run.steps()).await;
    let mut windows = history.windows();
    while let Some(window) = windows.advance() {
        for choice in run.choices(window) {
            look(window, &choice, &history).await;
        }
    }
    f.task.abort();
    run.ends(history.count());
}

#[tokio::test]
async fn one_sync_that_a_disk_lets_pass_is_found_in_a_nodes_images_whichever_answer_rests_on_it() {
    let Work { history, f, .. } = Work::start(1).await.steps(40).await;
    assert!(history.broken(history.windows()).await.unwrap().is_none());
    let mut found = 0;
    for answer in 0..history.count() {
        if let Some(windows) = history.windows_without_the_sync_of(answer) {
            assert!(history.broken(windows).await.unwrap().is_some(), "answer {answer}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
    assert!(history.broken(history.windows_without_syncs_of_the_database()).await.unwrap().is_some());
    f.task.abort();
}
