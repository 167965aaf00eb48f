//! Which routes there are, and that each asks which mesh is meant.

use std::collections::BTreeSet;

use waxwing_protocol::api::{ROUTES, Route};

use super::*;

/// Every request that is about one mesh: method, path, and what a body has beside the mesh.
const OF_A_MESH: [(&str, &str, &str); 60] = [
    ("POST", "/v1/request", r#""to":"ci@alpha""#),
    ("POST", "/v1/request/cancel", r#""request":"r-1""#),
    ("POST", "/v1/reply", r#""request":"r-1""#),
    ("POST", "/v1/send", r#""to":"alpha","body":"x""#),
    ("POST", "/v1/send/batch", r#""items":[{"to":"alpha","body":"x"MESH}]"#),
    ("GET", "/v1/send/m-1", ""),
    ("GET", "/v1/send/m-1/broker", ""),
    ("GET", "/v1/events", ""),
    ("GET", "/v1/apps", ""),
    ("PUT", "/v1/apps/ci", r#""ttl":"30s""#),
    ("DELETE", "/v1/apps/ci", ""),
    ("GET", "/v1/profile", ""),
    ("POST", "/v1/profile", ""),
    ("GET", "/v1/topics", ""),
    ("POST", "/v1/topics/publish", r#""topic":"a:b","body":"x""#),
    ("POST", "/v1/topics/subscribe", r#""pattern":"a:*""#),
    ("POST", "/v1/topics/unsubscribe", r#""pattern":"a:*""#),
    ("GET", "/v1/topics/subscriptions", ""),
    ("GET", "/v1/topics/stream", ""),
    ("POST", "/v1/topics/ack", r#""topic":"a:b","through":1"#),
    ("GET", "/v1/topics/history?topic=a:b", ""),
    ("POST", "/v1/topics/retention", r#""topic":"a:b","retention":"1d""#),
    ("GET", "/v1/claims", ""),
    ("POST", "/v1/claims/try", r#""key":"k""#),
    ("POST", "/v1/claims/complete", r#""key":"k","token":1"#),
    ("POST", "/v1/claims/abandon", r#""key":"k","token":1"#),
    ("GET", "/v1/kv/mesh", ""),
    ("GET", "/v1/kv/mesh/k", ""),
    ("PUT", "/v1/kv/mesh/k", r#""value":"v""#),
    ("DELETE", "/v1/kv/mesh/k", ""),
    ("GET", "/v1/kv/mesh/k/history", ""),
    ("GET", "/v1/leases", ""),
    ("GET", "/v1/leases/check?name=a&fence=1", ""),
    ("POST", "/v1/leases/acquire", r#""name":"a""#),
    ("POST", "/v1/leases/renew", r#""name":"a","token":1"#),
    ("POST", "/v1/leases/release", r#""name":"a","token":1"#),
    ("POST", "/v1/leases/revoke", r#""name":"a""#),
    ("GET", "/v1/outbox", ""),
    ("GET", "/v1/outbox/1", ""),
    ("POST", "/v1/outbox/requeue", r#""id":"m-1""#),
    ("POST", "/v1/outbox/abort", r#""id":"m-1""#),
    ("GET", "/v1/inbox", ""),
    ("POST", "/v1/inbox/ack", r#""ids":[1]"#),
    ("DELETE", "/v1/inbox/1", ""),
    ("GET", "/v1/peers", ""),
    ("POST", "/v1/peers/verify", r#""node":"beta""#),
    ("POST", "/v1/peers/block", r#""node":"beta""#),
    ("POST", "/v1/peers/allow", r#""node":"beta""#),
    ("GET", "/v1/members", ""),
    ("GET", "/v1/mesh/invites", ""),
    ("POST", "/v1/mesh/invite/revoke", r#""key":"1f0c""#),
    ("POST", "/v1/mesh/recover", r#""words":"abandon""#),
    ("POST", "/v1/mesh/broker", r#""url":"ws://127.0.0.1:1""#),
    ("POST", "/v1/mesh/leave", ""),
    ("POST", "/v1/mesh/rotate-keys", ""),
    ("POST", "/v1/mesh/invite", ""),
    ("POST", "/v1/mesh/grant", r#""node":"alpha","role":"admin""#),
    ("POST", "/v1/mesh/revoke", r#""node":"alpha""#),
    ("POST", "/v1/mesh/resume", ""),
    ("GET", "/v1/inbox?wait=1s", ""),
];

/// Every other route.
const OF_THE_NODE: [&str; 8] = [
    "/v1/openapi.json",
    "/v1/version",
    "/v1/health",
    "/v1/metrics",
    "/v1/mesh/join",
    "/v1/mesh/create",
    "/v1/tokens",
    "/v1/tokens/{name}",
];

/// The same request with a mesh named, or none.
fn naming(method: &str, path: &str, rest: &str, mesh: Option<&str>) -> Request<Body> {
    let request = Request::builder().method(method).header("waxwing-app", "ci");
    if matches!(method, "GET" | "DELETE") {
        let mark = if path.contains('?') { '&' } else { '?' };
        let query = mesh.map(|mesh| format!("{mark}mesh={mesh}")).unwrap_or_default();
        let request = request.header("content-type", "application/json");
        return request.uri(format!("{path}{query}")).body(Body::empty()).unwrap();
    }
    let named = mesh.map(|mesh| format!(r#""mesh":"{mesh}""#)).unwrap_or_default();
    let body = if rest.contains("MESH") {
        format!("{{{}}}", rest.replace("MESH", &mesh.map(|_| format!(",{named}")).unwrap_or_default()))
    } else {
        let comma = if rest.is_empty() || named.is_empty() { "" } else { "," };
        format!("{{{rest}{comma}{named}}}")
    };
    request.uri(path).header("content-type", "application/json").body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn with_several_meshes_every_route_must_be_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let (_one, home) = alone().await;
    let team = opened(folder.path(), "team", "ws://127.0.0.1:1").await;
    let router = served([&home, &team]);
    for (method, path, rest) in OF_A_MESH {
        let named = async |mesh: Option<&str>| problem(&router, naming(method, path, rest, mesh)).await;
        let (code, detail) = named(None).await.expect(path);
        assert_eq!(
            (code.as_str(), detail.as_str()),
            ("mesh_required", "one of home, team"),
            "{method} {path}"
        );
        let (code, detail) = named(Some("nowhere")).await.expect(path);
        assert_eq!(
            (code.as_str(), detail.as_str()),
            ("unknown_mesh", "it is in home, team"),
            "{method} {path}"
        );
        if path.starts_with("/v1/mesh") || path.starts_with("/v1/peers/") {
            continue; // They would change it, or are about others than this node.
        }
        let served = named(Some("team")).await.map(|(code, _)| code).unwrap_or_default();
        assert!(
            !served.starts_with("mesh") && served != "malformed" && served != "unknown_mesh",
            "{path}: {served}"
        );
    }
}

#[test]
fn the_table_has_every_route() {
    let pattern = |path: &str| {
        path.split('?')
            .next()
            .unwrap()
            .replace("/m-1", "/{id}")
            .replace("/outbox/1", "/outbox/{row}")
            .replace("/inbox/1", "/inbox/{id}")
            .replace("/apps/ci", "/apps/{name}")
            .replace("/kv/mesh/k", "/kv/{scope}/{key}")
            .replace("/kv/mesh", "/kv/{scope}")
    };
    let known: Vec<String> = OF_A_MESH.iter().map(|(_, path, _)| pattern(path)).collect();
    for Route { path, .. } in ROUTES {
        assert!(
            known.iter().any(|known| known == path) || OF_THE_NODE.contains(&path),
            "{path} is in neither"
        );
    }
}

/// MB-42.
#[test]
fn the_node_serves_exactly_the_routes_of_the_protocol() {
    let lines = include_str!("../mod.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let methods = ["get", "post", "put", "delete"];
    let served: BTreeSet<(String, String)> = lines
        .flat_map(|line| {
            let (path, rest) = line.split_once('"').unwrap();
            let has = move |method: &&str| rest.contains(&format!("{method}("));
            methods.into_iter().filter(has).map(|method| (method.to_uppercase(), path.to_owned()))
        })
        .collect();
    let listed: BTreeSet<(String, String)> =
        ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(served, listed);
}
