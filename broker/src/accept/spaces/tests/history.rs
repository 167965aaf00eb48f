//! Random histories: every answer is the model's, and every follower, whenever it asks and however little it is told at once,
//! comes to have what stands there.

use bytes::Bytes;
use tokio::sync::oneshot;
use waxwing_crypto::ChangeId;
use waxwing_crypto::space::Condition;
use waxwing_protocol::link::{Append, Change, Delete, Put, Touch};

use super::key;
use super::model::Standings;
use crate::accept;
use crate::store::record::page_of;
use crate::store::space::Usage;
use crate::store::{self, NodeKey};
use crate::testing::{Dice, Fixture, TestLink};

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// A copy of the space, as far as it has been told.
#[derive(Default)]
struct Follower {
    after: u64,
    begun: u64,
    has: Standings,
}

struct World {
    fixture: Fixture,
    dice: Dice,
    nodes: Vec<(NodeKey, TestLink)>,
    model: Standings,
    copies: Vec<Follower>,
    /// Places that were given.
    places: Vec<u64>,
    changes: u64,
    resets: usize,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut fixture = Fixture::new().await;
        let mut nodes = Vec::new();
        for n in 2..5 {
            let key = fixture.join(&format!("n{n}"), n);
            let link = fixture.link(key).await;
            nodes.push((key, link));
        }
        let copies = (0..6).map(|_| Follower::default()).collect();
        let (dice, model, places) = (Dice(seed), Standings::default(), Vec::new());
        Self { fixture, dice, nodes, model, copies, places, changes: 0, resets: 0 }
    }

    fn change(&mut self) -> Change {
        self.changes += 1;
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.changes.to_be_bytes());
        let (id, sealed) = (ChangeId::from_bytes(id), Bytes::from(self.changes.to_be_bytes().to_vec()));
        let key = key(u8::try_from(self.dice.roll(3)).unwrap());
        let own = self.dice.roll(2) == 0;
        let some = |dice: &mut Dice| (dice.roll(3) == 0).then(|| 1_000 + dice.roll(5_000));
        let (ttl, bound) = (some(&mut self.dice), some(&mut self.dice));
        let recent = |world: &mut Self| {
            let from = world.places.len().saturating_sub(12);
            world.dice.one(&world.places[from..]).unwrap_or(1)
        };
        let when = match self.dice.roll(4) {
            0 => Condition::Absent,
            1 => Condition::Seq(recent(self)),
            _ => Condition::Any,
        };
        match self.dice.roll(10) {
            0..4 => Change::Put(Put { id, key, own, when, ttl, bound, sealed }),
            4..6 => {
                let if_empty = self.dice.roll(3) == 0;
                Change::Append(Append { id, key, if_empty, ttl, bound, sealed })
            }
            6..8 => {
                let seqs = (0..=self.dice.roll(3)).map(|_| recent(self)).collect();
                Change::Touch(Touch { seqs, ttl: 1_000 + self.dice.roll(5_000) })
            }
            _ => {
                let seq = (self.dice.roll(2) == 0).then(|| recent(self));
                Change::Delete(Delete { id, key, own, seq, when, sealed })
            }
        }
    }

    /// A batch of frames, and of what else may come between them.
    async fn batch(&mut self) {
        let now = self.fixture.time().as_millis();
        for (node, _) in &self.nodes {
            self.fixture.state.leases.hold(*node).renew();
        }
        let (mut frames, mut work) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.roll(3) {
            let node = usize::try_from(self.dice.roll(3)).unwrap();
            let changes: Vec<_> = (0..=self.dice.roll(4)).map(|_| self.change()).collect();
            work.push(self.nodes[node].1.writes(changes.clone()));
            frames.push((node, changes));
        }
        let leaves = (self.dice.roll(12) == 0).then(|| usize::try_from(self.dice.roll(3)).unwrap());
        work.extend(leaves.map(|node| self.nodes[node].1.bye()));
        self.fixture.commit(work).await;
        self.model = self.model.at(now);
        for (node, changes) in frames {
            let outcomes = self.nodes[node].1.written();
            for (change, outcome) in changes.iter().zip(&outcomes) {
                let expected = self.model.decide(self.nodes[node].0.node, now, change, outcome);
                assert_eq!(*outcome, expected, "{change:?}");
                if let waxwing_protocol::link::ChangeOutcome::Applied { seq } = outcome {
                    assert!(self.places.last().is_none_or(|last| last < seq));
                    self.places.push(*seq);
                }
            }
        }
        if let Some(node) = leaves {
            let gone = self.nodes[node].0;
            self.nodes[node].1.answers.try_recv().unwrap();
            self.model.0.retain(|_, one| one.bound.is_none() || one.writer != gone.node);
            self.nodes[node].1 = self.fixture.link(gone).await;
        }
    }

    /// Some copy asks once, and is told no more than a few changes.
    async fn tell(&mut self, at: usize, most: usize) {
        let space = self.fixture.space();
        let copy = &mut self.copies[at];
        let mut page = page_of(&mut self.fixture.db, space, copy.after, most).await.unwrap();
        if copy.after > 0 && copy.after.max(copy.begun) < page.horizon {
            self.resets += 1;
            *copy = Follower::default();
            page = page_of(&mut self.fixture.db, space, 0, most).await.unwrap();
        }
        if copy.after == 0 {
            *copy = Follower { begun: page.head, ..Follower::default() };
        }
        assert!(page.changes.iter().all(|one| one.n > copy.after && one.n <= page.upto));
        assert!(page.changes.is_sorted_by(|one, next| one.n < next.n));
        page.changes.into_iter().for_each(|changed| copy.has.hear(changed));
        copy.after = page.upto;
    }

    /// What is counted in memory and in the store is what is there.
    async fn count(&mut self) {
        let mesh = self.fixture.space().mesh;
        let Usage { records, bytes } = store::space::counted(&mut self.fixture.db).await.unwrap();
        // A space counts for a record.
        let there = Usage { records: records + 1, bytes };
        let stored = store::space::usage(&mut self.fixture.db).await.unwrap();
        if let Some(stored) = stored.get(&mesh) {
            assert_eq!((*stored, self.fixture.state.totals.of(mesh)), (there, there));
        }
    }

    async fn age(&mut self) {
        self.fixture.advance(36 * DAY);
        for (node, _) in &self.nodes {
            self.fixture.state.leases.hold(*node).renew();
        }
        self.fixture.end().await;
        let (answer, _answered) = oneshot::channel();
        self.fixture.commit(vec![accept::Change::Sweep(answer)]).await;
    }

    async fn step(&mut self) {
        match self.dice.roll(40) {
            0..18 => self.batch().await,
            18..35 => {
                let (at, most) = (self.dice.roll(6), 1 + self.dice.roll(5));
                self.tell(usize::try_from(at).unwrap(), usize::try_from(most).unwrap()).await;
            }
            35..37 => self.fixture.advance(self.dice.roll(1_500)),
            37 => drop(self.fixture.end().await),
            38 => {
                let at = usize::try_from(self.dice.roll(6)).unwrap();
                self.copies[at] = Follower::default();
            }
            _ if self.dice.roll(8) == 0 => self.age().await,
            _ => self.count().await,
        }
    }
}

#[tokio::test]
async fn every_copy_comes_to_have_what_stands_there_whenever_it_asks() {
    let mut resets = 0;
    for seed in 1..=6 {
        let mut world = World::new(0x9e37_79b9_7f4a_7c15 ^ (seed << 17)).await;
        for _ in 0..400 {
            world.step().await;
        }
        world.count().await;
        world.copies.push(Follower::default());
        let now = world.fixture.time().as_millis();
        let stands = world.model.at(now);
        for at in 0..world.copies.len() {
            while world.copies[at].after < world.fixture.page(u64::MAX >> 2).await.head {
                world.tell(at, 3).await;
            }
            assert_eq!(world.copies[at].has.at(now), stands, "seed {seed}, copy {at}");
        }
        assert!(stands.0.len() > 3, "seed {seed}: something stands");
        resets += world.resets;
    }
    assert!(resets > 2, "some copies were too old: {resets}");
}
