//! What is over goes, and a repeat is a repeat all the same.

use std::time::Duration;

use super::*;
use crate::store::retention::Over;

/// Everything that is over may go but ids.
fn all_but_ids() -> Over {
    let now = crate::clock::now().plus(Duration::from_secs(1));
    let never = Timestamp::default();
    Over { inbox: now, sent: now, received_ids: never, sent_ids: never }
}

fn all() -> Over {
    let now = all_but_ids().inbox;
    Over { inbox: now, sent: now, received_ids: now, sent_ids: now }
}

async fn prune(f: &Fixture, over: Over) -> u64 {
    let mut rows = 0;
    loop {
        match f.writer.prune(over).await.unwrap() {
            0 => return rows,
            taken => rows += taken,
        }
    }
}

#[tokio::test]
async fn a_received_message_that_was_pruned_is_a_repeat_until_its_id_is_forgotten() {
    let f = Fixture::new().await;
    let first = f.receive(vec![item("a", 1), item("unread", 2)]).await;
    let cursor = inbox::list(&f.db, &everything()).await.unwrap()[0].cursor;
    f.writer.read(These(vec![cursor]), None, crate::clock::now()).await.unwrap();
    assert_eq!(prune(&f, all_but_ids()).await, 1);
    let left = vec![("unread".to_owned(), false)];
    assert_eq!(f.shown().await, left, "what nobody has read stays");
    let mut again = item("a", 1);
    again.new.receipt = Receipt::from_bytes([77; 16]);
    assert_eq!(f.receive(vec![again]).await[0], first[0], "the receipt it was given");
    assert_eq!(f.shown().await, left);
    let f = f.killed_and_restarted().await;
    assert_eq!(f.receive(vec![item("a", 1)]).await[0], first[0], "also after a restart");

    prune(&f, all()).await;
    f.receive(vec![item("a", 3)]).await;
    assert_eq!(f.shown().await.len(), 2, "once its id is forgotten it is a new one");
}

fn everything() -> Filter {
    Filter { after: 0, app: None, from: None, thread: None, unread: false, limit: 10_000 }
}

#[tokio::test]
async fn a_sent_message_whose_content_is_wiped_keeps_its_id_and_what_is_not_over_keeps_everything() {
    let f = Fixture::new().await;
    for id in ["delivered", "queued", "accepted", "dead"] {
        f.accept(send(id, 1)).await;
    }
    f.accepted_by_broker("accepted").await;
    let dead = Answered::Refused { row: f.row("dead").await, seal: 0, reason: "too_large" };
    f.answered(dead).await;
    let delivered = f.row("delivered").await;
    f.news(News::Delivered { row: delivered }).await;
    assert_eq!(prune(&f, all_but_ids()).await, 1);
    assert!(outbox::content(&f.db, delivered).await.unwrap().is_empty());
    assert_eq!(known(f.accept(send("delivered", 1)).await).state, State::Done);
    assert_eq!(name(&f.accept(send("delivered", 2)).await), "different");
    for id in ["queued", "accepted", "dead"] {
        assert_eq!(outbox::content(&f.db, f.row(id).await).await.unwrap().len(), 100, "{id}");
    }

    prune(&f, all()).await;
    assert_eq!(name(&f.accept(send("delivered", 2)).await), "new", "its id is free");
    for id in ["queued", "accepted"] {
        assert_eq!(outbox::content(&f.db, f.row(id).await).await.unwrap().len(), 100, "{id}");
        assert_eq!(name(&f.accept(send(id, 2)).await), "different", "{id} is not over");
    }
}

#[tokio::test]
async fn a_counter_that_never_comes_is_kept_until_its_recipient_knows() {
    let f = Fixture::new().await;
    f.accept(send("dead", 1)).await;
    let row = f.row("dead").await;
    f.answered(Answered::Refused { row, seal: 0, reason: "too_large" }).await;
    prune(&f, all()).await;
    assert_eq!(outbox::untold(&f.db, lane(1), 10, 10).await.unwrap(), [1]);
    assert!(outbox::content(&f.db, row).await.unwrap().is_empty());
    f.news(News::Told { lane: lane(1), ranges: ranges(&[1]) }).await;
    prune(&f, all()).await;
    assert_eq!(name(&f.accept(send("dead", 2)).await), "new");
    assert_eq!(f.counters().await["dead"], 2, "a counter is never given twice");
}

#[tokio::test]
async fn a_step_is_small_and_its_rows_are_those_that_have_waited_longest() {
    let f = Fixture::new().await;
    let items = (1..=500).map(|n| item(&format!("m-{n}"), n)).collect();
    f.receive(items).await;
    f.writer.read(Through(u64::MAX >> 1), None, crate::clock::now()).await.unwrap();
    assert_eq!(f.writer.prune(all_but_ids()).await.unwrap(), 64);
    assert_eq!(f.shown().await[0].0, "m-65");
    let mut large: Vec<_> = (501..=510).map(|n| item(&format!("m-{n}"), n)).collect();
    large.iter_mut().for_each(|item| item.new.content = vec![7; 256 * 1024]);
    prune(&f, all_but_ids()).await;
    f.receive(large).await;
    f.writer.read(Through(u64::MAX >> 1), None, crate::clock::now()).await.unwrap();
    assert_eq!(f.writer.prune(all_but_ids()).await.unwrap(), 4, "a MiB of content");
}
