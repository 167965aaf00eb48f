//! How a node is, and what it refuses.

use std::collections::HashSet;

use serde_json::json;
use waxwing_crypto::membership::{LogHead, Role};
use waxwing_crypto::{Digest, MeshId};
use waxwing_protocol::api::{
    Alarm, ClosedMesh, Health, Link, LinkState, MeshHealth, Problem, ProblemCode, StateKeyHealth, Stop,
    Version,
};

use super::{MESSAGE, MESSAGE_TEXT, NODE, NODE_TEXT, at, ignores_unknown, looks, name};

#[test]
fn health_looks_as_documented() {
    looks(&Version { version: "0.1.0".to_owned(), api: 1 }, &json!({ "version": "0.1.0", "api": 1 }));
    let mesh = MeshHealth {
        mesh: name("home"),
        mesh_id: MeshId::from_bytes(*NODE.as_bytes()),
        node: name("alpha"),
        node_id: NODE,
        role: Some(Role::Admin),
        broker: "ws://127.0.0.1:7900".to_owned(),
        link: Link {
            state: LinkState::Stopped,
            since: at(1),
            reason: Some("membership has ended".to_owned()),
            stop: Some(Stop { code: "revoked".to_owned(), exit: 3, hint: Some("waxwing leave".to_owned()) }),
        },
        members: 2,
        epoch: 9,
        outbox_pending: 3,
        outbox_oldest_seconds: 61,
        outbox_unreceipted: 4,
        outbox_bytes: 9,
        outbox_used: 80,
        disk_full: true,
        inbox_unread: 5,
        inbox_held: 6,
        quarantined: 7,
        leases_held: 1,
        leases_waiting: 2,
        claims_held: 3,
        state_keys: 4,
        topic_backlog: 5,
        clock_offset_ms: -8,
        resume_wanted: Some(vec![LogHead { seq: 4, hash: Digest::from_bytes([0x33; 32]) }]),
        state_key: StateKeyHealth { held: false, problem: Some("not here yet".to_owned()) },
        host_warning: Some("only progress protects this node".to_owned()),
        alarms: vec![Alarm {
            what: "log_mismatch".to_owned(),
            node: Some(NODE),
            since: at(1),
            detail: "mail to beta waits".to_owned(),
        }],
    };
    let json = json!({
        "mesh": "home", "mesh_id": NODE_TEXT, "node": "alpha", "node_id": NODE_TEXT, "role": "admin",
        "broker": "ws://127.0.0.1:7900",
        "link": {
            "state": "stopped", "since": 1, "reason": "membership has ended",
            "stop": { "code": "revoked", "exit": 3, "hint": "waxwing leave" },
        },
        "members": 2,
        "epoch": 9, "outbox_pending": 3, "outbox_oldest_seconds": 61,
        "outbox_unreceipted": 4, "outbox_bytes": 9, "outbox_used": 80, "disk_full": true, "inbox_unread": 5, "inbox_held": 6, "quarantined": 7, "leases_held": 1, "leases_waiting": 2,
        "claims_held": 3, "state_keys": 4, "topic_backlog": 5, "clock_offset_ms": -8,
        "resume_wanted": [{ "seq": 4, "hash": "33".repeat(32) }],
        "state_key": { "held": false, "problem": "not here yet" },
        "host_warning": "only progress protects this node",
        "alarms": [{ "what": "log_mismatch", "node": NODE_TEXT, "since": 1, "detail": "mail to beta waits" }],
    });
    let closed = vec![ClosedMesh { mesh: name("team"), reason: "its broker is moving".to_owned() }];
    let health = Health { live: true, ready: false, listen: None, meshes: vec![mesh], closed };
    let json = json!({
        "live": true, "ready": false, "meshes": [json],
        "closed": [{ "mesh": "team", "reason": "its broker is moving" }],
    });
    looks(&health, &json);
    ignores_unknown(&health, &json);
}

#[test]
fn a_problem_looks_as_documented() {
    let bare = Problem::new(ProblemCode::UnknownRecipient);
    let json = json!({ "code": "unknown_recipient", "status": 404, "title": "no member has this name" });
    looks(&bare, &json);
    ignores_unknown(&bare, &json);
    let full = Problem {
        detail: Some("why".to_owned()),
        hint: Some("what to do".into()),
        conflict: Some("outbox_dead_fingerprint_match".to_owned()),
        fingerprint: Some("0123456789abcdef".to_owned()),
        reason: Some("expired".to_owned()),
        broker_message_id: Some(MESSAGE),
        near: vec!["beta".to_owned()],
        ..Problem::new(ProblemCode::IdempotencyKeyReused)
    };
    let json = json!({
        "code": "idempotency_key_reused", "status": 409, "title": "this message id is taken", "detail": "why",
        "hint": "what to do",
        "conflict": "outbox_dead_fingerprint_match", "fingerprint": "0123456789abcdef", "reason": "expired",
        "broker_message_id": MESSAGE_TEXT, "near": ["beta"],
    });
    looks(&full, &json);
}

#[test]
fn every_code_has_one_word_a_fitting_status_and_a_title() {
    let mut words = HashSet::new();
    for code in ProblemCode::ALL {
        looks(code, &json!(code.as_str()));
        assert!(words.insert(code.as_str()), "{code:?} twice");
        assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code:?}");
        assert!((400..600).contains(&code.status()) && !code.title().is_empty(), "{code:?}");
    }
    assert!(serde_json::from_value::<ProblemCode>(json!("no_such_code")).is_err());
}
