//! What the inbox takes, and in which order it is shown.

use super::*;

#[tokio::test]
async fn a_redelivery_is_stored_once_and_answered_the_same_way() {
    let f = Fixture::new().await;
    let first = f.receive(vec![item("a", 1), item("a", 1)]).await;
    // The same id with other content: its receipt must not be what the sender of that content expects.
    let mut other = item("a", 1);
    other.new.receipt = Receipt::from_bytes([99; 16]);
    let again = f.receive(vec![other]).await;
    let receipt = Stored::Received(Receipt::from_bytes([1; 16]));
    assert_eq!((first, again), (vec![receipt, receipt], vec![receipt]));
    assert_eq!(f.shown().await, [("a".to_owned(), false)]);
    let f = f.killed_and_restarted().await;
    assert_eq!(f.receive(vec![item("a", 1)]).await, [receipt]);
    assert_eq!(f.shown().await.len(), 1);
}

#[tokio::test]
async fn an_expired_message_is_refused_unless_it_is_stored_already() {
    let f = Fixture::new().await;
    let expired =
        |id, counter| ReceivedItem { unwelcome: Some(NackReason::ExpiredHere), ..item(id, counter) };
    assert_eq!(f.receive(vec![expired("a", 1)]).await, [Stored::Refused(NackReason::ExpiredHere)]);
    f.receive(vec![item("b", 1)]).await;
    assert!(matches!(f.receive(vec![expired("b", 1)]).await[..], [Stored::Received(_)]));
    assert_eq!(f.shown().await.len(), 1);
}

#[tokio::test]
async fn messages_are_shown_in_lane_order_whatever_order_they_come_in_also_across_a_kill() {
    let f = Fixture::new().await;
    f.receive(vec![item("c", 3), item("b", 2)]).await;
    assert!(f.shown().await.is_empty() && f.signals.gapped().is_some());
    let f = f.killed_and_restarted().await;
    f.receive(vec![item("d", 4), item("a", 1), item("e", 5)]).await;
    let order: Vec<String> = f.shown().await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["a", "b", "c", "d", "e"]);
    assert_eq!(f.signals.gapped(), None);
}

#[tokio::test]
async fn an_overdue_message_is_passed_over_then_shown_late() {
    let f = Fixture::new().await;
    f.receive(vec![item("a", 1), item("c", 3)]).await;
    f.writer.pass_over(Instant::now()).await.unwrap();
    f.receive(vec![item("b", 2), item("d", 4)]).await;
    let shown = f.shown().await;
    let expected = [("a", false), ("c", false), ("b", true), ("d", false)];
    assert_eq!(shown, expected.map(|(id, late)| (id.to_owned(), late)));
}

#[tokio::test]
async fn a_counter_seen_under_another_id_is_mail_all_the_same() {
    let f = Fixture::new().await;
    f.receive(vec![item("a", 1), item("again", 1)]).await;
    assert_eq!(f.shown().await, [("a".to_owned(), false), ("again".to_owned(), true)]);
}

#[tokio::test]
async fn cursors_are_never_given_twice_and_reading_marks_once() {
    let f = Fixture::new().await;
    f.receive(vec![item("a", 1), item("b", 2)]).await;
    assert_eq!(f.writer.read(These(vec![1, 1, 7]), None, crate::clock::now()).await.unwrap(), 1);
    assert_eq!(f.writer.read(Through(2), Some(String::new()), crate::clock::now()).await.unwrap(), 1);
    assert_eq!(f.writer.read(Through(2), None, crate::clock::now()).await.unwrap(), 0);
    let f = f.killed_and_restarted().await;
    f.receive(vec![item("c", 3)]).await;
    let filter =
        Filter { after: 2, app: Some(String::new()), from: None, thread: None, unread: true, limit: 10 };
    let items = inbox::list(&f.db, &filter).await.unwrap();
    assert_eq!(items.iter().map(|item| item.cursor).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn a_deleted_message_is_gone_for_good_and_its_redelivery_is_known() {
    let f = Fixture::new().await;
    let first = f.receive(vec![item("a", 1), item("b", 2)]).await;
    let other_mailbox = Some("ci".to_owned());
    assert!(!f.writer.delete(1, other_mailbox.clone()).await.unwrap(), "not out of another mailbox");
    assert_eq!(f.writer.read(These(vec![1]), other_mailbox, crate::clock::now()).await.unwrap(), 0);
    assert!(f.writer.delete(1, Some(String::new())).await.unwrap());
    assert!(!f.writer.delete(1, None).await.unwrap());
    let f = f.killed_and_restarted().await;
    assert_eq!(f.receive(vec![item("a", 1)]).await[..], first[..1], "the same receipt");
    f.receive(vec![item("c", 3)]).await;
    assert_eq!(f.shown().await, [("b".to_owned(), false), ("c".to_owned(), false)]);
}
