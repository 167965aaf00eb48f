//! How many messages a second a topic gives to two hundred apps that are connected: for measuring, none lost and none twice.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use waxwing_client::api::{
    PublishRequest, StartFrom, SubscribeRequest, TopicAckRequest, TopicEvent, TopicStreamQuery,
};
use waxwing_client::{Client, TopicName, TopicStream};
use waxwing_lab::Lab;
use waxwing_lab::bench::Usage;

use crate::leases::app;
use crate::support::{PROGRAM, WITHIN};

const SUBSCRIBERS: usize = 200;
/// Where they are.
const NODES: [&str; 4] = ["beta", "gamma", "delta", "epsilon"];
/// Apps of another node that publish, and how much each: as much as an app may at once.
const PUBLISHERS: usize = 4;
const EACH: usize = 250;
const MESSAGES: usize = PUBLISHERS * EACH;
/// The first one warms up.
const RUNS: usize = 8;
/// As much as a short notice has.
const BODY: usize = 200;

struct Subscriber {
    client: Client,
    stream: TopicStream,
}

impl Subscriber {
    async fn begins(lab: &Lab, n: usize) -> Self {
        let client = app(lab, NODES[n % NODES.len()], &format!("app-{n}"));
        let request = SubscribeRequest {
            pattern: "fan:*".parse().unwrap(),
            from: Some(StartFrom::Now),
            after: None,
            no_echo: false,
            mesh: None,
        };
        client.subscribe(&request).await.unwrap();
        let stream = client.topic_stream(&TopicStreamQuery::default()).await.unwrap();
        Self { client, stream }
    }

    /// Reads all of one topic, each message once. Says when it had all.
    async fn reads(&mut self, topic: &TopicName) -> Instant {
        let (mut seen, mut last) = (vec![false; MESSAGES], 0);
        for _ in 0..MESSAGES {
            let event = timeout(WITHIN, self.stream.next()).await.expect("something comes").unwrap();
            let TopicEvent::Message(message) = event else { panic!("{event:?}") };
            assert!(message.topic == *topic && message.seq > last, "{message:?}");
            last = message.seq;
            let number: usize = message.body.unwrap().trim_end().parse().unwrap();
            assert!(!std::mem::replace(&mut seen[number], true), "{number} comes twice");
        }
        let done = Instant::now();
        let request = TopicAckRequest { topic: topic.clone(), through: last, mesh: None };
        self.client.topic_ack(&request).await.unwrap();
        done
    }
}

async fn publishes(client: Client, topic: TopicName, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let request = PublishRequest {
            topic: topic.clone(),
            body: Some(format!("{n:<BODY$}")),
            body_base64: None,
            content_type: None,
            meta: None,
            ephemeral: false,
            client_message_id: None,
            mesh: None,
        };
        client.publish(&request).await.unwrap();
    }
}

/// One topic, from its first message to when the last subscriber has all.
async fn run(lab: &Lab, n: usize, subscribers: Vec<Subscriber>) -> (Duration, Duration, Vec<Subscriber>) {
    let topic: TopicName = format!("fan:{n}").parse().unwrap();
    let mut reading = JoinSet::new();
    for mut subscriber in subscribers {
        let topic = topic.clone();
        reading.spawn(async move { (subscriber.reads(&topic).await, subscriber) });
    }
    let (began, mut publishing) = (Instant::now(), JoinSet::new());
    for publisher in 0..PUBLISHERS {
        let client = app(lab, "alpha", &format!("publisher-{publisher}"));
        publishing.spawn(publishes(client, topic.clone(), publisher * EACH..(publisher + 1) * EACH));
    }
    while let Some(published) = publishing.join_next().await {
        published.unwrap();
    }
    let published = began.elapsed();
    let (mut ended, mut subscribers) = (began, Vec::new());
    for (done, subscriber) in reading.join_all().await {
        ended = ended.max(done);
        subscribers.push(subscriber);
    }
    (published, ended - began, subscribers)
}

/// Processor time that the processes of the mesh have taken.
fn used(lab: &mut Lab) -> Duration {
    let names = [Lab::BROKER, "alpha"].into_iter().chain(NODES);
    names.map(|name| Usage::of(lab.process(name).pid().unwrap()).unwrap().cpu).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; docs/performance.md says how to run it"]
async fn how_many_deliveries_a_second_a_topic_makes_to_two_hundred_who_are_connected() {
    let mut lab = Lab::direct(PROGRAM).await.unwrap();
    for node in ["alpha"].into_iter().chain(NODES) {
        lab.add(node).await.unwrap();
    }
    let mut subscribers = Vec::new();
    for n in 0..SUBSCRIBERS {
        subscribers.push(Subscriber::begins(&lab, n).await);
    }
    let mut rates = Vec::new();
    for n in 0..RUNS {
        let before = used(&mut lab);
        let (published, took, readers) = run(&lab, n, subscribers).await;
        subscribers = readers;
        let rate = (SUBSCRIBERS * MESSAGES) as f64 / took.as_secs_f64();
        let each = (used(&mut lab) - before).as_secs_f64() * 1e6 / (SUBSCRIBERS * MESSAGES) as f64;
        println!(
            "{rate:.0}/s: published in {published:.2?}, read in {took:.2?}; {each:.1} us of the mesh each"
        );
        if n > 0 {
            rates.push(rate);
        }
    }
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
    println!("{least:.0} to {most:.0} deliveries a second, median {median:.0}, of {}", rates.len());
}
