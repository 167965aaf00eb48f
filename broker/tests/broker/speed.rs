//! Measured with `cargo test --release -p waxwing-broker --test broker -- --ignored --nocapture speed`: see docs/performance.md.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Append, Change, Put, SpaceFollow};

use crate::harness::space::{after, append, own, seq};
use crate::harness::{Broker, Mesh};

/// A record of presence, sealed.
const SEALED: usize = 900;

async fn generous() -> Broker {
    Broker::with(|config| {
        (config.limits.send_items, config.limits.send_items_burst) = (1_000_000, 1_000_000);
    })
    .await
}

fn record(n: u32) -> Put {
    Put { sealed: vec![n as u8; SEALED].into(), ..own(n, 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn speed_of_one_change_to_a_thousand_followers() {
    const FOLLOWERS: usize = 1_000;
    const ROUNDS: usize = 20;
    let broker = generous().await;
    let mut mesh = Mesh::found(&broker).await;
    let writer = mesh.join(&broker, "writer").await;
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    let mut nodes = Vec::new();
    for n in 0..FOLLOWERS {
        let node = crate::harness::Keys::new(Box::leak(format!("n{n}").into_boxed_str()));
        let entry = mesh.join_entry(&node);
        founder.append(&entry).await.unwrap();
        mesh.learn(entry);
        nodes.push(node);
    }
    let mut writer = mesh.login(&broker, &writer).await;
    let mut at = writer.put_one(record(0)).await;
    let begin = Arc::new(Barrier::new(FOLLOWERS + 1));
    let mut links = Vec::new();
    for node in &nodes {
        links.push(mesh.login(&broker, node).await);
    }
    let (heard_in, mut heard) = tokio::sync::mpsc::channel(FOLLOWERS);
    let mut tasks = JoinSet::new();
    for mut link in links {
        let (begin, heard) = (Arc::clone(&begin), heard_in.clone());
        tasks.spawn(async move {
            let mut page = link.follow(after(at, at)).await;
            for _ in 0..ROUNDS {
                let req = link.ask(SpaceFollow { wait: true, ..after(page.upto, at) }).await;
                link.round_trip().await;
                begin.wait().await;
                page = link.changes(req).await;
                heard.send((Instant::now(), page.upto)).await.unwrap();
            }
        });
    }
    for round in 0..ROUNDS {
        begin.wait().await;
        let begun = Instant::now();
        at = writer.put_one(record(1 + round as u32)).await;
        let written = begun.elapsed();
        let mut all = Vec::new();
        while all.len() < FOLLOWERS {
            let (when, upto) = heard.recv().await.unwrap();
            assert_eq!(upto, at);
            all.push(when.duration_since(begun));
        }
        all.sort_unstable();
        let (first, half, last) = (all[0], all[FOLLOWERS / 2], all[FOLLOWERS - 1]);
        println!("written {written:.1?}, heard first {first:.1?}, half {half:.1?}, last {last:.1?}");
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn speed_of_writing_and_of_catching_up_with_a_hundred_thousand_records() {
    const RECORDS: u32 = 100_000;
    let broker = generous().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let one =
        |n: u32| Change::Append(Append { sealed: vec![n as u8; 300].into(), ..append(n, (n % 251) as u8) });
    let begin = Instant::now();
    let all: Vec<u32> = (0..RECORDS).collect();
    for part in all.chunks(1_000) {
        let outcomes = link.write(part.iter().map(|n| one(*n)).collect()).await;
        assert!(outcomes.iter().all(|outcome| seq(outcome) > 0));
    }
    let rate = f64::from(RECORDS) / begin.elapsed().as_secs_f64();
    println!("written, frames of 1,000, one under way: {rate:.0} records/s");
    let mut other = mesh.login(&broker, &beta).await;
    for _ in 0..5 {
        let begin = Instant::now();
        let (mut page, mut got) = (other.follow(after(0, 0)).await, 0);
        loop {
            got += page.changes.len();
            if page.upto == page.head {
                break;
            }
            page = other.follow(after(page.upto, page.begun)).await;
        }
        assert_eq!(got, RECORDS as usize);
        let rate = f64::from(RECORDS) / begin.elapsed().as_secs_f64();
        println!("caught up from nothing, pages of {}: {rate:.0} records/s", limits::SPACE_PAGE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn speed_of_many_who_write_one_change_each() {
    const NODES: usize = 100;
    const CHANGES: u32 = 100;
    let broker = generous().await;
    let mut mesh = Mesh::found(&broker).await;
    let mut links = Vec::new();
    for n in 0..NODES {
        let node = mesh.join(&broker, Box::leak(format!("n{n}").into_boxed_str())).await;
        links.push(mesh.login(&broker, &node).await);
    }
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for mut link in links {
        tasks.spawn(async move {
            for n in 0..CHANGES {
                link.put_one(record(n)).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let rate = NODES as f64 * f64::from(CHANGES) / begin.elapsed().as_secs_f64();
    println!("{NODES} nodes, one change under way at each: {rate:.0} changes/s");
}
