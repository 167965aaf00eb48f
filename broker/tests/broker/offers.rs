use std::time::Duration;

use bytes::Bytes;
use waxwing_crypto::space::Condition;
use waxwing_protocol::link::{Change, ChangeOutcome, Changed, Code, Offered, Put, Stands, What};

use crate::harness::space::{after, append, delete, key, put, seq, words};
use crate::harness::{Broker, Keys, Mesh};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn offer(writer: &Keys, at: u8, word: &'static str) -> Offered {
    Offered {
        key: key(at),
        writer: writer.id(),
        stands: Stands::Shared,
        tombstone: false,
        when: Condition::Absent,
        expires: None,
        sealed: Bytes::from(word),
    }
}

#[tokio::test]
async fn what_members_hand_back_after_a_loss_stands_again_once() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let broker = broker.lose_store().await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    assert!(a.welcome.waits, "spaces go on while the mesh waits for an admin");
    let expires = Some(broker.clock.now().plus(DAY));
    let all = || {
        vec![
            offer(&alpha, 1, "shared"),
            Offered { stands: Stands::Own, ..offer(&alpha, 1, "alpha's own") },
            Offered { stands: Stands::Own, ..offer(&beta, 1, "beta's own") },
            Offered { stands: Stands::Appended, expires, ..offer(&alpha, 1, "one") },
            Offered { stands: Stands::Appended, ..offer(&beta, 1, "another") },
            Offered { tombstone: true, ..offer(&alpha, 2, "tombstone") },
        ]
    };
    let outcomes = a.offer(all()).await.unwrap();
    let seqs: Vec<_> = outcomes.iter().map(seq).collect();
    assert!(seqs.is_sorted());
    assert_eq!(b.offer(all()).await.unwrap(), outcomes, "whoever hands it back");
    let told = b.all().await;
    assert_eq!(
        words(&told),
        ["shared", "alpha's own", "beta's own", "one", "another", "deleted by tombstone"]
    );
    for changed in &told {
        match &changed.what {
            What::Record(record) => assert!(record.offered && record.bound.is_none()),
            What::Deleted(deleted) => {
                assert!(deleted.offered && deleted.seq == 0 && deleted.writer == alpha.id());
            }
            other => panic!("{other:?}"),
        }
    }
    let What::Record(one) = &told[3].what else { panic!("{told:?}") };
    assert_eq!((one.expires, one.writer), (expires, alpha.id()));
    // A retry after somebody has gone on from there does not bring it back.
    b.put_one(put(1, 1)).await;
    assert_eq!(a.offer(all()).await.unwrap(), outcomes);
    assert_eq!(words(&a.all().await).last().unwrap(), "sealed 1");
}

#[tokio::test]
async fn an_offer_takes_the_place_of_nothing_that_it_does_not_name() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let new = a.put_one(put(1, 1)).await;
    let conflict = ChangeOutcome::Conflict { seq: Some(new) };
    let when = |seq| Condition::Seq(seq);
    let outcomes = b
        .offer(vec![
            offer(&alpha, 1, "older"),
            Offered { when: when(new - 1), ..offer(&alpha, 1, "older") },
            Offered { expires: Some(broker.clock.now()), ..offer(&alpha, 2, "over") },
            Offered { stands: Stands::Appended, tombstone: true, ..offer(&alpha, 3, "tombstone") },
            Offered { sealed: Bytes::new(), ..offer(&alpha, 3, "") },
            Offered { sealed: vec![1; 327_681].into(), ..offer(&alpha, 3, "") },
        ])
        .await
        .unwrap();
    let expected = [
        conflict.clone(),
        conflict,
        ChangeOutcome::Conflict { seq: None },
        ChangeOutcome::BadChange,
        ChangeOutcome::BadChange,
        ChangeOutcome::TooLarge,
    ];
    assert_eq!(outcomes, expected);
    // Rubbish under another's name blocks nothing: who has the real one sees what stands there, and names it.
    let rubbish = seq(&b.offer(vec![offer(&alpha, 4, "rubbish")]).await.unwrap()[0]);
    let real = offer(&alpha, 4, "real");
    let refused = a.offer(vec![real.clone()]).await.unwrap();
    assert_eq!(refused, [ChangeOutcome::Conflict { seq: Some(rubbish) }]);
    let taken = a.offer(vec![Offered { when: when(rubbish), ..real.clone() }]).await.unwrap();
    assert_eq!(b.offer(vec![Offered { when: when(rubbish), ..real }]).await.unwrap(), taken);
    let rubbish = Offered { stands: Stands::Own, ..offer(&alpha, 5, "rubbish") };
    seq(&b.offer(vec![rubbish]).await.unwrap()[0]);
    a.put_one(Put { own: true, ..put(2, 5) }).await;
    assert_eq!(words(&b.all().await), ["sealed 1", "real", "sealed 2"]);
}

#[tokio::test]
async fn a_store_that_was_lost_long_ago_takes_nothing_back() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let (broker, copy) = broker.copied().await;
    let mut a = mesh.login(&broker, &alpha).await;
    a.put_one(put(1, 1)).await;
    let mark = a.follow(after(0, 0)).await.mark;
    broker.clock.advance(36 * DAY);
    assert_eq!(a.offer(vec![offer(&alpha, 2, "late")]).await.unwrap_err().code, Code::NotAllowed);
    // A new life begins, and the days are counted from there.
    let broker = broker.set_back(&copy).await;
    assert!(mesh.try_login_showing(&broker, &alpha, Some(mark)).await.is_err());
    let mut a = mesh.login(&broker, &alpha).await;
    seq(&a.offer(vec![offer(&alpha, 2, "in time")]).await.unwrap()[0]);
    let broker = broker.restart().await;
    broker.clock.advance(34 * DAY);
    let mut a = mesh.login(&broker, &alpha).await;
    seq(&a.offer(vec![offer(&alpha, 3, "in time")]).await.unwrap()[0]);
    assert_eq!(
        a.change(Change::Put(Put { when: Condition::Absent, ..put(5, 2) })).await,
        ChangeOutcome::Conflict {
            seq: Some(seq(&a.offer(vec![offer(&alpha, 2, "in time")]).await.unwrap()[0]))
        }
    );
}

#[tokio::test]
async fn what_was_written_since_a_loss_stays_and_a_tombstone_that_was_handed_back_is_taken_away_by_name() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let conflict = |seq| [ChangeOutcome::Conflict { seq: Some(seq) }];
    // Written since: it stays, and also what is left of it.
    let first = a.put_one(put(1, 1)).await;
    let named = Offered { when: Condition::Seq(first), ..offer(&alpha, 1, "of before") };
    assert_eq!(b.offer(vec![named]).await.unwrap(), conflict(first));
    let deleted = seq(&a.change(Change::Delete(delete(2, 1))).await);
    assert_eq!(b.offer(vec![offer(&alpha, 1, "of before")]).await.unwrap(), conflict(deleted));
    a.put_one(Put { ttl: Some(1_000), ..put(3, 2) }).await;
    broker.clock.advance(Duration::from_secs(2));
    let outcomes = b.offer(vec![offer(&alpha, 2, "of before")]).await.unwrap();
    assert!(matches!(outcomes[..], [ChangeOutcome::Conflict { seq: Some(_) }]), "{outcomes:?}");
    // Handed back: whoever knows better names it.
    let tombstone = Offered { tombstone: true, ..offer(&alpha, 3, "tombstone") };
    let buried = seq(&b.offer(vec![tombstone]).await.unwrap()[0]);
    let newer = offer(&alpha, 3, "newer");
    assert_eq!(a.offer(vec![newer.clone()]).await.unwrap(), conflict(buried));
    seq(&a.offer(vec![Offered { when: Condition::Seq(buried), ..newer }]).await.unwrap()[0]);
    assert_eq!(words(&b.all().await).last().unwrap(), "newer");
}

#[tokio::test]
async fn what_a_store_that_was_set_back_still_has_counts_as_handed_back_but_for_what_was_bound() {
    let broker = Broker::with(|config| config.limits.space_records = 5).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    let first = a.put_one(put(1, 1)).await;
    a.put_one(put(2, 2)).await;
    let gone = seq(&a.change(Change::Delete(delete(3, 2))).await);
    a.put_one(Put { own: true, bound: Some(0), ..put(4, 3) }).await;
    let (broker, copy) = broker.copied().await;
    let mut a = mesh.login(&broker, &alpha).await;
    a.put_one(put(5, 1)).await;
    let mark = a.follow(after(0, 0)).await.mark;
    broker.clock.advance(Duration::from_secs(2));
    let broker = broker.set_back(&copy).await;
    assert!(mesh.try_login_showing(&broker, &alpha, Some(mark)).await.is_err());
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let told = b.all().await;
    assert_eq!(words(&told), ["sealed 1", "deleted by sealed 3"], "leases are gone with the life before");
    let offered = |changed: &Changed| match &changed.what {
        What::Record(record) => record.offered,
        What::Deleted(deleted) => deleted.offered,
        What::Ended(_) | What::Touched { .. } => false,
    };
    assert!(told.iter().all(offered) && (told[0].n, told[1].n) == (first, gone));
    // The newer one, and in the place of the tombstone too, by whoever knows.
    let named = |at, word, seq| Offered { when: Condition::Seq(seq), ..offer(&alpha, at, word) };
    for outcome in a.offer(vec![named(1, "sealed 5", first), named(2, "more", gone)]).await.unwrap() {
        seq(&outcome);
    }
    // What was bound does not count any more: there is room for two records more, beside the space.
    let add = |n| Change::Append(append(n, 9));
    let outcomes = b.write((10..13).map(add).collect()).await;
    assert_eq!(
        (outcomes.iter().map(|outcome| matches!(outcome, ChangeOutcome::Full)).collect::<Vec<_>>()),
        [false, false, true]
    );
    assert!(!offered(b.all().await.last().unwrap()), "what is written now was not handed back");
    let broker = broker.restart().await;
    let mut b = mesh.login(&broker, &beta).await;
    let told = b.all().await;
    assert_eq!(words(&told), ["sealed 5", "more", "sealed 10", "sealed 11"]);
    assert_eq!(told.iter().map(offered).collect::<Vec<_>>(), [true, true, false, false]);
}
