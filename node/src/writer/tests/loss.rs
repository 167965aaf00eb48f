//! A broker that has lost its store.

use super::*;
use crate::store::meta;

const FIRST: StoreId = StoreId::from_bytes([1; 16]);
const SECOND: StoreId = StoreId::from_bytes([2; 16]);

impl Fixture {
    async fn kept_mark(&self) -> Option<u64> {
        meta::mark(&self.db).await.unwrap().map(|mark| mark.m)
    }

    async fn wait_until_sent_again(&self) -> Vec<OutLane> {
        let mut db = self.db.acquire().await.unwrap();
        outbox::pending_lanes(&mut db).await.unwrap()
    }
}

#[tokio::test]
async fn what_was_accepted_and_not_receipted_is_taken_back_under_a_new_store() {
    let f = Fixture::new().await;
    assert_eq!(f.writer.welcomed(1, FIRST, None).await.unwrap(), 0, "the first life seen has taken nothing");
    for id in ["pending", "accepted", "delivered", "refused"] {
        f.accept(send(id, 1)).await;
    }
    f.accepted_by_broker("accepted").await;
    f.accepted_by_broker("delivered").await;
    f.news(News::Delivered { row: f.row("delivered").await }).await;
    f.answered(Answered::Refused { row: f.row("refused").await, seal: 0, reason: "too_large" }).await;
    assert_eq!(f.writer.welcomed(1, FIRST, None).await.unwrap(), 0, "the same life");
    assert_eq!(f.writer.welcomed(1, SECOND, None).await.unwrap(), 1);
    let states = |id: &'static str| async { f.life(id).await.state };
    assert_eq!(states("pending").await, State::Pending);
    assert_eq!(states("accepted").await, State::Pending);
    assert_eq!(states("delivered").await, State::Done);
    assert_eq!(states("refused").await, State::Dead);
    let life = f.life("accepted").await;
    assert_eq!((life.accepted_at, life.seal), (None, 0), "what a lost store had is not shown as accepted");
    assert_eq!(f.wait_until_sent_again().await, [lane(1)]);
    assert_eq!(f.counters().await["accepted"], 2, "in its place of the lane");
    let f = f.killed_and_restarted().await;
    assert_eq!(f.life("accepted").await.state, State::Pending);
    assert_eq!(f.writer.welcomed(1, SECOND, None).await.unwrap(), 0, "once");
    f.accepted_by_broker("accepted").await;
    f.news(News::Delivered { row: f.row("accepted").await }).await;
    assert!(f.life("accepted").await.delivered_at.is_some());
}

#[tokio::test]
async fn of_what_a_lost_store_had_an_end_says_that_the_delivery_is_unknown() {
    let f = Fixture::new().await;
    f.writer.welcomed(1, FIRST, None).await.unwrap();
    for (id, doubtful) in [("lost", true), ("never-there", false)] {
        f.accept(NewRow { expires: Timestamp::from_millis(1_000), ..send(id, 1) }).await;
        if doubtful {
            f.accepted_by_broker(id).await;
        }
    }
    f.writer.welcomed(1, SECOND, None).await.unwrap();
    f.writer.expire(Timestamp::from_millis(2_000)).await.unwrap();
    assert_eq!(f.life("lost").await.reason.as_deref(), Some("expired, delivery unknown"));
    assert_eq!(f.life("never-there").await.reason.as_deref(), Some("expired"));
    let expired = outbox::list(&f.db, 0, Some("expired"), 10).await.unwrap();
    assert_eq!(expired.len(), 2, "both are called expired");
    f.news(News::Delivered { row: f.row("lost").await }).await;
    assert!(f.life("lost").await.delivered_at.is_some(), "a receipt settles it after all");
}

#[tokio::test]
async fn the_newest_mark_is_kept_with_what_it_came_with_and_goes_with_its_store() {
    let f = Fixture::new().await;
    f.writer.welcomed(1, FIRST, None).await.unwrap();
    for (m, kept) in [(5, 5), (3, 5), (9, 9)] {
        f.writer.answered(Vec::new(), mark(m)).await.await.unwrap().unwrap();
        assert_eq!(f.kept_mark().await, Some(kept));
    }
    let growth = Growth { seq: 1, mark: Some(mark(11)), ..Growth::default() };
    f.writer.log(growth).await.unwrap();
    let f = f.killed_and_restarted().await;
    assert_eq!(f.kept_mark().await, Some(11));
    let next_run = Mark { run: RunId::from_bytes([3; 16]), ..mark(2) };
    f.writer.answered(Vec::new(), next_run).await.await.unwrap().unwrap();
    assert_eq!(f.kept_mark().await, Some(2), "a later run counts on from where the store was");
    f.writer.welcomed(1, SECOND, None).await.unwrap();
    assert_eq!(f.kept_mark().await, None);
}
