//! The JSON of shared state, as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{
    Author, Category, Event, EventBody, EventKind, KvAnswer, KvChange, KvEntry, KvHistory, KvKey, KvPage,
    KvPut, KvPutAnswer, KvQuery, KvState,
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

fn entry() -> KvEntry {
    let author = |app: &str| Author {
        node: Some("desk".parse().unwrap()),
        node_id: NODE,
        app: Some(app.parse().unwrap()),
        instance: None,
    };
    let key = KvKey {
        scope: "mesh".to_owned(),
        key: "deploy/target".to_owned(),
        category: Category::Decision,
        version: 2,
        etag: "2-1887436800001".to_owned(),
        created_by: author("ann"),
        created_at: Timestamp::from_millis(1_000),
        updated_by: Author { instance: Some("two".parse().unwrap()), ..author("ci") },
        updated_at: Timestamp::from_millis(2_000),
        expires_at: Some(Timestamp::from_millis(3_000)),
    };
    KvEntry { key, value: Some("blue".to_owned()), value_base64: None }
}

fn entry_json() -> Value {
    json!({
        "scope": "mesh", "key": "deploy/target", "category": "decision", "version": 2, "etag": "2-1887436800001",
        "created_by": { "node": "desk", "node_id": NODE_TEXT, "app": "ann" }, "created_at": 1_000,
        "updated_by": { "node": "desk", "node_id": NODE_TEXT, "app": "ci", "instance": "two" },
        "updated_at": 2_000, "expires_at": 3_000, "value": "blue",
    })
}

fn with(mut json: Value, more: &Value) -> Value {
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json
}

#[test]
fn a_put_looks_as_documented() {
    let bare = KvPut { value: Some("blue".to_owned()), ..KvPut::default() };
    looks(&bare, &json!({ "value": "blue" }));
    let full = KvPut {
        value: None,
        value_base64: Some("/wA=".to_owned()),
        category: Some(Category::Decision),
        ttl: Some("30m".to_owned()),
        mesh: Some("home".parse().unwrap()),
    };
    let full_json = json!({ "value_base64": "/wA=", "category": "decision", "ttl": "30m", "mesh": "home" });
    looks(&full, &full_json);
    refuses_unknown::<KvPut>(&full_json);
    let mut key_json = entry_json();
    key_json.as_object_mut().unwrap().remove("value");
    for (state, duplicate, more) in [
        (KvState::Created, true, json!({ "state": "created", "duplicate": true })),
        (KvState::Updated, false, json!({ "state": "updated" })),
    ] {
        let answer = KvPutAnswer { state, duplicate, key: entry().key };
        looks(&answer, &with(key_json.clone(), &more));
    }
}

#[test]
fn what_is_read_looks_as_documented() {
    let (mesh, as_of) = ("home".parse().unwrap(), Some(Timestamp::from_millis(5)));
    let about = json!({ "mesh": "home", "current": false, "as_of": 5 });
    let answer = KvAnswer { entry: entry(), mesh, current: false, as_of };
    looks(&answer, &with(entry_json(), &about));
    let mesh = answer.mesh.clone();
    let page = KvPage { mesh, entries: vec![entry()], next: Some("k".to_owned()), current: false, as_of };
    looks(&page, &with(json!({ "entries": [entry_json()], "next": "k" }), &about));
    let history = KvHistory { mesh: page.mesh.clone(), versions: vec![entry()], current: false, as_of };
    looks(&history, &with(json!({ "versions": [entry_json()] }), &about));
    let query = KvQuery {
        prefix: Some("deploy/".to_owned()),
        category: Some(Category::Blocker),
        after: Some("deploy/a".to_owned()),
        limit: Some(10),
        mesh: None,
    };
    let query_json = json!({ "prefix": "deploy/", "category": "blocker", "after": "deploy/a", "limit": 10 });
    looks(&query, &query_json);
    refuses_unknown::<KvQuery>(&query_json);
}

#[test]
fn m_38_every_category_has_its_word_and_no_other_word_is_one() {
    for category in Category::ALL {
        looks(&category, &json!(category.as_str()));
        assert_eq!(category.as_str().parse(), Ok(category));
    }
    assert!("idea".parse::<Category>().is_err() && "".parse::<Category>().is_err());
}

#[test]
fn a_change_looks_as_documented() {
    let entry = entry();
    let body = EventBody::State {
        change: KvChange::Set,
        scope: "mesh".to_owned(),
        key: "deploy/target".to_owned(),
        category: Some(Category::Decision),
        version: Some(2),
        by: Some(entry.key.created_by),
    };
    assert_eq!(body.kind(), EventKind::State);
    let event = Event { cursor: 7, at: Timestamp::from_millis(9), body };
    looks(
        &event,
        &json!({
            "cursor": 7, "at": 9, "kind": "state", "change": "set", "scope": "mesh", "key": "deploy/target",
            "category": "decision", "version": 2,
            "by": { "node": "desk", "node_id": NODE_TEXT, "app": "ann" },
        }),
    );
    for (change, word) in [(KvChange::Deleted, "deleted"), (KvChange::Expired, "expired")] {
        let (scope, key) = ("mesh".to_owned(), "k".to_owned());
        let body = EventBody::State { change, scope, key, category: None, version: None, by: None };
        looks(&body, &json!({ "kind": "state", "change": word, "scope": "mesh", "key": "k" }));
        assert_eq!(change.as_str(), word);
    }
}
