//! The JSON of claims, as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{
    AbandonAnswer, AbandonRequest, Author, Claim, ClaimAnswer, ClaimRequest, ClaimState, Claims, ClaimsQuery,
    CompleteAnswer, CompleteRequest, Completion, EventBody, EventKind, LeaseEnd, LeaseHolder, LeaseMode,
    LeaseNews, OnDisconnect,
};

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);
const NODE_TEXT: &str = "ugq2dinbugq2dinbugq2dinbue";

fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

fn refuses_unknown<T: DeserializeOwned + Debug>(json: &Value) {
    let mut more = json.clone();
    more["colour"] = json!("red");
    let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
    assert!(refused.contains("unknown field"), "{refused}");
}

fn key() -> String {
    "ci:build-4711:failed".to_owned()
}

fn holder() -> LeaseHolder {
    LeaseHolder {
        token: 17,
        app: Some("ann".parse().unwrap()),
        instance: None,
        node: "desk".parse().unwrap(),
        node_id: NODE,
        mode: LeaseMode::Exclusive,
        purpose: Some("bisect".to_owned()),
        since: Timestamp::from_millis(5),
        remaining: 60_000,
    }
}

fn holder_json() -> Value {
    json!({
        "token": 17, "app": "ann", "node": "desk", "node_id": NODE_TEXT, "mode": "exclusive", "purpose": "bisect",
        "since": 5, "remaining": 60_000,
    })
}

fn completion() -> Completion {
    let (node, app) = (Some("desk".parse().unwrap()), Some("ann".parse().unwrap()));
    Completion {
        outcome: Some("fixed".to_owned()),
        by: Author { node, node_id: NODE, app, instance: None },
        at: Timestamp::from_millis(7),
        token: 17,
        until: Timestamp::from_millis(86_400_007),
    }
}

fn completion_json() -> Value {
    json!({
        "outcome": "fixed", "by": { "node": "desk", "node_id": NODE_TEXT, "app": "ann" }, "at": 7, "token": 17,
        "until": 86_400_007,
    })
}

#[test]
fn cb_17_a_claim_looks_as_documented() {
    let bare = ClaimRequest { key: key(), ..ClaimRequest::default() };
    looks(&bare, &json!({ "key": key() }));
    let full = ClaimRequest {
        key: key(),
        ttl: Some("30m".to_owned()),
        wait: Some("30s".to_owned()),
        on_disconnect: Some(OnDisconnect::Grace),
        purpose: Some("bisect".to_owned()),
        mesh: Some("home".parse().unwrap()),
    };
    let json = json!({
        "key": key(), "ttl": "30m", "wait": "30s", "on_disconnect": "grace", "purpose": "bisect", "mesh": "home",
    });
    looks(&full, &json);
    refuses_unknown::<ClaimRequest>(&json);
    let held = ClaimAnswer {
        mesh: "home".parse().unwrap(),
        key: key(),
        state: ClaimState::Held,
        token: None,
        remaining: None,
        renewed: false,
        holder: Some(holder()),
        completion: None,
    };
    looks(&held, &json!({ "mesh": "home", "key": key(), "state": "held", "holder": holder_json() }));
    let state = ClaimState::Claimed;
    let claimed = ClaimAnswer {
        state,
        token: Some(17),
        remaining: Some(1_000),
        renewed: true,
        holder: None,
        ..held.clone()
    };
    looks(
        &claimed,
        &json!({ "mesh": "home", "key": key(), "state": "claimed", "token": 17, "remaining": 1_000, "renewed": true }),
    );
    let done = ClaimAnswer { state: ClaimState::Done, holder: None, completion: Some(completion()), ..held };
    looks(&done, &json!({ "mesh": "home", "key": key(), "state": "done", "completion": completion_json() }));
    for state in [ClaimState::Claimed, ClaimState::Held, ClaimState::Done] {
        looks(&state, &json!(state.as_str()));
    }
}

#[test]
fn what_ends_a_claim_looks_as_documented() {
    let outcome = Some("fixed".to_owned());
    let complete = CompleteRequest { key: key(), token: 17, outcome, mesh: None };
    let json = json!({ "key": key(), "token": 17, "outcome": "fixed" });
    looks(&complete, &json);
    refuses_unknown::<CompleteRequest>(&json);
    let answer = CompleteAnswer { key: key(), completion: completion() };
    looks(&answer, &json!({ "key": key(), "completion": completion_json() }));
    let abandon = AbandonRequest { key: key(), token: 17, mesh: None };
    let json = json!({ "key": key(), "token": 17 });
    looks(&abandon, &json);
    refuses_unknown::<AbandonRequest>(&json);
    looks(&AbandonAnswer { key: key(), token: 17 }, &json);
}

#[test]
fn a_list_of_claims_and_an_event_look_as_documented() {
    let claim = Claim { key: key(), state: ClaimState::Held, holder: Some(holder()), completion: None };
    let claims = Claims {
        mesh: "home".parse().unwrap(),
        claims: vec![claim],
        more: true,
        current: true,
        as_of: Some(Timestamp::from_millis(9)),
    };
    looks(
        &claims,
        &json!({
            "mesh": "home", "claims": [{ "key": key(), "state": "held", "holder": holder_json() }], "more": true,
            "current": true, "as_of": 9,
        }),
    );
    let query = ClaimsQuery {
        key: Some(key()),
        prefix: Some("ci:".to_owned()),
        app: Some("ann".parse().unwrap()),
        mesh: None,
    };
    let json = json!({ "key": key(), "prefix": "ci:", "app": "ann" });
    looks(&query, &json);
    refuses_unknown::<ClaimsQuery>(&json);
    let lost = EventBody::Claim {
        what: LeaseNews::Lost,
        key: key(),
        token: 17,
        app: "ann".parse().unwrap(),
        instance: None,
        remaining: None,
        reason: Some(LeaseEnd::Expired),
    };
    assert_eq!(lost.kind(), EventKind::Claim);
    looks(
        &lost,
        &json!({ "kind": "claim", "what": "lost", "key": key(), "token": 17, "app": "ann", "reason": "expired" }),
    );
}
