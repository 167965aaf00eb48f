//! State that a mesh shares: on real nodes, through restarts, and what is no request refused by its code.

use std::time::Duration;

use serde_json::Value;
use tokio::net::UnixStream;
use waxwing_client::api::{Category, KvPut, KvQuery, KvState, MeshQuery, ProblemCode};
use waxwing_client::{Client, Error, KvTerms};
use waxwing_lab::{Lab, Scan, eventually};

use crate::api::exchange_on;
use crate::commands::{fails, json, run};
use crate::support::{WITHIN, mesh};
use crate::terminal::Running;

fn app(lab: &Lab, node: &str, name: &str) -> Client {
    lab.client(node).app(name.parse().unwrap())
}

fn text(value: &str) -> KvPut {
    KvPut { value: Some(value.to_owned()), ..KvPut::default() }
}

async fn put(client: &Client, key: &str, value: &str) -> waxwing_client::api::KvPutAnswer {
    client.kv_put(key, &text(value), &KvTerms::default()).await.unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ProblemCode {
    result.unwrap_err().problem().expect("a refusal").code
}

/// Waits until a node shows that under a key.
async fn shows(client: &Client, key: &str, value: &str) {
    let shows = async || {
        let found = client.kv_get(key, &MeshQuery::default()).await.ok()?;
        (found.entry.value.as_deref() == Some(value)).then_some(())
    };
    eventually(WITHIN, &format!("{key} is {value}"), shows).await.unwrap();
}

#[tokio::test]
async fn m_36_to_m_39_a_configuration_is_shared_watched_and_taken_away() {
    let lab = mesh(&["alpha", "beta"]).await;
    let mut watch =
        Running::start(&lab.state("beta"), &["--json", "kv", "watch", "--prefix", "deploy/", "--after", "0"]);
    // From here on beta is told of what changes.
    json(&lab, "beta", &["kv", "list"]).await;
    let put = ["kv", "put", "deploy/target", "blue", "--app", "ann", "--category", "decision"];
    let first = json(&lab, "alpha", &put).await;
    assert_eq!((&first["state"], &first["version"]), (&"created".into(), &1.into()), "{first}");
    json(&lab, "alpha", &["kv", "put", "other", "1", "--app", "ann"]).await;
    let seen = watch.document().await;
    assert_eq!(
        (&seen["kind"], &seen["change"], &seen["entry"]["value"]),
        (&"state".into(), &"set".into(), &"blue".into()),
        "{seen}"
    );
    assert_eq!((&seen["by"]["app"], &seen["by"]["node"]), (&"ann".into(), &"alpha".into()), "{seen}");
    let etag = seen["entry"]["etag"].as_str().unwrap();
    let next = ["kv", "put", "deploy/target", "green", "--app", "bob", "--if-match", etag];
    let second = json(&lab, "beta", &next).await;
    assert_eq!((&second["state"], &second["category"]), (&"updated".into(), &"decision".into()), "{second}");
    assert_eq!(fails(&lab, "beta", &next, 8).await, "version_conflict");
    assert_eq!(watch.document().await["version"], 2);
    let shown = run(&lab, "beta", &["kv", "get", "deploy/target"]).await;
    assert_eq!(shown.stdout, "green\n", "{shown:?}");
    assert!(
        shown.stderr.contains("decision: version 2") && shown.stderr.contains("by bob@beta"),
        "{shown:?}"
    );
    let history = run(&lab, "beta", &["kv", "get", "deploy/target", "--history"]).await;
    assert!(
        history.stdout.contains("bob@beta   green") && history.stdout.contains("ann@alpha  blue"),
        "{history:?}"
    );
    let listed = run(&lab, "beta", &["kv", "list", "--prefix", "deploy/"]).await;
    assert!(listed.stdout.contains("deploy/target  2        decision"), "{listed:?}");
    json(&lab, "beta", &["kv", "delete", "deploy/target", "--app", "bob"]).await;
    let gone = watch.document().await;
    assert_eq!((&gone["change"], gone.get("entry")), (&"deleted".into(), None), "{gone}");
    assert_eq!(fails(&lab, "beta", &["kv", "get", "deploy/target"], 7).await, "not_found");
    assert_eq!(fails(&lab, "beta", &["kv", "delete", "deploy/target", "--app", "bob"], 7).await, "not_found");
    assert_eq!(fails(&lab, "alpha", &["kv", "put", "k", "v"], 2).await, "app_required");
    watch.stop().await;
}

/// M-37.
#[tokio::test]
async fn state_is_there_without_the_broker_and_after_restarts_of_everything() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let (alpha, beta) = (app(&lab, "alpha", "ci"), app(&lab, "beta", "ci"));
    for value in ["1", "2"] {
        put(&alpha, "k", value).await;
    }
    shows(&beta, "k", "2").await;
    lab.kill(Lab::BROKER).await.unwrap();
    let down = async || (!beta.kv_get("k", &MeshQuery::default()).await.ok()?.current).then_some(());
    eventually(WITHIN, "beta has no link", down).await.unwrap();
    lab.kill("beta").await.unwrap();
    lab.restart("beta").await.unwrap();
    let found = beta.kv_get("k", &MeshQuery::default()).await.unwrap();
    assert!(
        found.entry.value.as_deref() == Some("2") && !found.current && found.as_of.is_some(),
        "{found:?}"
    );
    let page = beta.kv_list(&KvQuery::default()).await.unwrap();
    assert_eq!((page.entries.len(), page.current), (1, false));
    let refused = beta.kv_put("k", &text("3"), &KvTerms::default()).await;
    assert_eq!(code(refused), ProblemCode::Offline);
    assert_eq!(
        code(beta.kv_delete("k", &KvTerms::default(), &MeshQuery::default()).await),
        ProblemCode::Offline
    );
    lab.restart(Lab::BROKER).await.unwrap();
    lab.linked("beta").await.unwrap();
    let next = put(&beta, "k", "3").await;
    assert_eq!((next.state, next.key.version), (KvState::Updated, 3));
    shows(&alpha, "k", "3").await;
    let history = alpha.kv_history("k", &MeshQuery::default()).await.unwrap();
    let values: Vec<_> = history.versions.iter().map(|entry| entry.value.as_deref().unwrap()).collect();
    assert_eq!(values, ["3", "2", "1"]);
}

#[tokio::test]
async fn what_apps_share_is_on_no_brokers_disk_nor_on_the_wire_and_no_value_on_a_nodes() {
    const WORDS: [&str; 2] = ["quagga-in-the-key", "okapi-in-the-value"];
    let mut lab = mesh(&["alpha", "beta"]).await;
    put(&app(&lab, "alpha", "ci"), WORDS[0], WORDS[1]).await;
    put(&app(&lab, "alpha", "ci"), WORDS[0], WORDS[1]).await;
    shows(&app(&lab, "beta", "ci"), WORDS[0], WORDS[1]).await;
    let mut scan = Scan::default();
    scan.path(&lab.state(Lab::BROKER), &WORDS).unwrap();
    scan.path(lab.process(Lab::BROKER).log_path(), &WORDS).unwrap();
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &WORDS);
    }
    // Its name is in the events that were told, and nothing else.
    for node in ["alpha", "beta"] {
        scan.path(&lab.state(node), &WORDS[1..]).unwrap();
        scan.path(lab.process(node).log_path(), &WORDS).unwrap();
    }
    assert!(scan.found.is_empty() && scan.files > 6 && scan.bytes > 10_000, "{scan:?}");
}

/// One request as text, as another program would write it.
async fn asked(lab: &Lab, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    let socket = lab.state("alpha").join("node.sock");
    let (status, _, answer) =
        exchange_on(UnixStream::connect(socket).await.unwrap(), request.as_bytes()).await;
    (status, answer)
}

#[tokio::test]
async fn mt_48_mt_52_mb_36_whatever_is_no_request_is_refused_by_its_code_and_changes_nothing() {
    let lab = mesh(&["alpha"]).await;
    const CI: &str = "waxwing-app: ci\r\n";
    let long = format!("/v1/kv/mesh/{}", "x".repeat(257));
    let large = format!(r#"{{"value":"{}"}}"#, "x".repeat(253 * 1024));
    let (v, at) = (r#"{"value":"v"}"#, "/v1/kv/mesh/k");
    for (method, path, headers, body, expected) in [
        ("GET", at, "", "", (404, "not_found")),
        ("GET", "/v1/kv/mesh/k/history", "", "", (404, "not_found")),
        ("DELETE", at, CI, "", (404, "not_found")),
        ("GET", "/v1/kv/elsewhere/k", "", "", (404, "not_found")),
        ("PUT", "/v1/kv/elsewhere/k", CI, v, (404, "not_found")),
        ("GET", "/v1/kv/elsewhere", "", "", (404, "not_found")),
        ("GET", "/v1/kv/mesh/", "", "", (404, "no_such_route")),
        ("PUT", at, "", v, (400, "app_required")),
        ("DELETE", at, "", "", (400, "app_required")),
        ("PUT", at, CI, r#"{"value":""}"#, (400, "malformed")),
        ("PUT", at, CI, "{}", (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","value_base64":"dg=="}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value_base64":"?"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","category":"idea"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"0s"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"-1s"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"999ms"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"1.5"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"400d"}"#, (400, "malformed")),
        ("PUT", at, CI, r#"{"value":"v","ttl":"99999999999999999999d"}"#, (400, "malformed")),
        ("PUT", at, CI, &large, (413, "too_large")),
        ("PUT", &long, CI, v, (400, "malformed")),
        ("PUT", "/v1/kv/mesh/a%0Ab", CI, v, (400, "malformed")),
        ("PUT", "/v1/kv/mesh/%FF", CI, v, (400, "malformed")),
        ("PUT", at, "waxwing-app: ci\r\nif-match: \"seven\"\r\n", v, (400, "malformed")),
        ("PUT", at, "waxwing-app: ci\r\nif-match: \"-1\"\r\n", v, (400, "malformed")),
        ("PUT", at, "waxwing-app: ci\r\nif-none-match: \"1\"\r\n", v, (400, "malformed")),
        ("PUT", at, "waxwing-app: ci\r\nif-none-match: *\r\nif-match: *\r\n", v, (400, "malformed")),
        ("PUT", at, "waxwing-app: ci\r\nif-match: *\r\n", v, (412, "version_conflict")),
        (
            "PUT",
            at,
            "waxwing-app: ci\r\nif-match: \"1-18446744073709551615\"\r\n",
            v,
            (412, "version_conflict"),
        ),
        ("GET", "/v1/kv/mesh?limit=0", "", "", (400, "malformed")),
        ("GET", "/v1/kv/mesh?limit=1001", "", "", (400, "malformed")),
        ("GET", "/v1/kv/mesh?category=idea", "", "", (400, "malformed")),
        ("GET", "/v1/kv/mesh?prefix=a%0A", "", "", (400, "malformed")),
        ("GET", "/v1/kv/mesh?colour=red", "", "", (400, "malformed")),
    ] {
        let (status, answer) = asked(&lab, method, path, headers, body).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{method} {path} {headers:?}: {answer}");
    }
    let (_, elsewhere) = asked(&lab, "GET", "/v1/kv/elsewhere/k", "", "").await;
    assert!(elsewhere["detail"].as_str().unwrap().contains("there is `mesh`"), "{elsewhere}");
    let page = lab.client("alpha").kv_list(&KvQuery::default()).await.unwrap();
    assert!(page.entries.is_empty(), "{page:?}");
    // Keys as others would write them, and the largest value that may be.
    let most = format!(r#"{{"value":"{}"}}"#, "x".repeat(252 * 1024));
    for (path, body) in
        [("/v1/kv/mesh/..%2F..%2Fetc", v), ("/v1/kv/mesh/a%20b%2F%C3%A4", v), (at, &most), (at, &most)]
    {
        assert_eq!(asked(&lab, "PUT", path, CI, body).await.0, 200, "{path}");
    }
    let keys = lab.client("alpha").kv_list(&KvQuery::default()).await.unwrap().entries;
    let keys: Vec<_> = keys.iter().map(|entry| entry.key.key.as_str()).collect();
    assert_eq!(keys, ["../../etc", "a b/ä", "k"]);
    assert_eq!(lab.client("alpha").kv_history("k", &MeshQuery::default()).await.unwrap().versions.len(), 2);
}

#[tokio::test]
async fn a_registered_apps_name_is_its_own_in_state_too() {
    let lab = mesh(&["alpha"]).await;
    let own = app(&lab, "alpha", "ci");
    let ttl = waxwing_client::api::Registration { ttl: Some("10m".to_owned()), ..Default::default() };
    own.register(&"ci".parse().unwrap(), &ttl).await.unwrap();
    put(&own, "k", "1").await;
    let other = app(&lab, "alpha", "ci").timeout(Duration::from_secs(10));
    assert_eq!(code(other.kv_put("k", &text("2"), &KvTerms::default()).await), ProblemCode::UnprovenApp);
    let gone = other.kv_delete("k", &KvTerms::default(), &MeshQuery::default()).await;
    assert_eq!(code(gone), ProblemCode::UnprovenApp);
    let found = other.kv_get("k", &MeshQuery::default()).await.unwrap().entry;
    assert_eq!((found.value.as_deref(), found.key.category), (Some("1"), Category::Context));
}
