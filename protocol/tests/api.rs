//! The JSON of the local API: every type as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::collections::HashSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::membership::{LogHead, Role, Standing};
use waxwing_crypto::{Digest, MeshId, Name, NodeId, Priority, Timestamp};
use waxwing_protocol::api::{
    AckAnswer, AckRequest, Activity, Alarm, App, AppDetails, Apps, AppsQuery, BatchAnswer, BatchOutcome,
    BatchRequest, Change, ClosedMesh, Event, EventBody, EventKind, Health, InboxItem, InboxPage, InboxQuery,
    InviteAnswer, InviteRequest, Invites, LeaveReason, Link, LinkState, Member, Members, MembersQuery,
    MeshHealth, MeshQuery, MessageState, OpenInvite, OwnProfile, Peer, PeerApp, Peers, Problem, ProblemCode,
    Profile, ProfileRequest, ReceiptWanted, RecoverRequest, Registered, Registration, RemoveQuery,
    ResumeAnswer, RevokeInviteRequest, RevokedInvite, Scope, SendAnswer, SendRequest, SendStatus,
    StateKeyHealth, Stop, Version, Voucher,
};
use waxwing_protocol::{Address, MessageId, RegistrationId};

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);
const NODE_TEXT: &str = "ugq2dinbugq2dinbugq2dinbue";
const MESSAGE: MessageId = MessageId::from_bytes([0x70; 16]);
const MESSAGE_TEXT: &str = "70707070-7070-7070-7070-707070707070";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The value looks like this, and this reads as the value.
fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

/// A request with a field that nobody knows is refused: it may be a misspelt option.
fn refuses_unknown<T: DeserializeOwned + Debug>(json: &Value) {
    for (field, value) in [("colour", json!("red")), ("Mesh", Value::Null)] {
        let mut more = json.clone();
        more[field] = value;
        let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
        assert!(refused.contains("unknown field") && refused.contains(field), "{refused}");
    }
}

/// An answer may grow: whoever reads it passes over what he does not know.
fn ignores_unknown<T: DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    let mut more = json.clone();
    more["colour"] = json!("red");
    assert_eq!(&serde_json::from_value::<T>(more).unwrap(), value);
}

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

#[test]
fn the_mesh_looks_as_documented() {
    looks(&MeshQuery::default(), &json!({}));
    refuses_unknown::<MeshQuery>(&json!({ "mesh": "home" }));
    let peer = Peer {
        node: name("alpha"),
        id: NODE,
        role: Role::Admin,
        joined_at: at(1),
        online: true,
        since: Some(at(2)),
        last_seen: None,
        version: Some("0.1.0".to_owned()),
        profile: Some(Profile { title: Some("the database".to_owned()), ..Profile::default() }),
        apps: vec![PeerApp { name: name("ci"), instance: Some(name("one")), kind: None }],
        this: true,
        blocked: false,
    };
    let bare = Peer {
        online: false,
        since: None,
        last_seen: Some(at(3)),
        version: None,
        profile: None,
        apps: Vec::new(),
        this: false,
        ..peer.clone()
    };
    let bare_json = json!({ "node": "alpha", "id": NODE_TEXT, "role": "admin", "joined_at": 1, "online": false, "last_seen": 3 });
    looks(&bare, &bare_json);
    let peers = Peers { mesh: name("home"), peers: vec![peer], current: false, as_of: Some(at(4)) };
    let peer = json!({
        "node": "alpha", "id": NODE_TEXT, "role": "admin", "joined_at": 1, "this": true, "online": true, "since": 2,
        "version": "0.1.0", "profile": { "title": "the database" }, "apps": [{ "name": "ci", "instance": "one" }],
    });
    looks(&peers, &json!({ "mesh": "home", "peers": [peer], "current": false, "as_of": 4 }));
    let request = InviteRequest {
        role: Some(Role::Member),
        uses: Some(3),
        expires: Some("24h".to_owned()),
        name: Some(name("printer")),
        mesh: Some(name("home")),
    };
    let json = json!({ "role": "member", "uses": 3, "expires": "24h", "name": "printer", "mesh": "home" });
    looks(&request, &json);
    refuses_unknown::<InviteRequest>(&json);
    let head = LogHead { seq: 4, hash: Digest::from_bytes([0x33; 32]) };
    let resumed = ResumeAnswer { mesh: name("home"), head };
    looks(&resumed, &json!({ "mesh": "home", "head": { "seq": 4, "hash": "33".repeat(32) } }));
    let answer = InviteAnswer { token: "ww1_secret".to_owned(), mesh: name("home"), expires_at: at(1) };
    looks(&answer, &json!({ "token": "ww1_secret", "mesh": "home", "expires_at": 1 }));
    assert!(!format!("{answer:?}").contains("secret"), "a token is a secret");
}

#[test]
fn members_and_invites_look_as_documented() {
    let query = MembersQuery { all: true, mesh: Some(name("home")) };
    looks(&query, &json!({ "all": true, "mesh": "home" }));
    looks(&MembersQuery::default(), &json!({}));
    refuses_unknown::<MembersQuery>(&json!({ "all": true }));
    let founder = Member {
        node: name("alpha"),
        id: NODE,
        role: Role::Admin,
        standing: Standing::Live,
        joined_at: at(1),
        invited_by: None,
        moved_at: None,
        ended_at: None,
        founder: true,
        this: true,
    };
    let gone = Member {
        node: name("beta"),
        role: Role::Member,
        standing: Standing::Revoked,
        invited_by: Some(name("alpha")),
        moved_at: Some(at(2)),
        ended_at: Some(at(3)),
        founder: false,
        this: false,
        ..founder.clone()
    };
    let members = Members { mesh: name("home"), members: vec![founder, gone] };
    let json = json!({ "mesh": "home", "members": [
        { "node": "alpha", "id": NODE_TEXT, "role": "admin", "standing": "live", "joined_at": 1, "founder": true, "this": true },
        { "node": "beta", "id": NODE_TEXT, "role": "member", "standing": "revoked", "joined_at": 1, "invited_by": "alpha",
          "moved_at": 2, "ended_at": 3 },
    ] });
    looks(&members, &json);
    let invite = OpenInvite {
        key: "1f0c".to_owned(),
        role: Role::Member,
        left: 2,
        uses: 3,
        expires_at: at(4),
        name: Some(name("beta")),
        made_by: Some(name("alpha")),
        made_at: at(1),
    };
    let invites = Invites { mesh: name("home"), invites: vec![invite] };
    let json = json!({ "mesh": "home", "invites": [
        { "key": "1f0c", "role": "member", "left": 2, "uses": 3, "expires_at": 4, "name": "beta", "made_by": "alpha",
          "made_at": 1 },
    ] });
    looks(&invites, &json);
    let revoke = RevokeInviteRequest {
        key: "1f0c".to_owned(),
        reason: Some("posted in public".to_owned()),
        mesh: Some(name("home")),
    };
    let json = json!({ "key": "1f0c", "reason": "posted in public", "mesh": "home" });
    looks(&revoke, &json);
    refuses_unknown::<RevokeInviteRequest>(&json);
    let revoked = RevokedInvite { mesh: name("home"), key: "1f0c".to_owned() };
    looks(&revoked, &json!({ "mesh": "home", "key": "1f0c" }));
    let recover =
        RecoverRequest { words: "abandon art".to_owned().into(), node: Some(name("beta")), mesh: None };
    let json = json!({ "words": "abandon art", "node": "beta" });
    looks(&recover, &json);
    refuses_unknown::<RecoverRequest>(&json);
    assert!(!format!("{recover:?}").contains("abandon"), "the words are a secret");
}

#[test]
fn apps_look_as_documented() {
    let held: RegistrationId = "0123456789abcdef".parse().unwrap();
    let registration = Registration {
        ttl: Some("30s".to_owned()),
        registration: Some(held.clone()),
        takeover: true,
        instance: Some(name("one")),
        kind: Some("agent".to_owned()),
        version: Some("1.2".to_owned()),
        capabilities: Some(vec!["rust".to_owned()]),
        repository: Some("a/b".to_owned()),
        cwd: Some("/src".to_owned()),
        pid: Some(7),
        status: Some(Activity::Dnd),
        summary: Some("reads".to_owned()),
        meta: json!({ "model": "x" }).as_object().cloned(),
        mesh: Some(name("home")),
    };
    let json = json!({
        "ttl": "30s", "registration": "0123456789abcdef", "takeover": true, "instance": "one", "kind": "agent",
        "version": "1.2", "capabilities": ["rust"], "repository": "a/b", "cwd": "/src", "pid": 7, "status": "dnd",
        "summary": "reads", "meta": { "model": "x" }, "mesh": "home",
    });
    looks(&registration, &json);
    looks(&Registration::default(), &json!({}));
    refuses_unknown::<Registration>(&json);
    let bare = App {
        name: name("ci"),
        instance: None,
        node: name("alpha"),
        node_id: NODE,
        since: at(1),
        until: None,
        this: false,
        details: AppDetails::default(),
    };
    let json = json!({ "name": "ci", "node": "alpha", "node_id": NODE_TEXT, "since": 1 });
    looks(&bare, &json);
    ignores_unknown(&bare, &json);
    let details = AppDetails { kind: Some("agent".to_owned()), pid: Some(7), ..AppDetails::default() };
    let app = App { instance: Some(name("one")), until: Some(at(2)), this: true, details, ..bare };
    let registered = Registered { registration: held.clone(), app: app.clone() };
    let app_json = json!({
        "name": "ci", "instance": "one", "node": "alpha", "node_id": NODE_TEXT, "since": 1, "until": 2, "this": true,
        "kind": "agent", "pid": 7,
    });
    let mut json = app_json.clone();
    json["registration"] = json!("0123456789abcdef");
    looks(&registered, &json);
    let apps = Apps { mesh: name("home"), apps: vec![app], more: true, current: true, as_of: Some(at(3)) };
    looks(&apps, &json!({ "mesh": "home", "apps": [app_json], "more": true, "current": true, "as_of": 3 }));
    let query =
        AppsQuery { scope: Some(Scope::Mesh), capability: vec!["rust".to_owned()], ..AppsQuery::default() };
    looks(&query, &json!({ "scope": "mesh", "capability": ["rust"] }));
    refuses_unknown::<AppsQuery>(&json!({ "kind": "agent" }));
    let remove = RemoveQuery { instance: Some(name("one")), registration: Some(held.clone()), mesh: None };
    let json = json!({ "instance": "one", "registration": "0123456789abcdef" });
    looks(&remove, &json);
    refuses_unknown::<RemoveQuery>(&json);
    assert!(!format!("{held:?}").contains("89abcdef"), "who knows it is the holder");
    for bad in ["", "0123456789abcde", "0123456789 abcdef", &"x".repeat(65)] {
        assert!(bad.parse::<RegistrationId>().is_err(), "{bad}");
    }
}

#[test]
fn a_profile_looks_as_documented() {
    let request = ProfileRequest {
        summary: Some("moves the database".to_owned()),
        status: Some(Activity::Working),
        visible: Some(false),
        avatar: Some("x".to_owned()),
        title: Some("the database".to_owned()),
        bio: Some("long".to_owned()),
        capabilities: Some(vec!["sql".to_owned()]),
        mesh: Some(name("home")),
    };
    let said = json!({
        "summary": "moves the database", "status": "working", "avatar": "x", "title": "the database", "bio": "long",
        "capabilities": ["sql"],
    });
    let mut json = said.clone();
    (json["visible"], json["mesh"]) = (json!(false), json!("home"));
    looks(&request, &json);
    looks(&ProfileRequest::default(), &json!({}));
    refuses_unknown::<ProfileRequest>(&json);
    let profile: Profile = serde_json::from_value(said).unwrap();
    looks(&OwnProfile { mesh: name("home"), visible: false, profile }, &json);
    for activity in Activity::ALL {
        looks(&activity, &json!(activity.as_str()));
    }
}

#[test]
fn who_comes_and_goes_looks_as_documented() {
    let event = |body| Event { cursor: 7, at: at(1), body };
    let (node, app, id) = (name("beta"), name("ci"), NODE);
    let instance = Some(name("one"));
    let join = json!({ "cursor": 7, "at": 1, "kind": "peer_join", "node": "beta", "id": NODE_TEXT });
    looks(&event(EventBody::PeerJoin { node: node.clone(), id }), &join);
    let reason = Some(LeaveReason::Goodbye);
    let leave = json!({
        "cursor": 7, "at": 1, "kind": "peer_leave", "node": "beta", "id": NODE_TEXT, "reason": "goodbye",
    });
    looks(&event(EventBody::PeerLeave { node: node.clone(), id, reason }), &leave);
    let join = json!({
        "cursor": 7, "at": 1, "kind": "app_join", "app": "ci", "instance": "one", "node": "beta", "id": NODE_TEXT,
    });
    let body = EventBody::AppJoin { app: app.clone(), instance, node: node.clone(), id };
    looks(&event(body), &join);
    let leave =
        json!({ "cursor": 7, "at": 1, "kind": "app_leave", "app": "ci", "node": "beta", "id": NODE_TEXT });
    looks(&event(EventBody::AppLeave { app, instance: None, node, id, reason: None }), &leave);
    for kind in EventKind::ALL {
        looks(&kind, &json!(kind.as_str()));
    }
}

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
        outbox_unreceipted: 4,
        outbox_bytes: 9,
        outbox_used: 80,
        disk_full: true,
        inbox_unread: 5,
        inbox_held: 6,
        quarantined: 7,
        leases_held: 1,
        leases_waiting: 2,
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
        "epoch": 9, "outbox_pending": 3,
        "outbox_unreceipted": 4, "outbox_bytes": 9, "outbox_used": 80, "disk_full": true, "inbox_unread": 5, "inbox_held": 6, "quarantined": 7, "leases_held": 1, "leases_waiting": 2, "clock_offset_ms": -8,
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
