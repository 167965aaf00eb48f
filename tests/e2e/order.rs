//! Nothing overtakes what was refused for the moment.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use waxwing_broker::{Config, Limits};
use waxwing_client::api::{BatchRequest, MeshQuery, MessageState};
use waxwing_lab::apps::{accepted, request};
use waxwing_lab::{Lab, eventually};

use crate::support::{PROGRAM, Pair, WITHIN};

/// What one recipient's queue takes.
const QUEUE: usize = 5;
/// What an app hands over at once.
const BATCH: usize = 20;

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_batch_lets_nothing_overtake() {
    let mut lab = Lab::without_broker(PROGRAM).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let broker = small_broker(&lab, data.path(), stop.clone()).await;
    for node in ["alpha", "beta"] {
        lab.add(node).await.unwrap();
    }
    let mut pair = Pair::on(lab);
    pair.warm_up().await;

    // Nobody empties the queue, so it takes the first few and refuses one in the middle.
    pair.lab.stop("beta").await.unwrap();
    let ids: Vec<String> = (1..=BATCH).map(|n| format!("batch-{n}")).collect();
    let items = ids.iter().map(|id| request("beta", id).unwrap()).collect();
    pair.sender.client.send_batch(&BatchRequest { items }).await.unwrap();
    ids.iter().for_each(|id| pair.record.push(accepted("alpha", "beta", id)));
    pair.sent.extend(ids.clone());
    pair.accepted(&ids[QUEUE - 1]).await;
    let refused = async || {
        let status =
            pair.sender.client.status(&ids[QUEUE].parse().unwrap(), &MeshQuery::default()).await.ok()?;
        (status.state == MessageState::Queued).then_some(())
    };
    eventually(WITHIN, "the next one is refused for the moment", refused).await.unwrap();
    for id in &ids[QUEUE..] {
        assert_ne!(pair.state(id).await, MessageState::Accepted, "{id} overtook what was refused");
    }

    pair.lab.restart("beta").await.unwrap();
    pair.conclude().await;
    stop.cancel();
    broker.await.unwrap().unwrap();
}

/// A broker with room for a few messages per recipient, in this process.
async fn small_broker(
    lab: &Lab,
    data: &std::path::Path,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<waxwing_broker::Result<()>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.proxy().set_broker(Some(listener.local_addr().unwrap()));
    let config = Config {
        urls: vec![lab.proxy().url()],
        limits: Limits { queue_items: QUEUE as u64, ..Limits::default() },
        ..Config::new(data.join("broker"))
    };
    tokio::spawn(waxwing_broker::run(config, listener, stop.cancelled_owned()))
}
