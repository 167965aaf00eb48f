//! How fast it is: `cargo test --release -p waxwing-node how_fast -- --ignored --nocapture`.

use std::ops::Range;

use tokio::time::Instant;

use super::*;

const RECORDS: usize = 100_000;

/// Writes records, and says how far the space goes then.
async fn write(node: &Node, broker: &Broker, numbers: Range<usize>) -> u64 {
    let value = Bytes::from(vec![7; 200]);
    let draft = |n| Draft {
        id: None,
        app: None,
        change: DraftChange::Put {
            key: key(&format!("key-{n}")),
            own: false,
            when: Condition::Any,
            ttl: None,
            bound: None,
            value: value.clone(),
        },
    };
    for first in numbers.clone().step_by(500) {
        node.space
            .write(&node.mesh, (first..numbers.end.min(first + 500)).map(draft).collect())
            .await
            .unwrap();
    }
    let last = broker.space().last;
    node.complete(last).await;
    last
}

async fn catches_up(node: &mut Node, broker: &Broker, last: u64) -> f64 {
    let begun = Instant::now();
    node.link(broker);
    node.complete(last).await;
    begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_fast_a_space_of_100_000_records_is_caught_up_with_and_read() {
    let broker = Broker::new();
    let mut nodes = Node::several(6).await;
    let mut writer = nodes.pop().unwrap();
    writer.link(&broker);
    for (from, records) in [("the beginning", 0..RECORDS / 2), ("the middle", RECORDS / 2..RECORDS)] {
        let count = records.len();
        let last = write(&writer, &broker, records).await;
        for node in &mut nodes {
            let took = catches_up(node, &broker, last).await;
            println!("{count} records from {from}: {took:.2} s, {:.0}/s", count as f64 / took);
            node.unlink().await;
        }
    }
    let last = broker.space().last;
    for mut node in nodes {
        let begun = Instant::now();
        let read = node.space.entries(&node.mesh).await.unwrap().len();
        let read_in = begun.elapsed();
        let again = catches_up(&mut node, &broker, last).await;
        println!("{read} read in {read_in:.2?}, complete {:.1} ms after a new link", again * 1e3);
        assert!(node.alarms().await.is_empty());
    }
}
