//! A receipt counts whenever it comes, and only if it verifies.

use std::sync::{Arc, Mutex};

use waxwing_client::api::{MeshQuery, MessageState, SendRequest, Voucher};
use waxwing_lab::{Frame, When, eventually};
use waxwing_protocol::link::{Delivery, NoticeKind, ToNode};

use crate::support::{Pair, WITHIN, change, flip};

#[tokio::test]
async fn a_receipt_counts_after_the_sender_has_restarted() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let hold = pair.lab.proxy().hold(When::notice(pair.lab.id("alpha")));
    pair.send(1).await;
    pair.read(1).await;
    let _held = hold.held().await.unwrap();
    pair.lab.stop("alpha").await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    let status = pair.settled("m-2").await;
    let last = status.history.last().unwrap();
    assert_eq!((last.state, last.by), (MessageState::Delivered, Voucher::Recipient));
    pair.conclude().await;
}

#[tokio::test]
async fn a_receipt_counts_after_its_session_has_ended() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("beta").await.unwrap();
    pair.send(1).await;
    pair.accepted("m-2").await;
    // A session is in memory only: this one ends here, with a message of it in the queue.
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.accepted("m-3").await;
    pair.lab.restart("beta").await.unwrap();
    pair.read(2).await;
    for id in ["m-2", "m-3"] {
        let status = pair.settled(id).await;
        assert_eq!((status.state, status.seal), (MessageState::Delivered, 0), "{id}");
    }
    pair.conclude().await;
}

#[tokio::test]
async fn a_receipt_for_an_earlier_seal_counts_after_a_re_seal() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let beta = pair.lab.id("beta");
    let first = Arc::new(Mutex::new(None));

    // The first seal is damaged on its way, so that it is sealed anew; then the first comes in place of the second.
    let keep = Arc::clone(&first);
    let damaged = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        change(frame, |envelope| {
            *keep.lock().unwrap() = Some(envelope.env.clone());
            envelope.env = flip(&envelope.env, envelope.env.len() - 1).into();
        })
    });
    pair.send(1).await;
    damaged.happened().await.unwrap();
    let swapped = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        change(frame, |envelope| envelope.env = first.lock().unwrap().take().unwrap())
    });
    swapped.happened().await.unwrap();

    pair.read(1).await;
    let status = pair.settled("m-2").await;
    assert_eq!((status.state, status.seal), (MessageState::Delivered, 1));
    pair.conclude().await;
}

#[tokio::test]
async fn what_has_its_time_while_the_brokers_answer_is_missing_may_have_arrived_and_says_so() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let client = pair.lab.client("alpha");
    let hold = pair.lab.proxy().hold(When::named(pair.lab.id("alpha"), "sent"));
    let request = SendRequest {
        to: "beta".into(),
        body: Some("in time".into()),
        client_message_id: Some("short".parse().unwrap()),
        ttl: Some("2s".into()),
        ..SendRequest::default()
    };
    client.send(&request).await.unwrap();
    let held = hold.held().await.unwrap();
    let became = async |state: MessageState| {
        let status = client.status(&"short".parse().unwrap(), &MeshQuery::default()).await.ok()?;
        (status.state == state).then_some(status)
    };
    let expired = eventually(WITHIN, "it has had its time", || became(MessageState::Expired)).await.unwrap();
    assert_eq!(expired.reason.as_deref(), Some("expired, delivery unknown"));
    // It has arrived, and its receipt is behind the answer.
    held.release();
    let delivered = eventually(WITHIN, "it is delivered", || became(MessageState::Delivered)).await.unwrap();
    assert_eq!(delivered.reason, None);
}

#[tokio::test]
async fn a_receipt_that_the_broker_made_up_is_not_believed() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let alpha = pair.lab.id("alpha");
    let forged = pair.lab.proxy().rewrite_next(When::notice(alpha), |mut frame| {
        for notice in notices(&mut frame) {
            if let NoticeKind::Delivered { receipt } = &mut notice.kind {
                *receipt = waxwing_crypto::Receipt::from_bytes([7; 16]);
            }
        }
        vec![frame]
    });
    pair.send(1).await;
    pair.read(1).await;
    forged.happened().await.unwrap();
    // A later message of the lane has its receipt; the forged one changed nothing.
    pair.send(1).await;
    pair.settled("m-3").await;
    assert_eq!(pair.state("m-2").await, MessageState::Accepted);
}

fn notices(frame: &mut Frame) -> impl Iterator<Item = &mut waxwing_protocol::link::Notice> {
    let items = match frame {
        Frame::ToNode(ToNode::Deliver(deliver)) => deliver.items.as_mut_slice(),
        Frame::Hello(_)
        | Frame::Upload(_)
        | Frame::ToBroker(_)
        | Frame::Login(_)
        | Frame::ToNode(_)
        | Frame::Unreadable => &mut [],
    };
    items.iter_mut().filter_map(|item| match item {
        Delivery::Notice(notice) => Some(notice),
        Delivery::Envelope(_) => None,
    })
}
