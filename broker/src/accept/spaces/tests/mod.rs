//! What a raw link cannot time, and what many random ones would take too long for.

mod decide;
mod history;
mod model;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};
use waxwing_crypto::membership::{Body, Leave};
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, KeyId, SigningKey, SpaceId};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{self, Append, ChangeOutcome, Put, SpaceFollow, ToNode, What};

use crate::accept::{
    Answer, Append as Entry, Author, Budget, Bye, Change, EndDue, Login, SpaceWrites, Work, commit,
};
use crate::followers::Tail;
use crate::store::record::{Page, page};
use crate::store::space::SpaceKey;
use crate::store::{self, NodeKey, counting};
use crate::testing::{Fixture, TestLink};

const SPACE: SpaceId = SpaceId::from_bytes([0x5a; 32]);

fn key(n: u8) -> KeyId {
    KeyId::from_bytes([n; 32])
}

fn put(n: u64, at: u8) -> Put {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let (id, sealed) = (ChangeId::from_bytes(id), Bytes::from(n.to_be_bytes().to_vec()));
    Put { id, key: key(at), own: true, when: Condition::Any, ttl: None, bound: None, sealed }
}

fn bound(n: u64, at: u8, grace: u64) -> link::Change {
    link::Change::Put(Put { bound: Some(grace), ..put(n, at) })
}

impl Fixture {
    /// Commits as one batch. What followers are handed is what they would read.
    async fn commit(&mut self, changes: Vec<Change>) -> Option<Tail> {
        let mut work = Work::default();
        for change in changes {
            work.add(change);
        }
        let mut effects = commit(&mut self.db, work, &self.state).await.unwrap();
        let tails: Vec<_> = std::mem::take(&mut effects.told).tails().collect();
        effects.publish(&self.state);
        assert!(tails.len() <= 1, "there is one space");
        let (space, tail) = tails.into_iter().next()?;
        assert_eq!(space, self.space());
        let read = self.page(tail.before).await;
        assert_eq!((tail.head, tail.changes.as_ref()), (read.head, Some(&read.changes)));
        Some(tail)
    }

    fn space(&self) -> SpaceKey {
        SpaceKey { mesh: self.founder_key().mesh, space: SPACE }
    }

    async fn page(&mut self, after: u64) -> Page {
        let space = self.space();
        page(&mut self.db, space, after).await.unwrap()
    }

    async fn link(&mut self, node: NodeKey) -> TestLink {
        let (answer, answered) = oneshot::channel();
        let progress = store::node::find(&mut self.db, &[node]).await.unwrap();
        let progress = progress.get(&node).copied().unwrap_or_default().shown;
        self.commit(vec![Change::Login(Login { node, progress, answer })]).await;
        TestLink::new(node, answered.await.unwrap().unwrap().0)
    }

    /// Has what is due ended, as the timer does.
    async fn end(&mut self) -> Vec<String> {
        let (answer, _answered) = oneshot::channel();
        let asked = self.state.clock.steady();
        let tail = self.commit(vec![Change::End(EndDue { asked, answer })]).await;
        words(tail.as_ref())
    }

    /// Lets so many milliseconds pass, in which nothing ends.
    async fn look_for(&mut self, millis: u64) {
        let mut left = millis;
        while left > 0 {
            let step = left.min(10_000);
            self.advance(step);
            left -= step;
            assert!(self.end().await.is_empty(), "with {left} ms left");
        }
    }
}

fn words(tail: Option<&Tail>) -> Vec<String> {
    let changes = tail.and_then(|tail| tail.changes.clone()).unwrap_or_default();
    let word = |what: &What| match what {
        What::Record(record) => format!("record {}", record.key.as_bytes()[0]),
        What::Deleted(deleted) => format!("deleted {}", deleted.key.as_bytes()[0]),
        What::Ended(ended) => format!("{:?} {}", ended.why, ended.key.as_bytes()[0]),
        What::Touched { .. } => "touched".to_owned(),
    };
    changes.iter().map(|changed| word(&changed.what)).collect()
}

impl TestLink {
    fn writes(&self, changes: Vec<link::Change>) -> Change {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let budget = [Budget::new(permit()), Budget::new(permit())];
        let (peer, reply) = (Arc::clone(&self.peer), self.reply());
        Change::Write(SpaceWrites { peer, req: 1, space: SPACE, changes, reply, budget })
    }

    fn bye(&self) -> Change {
        Change::Bye(Bye { peer: Arc::clone(&self.peer), req: 1, reply: self.reply() })
    }

    fn written(&mut self) -> Vec<ChangeOutcome> {
        let answer = *self.answers.try_recv().unwrap();
        let Answer::Frame(ToNode::SpaceWritten(written)) = answer else { panic!("{answer:?}") };
        written.outcomes
    }
}

#[tokio::test]
async fn a_thousand_changes_are_a_few_statements() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let mut link = fixture.link(alpha).await;
    let changes = |from: u64| {
        let one = |n: u64| {
            let slot = u8::try_from(n % 200).unwrap();
            if n.is_multiple_of(2) {
                link::Change::Put(put(from + n, slot))
            } else {
                bound(from + n, slot, 0)
            }
        };
        (0..1_000).map(one).collect::<Vec<_>>()
    };
    fixture.commit(vec![link.writes(changes(0))]).await;
    link.written();
    counting::take();
    let mut work = Work::default();
    work.add(link.writes(changes(1_000)));
    commit(&mut fixture.db, work, &fixture.state).await.unwrap();
    let made = counting::take();
    assert!(made <= 40, "{made} statements");
}

#[tokio::test]
async fn what_is_bound_ends_after_its_lease_whoever_comes_to_look() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (a, mut b) = (fixture.link(alpha).await, fixture.link(beta).await);
    let (of_alpha, of_beta) = (fixture.state.leases.hold(alpha), fixture.state.leases.hold(beta));
    fixture.commit(vec![a.writes(vec![bound(1, 1, 0), bound(2, 2, 20_000), bound(3, 3, 20_000)])]).await;
    for _ in 0..4 {
        fixture.advance(20_000);
        of_beta.renew();
        assert!(fixture.end().await.is_empty());
    }
    of_alpha.renew();
    for _ in 0..5 {
        assert!(fixture.end().await.is_empty(), "it was heard of");
        fixture.advance(17_999);
        of_beta.renew();
    }
    assert!(fixture.end().await.is_empty());
    fixture.advance(5);
    assert_eq!(fixture.end().await, ["Lease 1"]);
    assert!(fixture.end().await.is_empty(), "once");
    fixture.advance(19_999);
    assert!(fixture.end().await.is_empty());
    fixture.advance(1);
    // Nobody has come to end them: who looks does.
    let absent = Put { own: false, when: Condition::Absent, ..put(9, 2) };
    let tail = fixture.commit(vec![b.writes(vec![link::Change::Put(absent)])]).await;
    assert_eq!(words(tail.as_ref()), ["Lease 2", "Lease 3", "record 2"]);
    assert!(matches!(b.written()[..], [ChangeOutcome::Applied { .. }]));
}

#[tokio::test]
async fn a_broker_that_was_not_running_ends_nobodys_lease() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (a, b) = (fixture.link(alpha).await, fixture.link(beta).await);
    let _of_alpha = fixture.state.leases.hold(alpha);
    fixture.commit(vec![a.writes(vec![bound(1, 1, 0)])]).await;
    fixture.end().await;
    let meant = fixture.state.clock.steady();
    fixture.advance(200_000);
    let tail = fixture.commit(vec![b.writes(vec![link::Change::Put(put(5, 5))])]).await;
    assert_eq!(words(tail.as_ref()), ["record 5"], "before the timer has looked");
    let (answer, _answered) = oneshot::channel();
    assert!(fixture.commit(vec![Change::End(EndDue { asked: meant, answer })]).await.is_none());
    fixture.look_for(89_999).await;
    fixture.advance(1);
    assert_eq!(fixture.end().await, ["Lease 1"], "a new lease, and no more");
}

#[tokio::test]
async fn a_lease_that_is_renewed_by_a_login_was_never_over() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let a = fixture.link(alpha).await;
    drop(fixture.state.leases.hold(alpha));
    fixture.commit(vec![a.writes(vec![bound(1, 1, 0)])]).await;
    for _ in 0..100 {
        // A link that lasts no longer than its login, a moment before the end.
        fixture.advance(89_990);
        fixture.state.leases.hold(alpha).renew();
        fixture.state.leases.sweep();
        assert!(fixture.end().await.is_empty());
    }
    fixture.look_for(89_999).await;
    fixture.advance(1);
    assert_eq!(fixture.end().await, ["Lease 1"]);
}

#[tokio::test]
async fn what_was_sent_in_a_life_of_the_store_that_is_over_is_not_done() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let mut link = fixture.link(alpha).await.in_life(fixture.state.life.ended());
    fixture.commit(vec![link.writes(vec![link::Change::Put(put(1, 1))])]).await;
    assert_eq!(link.written().len(), 1);
    fixture.state.life.renew(StoreId::from_bytes([9; 16]), fixture.time());
    assert!(fixture.commit(vec![link.writes(vec![link::Change::Put(put(2, 2))])]).await.is_none());
    assert!(link.answers.try_recv().is_err());
}

#[tokio::test]
async fn only_the_newest_login_says_goodbye() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let older = fixture.link(alpha).await;
    fixture.commit(vec![older.writes(vec![bound(1, 1, 0)])]).await;
    let mut newer = fixture.link(alpha).await;
    assert!(fixture.commit(vec![older.bye()]).await.is_none());
    // What it has written before is there by then, also if both are written together.
    let tail = fixture.commit(vec![newer.bye(), newer.writes(vec![bound(2, 2, 9_000)])]).await;
    assert_eq!(words(tail.as_ref()), ["Goodbye 1", "Goodbye 2"]);
    newer.written();
    assert!(matches!(*newer.answers.try_recv().unwrap(), Answer::Frame(ToNode::Done(_))));
    assert_eq!(fixture.state.leases.count(), 0);
}

#[tokio::test]
async fn a_link_that_does_not_read_holds_one_tail_of_a_space_and_no_more() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let link = fixture.link(alpha).await;
    let followers = Arc::clone(&fixture.state.followers);
    let follower = followers.join(alpha.mesh);
    let mut next =
        async |n: u64| fixture.commit(vec![link.writes(vec![link::Change::Put(put(n, 0))])]).await.unwrap();
    let space = SpaceKey { mesh: alpha.mesh, space: SPACE };
    let head = next(0).await.head;
    assert!(follower.ask(SpaceFollow { req: 1, space: SPACE, after: head, begun: head, wait: true }));
    followers.hand_over(std::iter::once((space, next(1).await)));
    assert!(follower.next().unwrap().tail.is_some(), "all that there is");
    for n in 2..5 {
        followers.hand_over(std::iter::once((space, next(n).await)));
        let question = follower.next().unwrap();
        assert!(question.tail.is_none(), "it is more than one commit behind: the store has it all");
    }
    assert!(follower.next().is_none(), "one question, however often it could be answered");
    assert_eq!(followers.count(), 1);
    drop(follower);
    assert_eq!(followers.count(), 0);
}

/// So many records under one key.
fn appended(count: u64, ttl: Option<u64>, bound: Option<u64>) -> Vec<link::Change> {
    let one = |n| {
        let Put { id, key, sealed, .. } = put(n, 1);
        link::Change::Append(Append { id, key, if_empty: false, ttl, bound, sealed })
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn what_is_due_ends_in_steps_and_whoever_asks_is_told_that_there_is_more() {
    for (ttl, bound) in [(None, Some(0)), (Some(1_000), None)] {
        let mut fixture = Fixture::new().await;
        let alpha = fixture.founder_key();
        let mut link = fixture.link(alpha).await;
        drop(fixture.state.leases.hold(alpha));
        let mut changes = appended(700, ttl, bound);
        let write = |changes| {
            let mut work = Work::default();
            work.add(link.writes(changes));
            work
        };
        let works = [write(changes.split_off(350)), write(changes)];
        for work in works {
            commit(&mut fixture.db, work, &fixture.state).await.unwrap().publish(&fixture.state);
        }
        assert!(link.written().iter().all(|outcome| matches!(outcome, ChangeOutcome::Applied { .. })));
        let mut ended = 0;
        for _ in 0..100 {
            fixture.advance(2_000);
            let (answer, mut answered) = oneshot::channel();
            let asked = fixture.state.clock.steady();
            let mut work = Work::default();
            work.add(Change::End(EndDue { asked, answer }));
            let before = store::space::counted(&mut fixture.db).await.unwrap().bytes;
            commit(&mut fixture.db, work, &fixture.state).await.unwrap().publish(&fixture.state);
            let left = store::space::counted(&mut fixture.db).await.unwrap().bytes;
            ended += usize::from(left < before);
            assert_eq!(
                answered.try_recv().unwrap(),
                left > 0 && left < before,
                "{ttl:?}, {bound:?}: {left} left"
            );
        }
        assert_eq!(ended, 2, "{ttl:?}, {bound:?}");
    }
}

#[tokio::test]
async fn only_who_asks_whether_there_is_a_record_under_a_key_has_them_looked_for() {
    let mut fixture = Fixture::new().await;
    let link = fixture.link(fixture.founder_key()).await;
    let mut statements = Vec::new();
    for (at, if_empty) in [false, false, true].into_iter().enumerate() {
        let Put { id, key, sealed, .. } = put(at as u64, at as u8);
        let change = link::Change::Append(Append { id, key, if_empty, ttl: None, bound: None, sealed });
        counting::take();
        fixture.commit(vec![link.writes(vec![change])]).await;
        statements.push(counting::take());
    }
    // The first of them has made the space.
    assert_eq!(statements[1] + 1, statements[2], "{statements:?}");
}

#[tokio::test]
async fn what_a_member_has_bound_ends_when_it_leaves_and_nothing_else_does() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let a = fixture.link(alpha).await;
    let append = |link: &TestLink, entry| {
        let author = Author::Member(Arc::clone(&link.peer));
        Change::Append(Entry { author, entry, req: 1, reply: link.reply() })
    };
    let key = SigningKey::from_seed(&[2; 32]);
    fixture.commit(vec![append(&a, fixture.invite_entry())]).await;
    let join = fixture.join_entry(&fixture.roster(), "beta", &key);
    fixture.commit(vec![append(&a, join)]).await;
    let beta = fixture.node(key.public().node_id());
    let b = fixture.link(beta).await;
    let _held = (fixture.state.leases.hold(alpha), fixture.state.leases.hold(beta));
    fixture.commit(vec![a.writes(vec![bound(1, 1, 0)]), b.writes(vec![bound(2, 2, 0)])]).await;
    let leave = Body::Leave(Leave { node: beta.node });
    let leave = fixture.roster().entry(fixture.time(), leave).sign(&[&key]);
    let tail = fixture.commit(vec![append(&b, leave)]).await;
    assert_eq!(words(tail.as_ref()), ["Goodbye 2"]);
}

#[tokio::test]
async fn what_changes_nothing_is_told_to_nobody() {
    let mut fixture = Fixture::new().await;
    let mut link = fixture.link(fixture.founder_key()).await;
    fixture.commit(vec![link.writes(vec![link::Change::Put(put(1, 1))])]).await.unwrap();
    link.written();
    let absent = Put { when: Condition::Absent, ..put(2, 1) };
    assert!(fixture.commit(vec![link.writes(vec![link::Change::Put(absent)])]).await.is_none());
    assert!(matches!(link.written()[..], [ChangeOutcome::Conflict { seq: Some(_) }]));
    assert!(
        fixture.commit(vec![link.writes(vec![link::Change::Put(put(1, 1))])]).await.is_none(),
        "made before"
    );
}
