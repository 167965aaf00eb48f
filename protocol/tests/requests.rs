//! The JSON of requests and answers: every type as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{
    CallAnswer, CallProgress, CallRequest, CancelReason, CancelRequest, Event, EventBody, ReplyError,
    ReplyRequest, RequestItem,
};

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);
const NODE_TEXT: &str = "ugq2dinbugq2dinbugq2dinbue";

/// The value looks like this, and this reads as the value.
fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

/// A request with a field that nobody knows is refused: it may be a misspelt option.
fn refuses_unknown<T: DeserializeOwned + Debug>(json: &Value) {
    let mut more = json.clone();
    more["colour"] = json!("red");
    let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
    assert!(refused.contains("unknown field") && refused.contains("colour"), "{refused}");
}

#[test]
fn asking_looks_as_documented() {
    let least = CallRequest { to: "reviewer@lab".to_owned(), ..CallRequest::default() };
    looks(&least, &json!({ "to": "reviewer@lab" }));
    let full = CallRequest {
        body: Some("have a look".to_owned()),
        content_type: Some("text/markdown".to_owned()),
        meta: json!({ "pr": 4711 }).as_object().cloned(),
        timeout: Some("2m".to_owned()),
        id: Some("review-1".parse().unwrap()),
        from_app: Some("author".parse().unwrap()),
        mesh: Some("home".parse().unwrap()),
        ..least
    };
    let shown = json!({
        "to": "reviewer@lab", "body": "have a look", "content_type": "text/markdown", "meta": { "pr": 4711 },
        "timeout": "2m", "id": "review-1", "from_app": "author", "mesh": "home",
    });
    looks(&full, &shown);
    refuses_unknown::<CallRequest>(&shown);
    let cancel = CancelRequest { request: "review-1".parse().unwrap(), mesh: None };
    looks(&cancel, &json!({ "request": "review-1" }));
    refuses_unknown::<CancelRequest>(&json!({ "request": "review-1" }));
}

#[test]
fn answers_look_as_documented() {
    let answer = CallAnswer {
        request: "review-1".parse().unwrap(),
        from: "lab".parse().unwrap(),
        app: "reviewer".parse().unwrap(),
        content_type: "text/plain".to_owned(),
        body: Some("looks good".to_owned()),
        body_base64: None,
        meta: None,
        took_ms: 1_840,
    };
    let shown = json!({
        "request": "review-1", "from": "lab", "app": "reviewer", "content_type": "text/plain",
        "body": "looks good", "took_ms": 1840,
    });
    looks(&answer, &shown);
    let note = CallProgress {
        request: "review-1".parse().unwrap(),
        number: 2,
        content_type: "application/octet-stream".to_owned(),
        body: None,
        body_base64: Some("/wA=".to_owned()),
        meta: None,
    };
    let shown = json!({
        "request": "review-1", "number": 2, "content_type": "application/octet-stream", "body_base64": "/wA=",
    });
    looks(&note, &shown);
}

#[test]
fn replying_looks_as_documented() {
    let to = ReplyRequest::to("01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T".parse().unwrap());
    looks(&to, &json!({ "request": "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T" }));
    let note = ReplyRequest { progress: true, body: Some("half of it".to_owned()), ..to.clone() };
    let shown = json!({ "request": "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T", "body": "half of it", "progress": true });
    looks(&note, &shown);
    refuses_unknown::<ReplyRequest>(&shown);
    let error =
        ReplyError { code: Some("not_found".to_owned()), message: Some("no such revision".to_owned()) };
    let shown = json!({
        "request": "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T",
        "error": { "code": "not_found", "message": "no such revision" },
    });
    looks(&ReplyRequest { error: Some(error), ..to }, &shown);
    refuses_unknown::<ReplyError>(&shown["error"]);
}

#[test]
fn what_a_stream_is_given_looks_as_documented() {
    let item = RequestItem {
        id: "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T".parse().unwrap(),
        from: "desk".parse().unwrap(),
        from_node: NODE,
        from_app: Some("author".parse().unwrap()),
        app: "reviewer".parse().unwrap(),
        content_type: "text/plain".to_owned(),
        body: Some("have a look".to_owned()),
        body_base64: None,
        meta: None,
        progress: true,
        deadline: Timestamp::from_millis(9),
    };
    let event = |body| Event { cursor: 7, at: Timestamp::from_millis(1), body };
    let shown = json!({
        "cursor": 7, "at": 1, "kind": "request", "request": {
            "id": "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T", "from": "desk", "from_node": NODE_TEXT, "from_app": "author",
            "app": "reviewer", "content_type": "text/plain", "body": "have a look", "progress": true, "deadline": 9,
        },
    });
    looks(&event(EventBody::Request { request: Box::new(item) }), &shown);
    for reason in [CancelReason::Cancelled, CancelReason::Timeout] {
        let request = "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T".parse().unwrap();
        let shown = json!({
            "cursor": 7, "at": 1, "kind": "cancel", "request": "01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T",
            "reason": reason.as_str(),
        });
        looks(&event(EventBody::Cancel { request, reason }), &shown);
    }
}
