//! What is counted: what is on the disk, once.

use super::*;
use crate::metrics::Tally;

fn security(what: &str) -> EventBody {
    EventBody::Security { what: what.to_owned(), node: None, detail: String::new() }
}

#[tokio::test]
async fn what_is_stored_is_counted_once_however_often_it_comes() {
    let f = Fixture::new().await;
    for content in [1, 1, 2] {
        f.accept(send("m-1", content)).await;
    }
    f.accept(NewRow { kind: Kind::Read, to_node: None, ..send("r-1", 1) }).await;
    f.accepted_by_broker("m-1").await;
    for _ in 0..2 {
        f.news(News::Delivered { row: f.row("m-1").await }).await;
    }
    f.receive(vec![item("a", 1), item("b", 3), item("a", 1)]).await;
    f.receive(vec![item("b", 3)]).await;
    f.writer.tell_all(security("node_duplicated")).await.unwrap();
    f.writer.tell_all(EventBody::System { what: "started".into() }).await.unwrap();
    let mut expected = Tally::default();
    expected.accepted(1);
    expected.received(2);
    let client_message_id = "m-1".parse().unwrap();
    expected.told(&EventBody::Receipt { client_message_id, state: MessageState::Delivered });
    expected.told(&security("node_duplicated"));
    assert_eq!(f.counts.all().in_any_commits(), expected);
}

#[tokio::test]
async fn what_the_writer_tells_by_itself_is_counted_too() {
    let f = Fixture::new().await;
    f.receive(vec![item("a", 1), item("b", 1)]).await;
    let mut expected = Tally::default();
    expected.received(2);
    expected.told(&security("sequence_replay"));
    assert_eq!(f.counts.all().in_any_commits(), expected);
}

#[tokio::test]
async fn what_is_not_on_the_disk_is_not_counted() {
    let f = Fixture::new().await;
    f.writer.tell_all(security("bad_seal")).await.unwrap();
    let before = f.counts.all();
    let (mut db, _) = crate::store::open(&f.folder.path().join("node.db")).await.unwrap();
    waxwing_sqlite::query("DROP TABLE event").execute(&mut db).await.unwrap();
    f.writer.tell_all(security("bad_seal")).await.unwrap_err();
    assert_eq!(f.counts.all(), before);
}

#[tokio::test]
async fn an_outcome_goes_with_the_receipt_that_follows_it_in_one_commit_and_is_committed_without_it_too() {
    let f = Fixture::new().await;
    f.accept(send("m-1", 1)).await;
    let row = f.row("m-1").await;
    let accepted = Answered::Accepted(Accepted { row, seal: 0, message_id: message(7) });
    let before = f.counts.all().commits();
    let answered = f.writer.answered(vec![accepted.clone()], mark(1)).await;
    f.news(News::Delivered { row }).await;
    answered.await.unwrap().unwrap();
    assert_eq!(f.counts.all().commits(), before + 1);
    assert_eq!(f.life("m-1").await.message_id, Some(message(7)));

    f.accept(send("m-2", 1)).await;
    f.accepted_by_broker("m-2").await;
    assert_eq!(f.life("m-2").await.state, State::Done, "nothing followed");
}
