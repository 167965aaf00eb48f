//! A broker's writer at work, its folder recorded.

use std::path::Path;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, KeyId, SpaceId};
use waxwing_lab_images::{Checkpoint, Dice, History, checkpoint};
use waxwing_protocol::MessageId;
use waxwing_protocol::link::{self, ChangeOutcome, Mark, Put};

use super::super::*;
use crate::store::queue::{Item, read};
use crate::{Broker, Config, Database};

const SPACE: SpaceId = SpaceId::from_bytes([0x5a; 32]);
/// An answer that takes longer will not come.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// What everybody was told by then.
#[derive(Clone, Default)]
pub(super) struct Come {
    pub(super) mark: Option<Mark>,
    /// Who sent it, what, and what the broker calls it.
    pub(super) accepted: Vec<(usize, SendItem, MessageId)>,
    /// Who wrote it, what, and its place.
    pub(super) written: Vec<(usize, link::Change, u64)>,
    /// For each node, the number of its last login.
    pub(super) logins: [u64; 3],
    /// For each node, the place that the next row of its queue is given.
    pub(super) next: [u64; 3],
    /// The end of the log.
    pub(super) head: u64,
}

/// A broker's writer at work, its folder recorded.
pub(super) struct Work {
    /// Makes items, and tells the time.
    pub(super) fixture: Fixture,
    broker: Broker,
    folder: TempDir,
    pub(super) history: History<Come>,
    dice: Dice,
    come: Come,
    pub(super) nodes: [NodeKey; 3],
    links: Vec<TestLink>,
    /// For each link, the last delivery settled.
    through: [u64; 3],
    messages: u8,
    changes: u64,
}

fn database(folder: &Path) -> Database {
    Database::Sqlite(folder.join("broker.db"))
}

/// A broker without a listener, on whatever is in a folder.
pub(super) async fn start(folder: &Path, fixture: &Fixture) -> Broker {
    let config = Config { clock: fixture.state.clock.clone(), ..Config::new(folder) };
    Broker::start(&config, "127.0.0.1:7900".parse().unwrap(), &[], None).await.unwrap()
}

pub(super) async fn answer(link: &mut TestLink) -> Answer {
    *timeout(WITHIN, link.answers.recv()).await.expect("an answer").unwrap()
}

pub(super) async fn login(broker: &Broker, node: NodeKey) -> TestLink {
    let (answer, answered) = oneshot::channel();
    let mut db = broker.state.readers.acquire().await.unwrap();
    let counters = store::node::find(&mut db, &[node]).await.unwrap();
    let progress = counters.get(&node).copied().unwrap_or_default().shown;
    drop(db);
    broker.state.writer.submit(Change::Login(Login { node, progress, answer })).await.unwrap();
    TestLink::new(node, answered.await.unwrap().unwrap().0)
}

pub(super) fn writes(link: &TestLink, changes: Vec<link::Change>) -> Change {
    let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let budget = [Budget::new(permit()), Budget::new(permit())];
    let (peer, reply) = (Arc::clone(&link.peer), link.reply());
    Change::Write(SpaceWrites { peer, req: 1, space: SPACE, changes, reply, budget })
}

pub(super) fn put(n: u64, own: bool, size: usize) -> link::Change {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let (id, key) = (ChangeId::from_bytes(id), KeyId::from_bytes([(n % 5) as u8; 32]));
    let sealed = vec![n as u8; size].into();
    link::Change::Put(Put { id, key, own, when: Condition::Any, ttl: None, bound: None, sealed })
}

impl Work {
    /// A mesh of three, all logged in.
    pub(super) async fn begin(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::of(folder.path(), "broker.db").unwrap();
        let mut fixture = Fixture::on(Some(database(folder.path()))).await;
        let founder = fixture.founder_key();
        let link = fixture.login(founder).await;
        history.acknowledge(Come::default()).await.unwrap();
        let mut nodes = [founder; 3];
        let mut after = Roster::clone(&fixture.roster());
        for (n, name) in ["invite", "beta", "gamma"].into_iter().enumerate() {
            let key = SigningKey::from_seed(&[n as u8 + 1; 32]);
            let entry = if n == 0 { fixture.invite_entry() } else { fixture.join_entry(&after, name, &key) };
            nodes[n] = if n == 0 { founder } else { fixture.node(key.public().node_id()) };
            after.apply(&entry).unwrap();
            let author = Author::Member(Arc::clone(&link.peer));
            fixture.apply(vec![Change::Append(Append { author, entry, req: 1, reply: link.reply() })]).await;
            let come = Come { head: fixture.roster().head().seq, ..Come::default() };
            history.acknowledge(come).await.unwrap();
        }
        let db = std::mem::replace(&mut fixture.db, store::testing::database().await);
        fixture.state.readers.close().await;
        db.close().await.unwrap();
        let broker = start(folder.path(), &fixture).await;
        let come = Come { head: after.head().seq, ..Come::default() };
        let (dice, links) = (Dice::new(seed), Vec::new());
        let (messages, changes, through) = (0, 0, [0; 3]);
        let mut work =
            Self { fixture, broker, folder, history, dice, come, nodes, links, through, messages, changes };
        work.is_opened().await;
        work
    }

    pub(super) async fn steps(mut self, count: usize) -> Self {
        for _ in 0..count {
            self = self.step().await;
        }
        self
    }

    async fn step(mut self) -> Self {
        match self.dice.roll(16) {
            0..=3 => self.sends().await,
            4..=6 => self.settles().await,
            7..=9 => self.writes().await,
            10 => self.keeps_a_prekey().await,
            11 => self.sweeps().await,
            12..=13 => {
                let how = if self.dice.roll(2) == 0 { Checkpoint::Passive } else { Checkpoint::Restart };
                checkpoint(&self.folder.path().join("broker.db"), how).await.unwrap();
            }
            _ => {
                let broker = self.broker;
                broker.stop(WITHIN).await.unwrap();
                self.broker = start(self.folder.path(), &self.fixture).await;
                self.is_opened().await;
            }
        }
        self
    }

    /// A run has begun, and everybody logs in.
    async fn is_opened(&mut self) {
        self.is_answered().await;
        self.links.clear();
        for at in 0..self.nodes.len() {
            let link = login(&self.broker, self.nodes[at]).await;
            self.come.logins[at] = link.peer.login.0;
            self.links.push(link);
            self.is_answered().await;
        }
        self.through = [0; 3];
    }

    /// The answer to what was done last has come.
    async fn is_answered(&mut self) {
        let mut db = self.broker.state.readers.acquire().await.unwrap();
        let counters = store::node::find(&mut db, &self.nodes).await.unwrap();
        drop(db);
        for (at, node) in self.nodes.iter().enumerate() {
            self.come.next[at] = counters.get(node).copied().unwrap_or_default().next_seq.0;
        }
        self.come.mark = Some(self.broker.state.life.mark(self.broker.state.life.m()));
        self.history.acknowledge(self.come.clone()).await.unwrap();
    }

    async fn submit(&self, change: Change) {
        self.broker.state.writer.submit(change).await.unwrap();
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.dice.roll(3)).unwrap()
    }

    /// New messages of one node, and perhaps one of before under a new seal.
    fn items(&mut self, from: usize) -> Vec<SendItem> {
        let mut items = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            self.messages += 1;
            let to = self.nodes[self.node()];
            let size = if self.dice.roll(6) == 0 { 20_000 } else { 100 };
            let item = self.fixture.item(to, self.messages, 0);
            items.push(SendItem { env: vec![self.messages; size].into(), ..item });
        }
        let before = self.come.accepted.iter().rev().find(|(sender, ..)| *sender == from);
        if let Some((_, item, _)) = before.filter(|_| self.messages.is_multiple_of(3)) {
            let exp = self.fixture.time().plus(Duration::from_secs(60));
            items.push(SendItem { seal: item.seal + 1, exp, ..item.clone() });
        }
        items
    }

    async fn are_sent(&mut self, from: usize, items: Vec<SendItem>) {
        let answer = answer(&mut self.links[from]).await;
        let Answer::Frame(ToNode::Sent(sent)) = answer else { panic!("{answer:?}") };
        for (item, outcome) in items.into_iter().zip(sent.outcomes) {
            let Outcome::Accepted { message } = outcome else { panic!("{outcome:?}") };
            self.come.accepted.retain(|(sender, before, _)| (*sender, before.id) != (from, item.id));
            self.come.accepted.push((from, item, message));
        }
    }

    async fn sends(&mut self) {
        let from = self.node();
        let items = self.items(from);
        self.submit(Change::Send(self.links[from].sends(items.clone()))).await;
        self.are_sent(from, items).await;
        self.is_answered().await;
    }

    /// What a node says of the first rows of its queue.
    async fn settled(&mut self, at: usize) -> Settles {
        let mut settled = Vec::new();
        for rank in Rank::ALL {
            for (seq, item) in queue(&self.broker, self.nodes[at], rank).await {
                let by = if self.dice.roll(4) == 0 { nack() } else { receipt() };
                let mail = match item {
                    Item::Envelope(mail) => {
                        Some((MailRef { from: mail.from, id: mail.id, seal: mail.seal, exp: mail.exp }, by))
                    }
                    Item::Notice(_) => None,
                };
                settled.push(Settled { place: Place { rank, seq }, mail });
            }
        }
        settled.truncate(usize::try_from(1 + self.dice.roll(6)).unwrap());
        self.through[at] += settled.len() as u64;
        let link = &self.links[at];
        let (peer, reply) = (Arc::clone(&link.peer), link.reply());
        Settles { peer, through: self.through[at], settled, reply }
    }

    async fn settles(&mut self) {
        let at = self.node();
        let settles = self.settled(at).await;
        self.submit(Change::Settle(settles)).await;
        let answer = answer(&mut self.links[at]).await;
        assert!(matches!(answer, Answer::Settled { .. }), "{answer:?}");
        self.is_answered().await;
    }

    fn changes(&mut self) -> Vec<link::Change> {
        let count = 1 + self.dice.roll(4);
        let next = self.changes + 1..=self.changes + count;
        self.changes += count;
        let size = if self.dice.roll(6) == 0 { 9_000 } else { 90 };
        next.map(|n| put(n, n.is_multiple_of(2), size)).collect()
    }

    async fn are_written(&mut self, by: usize, changes: Vec<link::Change>) {
        let outcomes = written(&mut self.links[by]).await;
        for (change, outcome) in changes.into_iter().zip(outcomes) {
            let ChangeOutcome::Applied { seq } = outcome else { panic!("{outcome:?}") };
            self.come.written.push((by, change, seq));
        }
    }

    async fn writes(&mut self) {
        let (by, changes) = (self.node(), self.changes());
        self.submit(writes(&self.links[by], changes.clone())).await;
        self.are_written(by, changes).await;
        self.is_answered().await;
    }

    async fn keeps_a_prekey(&mut self) {
        let (at, id) = (self.node(), self.fixture.time().as_millis());
        let row = PrekeyRow { owner: self.nodes[at], id: PrekeyId::from_u64(id), prekey: signed(b"p") };
        let link = &self.links[at];
        let (peer, reply) = (Arc::clone(&link.peer), link.reply());
        self.submit(Change::Prekey(PrekeyPut { peer, row, req: 1, reply })).await;
        answer(&mut self.links[at]).await;
        self.is_answered().await;
    }

    /// Some messages are past their end.
    async fn sweeps(&mut self) {
        self.fixture.advance(30_000);
        let (answer, answered) = oneshot::channel();
        self.submit(Change::Sweep(answer)).await;
        assert!(!answered.await.unwrap());
        self.is_answered().await;
    }
}

pub(super) async fn queue(broker: &Broker, node: NodeKey, rank: Rank) -> Vec<(Seq, Item)> {
    let mut db = broker.state.readers.acquire().await.unwrap();
    read(&mut db, node, Place { rank, seq: Seq(0) }, 999, usize::MAX).await.unwrap().rows
}

pub(super) async fn written(link: &mut TestLink) -> Vec<ChangeOutcome> {
    let answer = answer(link).await;
    let Answer::Frame(ToNode::SpaceWritten(written)) = answer else { panic!("{answer:?}") };
    written.outcomes
}
