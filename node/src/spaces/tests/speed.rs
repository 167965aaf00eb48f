//! How fast it is: `cargo test --release -p waxwing-node how_fast -- --ignored --nocapture`.

use tokio::time::Instant;

use super::*;

const RECORDS: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_fast_a_space_of_100_000_records_is_caught_up_with_and_read() {
    let broker = Broker::new();
    let mut nodes = Node::several(6).await;
    let mut node = nodes.pop().unwrap();
    node.link(&broker);
    let value = Bytes::from(vec![7; 200]);
    for first in (0..RECORDS).step_by(500) {
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
        node.space.write(&node.mesh, (first..first + 500).map(draft).collect()).await.unwrap();
    }
    let last = broker.space().last;
    node.complete(last).await;
    for (round, mut other) in nodes.into_iter().enumerate() {
        let begun = Instant::now();
        other.link(&broker);
        other.complete(last).await;
        let took = begun.elapsed();
        other.unlink().await;
        let begun = Instant::now();
        let read = other.space.entries(&other.mesh).await.unwrap().len();
        let read_in = begun.elapsed();
        let begun = Instant::now();
        other.link(&broker);
        other.complete(last).await;
        println!(
            "round {round}: {RECORDS} records caught up with in {took:.2?} ({:.0}/s), {read} read in {read_in:.2?}, \
             complete again {:.2?} after a new link",
            RECORDS as f64 / took.as_secs_f64(),
            begun.elapsed()
        );
        assert!(other.alarms().await.is_empty());
    }
}
