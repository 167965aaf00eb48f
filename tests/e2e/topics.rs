//! Topics: every subscriber gets all of it in order, whoever is killed; and nobody else reads it.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use waxwing_client::api::{
    HistoryQuery, MeshQuery, ProblemCode, PublishRequest, StartFrom, SubscribeRequest, TopicAckRequest,
    TopicEvent, TopicMessage, TopicStreamQuery, TopicsQuery,
};
use waxwing_client::{Client, Error, TopicName, TopicStream};
use waxwing_lab::{Lab, Scan, eventually};

use crate::commands::{fails, json, run};
use crate::support::{WITHIN, mesh};

/// What is searched for, long enough not to occur by chance.
const TOPIC: &str = "lighthouse:moved";
const BODY: &str = "the lamp stands in the north now";

fn publication(topic: &str, body: &str) -> PublishRequest {
    PublishRequest {
        topic: topic.parse().unwrap(),
        body: Some(body.to_owned()),
        body_base64: None,
        content_type: None,
        meta: None,
        ephemeral: false,
        client_message_id: None,
        mesh: None,
    }
}

fn subscription(pattern: &str, from: StartFrom) -> SubscribeRequest {
    SubscribeRequest {
        pattern: pattern.parse().unwrap(),
        from: Some(from),
        after: None,
        no_echo: false,
        mesh: None,
    }
}

fn app(lab: &Lab, node: &str, name: &str) -> Client {
    lab.client(node).app(name.parse().unwrap())
}

async fn next(stream: &mut TopicStream) -> TopicMessage {
    match timeout(WITHIN, stream.next()).await.expect("something comes").unwrap() {
        TopicEvent::Message(message) => *message,
        other @ (TopicEvent::Lagged { .. } | TopicEvent::Dead(_)) => panic!("{other:?}"),
    }
}

/// Between two looks whether a node is back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Requests of this process at once: a node takes 64.
static ROOM: Semaphore = Semaphore::const_new(32);

/// One of many who have subscribed: reads until it has all, whatever becomes of its node, and acknowledges as it goes.
struct Subscriber {
    name: String,
    client: Client,
}

impl Subscriber {
    /// What it has read, in order and each once; a stream that comes back may repeat what was not acknowledged, never skip.
    async fn reads(self, count: usize) -> Vec<String> {
        let (mut read, mut last) = (Vec::new(), 0);
        while read.len() < count {
            let mut stream = timeout(2 * WITHIN, self.opens()).await.expect("a stream is opened");
            let mut before = 0;
            while read.len() < count {
                let event = match timeout(3 * WITHIN, stream.next()).await.expect("something comes") {
                    Ok(event) => event,
                    Err(Error::Lost(_)) => break,
                    Err(error) => panic!("{}: {error}", self.name),
                };
                let TopicEvent::Message(message) = event else { panic!("{}: {event:?}", self.name) };
                assert!(message.seq > before, "{}: a stream goes back", self.name);
                before = message.seq;
                if message.seq > last {
                    last = message.seq;
                    read.push(message.body.unwrap());
                }
                if read.len() % 25 == 0 || read.len() == count {
                    self.acknowledges(&message.topic, last).await;
                }
            }
        }
        read
    }

    /// A stream, once its node is there.
    async fn opens(&self) -> TopicStream {
        loop {
            let room = ROOM.acquire().await.unwrap();
            if let Ok(stream) = self.client.topic_stream(&TopicStreamQuery::default()).await {
                return stream;
            }
            drop(room);
            sleep(LOOK_AGAIN).await;
        }
    }

    /// An acknowledgement that is lost is made by the next.
    async fn acknowledges(&self, topic: &TopicName, through: u64) {
        let _room = ROOM.acquire().await.unwrap();
        let request = TopicAckRequest { topic: topic.clone(), through, mesh: None };
        match self.client.topic_ack(&request).await {
            Ok(_) | Err(Error::Lost(_) | Error::Unreachable { .. }) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
    }
}

/// Publishes these, each until it is published.
async fn publish_all(lab: &Lab, numbers: std::ops::Range<usize>) {
    let client = app(lab, "alpha", "ci");
    for n in numbers {
        let id = Some(format!("m-{n}").parse().unwrap());
        let request = PublishRequest { client_message_id: id, ..publication("build:failed", &n.to_string()) };
        let what = format!("{n} is published");
        let published = eventually(2 * WITHIN, &what, async || match client.publish(&request).await {
            Ok(answer) => Some(answer),
            Err(Error::Problem(problem)) => {
                use ProblemCode::{Offline, RateLimited, Unanswered};
                assert!(matches!(problem.code, Offline | RateLimited | Unanswered), "{problem:?}");
                None
            }
            Err(error) => panic!("{error}"),
        });
        published.await.unwrap();
    }
}

/// ST-11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_subscribers_lose_nothing_half_of_them_away_whoever_is_killed() {
    const EACH: usize = 60;
    const NODES: [&str; 4] = ["beta", "gamma", "delta", "epsilon"];
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    let (mut there, mut away) = (JoinSet::new(), Vec::new());
    let expected = 4 * EACH;
    for n in 0..200 {
        let name = format!("app-{n}");
        let client = app(&lab, NODES[n % 4], &name);
        client.subscribe(&subscription("build:*", StartFrom::Earliest)).await.unwrap();
        let subscriber = Subscriber { name, client };
        // Of every node some are there and some are not.
        if (n / 4) % 2 == 0 {
            there.spawn(subscriber.reads(expected));
        } else {
            away.push(subscriber);
        }
    }
    publish_all(&lab, 0..EACH).await;
    lab.kill("beta").await.unwrap();
    publish_all(&lab, EACH..2 * EACH).await;
    lab.restart("beta").await.unwrap();
    lab.kill(Lab::BROKER).await.unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
    publish_all(&lab, 2 * EACH..3 * EACH).await;
    lab.kill("alpha").await.unwrap();
    lab.restart("alpha").await.unwrap();
    lab.proxy().cut_links();
    publish_all(&lab, 3 * EACH..4 * EACH).await;
    for subscriber in away {
        there.spawn(subscriber.reads(expected));
    }
    let wanted: Vec<_> = (0..expected).map(|n| n.to_string()).collect();
    let mut count = 0;
    while let Some(read) = timeout(5 * WITHIN, there.join_next()).await.expect("all are read") {
        assert!(read.unwrap() == wanted, "somebody has lost something, or its order");
        count += 1;
    }
    assert_eq!(count, 200);
    // Once, whatever the number of those who read it.
    let query = HistoryQuery {
        topic: "build:failed".parse().unwrap(),
        after: None,
        last: Some(1_000),
        limit: None,
        mesh: None,
    };
    let kept = lab.client("alpha").topic_history(&query).await.unwrap();
    assert_eq!(kept.items.len(), expected);
}

#[tokio::test]
async fn a_message_is_one_row_and_no_name_or_word_of_it_is_in_any_file_or_frame() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    for n in 0..20 {
        let subscriber = app(&lab, "beta", &format!("app-{n}"));
        subscriber.subscribe(&subscription("lighthouse:*", StartFrom::Now)).await.unwrap();
    }
    let publisher = app(&lab, "alpha", "keeper");
    let sent = publisher.publish(&publication(TOPIC, BODY)).await.unwrap();
    let mut stream = app(&lab, "beta", "app-7").topic_stream(&TopicStreamQuery::default()).await.unwrap();
    let message = next(&mut stream).await;
    assert_eq!((message.body.as_deref(), Some(message.seq)), (Some(BODY), sent.seq));
    let request = TopicAckRequest { topic: message.topic, through: message.seq, mesh: None };
    app(&lab, "beta", "app-7").topic_ack(&request).await.unwrap();
    drop(stream);
    for name in [Lab::BROKER, "alpha", "beta"] {
        lab.stop(name).await.unwrap();
    }
    let mut scan = Scan::default();
    let needles = [TOPIC, BODY, "lighthouse"];
    for name in [Lab::BROKER, "alpha", "beta"] {
        scan.path(&lab.state(name), &needles).unwrap();
        scan.path(lab.process(name).log_path(), &needles).unwrap();
    }
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &needles);
    }
    assert!(scan.found.is_empty() && scan.files > 6 && scan.bytes > 10_000, "{scan:?}");
    // At the broker: a record for the message, and for the list the topic and what each node's apps want.
    let store = lab.state(Lab::BROKER).join("broker.db");
    let mut db = waxwing_sqlite::Options::new(&store).read_only().open().unwrap();
    let appended: i64 =
        waxwing_sqlite::query_scalar("SELECT count(*) FROM record WHERE stands = 2 AND kind = 0")
            .fetch_one(&mut db)
            .await
            .unwrap();
    assert_eq!(appended, 1);
}

/// S-20, ST-14.
#[tokio::test]
async fn topics_by_the_commands_and_each_refusal_says_what_mends_it() {
    let lab = mesh(&["alpha", "beta"]).await;
    json(&lab, "beta", &["topic", "subscribe", "build:*", "--app", "ann", "--only"]).await;
    let sent = json(
        &lab,
        "alpha",
        &["topic", "publish", "build:failed", "main is red", "--app", "ci", "--id", "b-1"],
    )
    .await;
    let again = json(
        &lab,
        "alpha",
        &["topic", "publish", "build:failed", "main is red", "--app", "ci", "--id", "b-1"],
    )
    .await;
    assert_eq!((&again["duplicate"], &again["seq"]), (&serde_json::json!(true), &sent["seq"]));
    json(&lab, "alpha", &["topic", "publish", "build:failed", "and again", "--app", "ci"]).await;
    // ST-14: once is one message; the subscription stays, and what is printed is acknowledged.
    let once = ["topic", "subscribe", "build:*", "--app", "ann", "--count", "1"];
    for body in ["main is red", "and again"] {
        let printed = run(&lab, "beta", &once).await;
        assert!(printed.code == Some(0) && printed.stdout.contains(body), "{printed:?}");
        assert_eq!(printed.stdout.matches("build:failed").count(), 1, "{printed:?}");
    }
    let kept = json(&lab, "beta", &["topic", "subscriptions", "--app", "ann"]).await;
    assert_eq!(
        (&kept["cursors"][0]["pending"], &kept["current"]),
        (&serde_json::json!(0), &serde_json::json!(true))
    );
    let listed = json(&lab, "beta", &["topic", "list"]).await;
    assert_eq!(
        (&listed["topics"][0]["topic"], &listed["topics"][0]["messages"]),
        (&"build:failed".into(), &2.into())
    );
    let history = run(&lab, "alpha", &["topic", "history", "build:failed"]).await;
    assert!(history.stdout.contains("ci@alpha") && history.stdout.contains("main is red"), "{history:?}");
    let kept = json(&lab, "alpha", &["topic", "retention", "build:failed", "1h", "--app", "ci"]).await;
    assert_eq!(kept["retention_ms"], 3_600_000);
    json(&lab, "beta", &["topic", "unsubscribe", "build:*", "--app", "ann"]).await;

    let refused: [(&[&str], i32, &str); 8] = [
        (&["topic", "unsubscribe", "build:*", "--app", "ann"], 7, "not_subscribed"),
        (&["topic", "ack", "build:failed", "1", "--app", "ann"], 7, "not_subscribed"),
        (&["topic", "history", "nothing"], 7, "unknown_topic"),
        (&["topic", "history", "build:failed", "--limit", "0"], 2, "malformed"),
        (&["topic", "retention", "build:failed", "0s", "--app", "ci"], 2, "malformed"),
        (&["topic", "retention", "build:failed", "for ever", "--app", "ci"], 2, "malformed"),
        (&["topic", "retention", "build:failed", "99999999d", "--app", "ci"], 2, "malformed"),
        (
            &["topic", "publish", "build:failed", "something else", "--app", "ci", "--id", "b-1"],
            8,
            "idempotency_key_reused",
        ),
    ];
    for (words, exit, code) in refused {
        assert_eq!(fails(&lab, "alpha", words, exit).await, code, "{words:?}");
    }
    for bad in ["", "a::b", "a:", "a*", "a\u{7}", &"x".repeat(251)] {
        let answer = run(&lab, "alpha", &["topic", "publish", bad, "x", "--app", "ci"]).await;
        assert_eq!(answer.code, Some(2), "{bad:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_away_refuses_at_once_and_what_is_here_is_shown_with_its_age() {
    let mut lab = mesh(&["alpha"]).await;
    let ci = app(&lab, "alpha", "ci");
    ci.publish(&publication("build:failed", "one")).await.unwrap();
    ci.subscribe(&subscription("build:*", StartFrom::Earliest)).await.unwrap();
    lab.kill(Lab::BROKER).await.unwrap();
    lab.unlinked("alpha").await.unwrap();
    let refused = ci.publish(&publication("build:failed", "two")).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::Offline);
    lab.kill("alpha").await.unwrap();
    lab.restart("alpha").await.unwrap();
    let mut stream = ci.topic_stream(&TopicStreamQuery::default()).await.unwrap();
    assert_eq!(next(&mut stream).await.body.as_deref(), Some("one"));
    let topics = ci.topics(&TopicsQuery::default()).await.unwrap();
    assert!(
        !topics.current && topics.topics.len() == 1 && topics.topics[0].messages == Some(1),
        "{topics:?}"
    );
    let kept = ci.subscriptions(&MeshQuery::default()).await.unwrap();
    assert!(!kept.current && kept.cursors[0].pending == 1, "{kept:?}");
    lab.restart(Lab::BROKER).await.unwrap();
    lab.linked("alpha").await.unwrap();
    ci.publish(&publication("build:failed", "two")).await.unwrap();
    assert_eq!(next(&mut stream).await.body.as_deref(), Some("two"));
}
