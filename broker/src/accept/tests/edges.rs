//! The bounds of what is accepted, one step on either side of each.

use waxwing_crypto::Timestamp;
use waxwing_crypto::membership::{Body, LogHead, MAX_CLOCK_SKEW, Update};
use waxwing_protocol::limits;

use super::*;

impl Fixture {
    /// What becomes of one item.
    async fn outcome(&mut self, link: &mut TestLink, item: SendItem) -> Outcome {
        let sends = link.sends(vec![item]);
        self.apply(vec![Change::Send(sends)]).await;
        link.outcomes().unwrap().remove(0)
    }

    /// What becomes of an entry.
    async fn appended(
        &mut self,
        author: Author,
        entry: waxwing_crypto::membership::SignedEntry,
    ) -> Option<Code> {
        let mut link = TestLink::new(self.founder_key(), 0);
        let append = Append { author, entry, req: 1, reply: link.reply() };
        self.apply(vec![Change::Append(append)]).await;
        let answer = *link.answers.try_recv().unwrap();
        if let Answer::Frame(ToNode::Error(err)) = answer {
            return Some(err.code);
        }
        assert!(matches!(answer, Answer::Frame(ToNode::Log(_))), "{answer:?}");
        None
    }

    /// A new signing key for the founder's node.
    fn new_key(&self, seed: u8) -> (SigningKey, Body) {
        let key = SigningKey::from_seed(&[seed; 32]);
        let node = self.founder.public().node_id();
        let update = Update { node, signing: Some(key.public()), sealing: None, host: None };
        (key, Body::Update(update))
    }
}

#[tokio::test]
async fn an_item_has_an_envelope_of_some_size_and_an_end_that_is_near() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let mut link = fixture.login(alpha).await;
    let longest = fixture.state.limits.told().ttl_max();
    let now = fixture.time();
    let plain = fixture.item(beta, 0, 0);
    let numbered = |n: u8| SendItem { id: WireId::from_bytes([n; 16]), ..plain.clone() };
    let sized = |n, length| SendItem { env: vec![0; length].into(), ..numbered(n) };
    let until = |n, exp| SendItem { exp, ..numbered(n) };
    let late = Timestamp::from_millis(now.as_millis() + 1);
    let items = [
        (sized(1, 0), Some(Outcome::BadItem)),
        (sized(2, 1), None),
        (sized(3, limits::ENVELOPE), None),
        (sized(4, limits::ENVELOPE + 1), Some(Outcome::TooLarge)),
        (until(5, now), Some(Outcome::Expired)),
        (until(6, late), None),
        (until(7, now.plus(longest)), None),
        (until(8, late.plus(longest)), Some(Outcome::TtlTooLong)),
    ];
    for (item, refused) in items {
        let outcome = fixture.outcome(&mut link, item.clone()).await;
        match refused {
            Some(refused) => assert_eq!(outcome, refused, "{:?}", item.id),
            None => assert!(matches!(outcome, Outcome::Accepted { .. }), "{:?}: {outcome:?}", item.id),
        }
    }
    let stranger = SendItem { to: waxwing_crypto::NodeId::from_bytes([9; 16]), ..sized(9, 1) };
    assert_eq!(fixture.outcome(&mut link, stranger).await, Outcome::UnknownRecipient);
}

#[tokio::test]
async fn a_queue_takes_so_many_items_and_so_many_bytes() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let mut link = fixture.login(alpha).await;
    let most = fixture.state.limits_of(alpha.mesh);
    let size = fixture.item(beta, 1, 0).env.len() as u64;
    let held = [
        (most.queue_items - 1, 0, true),
        (most.queue_items, 0, false),
        (1, most.queue_bytes - size, true),
        (1, most.queue_bytes - size + 1, false),
    ];
    for (n, (queued, queued_bytes, fits)) in (1..).zip(held) {
        let counters = Counters { queued, queued_bytes, ..fixture.counters(beta).await };
        store::node::put(&mut fixture.db, &[(beta, counters)]).await.unwrap();
        let item = SendItem { first: true, ..fixture.item(beta, n, 0) };
        let outcome = fixture.outcome(&mut link, item).await;
        assert_eq!(
            matches!(outcome, Outcome::Accepted { .. }),
            fits,
            "{queued}, {queued_bytes}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_entry_is_dated_about_now() {
    let skew = u64::try_from(MAX_CLOCK_SKEW.as_millis()).unwrap();
    let made = |past: u64, future: u64| async move {
        let mut fixture = Fixture::new().await;
        let link = fixture.login(fixture.founder_key()).await;
        fixture.advance(future);
        let entry = fixture.invite_entry();
        fixture.now.fetch_sub(future, std::sync::atomic::Ordering::SeqCst);
        fixture.advance(past);
        fixture.appended(Author::Member(Arc::clone(&link.peer)), entry).await
    };
    assert_eq!((made(skew, 0).await, made(0, skew).await), (None, None));
    assert_eq!(made(skew + 1, 0).await, Some(Code::ClockSkew));
    assert_eq!(made(0, skew + 1).await, Some(Code::ClockSkew));
}

#[tokio::test]
async fn a_link_that_enters_appends_its_own_join_or_gives_up_its_own_key_and_nothing_else() {
    let mut fixture = Fixture::new().await;
    let mesh = fixture.roster().mesh();
    fixture.join("beta", 2);
    let entering = |key: &SigningKey| Author::Entering { mesh, key: key.public() };
    let (invite, other) = (fixture.invite.signing_key(), SigningKey::from_seed(&[9; 32]));
    let join = fixture.join_entry(&fixture.roster(), "gamma", &SigningKey::from_seed(&[3; 32]));
    assert_eq!(fixture.appended(entering(&other), join.clone()).await, Some(Code::NotAllowed));
    let again = fixture.invite_entry();
    assert_eq!(fixture.appended(entering(&invite), again).await, Some(Code::NotAllowed));

    let (key, body) = fixture.new_key(7);
    let update = fixture.roster().entry(fixture.time(), body).sign(&[&fixture.founder, &key]);
    assert_eq!(fixture.appended(entering(&other), update).await, Some(Code::NotAllowed));
    let node = fixture.founder.public().node_id();
    let host = Update {
        node,
        signing: None,
        sealing: None,
        host: Some(waxwing_crypto::Digest::from_bytes([4; 32])),
    };
    let host = fixture.roster().entry(fixture.time(), Body::Update(host)).sign(&[&fixture.founder]);
    assert_eq!(
        fixture.appended(entering(&SigningKey::from_seed(&[1; 32])), host).await,
        Some(Code::NotAllowed)
    );
}

#[tokio::test]
async fn a_new_signing_key_begins_its_progress_and_its_prekeys_anew() {
    let mut fixture = Fixture::new().await;
    let alpha = fixture.founder_key();
    let link = fixture.login(alpha).await;
    let row = PrekeyRow { owner: alpha, id: PrekeyId::from_u64(1), prekey: signed(b"p") };
    let prekey = PrekeyPut { peer: Arc::clone(&link.peer), row, req: 1, reply: link.reply() };
    let sends = Sends { rows: 5, ..link.sends(Vec::new()) };
    let settles = link.settles(3, receipt(), alpha, 0);
    fixture.apply(vec![Change::Prekey(prekey), Change::Send(sends), Change::Settle(settles)]).await;
    let shown = fixture.counters(alpha).await.shown;
    assert_eq!((shown.login, shown.through, shown.rows), (1, 3, 5));
    let fewer = Sends { rows: 4, ..link.sends(Vec::new()) };
    let before = link.settles(2, receipt(), alpha, 0);
    fixture.apply(vec![Change::Send(fewer), Change::Settle(before)]).await;
    assert_eq!(fixture.counters(alpha).await.shown, shown, "it does not fall");

    let member = || Author::Member(Arc::clone(&link.peer));
    let invite = fixture.invite_entry();
    assert_eq!(fixture.appended(member(), invite).await, None);
    assert_eq!(fixture.counters(alpha).await.shown, shown, "another entry changes nothing of it");
    let host = Some(waxwing_crypto::Digest::from_bytes([4; 32]));
    let moved = Body::Update(Update { node: alpha.node, signing: None, sealing: None, host });
    let moved = fixture.roster().entry(fixture.time(), moved).sign(&[&fixture.founder]);
    assert_eq!(fixture.appended(member(), moved).await, None);
    assert_eq!(fixture.counters(alpha).await.shown, shown, "the key is the same");
    assert_eq!(store::prekey::find(&mut fixture.db, alpha.mesh, &[alpha.node]).await.unwrap().len(), 1);
    let (key, body) = fixture.new_key(7);
    let update = fixture.roster().entry(fixture.time(), body).sign(&[&fixture.founder, &key]);
    assert_eq!(fixture.appended(member(), update).await, None);
    assert_eq!(fixture.counters(alpha).await.shown, Progress::default());
    assert!(store::prekey::find(&mut fixture.db, alpha.mesh, &[alpha.node]).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_entry_stands_on_the_end_of_its_log_by_its_number_and_by_its_hash() {
    let fixture = Fixture::new().await;
    let head = fixture.roster().head();
    let entry = fixture.invite_entry().parse().unwrap();
    let on = |seq, hash| append::stands_on(&entry, LogHead { seq, hash }).map_err(|refusal| refusal.code);
    let other = waxwing_crypto::Digest::from_bytes([9; 32]);
    assert_eq!(on(head.seq, head.hash), Ok(()));
    for (seq, hash) in [(head.seq + 1, head.hash), (head.seq - 1, head.hash), (head.seq, other)] {
        assert_eq!(on(seq, hash), Err(Code::LogConflict), "{seq}");
    }
}

#[tokio::test]
async fn a_founder_makes_the_mesh_that_it_named_by_its_own_key_and_no_other() {
    let mut fixture = Fixture::new().await;
    let elsewhere = Fixture::new().await;
    let mesh = elsewhere.roster().mesh();
    let genesis = elsewhere.genesis().await;
    let (own, other) = (elsewhere.founder.public(), SigningKey::from_seed(&[9; 32]).public());
    let named = waxwing_crypto::MeshId::from_bytes([9; 16]);
    for (mesh, key) in [(mesh, other), (named, own)] {
        let refused = fixture.appended(Author::Entering { mesh, key }, genesis.clone()).await;
        assert_eq!(refused, Some(Code::NotAllowed));
    }
    assert_eq!(fixture.appended(Author::Entering { mesh, key: own }, genesis).await, None);
    assert!(fixture.state.meshes.get(mesh).is_some());
}

#[tokio::test]
async fn an_id_is_used_for_one_message_to_one_node_at_one_priority() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta, gamma) = (fixture.founder_key(), fixture.join("beta", 2), fixture.join("gamma", 3));
    let mut link = fixture.login(alpha).await;
    let item = fixture.item(beta, 1, 0);
    assert!(matches!(fixture.outcome(&mut link, item.clone()).await, Outcome::Accepted { .. }));
    assert!(matches!(fixture.outcome(&mut link, item.clone()).await, Outcome::Duplicate { .. }));
    let others = [
        SendItem { to: gamma.node, ..item.clone() },
        SendItem { pri: waxwing_crypto::Priority::Now, ..item.clone() },
        SendItem { fp: waxwing_crypto::Fingerprint::from_bytes([9; 32]), ..item },
    ];
    for other in others {
        assert_eq!(fixture.outcome(&mut link, other.clone()).await, Outcome::IdReused, "{other:?}");
    }
}

#[tokio::test]
async fn what_was_asked_for_in_a_life_that_is_over_is_ignored() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let life = CancellationToken::new();
    let mut link = fixture.login(alpha).await.in_life(life.clone());
    for (n, is_over) in [(1, false), (2, true)] {
        if is_over {
            life.cancel();
        }
        let sends = link.sends(vec![fixture.item(beta, n, 0)]);
        fixture.apply(vec![Change::Send(sends)]).await;
        assert_eq!(link.outcomes().is_none(), is_over);
    }
    assert_eq!(fixture.queued(beta).await, 1);
}

#[tokio::test]
async fn who_asks_whether_the_store_takes_commits_hears_of_one() {
    let mut fixture = Fixture::new().await;
    let before = store::meta::now(&mut fixture.db).await.unwrap().m;
    let (answer, answered) = oneshot::channel();
    fixture.apply(vec![Change::Probe(answer)]).await;
    answered.await.unwrap();
    assert_eq!(store::meta::now(&mut fixture.db).await.unwrap().m, before + 1);
}

#[tokio::test]
async fn a_log_that_is_brought_back_to_a_mesh_that_waits_for_none_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let before = fixture.roster();
    let entry = fixture.invite_entry();
    let mut longer = Roster::clone(&before);
    longer.apply(&entry).unwrap();
    let (answer, answered) = oneshot::channel();
    let upload = Upload { roster: longer, after: before.head().seq, entries: vec![entry], answer };
    fixture.apply(vec![Change::Upload(Box::new(upload))]).await;
    answered.await.unwrap();
    let mesh = fixture.state.meshes.get(before.mesh()).unwrap();
    assert!(mesh.waiting.is_none());
    assert_eq!(mesh.roster.head(), before.head());
}
