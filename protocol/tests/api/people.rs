//! Who is in a mesh, and who is there.

use serde_json::json;
use waxwing_crypto::Digest;
use waxwing_crypto::membership::{LogHead, Role, Standing};
use waxwing_protocol::RegistrationId;
use waxwing_protocol::api::{
    Activity, App, AppDetails, Apps, AppsQuery, Event, EventBody, EventKind, InviteAnswer, InviteRequest,
    Invites, LeaveReason, Member, Members, MembersQuery, MeshQuery, OpenInvite, OwnProfile, Peer, PeerApp,
    Peers, Profile, ProfileRequest, RecoverRequest, Registered, Registration, RemoveQuery, ResumeAnswer,
    RevokeInviteRequest, RevokedInvite, Scope,
};

use super::{NODE, NODE_TEXT, at, ignores_unknown, looks, name, refuses_unknown};

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
