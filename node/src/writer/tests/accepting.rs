//! What the outbox takes.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn every_row_of_the_accept_table() {
    let f = Fixture::new().await;
    for id in ["pending", "done", "dead", "aborted"] {
        assert_eq!(name(&f.accept(send(id, 1)).await), "new");
    }
    f.accepted_by_broker("done").await;
    let dead = Answered::Refused { row: f.row("dead").await, seal: 0, reason: "too_large" };
    f.answered(dead).await;
    f.abort("aborted").await;
    let states = [
        ("pending", State::Pending),
        ("done", State::Done),
        ("dead", State::Dead),
        ("aborted", State::Aborted),
    ];
    for (id, state) in states {
        let same = f.accept(send(id, 1)).await;
        assert_eq!((name(&same), known(same).state), ("same", state), "{id}");
        let different = f.accept(send(id, 2)).await;
        assert_eq!((name(&different), known(different).state), ("different", state), "{id}");
    }
    let same = known(f.accept(send("done", 1)).await);
    assert_eq!(same.message_id, Some(message(7)));
    let dead = known(f.accept(send("dead", 1)).await);
    assert_eq!(dead.reason.as_deref(), Some("too_large"));
}

#[tokio::test]
async fn the_same_id_sent_concurrently_50_times_is_one_row() {
    let f = Fixture::new().await;
    let sends = (0..50).map(|_| {
        let writer = f.writer.clone();
        tokio::spawn(async move { writer.accept(vec![send("one", 1)]).await.unwrap().pop().unwrap() })
    });
    let mut new = 0;
    for task in sends.collect::<Vec<_>>() {
        new += usize::from(matches!(task.await.unwrap(), Acceptance::New));
    }
    assert_eq!(new, 1);
    assert_eq!(outbox::load(&f.db).await.unwrap().pending, 1);
}

#[tokio::test]
async fn duplicates_inside_a_batch_are_decided_first() {
    let f = Fixture::new().await;
    let batch = vec![send("a", 1), send("a", 1), send("a", 2), send("b", 1)];
    let outcomes = f.writer.accept(batch).await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["new", "same", "different", "new"]);
}

#[tokio::test]
async fn counters_rise_by_one_per_lane_in_the_order_accepted_and_survive_a_kill() {
    let f = Fixture::new().await;
    let mut other = send("other", 1);
    other.lane = lane(2);
    f.writer.accept(vec![send("a", 1), other, send("b", 1), send("a", 1)]).await.unwrap();
    let f = f.killed_and_restarted().await;
    f.accept(send("c", 1)).await;
    let counters = f.counters().await;
    assert_eq!([counters["a"], counters["b"], counters["c"], counters["other"]], [1, 2, 3, 1]);
}

#[tokio::test]
async fn a_full_outbox_refuses_and_takes_more_once_something_is_delivered() {
    let f = Fixture::with(Caps { messages: 2, bytes: 1 << 40 }, tempfile::tempdir().unwrap()).await;
    let outcomes =
        f.writer.accept(vec![send("a", 1), send("b", 1), send("c", 1), send("a", 1)]).await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["new", "new", "full", "same"]);
    f.news(News::Delivered { row: f.row("a").await }).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(f.accept(send("c", 1)).await, Acceptance::New) {
        assert!(Instant::now() < deadline, "a delivered message still counts");
        tokio::task::yield_now().await;
    }
}
