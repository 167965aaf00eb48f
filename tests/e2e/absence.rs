//! Messages wait for a node that is not there, all of them and in order.

use std::time::Duration;

use waxwing_client::api::{BatchOutcome, BatchRequest, LinkState, MessageState};
use waxwing_lab::apps::{accepted, request};

use crate::support::{Pair, WITHIN};

/// Messages queued, and how many an app hands over at once.
const MESSAGES: usize = 10_000;
const BATCH: usize = 1_000;
/// A test machine moves hundreds a second at its worst.
const ALL_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn ten_thousand_messages_for_an_absent_node_arrive_in_order_when_it_comes() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("beta").await.unwrap();
    let ids: Vec<String> = (1..=MESSAGES).map(|n| format!("bulk-{n}")).collect();
    for batch in ids.chunks(BATCH) {
        let items = batch.iter().map(|id| request("beta", id).unwrap()).collect();
        let answer = pair.sender.client.send_batch(&BatchRequest { items }).await.unwrap();
        assert!(answer.items.iter().all(|item| matches!(item, BatchOutcome::Sent(_))));
        batch.iter().for_each(|id| pair.record.push(accepted("alpha", "beta", id)));
    }
    pair.accepted(ids.last().unwrap()).await;
    pair.lab.restart("beta").await.unwrap();
    let read = pair.reader.read(MESSAGES, ALL_WITHIN).await.unwrap();
    let read: Vec<&str> = read.iter().map(|item| item.client_message_id.as_str()).collect();
    assert_eq!(read, ids);
    assert_eq!(pair.settled(ids.last().unwrap()).await.state, MessageState::Delivered);
    pair.record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
}

#[tokio::test]
async fn a_send_without_a_broker_is_stored_and_says_so() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.kill("broker").await.unwrap();
    let id = "while-it-is-down";
    let down = async || {
        let answer = pair.sender.client.send(&request("beta", id).unwrap()).await.unwrap();
        assert_eq!(answer.state, MessageState::Queued);
        (answer.link == LinkState::Down).then_some(())
    };
    waxwing_lab::eventually(WITHIN, "the link is known to be down", down).await.unwrap();
    pair.record.push(accepted("alpha", "beta", id));
    pair.sent.push(id.to_owned());
    pair.lab.restart("broker").await.unwrap();
    pair.conclude().await;
}
