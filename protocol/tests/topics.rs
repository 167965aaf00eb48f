//! The JSON of topics: every type as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{
    DeadMessage, HistoryQuery, Problem, ProblemCode, PublishAnswer, PublishRequest, RetentionRequest,
    StartFrom, SubscribeAnswer, SubscribeRequest, Subscribers, Subscription, Subscriptions, Topic,
    TopicAckAnswer, TopicAckRequest, TopicCursor, TopicEvent, TopicHistory, TopicMessage, TopicStreamQuery,
    Topics, TopicsQuery, UnsubscribeRequest,
};
use waxwing_protocol::limits;

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The value looks like this, and this reads as the value.
fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

/// A request, which is refused with a field that nobody knows.
fn asks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    looks(value, json);
    let mut more = json.clone();
    more["colour"] = json!("red");
    let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
    assert!(refused.contains("unknown field"), "{refused}");
}

/// An answer, which may grow.
fn answers<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    looks(value, json);
    let mut more = json.clone();
    more["colour"] = json!("red");
    assert_eq!(&serde_json::from_value::<T>(more).unwrap(), value);
}

fn message() -> TopicMessage {
    TopicMessage {
        topic: "build:failed".parse().unwrap(),
        seq: 1_729,
        client_message_id: "b-4711".parse().unwrap(),
        from: "desk".parse().unwrap(),
        from_node: NODE,
        from_app: Some("ci".parse().unwrap()),
        at: at(5),
        expires: Some(at(9)),
        ephemeral: false,
        content_type: "text/plain".to_owned(),
        body: Some("main is red".to_owned()),
        body_base64: None,
        meta: json!({"run": 7}).as_object().cloned(),
    }
}

fn message_json() -> Value {
    json!({
        "topic": "build:failed", "seq": 1729, "client_message_id": "b-4711", "from": "desk",
        "from_node": NODE, "from_app": "ci", "at": 5, "expires": 9, "content_type": "text/plain",
        "body": "main is red", "meta": {"run": 7}
    })
}

#[test]
fn publishing_looks_as_documented() {
    let request = PublishRequest {
        topic: "build:failed".parse().unwrap(),
        body: Some("main is red".to_owned()),
        body_base64: None,
        content_type: None,
        meta: None,
        ephemeral: true,
        client_message_id: Some("b-4711".parse().unwrap()),
        mesh: None,
    };
    let json = json!({
        "topic": "build:failed", "body": "main is red", "ephemeral": true, "client_message_id": "b-4711"
    });
    asks(&request, &json);
    let answer = PublishAnswer {
        topic: "build:failed".parse().unwrap(),
        seq: Some(1_729),
        client_message_id: "b-4711".parse().unwrap(),
        duplicate: false,
        subscribers: Subscribers { here: 2, connected: 1, elsewhere: Some(3) },
    };
    let json = json!({
        "topic": "build:failed", "seq": 1729, "client_message_id": "b-4711",
        "subscribers": {"here": 2, "connected": 1, "elsewhere": 3}
    });
    answers(&answer, &json);
}

#[test]
fn subscribing_looks_as_documented() {
    let request = SubscribeRequest {
        pattern: "build:*".parse().unwrap(),
        from: Some(StartFrom::Earliest),
        after: None,
        no_echo: true,
        mesh: None,
    };
    asks(&request, &json!({"pattern": "build:*", "from": "earliest", "no_echo": true}));
    let subscription = Subscription { pattern: "build:*".parse().unwrap(), no_echo: true, since: at(5) };
    let answer = SubscribeAnswer {
        app: "ann".parse().unwrap(),
        new: true,
        subscription: subscription.clone(),
        topics: vec!["build:failed".parse().unwrap()],
    };
    let json = json!({
        "app": "ann", "new": true, "pattern": "build:*", "no_echo": true, "since": 5,
        "topics": ["build:failed"]
    });
    answers(&answer, &json);
    asks(&UnsubscribeRequest { pattern: "*".parse().unwrap(), mesh: None }, &json!({"pattern": "*"}));
    let dead = DeadMessage { topic: "build:failed".parse().unwrap(), seq: 1_700, tries: 10, at: at(4) };
    let cursor =
        TopicCursor { topic: "build:failed".parse().unwrap(), acknowledged: 1_729, pending: 2, missed: 1 };
    let all = Subscriptions {
        app: "ann".parse().unwrap(),
        subscriptions: vec![subscription],
        cursors: vec![cursor],
        dead: vec![dead],
        current: true,
    };
    let json = json!({
        "app": "ann",
        "subscriptions": [{"pattern": "build:*", "no_echo": true, "since": 5}],
        "cursors": [{"topic": "build:failed", "acknowledged": 1729, "pending": 2, "missed": 1}],
        "dead": [{"topic": "build:failed", "seq": 1700, "tries": 10, "at": 4}],
        "current": true
    });
    answers(&all, &json);
}

#[test]
fn a_stream_and_its_acknowledgement_look_as_documented() {
    let query = TopicStreamQuery {
        pattern: Some("build:*".parse().unwrap()),
        redeliver: Some("60s".to_owned()),
        mesh: None,
    };
    asks(&query, &json!({"pattern": "build:*", "redeliver": "60s"}));
    let mut json = message_json();
    json["kind"] = json!("message");
    let event = TopicEvent::Message(Box::new(message()));
    answers(&event, &json);
    let lagged = TopicEvent::Lagged { topic: "build:failed".parse().unwrap(), missed: 3 };
    answers(&lagged, &json!({"kind": "lagged", "topic": "build:failed", "missed": 3}));
    let dead = DeadMessage { topic: "build:failed".parse().unwrap(), seq: 1_700, tries: 10, at: at(4) };
    let dead = TopicEvent::Dead(dead);
    answers(&dead, &json!({"kind": "dead", "topic": "build:failed", "seq": 1700, "tries": 10, "at": 4}));
    assert_eq!([event.kind(), lagged.kind(), dead.kind()], ["message", "lagged", "dead"]);
    let ack = TopicAckRequest { topic: "build:failed".parse().unwrap(), through: 1_729, mesh: None };
    asks(&ack, &json!({"topic": "build:failed", "through": 1729}));
    let answer =
        TopicAckAnswer { topic: "build:failed".parse().unwrap(), acknowledged: 1_729, advanced: true };
    answers(&answer, &json!({"topic": "build:failed", "acknowledged": 1729, "advanced": true}));
}

#[test]
fn topics_and_their_history_look_as_documented() {
    let topic = Topic {
        topic: "build:failed".parse().unwrap(),
        retention_ms: 604_800_000,
        messages: Some(12),
        subscribers: Subscribers { here: 1, connected: 0, elsewhere: None },
    };
    let json = json!({
        "topic": "build:failed", "retention_ms": 604_800_000, "messages": 12,
        "subscribers": {"here": 1, "connected": 0}
    });
    answers(&topic, &json);
    let all =
        Topics { mesh: "team".parse().unwrap(), topics: vec![topic], current: false, as_of: Some(at(7)) };
    answers(&all, &json!({"mesh": "team", "topics": [json], "current": false, "as_of": 7}));
    asks(&TopicsQuery { pattern: Some("*".parse().unwrap()), mesh: None }, &json!({"pattern": "*"}));
    let query = HistoryQuery {
        topic: "build:failed".parse().unwrap(),
        after: Some(1_700),
        last: None,
        limit: Some(10),
        mesh: None,
    };
    asks(&query, &json!({"topic": "build:failed", "after": 1700, "limit": 10}));
    let history = TopicHistory { items: vec![message()], next: 1_729, current: true, as_of: Some(at(7)) };
    answers(&history, &json!({"items": [message_json()], "next": 1729, "current": true, "as_of": 7}));
    let retention =
        RetentionRequest { topic: "build:failed".parse().unwrap(), retention: "30d".to_owned(), mesh: None };
    asks(&retention, &json!({"topic": "build:failed", "retention": "30d"}));
}

#[test]
fn a_name_that_is_none_is_refused_with_what_one_is() {
    let refused =
        serde_json::from_value::<TopicAckRequest>(json!({"topic": "a::b", "through": 1})).unwrap_err();
    assert!(refused.to_string().contains("words joined by `:`"), "{refused}");
    let refused = serde_json::from_value::<UnsubscribeRequest>(json!({"pattern": "a*"})).unwrap_err();
    assert!(refused.to_string().contains("last word"), "{refused}");
    for number in [json!(-1), json!(1.5), json!("1")] {
        assert!(serde_json::from_value::<TopicAckRequest>(json!({"topic": "a", "through": number})).is_err());
    }
}

#[test]
fn who_is_too_fast_is_told_in_milliseconds_when_to_come_again() {
    let mut problem = Problem::new(ProblemCode::RateLimited);
    problem.retry_after_ms = std::num::NonZeroU32::new(250);
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!((json["code"].as_str(), json["status"].as_u64()), (Some("rate_limited"), Some(429)));
    assert_eq!(json["retry_after_ms"], 250);
}

/// A message of the largest size is a value of a space, and the longest name is one of a space.
const _: () = {
    let names = 4 * 1_024;
    assert!(limits::TOPIC_BODY + limits::META + limits::CONTENT_TYPE + names <= limits::VALUE);
    assert!(limits::TOPIC + "topic:".len() <= waxwing_crypto::space::SpaceName::MAX);
    assert!(limits::TOPICS < limits::SPACES_FOLLOWED);
};
