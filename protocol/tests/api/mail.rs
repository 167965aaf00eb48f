//! What is sent, and what is received.

use serde_json::json;
use waxwing_crypto::Priority;
use waxwing_protocol::Address;
use waxwing_protocol::api::{
    AckAnswer, AckRequest, BatchAnswer, BatchOutcome, BatchRequest, Change, InboxItem, InboxPage, InboxQuery,
    LinkState, MessageState, Problem, ProblemCode, ReceiptWanted, SendAnswer, SendRequest, SendStatus,
    Voucher,
};

use super::{MESSAGE, MESSAGE_TEXT, NODE, NODE_TEXT, at, ignores_unknown, looks, name, refuses_unknown};

fn full_send() -> SendRequest {
    SendRequest {
        to: "ci@beta".to_owned(),
        body: Some("hello".to_owned()),
        body_base64: Some("aGVsbG8=".to_owned()),
        content_type: Some("text/markdown".to_owned()),
        priority: Some(Priority::Now),
        ttl: Some("30s".to_owned()),
        reply_to: Some("m-0".parse().unwrap()),
        thread: Some("deploys".to_owned()),
        meta: json!({ "run": 7 }).as_object().cloned(),
        from_app: Some(name("agent")),
        client_message_id: Some("m-1".parse().unwrap()),
        receipt: Some(ReceiptWanted::Read),
        mesh: Some(name("home")),
    }
}

#[test]
fn a_send_looks_as_documented() {
    let bare = SendRequest { to: "beta".to_owned(), ..SendRequest::default() };
    looks(&bare, &json!({ "to": "beta" }));
    let full = json!({
        "to": "ci@beta", "body": "hello", "body_base64": "aGVsbG8=", "content_type": "text/markdown",
        "priority": "now", "ttl": "30s", "reply_to": "m-0", "thread": "deploys", "meta": { "run": 7 },
        "from_app": "agent", "client_message_id": "m-1", "receipt": "read", "mesh": "home",
    });
    looks(&full_send(), &full);
    refuses_unknown::<SendRequest>(&full);
    assert!(serde_json::from_str::<SendRequest>("{}").is_err(), "to is needed");
    let batch = BatchRequest { items: vec![bare] };
    looks(&batch, &json!({ "items": [{ "to": "beta" }] }));
    refuses_unknown::<BatchRequest>(&json!({ "items": [] }));
    assert!(serde_json::from_str::<BatchRequest>(r#"{"items":[{"to":"beta","boddy":""}]}"#).is_err());
}

#[test]
fn what_is_not_of_its_form_is_refused_at_the_edge() {
    for (field, bad) in [
        ("priority", json!("urgent")),
        ("priority", json!(0)),
        ("client_message_id", json!("")),
        ("client_message_id", json!("a b")),
        ("client_message_id", json!("x".repeat(129))),
        ("reply_to", json!("ä")),
        ("from_app", json!("Agent")),
        ("mesh", json!("a_b")),
        ("meta", json!([1])),
        ("meta", json!("text")),
        ("body", json!(7)),
    ] {
        let mut request = json!({ "to": "beta" });
        request[field] = bad;
        assert!(serde_json::from_value::<SendRequest>(request.clone()).is_err(), "{request}");
    }
}

#[test]
fn the_answer_to_a_send_looks_as_documented() {
    let bare = SendAnswer {
        client_message_id: "m-1".parse().unwrap(),
        state: MessageState::Queued,
        link: LinkState::Down,
        duplicate: false,
        broker_message_id: None,
        delivered_at: None,
        read_at: None,
    };
    let json = json!({ "client_message_id": "m-1", "state": "queued", "link": "down" });
    looks(&bare, &json);
    ignores_unknown(&bare, &json);
    let known = SendAnswer {
        state: MessageState::Delivered,
        link: LinkState::Up,
        duplicate: true,
        broker_message_id: Some(MESSAGE),
        delivered_at: Some(at(5)),
        read_at: Some(at(6)),
        ..bare.clone()
    };
    let known_json = json!({
        "client_message_id": "m-1", "state": "delivered", "link": "up", "duplicate": true,
        "broker_message_id": MESSAGE_TEXT, "delivered_at": 5, "read_at": 6,
    });
    looks(&known, &known_json);
    let problem = Problem::new(ProblemCode::TtlTooLong);
    let answer =
        BatchAnswer { items: vec![BatchOutcome::Sent(known), BatchOutcome::Refused(problem.clone())] };
    looks(&answer, &json!({ "items": [known_json, serde_json::to_value(&problem).unwrap()] }));
}

#[test]
fn the_life_of_a_message_looks_as_documented() {
    let change = |state, millis, by| Change { state, at: at(millis), by };
    let status = SendStatus {
        client_message_id: "m-1".parse().unwrap(),
        mesh: name("home"),
        to: "ci@beta".parse::<Address>().unwrap(),
        from_app: Some(name("agent")),
        state: MessageState::Dead,
        reason: Some("too_large".to_owned()),
        priority: Priority::Next,
        expires_at: at(9),
        broker_message_id: Some(MESSAGE),
        seal: 2,
        superseded_by: Some("m-2".parse().unwrap()),
        history: vec![
            change(MessageState::Queued, 1, Voucher::Node),
            change(MessageState::Accepted, 2, Voucher::Broker),
            change(MessageState::Dead, 3, Voucher::Recipient),
        ],
    };
    let json = json!({
        "client_message_id": "m-1", "mesh": "home", "to": "ci@beta", "from_app": "agent", "state": "dead",
        "reason": "too_large", "priority": "next", "expires_at": 9, "broker_message_id": MESSAGE_TEXT, "seal": 2,
        "superseded_by": "m-2", "history": [
            { "state": "queued", "at": 1, "by": "node" },
            { "state": "accepted", "at": 2, "by": "broker" },
            { "state": "dead", "at": 3, "by": "recipient" },
        ],
    });
    looks(&status, &json);
    ignores_unknown(&status, &json);
}

#[test]
fn states_are_the_same_words_everywhere() {
    let states = [
        MessageState::Queued,
        MessageState::Inflight,
        MessageState::Accepted,
        MessageState::Delivered,
        MessageState::Read,
        MessageState::Dead,
        MessageState::Expired,
        MessageState::Aborted,
    ];
    for state in states {
        looks(&state, &json!(state.as_str()));
    }
    for state in [LinkState::Up, LinkState::Down, LinkState::Stopped] {
        looks(&state, &json!(state.as_str()));
    }
}

#[test]
fn the_inbox_looks_as_documented() {
    let query = InboxQuery {
        after: Some(7),
        app: Some("*".to_owned()),
        from: Some(name("alpha")),
        thread: Some("deploys".to_owned()),
        unread: true,
        limit: Some(10),
        wait: Some("30s".to_owned()),
        mesh: Some(name("home")),
    };
    let json = json!({
        "after": 7, "app": "*", "from": "alpha", "thread": "deploys", "unread": true, "limit": 10, "wait": "30s",
        "mesh": "home",
    });
    looks(&query, &json);
    looks(&InboxQuery::default(), &json!({}));
    refuses_unknown::<InboxQuery>(&json);
    let ack = AckRequest {
        ids: Some(vec![1, 2]),
        through: Some(3),
        app: Some("ci".to_owned()),
        mesh: Some(name("home")),
    };
    let json = json!({ "ids": [1, 2], "through": 3, "app": "ci", "mesh": "home" });
    looks(&ack, &json);
    refuses_unknown::<AckRequest>(&json);
    looks(&AckAnswer { acknowledged: 2 }, &json!({ "acknowledged": 2 }));
}

fn item() -> InboxItem {
    InboxItem {
        id: 7,
        from: name("alpha"),
        from_node: NODE,
        from_app: None,
        app: None,
        client_message_id: "m-1".parse().unwrap(),
        content_type: "text/plain".to_owned(),
        body: Some("hello".to_owned()),
        body_base64: None,
        meta: None,
        reply_to: None,
        thread: None,
        priority: Priority::Next,
        sent_at: at(1),
        received_at: at(2),
        read_at: None,
        late: false,
    }
}

#[test]
fn a_message_in_the_inbox_looks_as_documented() {
    let bare = json!({
        "id": 7, "from": "alpha", "from_node": NODE_TEXT, "client_message_id": "m-1", "content_type": "text/plain",
        "body": "hello", "priority": "next", "sent_at": 1, "received_at": 2,
    });
    looks(&item(), &bare);
    ignores_unknown(&item(), &bare);
    let full = InboxItem {
        from_app: Some(name("agent")),
        app: Some(name("ci")),
        body: None,
        body_base64: Some("/w==".to_owned()),
        meta: json!({ "run": 7 }).as_object().cloned(),
        reply_to: Some("m-0".parse().unwrap()),
        thread: Some("deploys".to_owned()),
        priority: Priority::Low,
        read_at: Some(at(3)),
        late: true,
        ..item()
    };
    let full_json = json!({
        "id": 7, "from": "alpha", "from_node": NODE_TEXT, "from_app": "agent", "app": "ci",
        "client_message_id": "m-1", "content_type": "text/plain", "body_base64": "/w==", "meta": { "run": 7 },
        "reply_to": "m-0", "thread": "deploys", "priority": "low", "sent_at": 1, "received_at": 2, "read_at": 3,
        "late": true,
    });
    looks(&full, &full_json);
    looks(
        &InboxPage { items: vec![item(), full], next: 8 },
        &json!({ "items": [bare, full_json], "next": 8 }),
    );
}
