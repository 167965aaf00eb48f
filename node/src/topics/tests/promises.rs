//! What is promised of topics while nothing is lost.

use super::*;

/// S-05, S-07, SB-08: published once and whole, got by everybody.
#[tokio::test]
async fn st_07_st_08_st_09_sb_06_sb_07_every_subscriber_gets_every_message_once_and_in_order() {
    let hub = Hub::default();
    let members = Member::several(&hub, 3).await;
    for (member, app, pattern) in
        [(0, "ann", "task:created"), (1, "bob", "task:*"), (1, "carl", "*"), (2, "dora", "task")]
    {
        members[member].subscribe(app, pattern, StartFrom::Now).await;
    }
    let mut streams: Vec<_> =
        [(0, "ann"), (1, "bob"), (1, "carl")].map(|(member, app)| members[member].stream(app)).into();
    let mut dora = members[2].stream("dora");
    let meta = serde_json::json!({"id": 7, "title": "mow the lawn"});
    let sent = PublishRequest { meta: meta.as_object().cloned(), ..request("task:created", "one") };
    let one = members[2].publishes("eve", sent).await.unwrap().seq.unwrap();
    let two = members[2].publish("eve", "task:created", "two").await;
    assert!(one < two);
    for stream in &mut streams {
        let first = stream.message().await;
        assert_eq!((first.seq, first.body.as_deref()), (one, Some("one")));
        assert_eq!(first.meta.as_ref(), meta.as_object());
        assert_eq!((first.from.as_str(), first.from_app), ("member-2", Some(name("eve"))));
        assert_eq!(stream.message().await.seq, two);
    }
    // Another topic, which no star of hers means: its message is the first that she gets.
    members[0].publish("ann", "task", "hers").await;
    assert_eq!(dora.bodies(1).await, ["hers"]);
}

#[tokio::test]
async fn st_11_sb_10_who_was_away_gets_all_that_was_published_meanwhile_in_order() {
    let hub = Hub::default();
    let mut members = Member::several(&hub, 2).await;
    members[0].publish("ci", "build", "before").await;
    members[1].subscribe("ann", "build", StartFrom::Now).await;
    members[1].subscribe("bob", "build", StartFrom::Earliest).await;
    members[1].cut().await;
    for n in 0..200 {
        members[0].publish("ci", "build", &n.to_string()).await;
    }
    let mut away = members.remove(1).restarted().await;
    away.link(&hub);
    let all: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(away.stream("ann").bodies(200).await, all);
    let mut bob = away.stream("bob");
    assert_eq!((bob.bodies(1).await, bob.bodies(200).await), (vec!["before".to_owned()], all));
}

#[tokio::test]
async fn reading_changes_nothing_and_only_what_is_acknowledged_does_not_come_again() {
    let hub = Hub::default();
    let mut members = Member::several(&hub, 1).await;
    let member = members.pop().unwrap();
    member.subscribe("ann", "build", StartFrom::Now).await;
    let mut seqs = Vec::new();
    for body in ["one", "two", "three"] {
        seqs.push(member.publish("ci", "build", body).await);
    }
    let mut stream = member.stream("ann");
    assert_eq!(stream.bodies(3).await, ["one", "two", "three"]);
    stream.close().await;
    let acked = member.ack("ann", "build", seqs[0]).await.unwrap();
    assert!(acked.advanced && acked.acknowledged == seqs[0]);
    let again = member.ack("ann", "build", seqs[0]).await.unwrap();
    assert!(!again.advanced && again.acknowledged == seqs[0]);
    // Also by the next process, before it has a link.
    let member = member.restarted().await;
    assert_eq!(member.stream("ann").bodies(2).await, ["two", "three"]);
    let beyond = member.ack("ann", "build", seqs[2] + 1_000).await.unwrap_err();
    assert_eq!(beyond.code, ProblemCode::Malformed);
    let other = member.ack("bob", "build", seqs[0]).await.unwrap_err();
    assert_eq!(other.code, ProblemCode::NotSubscribed);
}

/// SB-20: who does not deal with it stands in nobody else's way.
#[tokio::test]
async fn st_13_sb_09_what_nobody_deals_with_comes_again_and_is_passed_over_in_the_end() {
    let hub = Hub::default();
    let members = Member::several(&hub, 1).await;
    let member = &members[0];
    member.subscribe("ann", "build", StartFrom::Now).await;
    member.subscribe("bob", "build", StartFrom::Now).await;
    let bad = member.publish("ci", "build", "bad").await;
    let mut stream = member.impatient_stream("ann", Duration::from_millis(20));
    let mut times = 0;
    let dead = loop {
        match stream.next().await {
            TopicEvent::Message(message) => {
                assert_eq!(message.seq, bad);
                times += 1;
                assert!(times < 100, "it comes for ever");
            }
            TopicEvent::Dead(dead) => break dead,
            other @ TopicEvent::Lagged { .. } => panic!("{other:?}"),
        }
    };
    assert_eq!((dead.seq, dead.tries, times), (bad, 10, 10));
    let good = member.publish("ci", "build", "good").await;
    assert_eq!(stream.message().await.seq, good);
    member.ack("ann", "build", good).await.unwrap();
    let kept = subscriptions(&member.mesh, &name("ann")).await.unwrap();
    assert_eq!((kept.dead.len(), kept.dead[0].seq, kept.cursors[0].pending), (1, bad, 0));
    assert_eq!(bodies(member, of("build")).await, ["bad", "good"], "it is in the history");
    assert_eq!(member.stream("bob").bodies(2).await, ["bad", "good"]);
}

#[tokio::test]
async fn st_12_what_is_for_those_who_are_there_is_for_them_alone() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    let live = |body| PublishRequest { ephemeral: true, ..request("cursor", body) };
    let nobody = members[0].publishes("ci", live("nobody hears")).await.unwrap();
    let subscribers = nobody.subscribers;
    assert_eq!((subscribers.here, subscribers.connected, subscribers.elsewhere), (0, 0, Some(0)));
    members[1].subscribe("ann", "cursor", StartFrom::Earliest).await;
    members[1].subscribe("bob", "cursor", StartFrom::Earliest).await;
    let mut ann = members[1].stream("ann");
    let first = members[0].publish("ci", "cursor", "kept").await;
    assert_eq!(ann.message().await.seq, first, "she is there");
    members[0].publishes("ci", live("heard")).await.unwrap();
    let heard = ann.message().await;
    assert!(heard.ephemeral && heard.body.as_deref() == Some("heard"), "{heard:?}");
    members[0].publish("ci", "cursor", "last").await;
    assert_eq!(ann.bodies(1).await, ["last"]);
    assert_eq!(members[1].stream("bob").bodies(2).await, ["kept", "last"]);
    assert_eq!(bodies(&members[1], of("cursor")).await, ["kept", "last"]);
}

#[tokio::test]
async fn sb_11_an_app_that_wants_no_echo_gets_what_others_publish_alone() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    let quiet = SubscribeRequest { no_echo: true, ..wish("chat") };
    subscribe(&members[0].mesh, &name("ann"), quiet).await.unwrap();
    members[0].subscribe("bob", "chat", StartFrom::Now).await;
    members[0].publish("ann", "chat", "mine").await;
    members[0].publish("bob", "chat", "his").await;
    // An app of the same name at another node is another.
    members[1].publish("ann", "chat", "hers").await;
    assert_eq!(members[0].stream("ann").bodies(2).await, ["his", "hers"]);
    assert_eq!(members[0].stream("bob").bodies(3).await, ["mine", "his", "hers"]);
}

#[tokio::test]
async fn a_message_is_published_once_whoever_says_it_twice() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    let said =
        |body| PublishRequest { client_message_id: Some("b-1".parse().unwrap()), ..request("build", body) };
    let first = members[0].publishes("ci", said("green")).await.unwrap();
    let again = members[0].publishes("ci", said("green")).await.unwrap();
    assert!(!first.duplicate && again.duplicate && again.seq == first.seq, "{again:?}");
    let other = members[0].publishes("ci", said("red")).await.unwrap_err();
    assert_eq!(other.code, ProblemCode::IdempotencyKeyReused);
    // Another app's id, and another node's, is another.
    assert!(!members[0].publishes("ann", said("green")).await.unwrap().duplicate);
    assert!(!members[1].publishes("ci", said("green")).await.unwrap().duplicate);
    assert_eq!(bodies(&members[1], of("build")).await.len(), 3);
}

#[tokio::test]
async fn st_15_who_unsubscribes_gets_no_more_and_begins_anew() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    assert!(members[0].subscribe("ann", "task:*", StartFrom::Now).await.new);
    assert!(!members[0].subscribe("ann", "task:*", StartFrom::Now).await.new);
    let mut stream = members[0].stream("ann");
    members[1].publish("ci", "task:x", "one").await;
    assert_eq!(stream.bodies(1).await, ["one"]);
    let told = async || {
        let topics = list(&members[1].mesh, &TopicsQuery::default()).await.unwrap();
        topics.topics[0].subscribers.elsewhere
    };
    let mut moved = members[1].mesh.topics.moved.subscribe();
    timeout(PATIENCE, async {
        while told().await != Some(1) {
            moved.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
    let gone = UnsubscribeRequest { pattern: "task:*".parse().unwrap(), mesh: None };
    unsubscribe(&members[0].mesh, &name("ann"), &gone).await.unwrap();
    let again = unsubscribe(&members[0].mesh, &name("ann"), &gone).await.unwrap_err();
    assert_eq!(again.code, ProblemCode::NotSubscribed);
    timeout(PATIENCE, async {
        while told().await != Some(0) {
            moved.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
    let two = members[1].publish("ci", "task:x", "two").await;
    let space = members[0].mesh.space(&record::space(&"task:x".parse().unwrap()));
    timeout(PATIENCE, space.reached(two)).await.unwrap();
    members[0].subscribe("ann", "task:*", StartFrom::Now).await;
    members[1].publish("ci", "task:x", "three").await;
    assert_eq!(stream.bodies(1).await, ["three"]);
}

#[tokio::test]
async fn sb_10_a_subscription_begins_where_it_says() {
    let hub = Hub::default();
    let members = Member::several(&hub, 2).await;
    let mut seqs = Vec::new();
    for body in ["one", "two", "three"] {
        seqs.push(members[0].publish("ci", "build", body).await);
    }
    members[1].subscribe("all", "build", StartFrom::Earliest).await;
    members[1].subscribe("new", "build", StartFrom::Now).await;
    let after = SubscribeRequest { after: Some(seqs[0]), ..wish("build") };
    subscribe(&members[1].mesh, &name("some"), after).await.unwrap();
    members[0].publish("ci", "build", "four").await;
    assert_eq!(members[1].stream("all").bodies(4).await, ["one", "two", "three", "four"]);
    assert_eq!(members[1].stream("some").bodies(3).await, ["two", "three", "four"]);
    assert_eq!(members[1].stream("new").bodies(1).await, ["four"]);
    let wrong = [
        SubscribeRequest { after: Some(1), ..wish("build:*") },
        SubscribeRequest { after: Some(1), from: Some(StartFrom::Now), ..wish("build") },
        SubscribeRequest { after: Some(seqs[2] + 1_000_000), ..wish("build") },
    ];
    for wrong in wrong {
        let refused = subscribe(&members[1].mesh, &name("wrong"), wrong).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::Malformed);
    }
}

#[tokio::test]
async fn a_history_is_read_page_by_page_and_from_its_end() {
    let hub = Hub::default();
    let members = Member::several(&hub, 1).await;
    let member = &members[0];
    let all: Vec<_> = (0..150).map(|n| n.to_string()).collect();
    for body in &all {
        member.publish("ci", "build", body).await;
    }
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let query = HistoryQuery { after: Some(after), limit: Some(40), ..of("build") };
        let page = history(&member.mesh, &query).await.unwrap();
        assert!(page.items.len() <= 40 && page.current);
        if page.items.is_empty() {
            break;
        }
        after = page.next;
        read.extend(page.items.into_iter().map(|item| item.body.unwrap()));
    }
    assert_eq!(read, all);
    assert_eq!(bodies(member, HistoryQuery { last: Some(70), ..of("build") }).await, all[80..]);
    let unknown = history(&member.mesh, &of("nothing")).await.unwrap_err();
    assert_eq!(unknown.code, ProblemCode::UnknownTopic);
    for wrong in
        [HistoryQuery { limit: Some(0), ..of("build") }, HistoryQuery { last: Some(1_001), ..of("build") }]
    {
        assert_eq!(history(&member.mesh, &wrong).await.unwrap_err().code, ProblemCode::Malformed);
    }
}
