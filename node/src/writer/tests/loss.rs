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

const UNKNOWN: &str = "expired, delivery unknown";

/// Messages that have a second to live.
async fn short_lived(f: &Fixture, ids: &[&str]) {
    for id in ids {
        f.accept(NewRow { expires: Timestamp::from_millis(1_000), ..send(id, 1) }).await;
    }
}

async fn hand_over(f: &Fixture, id: &str) {
    f.signals.launched(std::iter::once(f.row(id).await));
}

/// As a link does at its end.
async fn link_ends(f: &Fixture) {
    f.signals.link_lost();
    let lost = f.signals.unanswered();
    f.writer.unlinked(lost.clone()).await.unwrap();
    f.signals.noted_lost(&lost);
    assert!(f.signals.unanswered().is_empty());
}

/// Why messages have ended, once their time is over.
async fn ends<const N: usize>(f: &Fixture, ids: [&str; N]) -> [String; N] {
    f.writer.expire(Timestamp::from_millis(2_000)).await.unwrap();
    let mut reasons = ids.map(str::to_owned);
    for reason in &mut reasons {
        *reason = f.life(reason).await.reason.unwrap_or_default();
    }
    reasons
}

#[tokio::test]
async fn of_what_was_handed_over_and_not_answered_an_end_says_that_the_delivery_is_unknown() {
    let f = Fixture::new().await;
    short_lived(&f, &["unanswered", "refused-for-now", "never-sent"]).await;
    for id in ["unanswered", "refused-for-now"] {
        hand_over(&f, id).await;
    }
    f.answered(Answered::Later { row: f.row("refused-for-now").await }).await;
    let reasons = ends(&f, ["unanswered", "refused-for-now", "never-sent"]).await;
    assert_eq!(reasons, [UNKNOWN, "expired", "expired"]);
    let of_an_end = |(_, body)| {
        let EventBody::Outbox { client_message_id, state, reason } = body else { return None };
        Some((client_message_id.to_string(), reason)).filter(|_| state == MessageState::Expired)
    };
    let told: HashMap<_, _> = told(&f).await.into_iter().filter_map(of_an_end).collect();
    assert_eq!(told["unanswered"].as_deref(), Some(UNKNOWN), "its app is told so too");
    assert_eq!(told["never-sent"], None);
    f.news(News::Delivered { row: f.row("unanswered").await }).await;
    let life = f.life("unanswered").await;
    assert!(life.delivered_at.is_some() && life.reason.is_none(), "a receipt settles it after all");
}

#[tokio::test]
async fn what_a_link_held_at_its_end_is_in_doubt_until_the_broker_says_that_it_has_it() {
    let f = Fixture::new().await;
    f.writer.welcomed(1, FIRST, None).await.unwrap();
    short_lived(&f, &["unanswered", "sent-again", "never-sent"]).await;
    for id in ["unanswered", "sent-again"] {
        hand_over(&f, id).await;
    }
    f.signals.link_lost();
    assert!(!f.signals.is_inflight(f.row("unanswered").await), "no link holds it");
    link_ends(&f).await;
    assert!(f.life("unanswered").await.doubtful, "whoever gives it up is told that it may arrive");
    f.accepted_by_broker("sent-again").await;
    assert!(!f.life("sent-again").await.doubtful);
    f.news(News::Ended { row: f.row("sent-again").await, reason: "expired" }).await;
    let f = f.killed_and_restarted().await;
    let reasons = ends(&f, ["unanswered", "sent-again", "never-sent"]).await;
    assert_eq!(reasons, [UNKNOWN, "expired", "expired"], "the second by the broker's word");
}

#[tokio::test]
async fn before_it_is_written_down_what_a_lost_link_held_it_is_in_doubt_all_the_same() {
    let f = Fixture::new().await;
    short_lived(&f, &["unanswered"]).await;
    hand_over(&f, "unanswered").await;
    f.signals.link_lost();
    assert_eq!(ends(&f, ["unanswered"]).await, [UNKNOWN]);
}

#[tokio::test]
async fn a_process_that_dies_while_its_link_is_up_leaves_in_doubt_what_was_pending() {
    for (dies, reason) in [("with a link", UNKNOWN), ("after its link", "expired"), ("before any", "expired")]
    {
        let f = Fixture::new().await;
        if dies != "before any" {
            f.writer.welcomed(1, FIRST, None).await.unwrap();
        }
        short_lived(&f, &["pending"]).await;
        if dies == "after its link" {
            link_ends(&f).await;
        }
        let f = f.killed_and_restarted().await;
        assert_eq!(ends(&f, ["pending"]).await, [reason], "{dies}");
    }
}

#[tokio::test]
async fn what_a_store_may_have_had_that_is_lost_stays_in_doubt_whatever_the_next_one_says() {
    let f = Fixture::new().await;
    f.writer.welcomed(1, FIRST, None).await.unwrap();
    short_lived(&f, &["unanswered"]).await;
    hand_over(&f, "unanswered").await;
    link_ends(&f).await;
    f.writer.welcomed(2, SECOND, None).await.unwrap();
    f.accepted_by_broker("unanswered").await;
    f.news(News::Ended { row: f.row("unanswered").await, reason: "expired" }).await;
    assert_eq!(f.life("unanswered").await.reason.as_deref(), Some(UNKNOWN));
}

#[tokio::test]
async fn of_what_was_handed_over_for_a_node_that_is_revoked_then_the_delivery_is_unknown() {
    let f = Fixture::new().await;
    short_lived(&f, &["unanswered", "never-sent"]).await;
    f.accept(NewRow { lane: lane(2), ..send("other", 1) }).await;
    for id in ["unanswered", "other"] {
        hand_over(&f, id).await;
    }
    let growth = Growth { seq: 1, gone: vec![lane(1).recipient], ..Growth::default() };
    f.writer.log(growth).await.unwrap();
    assert_eq!(f.life("unanswered").await.reason.as_deref(), Some("revoked_recipient, delivery unknown"));
    assert_eq!(f.life("never-sent").await.reason.as_deref(), Some("revoked_recipient"));
    assert!(!f.life("other").await.doubtful, "it is another node's");
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
