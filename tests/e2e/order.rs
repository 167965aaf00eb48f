//! Nothing overtakes what was refused for the moment.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waxwing_broker::{Config, Limits};
use waxwing_client::NodeId;
use waxwing_client::api::{BatchRequest, SendRequest};
use waxwing_lab::apps::{accepted, request};
use waxwing_lab::{Lab, When};
use waxwing_protocol::link::Outcome;

use crate::support::{PROGRAM, Pair};
use crate::wire::{outcomes, overtaken};

/// What one recipient's queue takes.
const QUEUE: usize = 5;
/// What an app hands over at once.
const BATCH: usize = 20;
/// So large that a frame takes more of them than the queue, and fewer than the batch.
const BODY: usize = 80 * 1024;

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_batch_lets_nothing_overtake() {
    let mut lab = Lab::without_broker(PROGRAM).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let limits = Limits { queue_items: QUEUE as u64, ..Limits::default() };
    let broker = broker(&lab, data.path(), limits, stop.clone()).await;
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    let mut pair = Pair::on(lab);
    pair.warm_up().await;

    // Nobody empties the queue, so of the first frame it takes some and refuses the rest. The next frame is on its way.
    pair.lab.stop("beta").await.unwrap();
    let alpha = pair.lab.id("alpha");
    let second = pair.lab.proxy().hold(nth_send(alpha, 2));
    let ids: Vec<String> = (1..=BATCH).map(|n| format!("batch-{n}")).collect();
    let items = ids.iter().map(|id| large(id)).collect();
    pair.sender.client.send_batch(&BatchRequest { items }).await.unwrap();
    ids.iter().for_each(|id| pair.record.push(accepted("alpha", "beta", id)));
    pair.sent.extend(ids.clone());
    let second = second.held().await.unwrap();
    pair.accepted(&ids[QUEUE - 1]).await;

    // There is room again when it comes: none of it may go in before what was refused.
    pair.lab.restart("beta").await.unwrap();
    pair.read(QUEUE).await;
    for id in &ids[..QUEUE] {
        pair.settled(id).await;
    }
    second.release();
    pair.conclude().await;

    let outcomes = outcomes(&pair.lab.proxy().captured(), alpha);
    assert!(outcomes.contains(&(QUEUE + 1, Outcome::QueueFull)), "one was refused: {outcomes:?}");
    assert!(outcomes.contains(&(BATCH, Outcome::Behind)), "and all after it: {outcomes:?}");
    assert_eq!(overtaken(&outcomes), [0; 0], "{outcomes:?}");
    stop.cancel();
    broker.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_sent_too_fast_comes_later_once_and_in_order() {
    let mut lab = Lab::without_broker(PROGRAM).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let limits = Limits { send_items: 20, send_items_burst: 10, ..Limits::default() };
    let broker = broker(&lab, data.path(), limits, stop.clone()).await;
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    let mut pair = Pair::on(lab);
    pair.warm_up().await;
    let ids: Vec<String> = (1..=2 * BATCH).map(|n| format!("batch-{n}")).collect();
    let items = ids.iter().map(|id| request("beta", id).unwrap()).collect();
    pair.sender.client.send_batch(&BatchRequest { items }).await.unwrap();
    ids.iter().for_each(|id| pair.record.push(accepted("alpha", "beta", id)));
    pair.sent.extend(ids);
    pair.conclude().await;
    let outcomes = outcomes(&pair.lab.proxy().captured(), pair.lab.id("alpha"));
    let limited = |(_, outcome): &(usize, Outcome)| matches!(outcome, Outcome::RateLimited { .. });
    assert!(outcomes.iter().any(limited), "{outcomes:?}");
    assert_eq!(overtaken(&outcomes), [0; 0], "{outcomes:?}");
    stop.cancel();
    broker.await.unwrap().unwrap();
}

fn large(id: &str) -> SendRequest {
    SendRequest { body: Some("x".repeat(BODY)), ..request("beta", id).unwrap() }
}

/// The nth `send` of a node from now on.
fn nth_send(node: NodeId, n: usize) -> When {
    let seen = AtomicUsize::new(0);
    When::matches(node, move |frame| frame.name() == "send" && seen.fetch_add(1, Ordering::Relaxed) + 1 == n)
}

/// A broker with limits of its own, in this process.
async fn broker(
    lab: &Lab,
    data: &Path,
    limits: Limits,
    stop: CancellationToken,
) -> JoinHandle<waxwing_broker::Result<()>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.proxy().set_broker(Some(listener.local_addr().unwrap()));
    let config = Config { urls: vec![lab.proxy().url()], limits, ..Config::new(data.join("broker")) };
    tokio::spawn(waxwing_broker::run(config, listener, |_| (), stop.cancelled_owned()))
}
