//! What is promised of topics when links, stores and time are lost.

use waxwing_protocol::limits;
use waxwing_protocol::link::EndedBy;

use super::*;

#[tokio::test]
async fn without_a_link_nothing_is_published_and_what_is_here_is_read() {
    let hub = Hub::default();
    let mut members = Member::several(&hub, 1).await;
    members[0].publish("ci", "build", "one").await;
    members[0].subscribe("ann", "build", StartFrom::Earliest).await;
    members[0].cut().await;
    let member = &members[0];
    assert_eq!(member.publishes("ci", request("build", "two")).await.unwrap_err().code, ProblemCode::Offline);
    assert_eq!(member.publishes("ci", request("other", "two")).await.unwrap_err().code, ProblemCode::Offline);
    assert_eq!(member.stream("ann").bodies(1).await, ["one"]);
    let history = history(&member.mesh, &of("build")).await.unwrap();
    assert!(!history.current && history.items.len() == 1 && history.as_of.is_some(), "{history:?}");
}

#[tokio::test]
async fn after_a_loss_of_the_store_only_what_was_not_acknowledged_comes_again() {
    let hub = Hub::default();
    let mut members = Member::several(&hub, 2).await;
    members[1].subscribe("ann", "build", StartFrom::Now).await;
    let mut seqs = Vec::new();
    for n in 0..6 {
        let writer = &members[n % 2];
        seqs.push(writer.publish("ci", "build", &n.to_string()).await);
    }
    let mut stream = members[1].stream("ann");
    assert_eq!(stream.bodies(6).await.len(), 6);
    members[1].ack("ann", "build", seqs[3]).await.unwrap();
    stream.close().await;
    for member in &mut members {
        member.cut().await;
    }
    hub.loses_all();
    for member in &mut members {
        member.link(&hub);
        let space = member.mesh.space(&record::space(&"build".parse().unwrap()));
        let before = space.freshness().borrow().store;
        let mut freshness = space.freshness();
        let back = freshness.wait_for(|now| now.complete && now.store != before);
        timeout(PATIENCE, back).await.expect("what was lost is back").unwrap();
    }
    let mut stream = members[1].stream("ann");
    let mut back = stream.bodies(2).await;
    back.sort();
    assert_eq!(back, ["4", "5"]);
    let last = members[0].publish("ci", "build", "after").await;
    assert_eq!(stream.message().await.seq, last);
    members[1].ack("ann", "build", last).await.unwrap();
    let kept = subscriptions(&members[1].mesh, &name("ann")).await.unwrap();
    assert_eq!((kept.cursors[0].acknowledged, kept.cursors[0].pending), (last, 0));
}

/// S-13: what is old goes, and is not gone in silence.
#[tokio::test]
async fn what_ended_before_it_was_acknowledged_is_said_to_be_missed() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    members[1].subscribe("ann", "build", StartFrom::Now).await;
    let one = members[0].publish("ci", "build", "one").await;
    let two = members[0].publish("ci", "build", "two").await;
    let mut stream = members[1].stream("ann");
    assert_eq!(stream.bodies(2).await, ["one", "two"]);
    members[1].ack("ann", "build", one).await.unwrap();
    stream.close().await;
    let retention = limits::RETENTION.as_millis() as u64;
    hub.broker(space(&members[1], "build")).does(|space| {
        for seq in [one, two] {
            space.end(seq, EndedBy::Lifetime, retention);
        }
    });
    let mut moved = members[1].mesh.topics.moved.subscribe();
    let missed = async || {
        let kept = subscriptions(&members[1].mesh, &name("ann")).await.unwrap();
        kept.cursors[0].missed
    };
    timeout(PATIENCE, async {
        while missed().await != 1 {
            moved.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
    let mut stream = members[1].stream("ann");
    let topic: TopicName = "build".parse().unwrap();
    assert_eq!(stream.next().await, TopicEvent::Lagged { topic, missed: 1 });
    let three = members[0].publish("ci", "build", "three").await;
    assert_eq!(stream.message().await.seq, three);
    members[1].ack("ann", "build", three).await.unwrap();
    assert_eq!(missed().await, 0);
}

/// S-16.
#[tokio::test]
async fn sb_18_who_publishes_too_fast_is_told_when_to_come_again_and_loses_nothing() {
    let hub = Hub::default();
    let members = Member::several(&hub, 1).await;
    let mut published = 0;
    let refused = loop {
        match members[0].publishes("ci", request("flood", "x")).await {
            Ok(_) => published += 1,
            Err(problem) => break problem,
        }
        assert!(published < 100_000, "it is never too fast");
    };
    assert_eq!(refused.code, ProblemCode::RateLimited);
    assert!(published >= limits::PUBLISH_BURST && refused.retry_after_ms.is_some());
    members[0].publish("ann", "flood", "hers").await;
    let query = HistoryQuery { last: Some(1_000), ..of("flood") };
    let kept = bodies(&members[0], query).await.len();
    assert_eq!(kept, (published as usize + 1).min(1_000));
}
