mod alike;
mod edges;
mod images;
mod keys;
mod sizes;
mod writer;

use tokio::sync::oneshot;
use waxwing_crypto::membership::Roster;
use waxwing_crypto::sealing::PrekeyId;
use waxwing_crypto::{Purpose, Receipt, Signed, SigningKey, WireId};
use waxwing_protocol::link::{Code, Outcome, Progress, SendItem, Settlement, ToNode};

use super::*;
use crate::store::counting;
use crate::store::node::Counters;
use crate::store::prekey::PrekeyRow;
use crate::store::queue::Item;
use crate::store::{self, NodeKey, Place, Rank, Seq};
use crate::testing::{Fixture, TestLink};

impl Fixture {
    async fn apply(&mut self, changes: Vec<Change>) {
        let mut work = Work::default();
        for change in changes {
            work.add(change);
        }
        let effects = commit(&mut self.db, work, &self.state).await.unwrap();
        effects.publish(&self.state);
    }

    async fn login(&mut self, node: NodeKey) -> TestLink {
        let (answer, answered) = oneshot::channel();
        let progress = self.counters(node).await.shown;
        self.apply(vec![Change::Login(Login { node, progress, answer })]).await;
        TestLink::new(node, answered.await.unwrap().unwrap().0)
    }

    async fn counters(&mut self, node: NodeKey) -> Counters {
        store::node::find(&mut self.db, &[node]).await.unwrap().remove(&node).unwrap_or_default()
    }

    async fn queued(&mut self, node: NodeKey) -> usize {
        let mut rows = 0;
        for rank in Rank::ALL {
            let after = Place { rank, seq: Seq(0) };
            rows += store::queue::read(&mut self.db, node, after, 999, usize::MAX).await.unwrap().rows.len();
        }
        rows
    }
}

impl TestLink {
    fn outcomes(&mut self) -> Option<Vec<Outcome>> {
        let answer = *self.answers.try_recv().ok()?;
        let Answer::Frame(ToNode::Sent(sent)) = answer else { panic!("{answer:?}") };
        Some(sent.outcomes)
    }

    fn settles(&self, seq: u64, by: Settlement, from: NodeKey, seal: u32) -> Settles {
        let id = WireId::from_bytes([1; 16]);
        let mail =
            MailRef { from: from.node, id, seal, exp: waxwing_crypto::Timestamp::from_millis(u64::MAX) };
        let settled = Settled { place: Place { rank: Rank::Next, seq: Seq(seq) }, mail: Some((mail, by)) };
        Settles { peer: Arc::clone(&self.peer), through: seq, settled: vec![settled], reply: self.reply() }
    }
}

fn receipt() -> Settlement {
    Settlement::Receipt(Receipt::from_bytes([7; 16]))
}

fn nack() -> Settlement {
    Settlement::Nack(Signed::new(&SigningKey::from_seed(&[9; 32]), Purpose::Nack, b"nack".to_vec()))
}

#[tokio::test]
async fn what_an_older_login_has_under_way_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let mut older = fixture.login(alpha).await;
    let first = older.sends(vec![fixture.item(alpha, 1, 0)]);
    fixture.apply(vec![Change::Send(first)]).await;
    assert!(older.outcomes().is_some());

    // Handed over before the newer login, and written in the same batch.
    let late = || {
        let row = PrekeyRow { owner: alpha, id: PrekeyId::from_u64(1), prekey: signed(b"p") };
        vec![
            Change::Send(older.sends(vec![fixture.item(beta, 2, 0)])),
            Change::Settle(older.settles(1, receipt(), alpha, 0)),
            Change::Prekey(PrekeyPut { peer: Arc::clone(&older.peer), row, req: 1, reply: older.reply() }),
            Change::Append(Append {
                author: Author::Member(Arc::clone(&older.peer)),
                entry: fixture.invite_entry(),
                req: 1,
                reply: older.reply(),
            }),
        ]
    };
    let (mut changes, again, (answer, _answered)) = (late(), late(), oneshot::channel());
    let progress = fixture.counters(alpha).await.shown;
    changes.push(Change::Login(Login { node: alpha, progress, answer }));
    let head = fixture.roster().head();
    fixture.apply(changes).await;
    fixture.apply(again).await;
    assert!(older.answers.try_recv().is_err(), "nor is anything answered");
    assert_eq!((fixture.queued(alpha).await, fixture.queued(beta).await), (1, 0));
    assert_eq!(fixture.roster().head(), head);
    assert!(store::prekey::find(&mut fixture.db, alpha.mesh, &[alpha.node]).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_is_no_longer_a_member_gets_no_login_and_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let stranger = fixture.node(waxwing_crypto::NodeId::from_bytes([9; 16]));
    let (answer, answered) = oneshot::channel();
    let mut link = TestLink::new(stranger, 0);
    let sends = link.sends(vec![fixture.item(alpha, 1, 0)]);
    let progress = Progress::default();
    fixture.apply(vec![Change::Login(Login { node: stranger, progress, answer }), Change::Send(sends)]).await;
    assert!(answered.await.is_err());
    assert!(link.outcomes().is_none());
    assert_eq!(fixture.queued(alpha).await, 0);
}

#[tokio::test]
async fn counters_follow_what_is_queued() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (mut from, to) = (fixture.login(alpha).await, fixture.login(beta).await);
    let sends = from.sends((1..=3).map(|n| fixture.item(beta, n, 0)).collect());
    fixture.apply(vec![Change::Send(sends)]).await;
    let counters = fixture.counters(beta).await;
    assert_eq!((counters.next_seq, counters.queued, counters.queued_bytes), (Seq(4), 3, 30));

    let longer = SendItem { env: vec![1; 25].into(), ..fixture.item(beta, 2, 1) };
    let sends = from.sends(vec![longer]);
    fixture.apply(vec![Change::Send(sends)]).await;
    let counters = fixture.counters(beta).await;
    assert_eq!((counters.next_seq, counters.queued, counters.queued_bytes), (Seq(4), 3, 45));

    let settles = [
        to.settles(1, receipt(), alpha, 0),
        to.settles(2, nack(), alpha, 0),
        to.settles(3, nack(), alpha, 0),
    ];
    fixture.apply(settles.into_iter().map(Change::Settle).collect()).await;
    let counters = fixture.counters(beta).await;
    assert_eq!((counters.queued, counters.queued_bytes), (1, 25), "the second was replaced, and stays");
    assert_eq!(fixture.counters(alpha).await.queued, 0, "notices do not count");
    assert_eq!(fixture.queued(alpha).await, 2);

    fixture.advance(61_000);
    let (answer, answered) = oneshot::channel();
    fixture.apply(vec![Change::Sweep(answer)]).await;
    assert!(!answered.await.unwrap());
    assert_eq!((fixture.counters(beta).await.queued, fixture.counters(beta).await.queued_bytes), (0, 0));
    assert!(from.outcomes().is_some());
}

#[tokio::test]
async fn a_kept_delivery_is_named() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (from, mut to) = (fixture.login(alpha).await, fixture.login(beta).await);
    for seal in [0, 1] {
        let sends = from.sends(vec![fixture.item(beta, 1, seal)]);
        fixture.apply(vec![Change::Send(sends)]).await;
    }
    let settles = to.settles(1, nack(), alpha, 0);
    fixture.apply(vec![Change::Settle(settles)]).await;
    let Answer::Settled { count: 1, kept } = *to.answers.try_recv().unwrap() else { panic!() };
    assert_eq!(kept, [Place { rank: Rank::Next, seq: Seq(1) }]);
    assert_eq!(fixture.queued(alpha).await, 0, "its sender is not told of a nack it has answered");
}

#[tokio::test]
async fn appends_of_one_batch_stand_on_each_other() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let mut link = fixture.login(alpha).await;
    let invite = fixture.invite_entry();
    let mut after = Roster::clone(&fixture.roster());
    after.apply(&invite).unwrap();
    let join = |name, seed| fixture.join_entry(&after, name, &SigningKey::from_seed(&[seed; 32]));
    let entries = [invite, join("beta", 2), join("gamma", 3)];
    let appends = entries.map(|entry| {
        let author = Author::Member(Arc::clone(&link.peer));
        Change::Append(Append { author, entry, req: 1, reply: link.reply() })
    });
    fixture.apply(appends.into()).await;
    let frames: Vec<_> = std::iter::from_fn(|| {
        let Answer::Frame(frame) = *link.answers.try_recv().ok()? else { return None };
        Some(frame)
    })
    .collect();
    assert!(matches!(&frames[0], ToNode::Log(log) if log.head.unwrap().seq == 2));
    assert!(matches!(&frames[1], ToNode::Log(log) if log.head.unwrap().seq == 3));
    assert!(matches!(&frames[2], ToNode::Error(err) if err.code == Code::LogConflict));
    assert_eq!(fixture.roster().head().seq, 3);
    let reloaded = crate::meshes::Meshes::load(&fixture.state.readers).await.unwrap();
    assert_eq!(reloaded.get(alpha.mesh).unwrap().roster, fixture.roster());
}

#[tokio::test]
async fn of_prekeys_in_one_batch_the_newest_is_kept() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let link = fixture.login(alpha).await;
    let puts = [2, 3, 1].map(|id| {
        let row = PrekeyRow { owner: alpha, id: PrekeyId::from_u64(id), prekey: signed(&[id as u8]) };
        Change::Prekey(PrekeyPut { peer: Arc::clone(&link.peer), row, req: id, reply: link.reply() })
    });
    fixture.apply(puts.into()).await;
    let found = store::prekey::find(&mut fixture.db, alpha.mesh, &[alpha.node]).await.unwrap();
    assert_eq!(found[&alpha.node], signed(&[3]));
    assert_eq!(link.answers.len(), 3);
}

#[tokio::test]
async fn a_batch_is_a_few_statements_however_many_items_it_has() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (sender, recipient) = (fixture.login(alpha).await, fixture.login(beta).await);
    let items = |first: u16| {
        let item = |n: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            SendItem { id: WireId::from_bytes(id), ..fixture.item(beta, 1, 0) }
        };
        (first..first + 500).map(item).collect::<Vec<_>>()
    };
    let (new, others) = (items(0), items(500));
    counting::take();
    fixture.apply(vec![Change::Send(sender.sends(new.clone()))]).await;
    assert!(counting::take() <= 24, "accepted");
    fixture.apply(vec![Change::Send(sender.sends(new))]).await;
    assert!(counting::take() <= 8, "known already");
    let one_by_one = (1..=500).map(|seq| recipient.settles(seq, receipt(), alpha, 0).settled.remove(0));
    let settled = one_by_one.collect();
    let settles =
        Settles { peer: Arc::clone(&recipient.peer), through: 1, settled, reply: recipient.reply() };
    fixture.apply(vec![Change::Settle(settles), Change::Send(sender.sends(others))]).await;
    assert!(counting::take() <= 40, "settled, with notices, and accepted");
    assert_eq!((fixture.queued(alpha).await, fixture.queued(beta).await), (500, 500));
}

#[tokio::test]
async fn a_seal_that_has_taken_the_place_of_another_is_known_for_it() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let mut link = fixture.login(alpha).await;
    let sealed = |seal, env: &'static [u8]| SendItem { env: env.into(), ..fixture.item(beta, 1, seal) };
    let items = vec![sealed(0, b"zero"), sealed(1, b"one"), sealed(1, b"another"), sealed(0, b"late")];
    let (first, again) = (link.sends(items), link.sends(vec![sealed(1, b"once more")]));
    for (sends, accepted) in [(first, 2), (again, 0)] {
        fixture.apply(vec![Change::Send(sends)]).await;
        let outcomes = link.outcomes().unwrap();
        let is_known = |outcome: &Outcome| matches!(outcome, Outcome::Duplicate { .. });
        assert_eq!(outcomes.iter().position(is_known), Some(accepted), "{outcomes:?}");
        assert!(outcomes[accepted..].iter().all(is_known), "{outcomes:?}");
        let after = Place { rank: Rank::Next, seq: Seq(0) };
        let page = store::queue::read(&mut fixture.db, beta, after, 9, usize::MAX).await.unwrap();
        let [(Seq(1), Item::Envelope(mail))] = &page.rows[..] else { panic!("{page:?}") };
        assert_eq!((mail.seal, &mail.env[..]), (1, &b"one"[..]));
    }
}

#[tokio::test]
async fn a_notice_is_kept_for_35_days_after_its_message() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (from, to) = (fixture.login(alpha).await, fixture.login(beta).await);
    let item = fixture.item(beta, 1, 0);
    let expires = item.exp;
    fixture.apply(vec![Change::Send(from.sends(vec![item]))]).await;
    let mut settles = to.settles(1, receipt(), alpha, 0);
    settles.settled[0].mail.as_mut().unwrap().0.exp = expires;
    fixture.apply(vec![Change::Settle(settles)]).await;
    let after = Place { rank: Rank::Notice, seq: Seq(0) };
    let page = store::queue::read(&mut fixture.db, alpha, after, 9, usize::MAX).await.unwrap();
    let ends: Vec<_> = page.rows.iter().map(|(_, item)| item.ends()).collect();
    assert_eq!(ends, [expires.plus(Duration::from_secs(35 * 86_400))]);
}

#[tokio::test]
async fn of_two_prekeys_with_one_number_the_first_is_kept() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let link = fixture.login(alpha).await;
    let puts = [b"one", b"two"].map(|bytes| {
        let row = PrekeyRow { owner: alpha, id: PrekeyId::from_u64(5), prekey: signed(bytes) };
        Change::Prekey(PrekeyPut { peer: Arc::clone(&link.peer), row, req: 1, reply: link.reply() })
    });
    fixture.apply(puts.into()).await;
    let found = store::prekey::find(&mut fixture.db, alpha.mesh, &[alpha.node]).await.unwrap();
    assert_eq!(found[&alpha.node], signed(b"one"));
}

#[tokio::test]
async fn what_waits_for_a_member_that_is_gone_is_taken_out_in_steps_and_more_is_said_to_be_there() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let link = fixture.login(alpha).await;
    let plain = fixture.item(beta, 0, 0);
    let numbered = |n: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        SendItem { id: WireId::from_bytes(id), ..plain.clone() }
    };
    fixture.apply(vec![Change::Send(link.sends((0..700).map(numbered).collect()))]).await;
    let mut more = Vec::new();
    for left in [700 - 512, 0, 0] {
        let (answer, mut answered) = oneshot::channel();
        fixture.apply(vec![Change::Evict { node: beta, answer }]).await;
        more.push(answered.try_recv().unwrap());
        assert_eq!(fixture.queued(beta).await, left);
    }
    assert_eq!(more, [true, false, false]);
}

fn signed(bytes: &[u8]) -> Signed {
    Signed::new(&SigningKey::from_seed(&[8; 32]), Purpose::Prekey, bytes.to_vec())
}
