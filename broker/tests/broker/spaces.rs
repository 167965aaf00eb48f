use waxwing_crypto::space::Condition;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Append, Change, ChangeOutcome, Code, Delete, Put, Stands, What};

use crate::harness::space::{SPACE, after, append, delete, id, key, own, put, seq, touch, words};
use crate::harness::{Broker, Mesh};

#[tokio::test]
async fn a_change_is_made_only_if_its_condition_holds() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let when = |n, when| Change::Put(Put { when, ..put(n, 1) });
    let nothing = ChangeOutcome::Conflict { seq: None };
    assert_eq!(a.change(when(1, Condition::Seq(5))).await, nothing);
    assert_eq!(a.change(Change::Delete(delete(2, 1))).await, ChangeOutcome::NotFound);
    let first = seq(&a.change(when(3, Condition::Absent)).await);
    let conflict = ChangeOutcome::Conflict { seq: Some(first) };
    assert_eq!(b.change(when(4, Condition::Absent)).await, conflict);
    assert_eq!(b.change(when(5, Condition::Seq(first - 1))).await, conflict);
    assert_eq!(words(&b.all().await), ["sealed 3"]);
    // What all read, all may replace; one of several in a frame sees those before it.
    let outcomes = b.write(vec![when(6, Condition::Seq(first)), when(7, Condition::Seq(first))]).await;
    let second = seq(&outcomes[0]);
    assert!(second > first);
    assert_eq!(outcomes[1], ChangeOutcome::Conflict { seq: Some(second) });
    let stale = Change::Delete(Delete { when: Condition::Seq(first), ..delete(8, 1) });
    assert_eq!(a.change(stale).await, ChangeOutcome::Conflict { seq: Some(second) });
    let third = seq(&a.change(Change::Delete(Delete { when: Condition::Seq(second), ..delete(9, 1) })).await);
    assert!(third > second);
    assert_eq!(words(&a.all().await), ["deleted by sealed 9"]);
    assert_eq!(a.change(when(10, Condition::Seq(second))).await, nothing, "a tombstone is nothing");
    a.put_one(Put { when: Condition::Absent, ..put(11, 1) }).await;
    assert_eq!(words(&a.all().await), ["sealed 11"], "and goes with what takes its place");
}

#[tokio::test]
async fn shared_own_and_appended_records_stand_beside_each_other() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let absent = |put: Put| Change::Put(Put { when: Condition::Absent, ..put });
    a.write(vec![absent(put(1, 1)), absent(own(2, 1)), Change::Append(append(3, 1))]).await;
    b.write(vec![absent(own(4, 1)), Change::Append(append(5, 1)), Change::Append(append(6, 2))]).await;
    let all = b.all().await;
    assert_eq!(words(&all), ["sealed 1", "sealed 2", "sealed 3", "sealed 4", "sealed 5", "sealed 6"]);
    let stands: Vec<_> = all
        .iter()
        .map(|changed| match &changed.what {
            What::Record(record) => (record.stands, record.writer == alpha.id(), record.seq == changed.n),
            other => panic!("{other:?}"),
        })
        .collect();
    use Stands::{Appended, Own, Shared};
    let expected =
        [(Shared, true), (Own, true), (Appended, true), (Own, false), (Appended, false), (Appended, false)];
    assert_eq!(stands, expected.map(|(stands, alphas)| (stands, alphas, true)));

    let empty = |n, at| Change::Append(Append { if_empty: true, ..append(n, at) });
    let first = ChangeOutcome::Conflict { seq: Some(all[2].n) };
    assert_eq!(a.change(empty(7, 1)).await, first);
    seq(&a.change(empty(8, 3)).await);
    let gone = Change::Delete(Delete { own: true, ..delete(9, 1) });
    seq(&a.change(gone).await);
    assert_eq!(words(&b.all().await)[1], "sealed 3", "only its own");
}

#[tokio::test]
async fn nobody_else_takes_what_is_own_bound_or_appended() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let bound = Put { bound: Some(5_000), ttl: Some(60_000), ..put(1, 1) };
    let outcomes = a
        .write(vec![
            Change::Put(bound),
            Change::Put(Put { ttl: Some(60_000), ..own(2, 2) }),
            Change::Append(Append { ttl: Some(60_000), ..append(3, 3) }),
        ])
        .await;
    let [bound, own_seq, appended] = [0, 1, 2].map(|n: usize| seq(&outcomes[n]));
    let of = |n, at, seq| Change::Delete(Delete { seq: Some(seq), ..delete(n, at) });
    for change in [
        Change::Put(put(11, 1)),
        Change::Put(Put { when: Condition::Seq(bound), ..put(12, 1) }),
        Change::Delete(delete(13, 1)),
        of(14, 3, appended),
        touch(&[bound], 2_000),
        touch(&[own_seq], 2_000),
        touch(&[appended, own_seq], 2_000),
    ] {
        assert_eq!(b.change(change.clone()).await, ChangeOutcome::NotYours, "{change:?}");
    }
    let own_delete = |n, at| Change::Delete(Delete { own: true, ..delete(n, at) });
    for change in [own_delete(15, 2), of(16, 3, own_seq), of(17, 2, appended), of(18, 1, bound)] {
        assert_eq!(b.change(change.clone()).await, ChangeOutcome::NotFound, "{change:?}");
    }
    assert_eq!(words(&b.all().await), ["sealed 1", "sealed 2", "sealed 3"]);
    // An admin clears up what stands in everybody's way; what is own is nobody's business.
    assert_eq!(founder.change(own_delete(20, 2)).await, ChangeOutcome::NotFound);
    seq(&founder.change(of(21, 3, appended)).await);
    founder.put_one(put(22, 1)).await;
    b.put_one(put(23, 1)).await;
    assert_eq!(words(&b.all().await), ["sealed 2", "deleted by sealed 21", "sealed 23"]);
}

#[tokio::test]
async fn a_change_that_was_refused_is_not_made_behind_a_later_one_when_its_frame_comes_again() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    a.put_one(put(9, 1)).await;
    let changes = || {
        vec![
            Change::Put(Put { when: Condition::Absent, ..put(1, 1) }),
            Change::Delete(delete(2, 1)),
            Change::Put(Put { when: Condition::Seq(1), ..put(3, 2) }),
        ]
    };
    let first = a.write(changes()).await;
    assert!(matches!(first[0], ChangeOutcome::Conflict { seq: Some(_) }), "{first:?}");
    let again = a.write(changes()).await;
    assert_eq!(again[0], ChangeOutcome::Conflict { seq: None });
    assert_eq!(again[1..], first[1..]);
    assert_eq!(words(&a.all().await), ["deleted by sealed 2"]);
    let change = Change::Put(Put { when: Condition::Absent, ..put(1, 1) });
    assert!(matches!(a.change(change).await, ChangeOutcome::Applied { .. }), "by itself it is tried anew");
}

#[tokio::test]
async fn a_change_made_again_has_the_same_answer_and_is_made_once() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let changes = || {
        vec![
            Change::Put(Put { when: Condition::Absent, ..put(1, 1) }),
            Change::Append(append(2, 1)),
            Change::Delete(delete(3, 1)),
            Change::Append(append(2, 1)),
        ]
    };
    let first = a.write(changes()).await;
    assert_eq!(first[1], first[3], "within one frame");
    assert_eq!(a.write(changes()).await, first);
    let broker = broker.restart().await;
    let mut a = mesh.login(&broker, &alpha).await;
    assert_eq!(a.write(changes()).await, first, "over a restart");
    assert_eq!(words(&a.all().await), ["sealed 2", "deleted by sealed 3"]);
    for other in [
        Change::Append(append(1, 1)),
        Change::Append(Append { key: key(2), ..append(2, 1) }),
        Change::Append(Append { ttl: Some(5_000), ..append(2, 1) }),
        Change::Append(Append { sealed: b"another"[..].into(), ..append(2, 1) }),
        Change::Delete(Delete { when: Condition::Seq(0), ..delete(3, 1) }),
    ] {
        assert_eq!(a.change(other.clone()).await, ChangeOutcome::IdReused, "{other:?}");
    }
    let space = waxwing_crypto::SpaceId::from_bytes([7; 32]);
    let elsewhere = a.try_write_in(space, vec![Change::Append(append(2, 1))]).await.unwrap();
    assert_eq!(elsewhere, [ChangeOutcome::IdReused]);
    drop(b.socket);
    b = mesh.login(&broker, &beta).await;
    assert_ne!(b.write(vec![Change::Append(append(2, 1))]).await[0], first[1], "an id is its writer's");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_alone_and_the_rest_is_made() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    let bad = [
        Change::Put(Put { ttl: Some(999), ..put(1, 1) }),
        Change::Put(Put { ttl: Some(u64::MAX), ..put(2, 1) }),
        Change::Append(Append { bound: Some(24 * 60 * 60 * 1_000 + 1), ..append(3, 1) }),
        Change::Put(Put { sealed: bytes::Bytes::new(), ..put(4, 1) }),
        Change::Delete(Delete { sealed: bytes::Bytes::new(), ..delete(5, 1) }),
        touch(&[], 5_000),
        touch(&[1], 999),
        touch(&vec![1; limits::SPACE_PAGE + 1], 5_000),
    ];
    let count = bad.len();
    let outcomes = a.write(bad.into_iter().chain([Change::Put(put(6, 1))]).collect()).await;
    assert!(outcomes[..count].iter().all(|outcome| *outcome == ChangeOutcome::BadChange), "{outcomes:?}");
    seq(&outcomes[count]);
    let large = |bytes| Put { sealed: vec![1; bytes].into(), ..put(7, 1) };
    assert_eq!(a.change(Change::Put(large(limits::RECORD + 1))).await, ChangeOutcome::TooLarge);
    a.put_one(large(limits::RECORD)).await;
    assert_eq!(a.change(touch(&[1, 2], 5_000)).await, ChangeOutcome::Touched { gone: vec![1, 2] });

    let half = |n| Change::Append(Append { sealed: vec![1; limits::RECORD].into(), ..append(n, 1) });
    a.write(vec![half(10), half(11)]).await;
    let too_much = a.try_write(vec![half(12), half(13), Change::Append(append(14, 1))]).await.unwrap_err();
    assert_eq!(too_much.code, Code::BadFrame);
    let many = (0..1_025).map(|n| Change::Append(append(20 + n, 1))).collect();
    assert_eq!(a.try_write(many).await.unwrap_err().code, Code::BadFrame);
    assert_eq!(a.try_write(Vec::new()).await.unwrap_err().code, Code::BadFrame);
    assert_eq!(a.offer(Vec::new()).await.unwrap_err().code, Code::BadFrame);
    let many: Vec<_> = (0..1_024).map(|n| Change::Append(append(2_000 + n, 1))).collect();
    let outcomes = a.write(many).await;
    let seqs: Vec<_> = outcomes.iter().map(seq).collect();
    assert!(seqs.windows(2).all(|two| two[1] == two[0] + 1), "in their order, without a gap");
}

#[tokio::test]
async fn a_superseded_login_writes_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut older = mesh.login(&broker, &alpha).await;
    older.put_one(put(1, 1)).await;
    let mut newer = mesh.login(&broker, &alpha).await;
    newer.put_one(put(2, 1)).await;
    let frame =
        waxwing_protocol::link::SpaceWrite { req: 1, space: SPACE, changes: vec![Change::Put(put(3, 1))] };
    older.try_transmit(&waxwing_protocol::link::ToBroker::SpaceWrite(frame)).await;
    older.goaway().await;
    assert_eq!(words(&newer.all().await), ["sealed 2"]);
}

#[tokio::test]
async fn places_rise_and_are_never_given_twice() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let began = broker.clock.now().as_millis() / 1_000;
    let mut a = mesh.login(&broker, &alpha).await;
    let mut last = a.put_one(put(1, 1)).await;
    assert!(last >= (began - 5) << 20 && last < (began + 5) << 20, "{last}");
    let mut rises = |seq: u64| {
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    };
    rises(seq(&a.change(Change::Delete(delete(2, 1))).await));
    let broker = broker.restart().await;
    let mut a = mesh.login(&broker, &alpha).await;
    rises(a.put_one(put(3, 1)).await);
    // Lost, or set back: the new life is above all that was before.
    let (broker, copy) = broker.copied().await;
    let mut a = mesh.login(&broker, &alpha).await;
    for n in 0..5 {
        rises(a.put_one(put(10 + n, 1)).await);
    }
    let mark = a.log_get(0).await.mark.unwrap();
    broker.clock.advance(std::time::Duration::from_secs(2));
    let broker = broker.set_back(&copy).await;
    assert!(mesh.try_login_showing(&broker, &alpha, Some(mark)).await.is_err());
    let mut a = mesh.login(&broker, &alpha).await;
    rises(a.put_one(put(20, 1)).await);
    broker.clock.advance(std::time::Duration::from_secs(2));
    let broker = broker.lose_store().await;
    let mut a = mesh.login(&broker, &alpha).await;
    rises(a.put_one(put(21, 1)).await);
    assert_eq!(a.follow(after(0, 0)).await.head, last);
    assert_eq!(
        a.change(Change::Put(Put { id: id(21), ..put(21, 1) })).await,
        ChangeOutcome::Applied { seq: last }
    );
}

#[tokio::test]
async fn a_mesh_has_so_many_records_and_bytes_and_what_takes_away_always_may() {
    let broker = Broker::with(|config| {
        (config.limits.space_records, config.limits.space_bytes) = (5, limits::RECORD as u64 + 100);
    })
    .await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let add = |n| Change::Append(append(n, 1));
    // The space is one.
    let outcomes = a.write((0..5).map(add).collect()).await;
    assert_eq!(outcomes[4], ChangeOutcome::Full);
    assert_eq!(b.change(Change::Put(put(10, 2))).await, ChangeOutcome::Full);
    let first = seq(&outcomes[0]);
    let gone = |n, seq| Change::Delete(Delete { seq: Some(seq), ..delete(n, 1) });
    seq(&a.change(gone(11, first)).await);
    assert_eq!(b.change(Change::Put(put(12, 2))).await, ChangeOutcome::Full, "a tombstone counts");
    broker.clock.advance(std::time::Duration::from_secs(36 * 24 * 60 * 60));
    let broker = broker.restart().await;
    let mut b = mesh.login(&broker, &beta).await;
    let placed = loop {
        if let ChangeOutcome::Applied { seq } = b.change(Change::Put(put(13, 2))).await {
            break seq;
        }
    };
    let large = |n| Put { sealed: vec![1; limits::RECORD].into(), ..put(n, 2) };
    b.put_one(large(14)).await;
    let larger = Change::Append(Append { sealed: vec![1; 200].into(), ..append(15, 1) });
    assert_eq!(b.change(larger).await, ChangeOutcome::Full);
    b.put_one(large(16)).await;
    b.put_one(Put { when: Condition::Any, ..put(17, 2) }).await;
    assert!(b.follow(after(0, 0)).await.head > placed);
}

#[tokio::test]
async fn who_writes_more_than_it_may_is_told_when_to_come_again_and_nothing_is_changed() {
    let broker = Broker::with(|config| {
        (config.limits.send_items, config.limits.send_items_burst) = (50, 100);
    })
    .await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    let frame = |from: u32| (from..from + 60).map(|n| Change::Append(append(n, 1))).collect::<Vec<_>>();
    a.write(frame(0)).await;
    let refused = a.try_write(frame(100)).await.unwrap_err();
    assert_eq!(refused.code, Code::RateLimited);
    let wait = refused.after.unwrap();
    assert!((200..=400).contains(&wait), "{wait}");
    assert_eq!(a.all().await.len(), 60);
    // A frame larger than a full bucket can be made all the same, once it is full.
    let large = (200..400).map(|n| Change::Append(append(n, 1))).collect::<Vec<_>>();
    let begin = tokio::time::Instant::now();
    while a.try_write(large.clone()).await.is_err() {
        assert!(begin.elapsed() < crate::harness::PATIENCE);
        tokio::task::yield_now().await;
    }
    assert_eq!(a.all().await.len(), 260);
}
