//! The JSON of leases, as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{
    AcquireAnswer, AcquireRequest, AcquireState, CheckAnswer, CheckQuery, EventBody, EventKind, Lease,
    LeaseEnd, LeaseHolder, LeaseMode, LeaseNews, Leases, LeasesQuery, OnDisconnect, ReleaseAnswer,
    ReleaseRequest, RenewAnswer, RenewRequest, RevokeLeaseRequest, RevokedLease, TokenState,
};

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);
const NODE_TEXT: &str = "ugq2dinbugq2dinbugq2dinbue";

fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

/// A request, which takes nothing that it does not know.
fn asks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    looks(value, json);
    let mut more = json.clone();
    more["colour"] = json!("red");
    let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
    assert!(refused.contains("unknown field"), "{refused}");
}

fn name() -> String {
    "deploy".to_owned()
}

fn holder(token: u64, mode: LeaseMode) -> LeaseHolder {
    LeaseHolder {
        token,
        app: Some("ci".parse().unwrap()),
        instance: Some("two".parse().unwrap()),
        node: "desk".parse().unwrap(),
        node_id: NODE,
        mode,
        purpose: Some("release 4.2".to_owned()),
        since: Timestamp::from_millis(5),
        remaining: 60_000,
    }
}

fn holder_json(token: u64, mode: &str) -> Value {
    json!({
        "token": token, "app": "ci", "instance": "two", "node": "desk", "node_id": NODE_TEXT, "mode": mode,
        "purpose": "release 4.2", "since": 5, "remaining": 60_000,
    })
}

#[test]
fn asking_for_a_lease_looks_as_documented() {
    asks(&AcquireRequest { name: Some(name()), ..AcquireRequest::default() }, &json!({ "name": "deploy" }));
    let text = |text: &str| Some(text.to_owned());
    let all = AcquireRequest {
        name: None,
        file: text("src/api.rs"),
        repository: text("https://git.example/app"),
        root: text("/home/ann/app"),
        ttl: text("1m"),
        wait: text("10m"),
        answer_within: text("0s"),
        mode: Some(LeaseMode::Shared),
        on_disconnect: Some(OnDisconnect::Release),
        purpose: text("release 4.2"),
        mesh: Some("home".parse().unwrap()),
    };
    let json = json!({
        "file": "src/api.rs", "repository": "https://git.example/app", "root": "/home/ann/app", "ttl": "1m",
        "wait": "10m", "answer_within": "0s", "mode": "shared", "on_disconnect": "release",
        "purpose": "release 4.2", "mesh": "home",
    });
    asks(&all, &json);
    for (policy, word) in [(OnDisconnect::Grace, "grace"), (OnDisconnect::Hold, "hold")] {
        looks(&policy, &json!(word));
    }
}

#[test]
fn what_became_of_it_looks_as_documented() {
    let locked = AcquireAnswer {
        mesh: "home".parse().unwrap(),
        name: name(),
        state: AcquireState::Locked,
        token: None,
        remaining: None,
        renewed: false,
        position: None,
        holders: vec![holder(17, LeaseMode::Exclusive)],
    };
    looks(
        &locked,
        &json!({ "mesh": "home", "name": "deploy", "state": "locked", "holders": [holder_json(17, "exclusive")] }),
    );
    let queued = AcquireAnswer {
        state: AcquireState::Queued,
        token: Some(19),
        position: Some(1),
        holders: Vec::new(),
        ..locked.clone()
    };
    looks(
        &queued,
        &json!({ "mesh": "home", "name": "deploy", "state": "queued", "token": 19, "position": 1 }),
    );
    let acquired = AcquireAnswer {
        state: AcquireState::Acquired,
        token: Some(19),
        remaining: Some(59_990),
        renewed: true,
        holders: Vec::new(),
        ..locked
    };
    looks(
        &acquired,
        &json!({
            "mesh": "home", "name": "deploy", "state": "acquired", "token": 19, "remaining": 59_990, "renewed": true,
        }),
    );
    let extended = AcquireState::Extended;
    for state in [AcquireState::Acquired, extended, AcquireState::Queued, AcquireState::Locked] {
        looks(&state, &json!(state.as_str()));
    }
}

#[test]
fn renewing_and_giving_back_look_as_documented() {
    let renew = RenewRequest { name: name(), token: 17, ttl: Some("5m".to_owned()), mesh: None };
    asks(&renew, &json!({ "name": "deploy", "token": 17, "ttl": "5m" }));
    let renewed = RenewAnswer { name: name(), token: 17, remaining: 300_000 };
    looks(&renewed, &json!({ "name": "deploy", "token": 17, "remaining": 300_000 }));
    let json = json!({ "name": "deploy", "token": 17 });
    asks(&ReleaseRequest { name: name(), token: 17, mesh: None }, &json);
    looks(&ReleaseAnswer { name: name(), token: 17 }, &json);
}

#[test]
fn checking_a_token_looks_as_documented() {
    let query = CheckQuery { name: name(), fence: 17, mesh: None };
    asks(&query, &json!({ "name": "deploy", "fence": 17 }));
    let held = CheckAnswer { state: TokenState::Held, remaining: Some(1_000), newest: Some(17) };
    looks(&held, &json!({ "state": "held", "remaining": 1_000, "newest": 17 }));
    let unknown = CheckAnswer { state: TokenState::Unknown, remaining: None, newest: None };
    looks(&unknown, &json!({ "state": "unknown" }));
    for state in [TokenState::Held, TokenState::Queued, TokenState::Ended, TokenState::Unknown] {
        looks(&state, &json!(state.as_str()));
    }
}

#[test]
fn a_list_of_leases_and_what_is_taken_away_look_as_documented() {
    let query = LeasesQuery {
        name: Some(name()),
        prefix: Some("file:".to_owned()),
        app: Some("ci".parse().unwrap()),
        mesh: Some("home".parse().unwrap()),
    };
    asks(&query, &json!({ "name": "deploy", "prefix": "file:", "app": "ci", "mesh": "home" }));
    let lease = Lease {
        name: name(),
        holders: vec![holder(17, LeaseMode::Shared)],
        waiting: vec![holder(19, LeaseMode::Exclusive)],
    };
    let leases = Leases {
        mesh: "home".parse().unwrap(),
        leases: vec![lease],
        more: true,
        current: false,
        as_of: Some(Timestamp::from_millis(9)),
    };
    looks(
        &leases,
        &json!({
            "mesh": "home",
            "leases": [{
                "name": "deploy", "holders": [holder_json(17, "shared")], "waiting": [holder_json(19, "exclusive")],
            }],
            "more": true, "current": false, "as_of": 9,
        }),
    );
    let revoke = RevokeLeaseRequest { name: name(), token: Some(17), mesh: None };
    asks(&revoke, &json!({ "name": "deploy", "token": 17 }));
    let revoked = RevokedLease { name: name(), revoked: vec![17] };
    looks(&revoked, &json!({ "name": "deploy", "revoked": [17] }));
}

#[test]
fn an_event_of_a_lease_looks_as_documented() {
    let event = |what, remaining, reason| EventBody::Lease {
        what,
        name: name(),
        token: 17,
        app: "ci".parse().unwrap(),
        instance: None,
        remaining,
        reason,
    };
    let granted = event(LeaseNews::Granted, Some(60_000), None);
    assert_eq!(granted.kind(), EventKind::Lease);
    looks(
        &granted,
        &json!({ "kind": "lease", "what": "granted", "name": "deploy", "token": 17, "app": "ci", "remaining": 60_000 }),
    );
    use LeaseEnd::{Disconnected, Expired, Revoked, StoreLost, Unregistered};
    for reason in [Expired, Disconnected, Unregistered, Revoked, StoreLost] {
        looks(
            &event(LeaseNews::Lost, None, Some(reason)),
            &json!({
                "kind": "lease", "what": "lost", "name": "deploy", "token": 17, "app": "ci", "reason": reason.as_str(),
            }),
        );
    }
}
