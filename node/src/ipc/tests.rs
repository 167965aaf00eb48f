//! Streams, at the edge of what is kept and of what a node serves at once.

mod routes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::{Extension, Router};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use waxwing_crypto::{ClientMessageId, Priority, Receipt, Timestamp};
use waxwing_protocol::api::EventBody;

use super::guard::Door;
use super::{Api, STREAMS, router};
use crate::clock;
use crate::content::Content;
use crate::mesh::Mesh;
use crate::mesh::tests::{alone, opened};
use crate::meshes::Meshes;
use crate::store::inbox::NewItem;
use crate::store::lanes::InLane;
use crate::writer::{Delivered, Forget, ReceivedItem};

const WITHIN: Duration = Duration::from_secs(10);

fn api(mesh: &Arc<Mesh>) -> (Router, CancellationToken) {
    (served([mesh]), mesh.stop.clone())
}

/// What processes of this user are served.
fn served<'a>(meshes: impl IntoIterator<Item = &'a Arc<Mesh>>) -> Router {
    router(Api::of(Meshes::holding(meshes))).layer(Extension(Door::Socket { process: Some(1) }))
}

async fn get(router: &Router, path: &str, app: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(app) = app {
        request = request.header("waxwing-app", app);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The next event of a stream, as text. What has no data only says where the stream is.
async fn next(stream: &mut axum::body::BodyDataStream) -> Option<String> {
    loop {
        let chunk = timeout(WITHIN, stream.next()).await.expect("an event")?;
        let text = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
        if text.contains("data:") {
            return Some(text);
        }
    }
}

/// The code of a refusal, and why; none if it is served.
async fn problem(router: &Router, request: Request<Body>) -> Option<(String, String)> {
    let response = router.clone().oneshot(request).await.unwrap();
    if response.status().is_success() {
        return None;
    }
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    Some((text("code"), text("detail")))
}

async fn tell(mesh: &Mesh, what: &str) {
    mesh.writer.tell_all(EventBody::System { what: what.to_owned() }).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_asks_for_what_is_forgotten_is_told_so_and_goes_on() {
    let (_folder, mesh) = alone().await;
    for what in ["one", "two", "three"] {
        tell(&mesh, what).await;
    }
    let forget = Forget {
        sessions_ended: Timestamp::default(),
        prekeys_published: Timestamp::default(),
        events: clock::now().plus(Duration::from_secs(1)),
        made: Timestamp::default(),
        tombstones: Timestamp::default(),
    };
    mesh.writer.forget(forget).await.unwrap();
    tell(&mesh, "four").await;
    let (router, _stop) = api(&mesh);
    let mut stream = get(&router, "/v1/events?after=1", None).await.into_body().into_data_stream();
    let lagged = next(&mut stream).await.unwrap();
    assert!(lagged.contains("event: lagged") && lagged.contains("id: 3"), "{lagged}");
    let four = next(&mut stream).await.unwrap();
    assert!(four.contains("four") && four.contains("id: 4"), "{four}");
}

#[tokio::test]
async fn a_stream_resumes_exactly_and_begins_with_now_if_nothing_is_said() {
    let (_folder, mesh) = alone().await;
    tell(&mesh, "before").await;
    let (router, stop) = api(&mesh);
    let mut fresh = get(&router, "/v1/events", None).await.into_body().into_data_stream();
    let resumed = Request::get("/v1/events").header("last-event-id", "0").body(Body::empty()).unwrap();
    let mut resumed = router.clone().oneshot(resumed).await.unwrap().into_body().into_data_stream();
    assert!(next(&mut resumed).await.unwrap().contains("before"));
    tell(&mesh, "after").await;
    for stream in [&mut fresh, &mut resumed] {
        assert!(next(stream).await.unwrap().contains("after"));
    }
    stop.cancel();
    assert_eq!(
        (next(&mut fresh).await, next(&mut resumed).await),
        (None, None),
        "a stopping node ends its streams"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_keep_its_mesh_open() {
    let (_folder, mesh) = alone().await;
    for n in 0..500 {
        tell(&mesh, &format!("t-{n}")).await;
    }
    let (router, stop) = api(&mesh);
    let mut stream = get(&router, "/v1/events?after=0", None).await.into_body().into_data_stream();
    assert!(next(&mut stream).await.unwrap().contains("t-0"), "it has begun");
    let tasks = mesh.tasks.clone();
    stop.cancel();
    drop((router, mesh));
    tasks.close();
    timeout(WITHIN, tasks.wait()).await.expect("nothing holds the database");
}

/// A message from a peer, as the link would hand it to the writer.
fn message(mesh: &Mesh, counter: u64) -> ReceivedItem {
    let sender = mesh.identity.node;
    let client_id: ClientMessageId = format!("m-{counter}").parse().unwrap();
    let content = Content { content_type: "text/plain".into(), ..Content::default() };
    ReceivedItem {
        new: NewItem {
            cursor: None,
            lane: InLane { sender, signer: [1; 32], priority: Priority::Next },
            counter,
            content: content.seal_incoming(&mesh.keys, &sender, &client_id),
            client_id,
            from_app: None,
            to_app: None,
            thread: None,
            sent_at: Timestamp::default(),
            received_at: Timestamp::default(),
            late: false,
            wants_read: false,
            receipt: Receipt::from_bytes([0; 16]),
        },
        content,
        void: Vec::new(),
        unwelcome: None,
        reads: None,
        live: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_misses_nothing_that_is_written_while_it_reads() {
    const EACH: u64 = 1_000;
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    let mut stream = get(&router, "/v1/events?after=0&app=*", None).await.into_body().into_data_stream();
    let writer = Arc::clone(&mesh);
    let writing = tokio::spawn(async move {
        for n in 1..=EACH {
            let delivered = Delivered { items: vec![message(&writer, n)], ..Delivered::default() };
            writer.writer.received(delivered).await.unwrap();
            tell(&writer, &format!("t-{n}")).await;
        }
    });
    for cursor in 1..=2 * EACH {
        let event = next(&mut stream).await.unwrap();
        assert!(event.contains(&format!("id: {cursor}\n")), "{cursor} was expected: {event}");
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_an_ended_one_makes_room() {
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(get(&router, "/v1/events", None).await);
    }
    assert_eq!(get(&router, "/v1/events", None).await.status(), StatusCode::TOO_MANY_REQUESTS);
    open.pop();
    assert_eq!(get(&router, "/v1/events", None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_app_is_registered_while_its_stream_is_open_and_once() {
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    let stream = get(&router, "/v1/events?register=1", Some("ci")).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(get(&router, "/v1/events?register=1", Some("ci")).await.status(), StatusCode::CONFLICT);
    assert_eq!(get(&router, "/v1/events?register=1", None).await.status(), StatusCode::BAD_REQUEST);
    let held = stream.headers()["waxwing-registration"].to_str().unwrap().to_owned();
    drop(stream);
    let back = format!("/v1/events?register=1&registration={held}");
    assert_eq!(get(&router, &back, Some("ci")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_whose_app_is_superseded_is_told_ends_and_does_not_come_back() {
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    tell(&mesh, "before").await;
    let old = get(&router, "/v1/events?register=1&after=0", Some("ci")).await;
    let held = old.headers()["waxwing-registration"].to_str().unwrap().to_owned();
    let mut old = old.into_body().into_data_stream();
    assert!(next(&mut old).await.unwrap().contains("before"));
    assert_eq!(get(&router, "/v1/events?register=1", Some("ci")).await.status(), StatusCode::CONFLICT);
    let new = get(&router, "/v1/events?register=1&takeover=1", Some("ci")).await;
    assert_eq!(new.status(), StatusCode::OK);
    let told = next(&mut old).await.unwrap();
    assert!(told.contains("superseded") && told.contains("id: 1\n"), "it stays where it was: {told}");
    assert_eq!(next(&mut old).await, None, "and ends");
    let back = Request::get(format!("/v1/events?register=1&registration={held}")).header("waxwing-app", "ci");
    let (code, _) = problem(&router, back.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(code, "superseded");
}

#[tokio::test]
async fn an_app_says_more_about_itself_and_is_found_by_it() {
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    let put = |body: &str| {
        let request = Request::put("/v1/apps/reviewer").header("content-type", "application/json");
        router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap())
    };
    let said =
        r#""kind":"agent","version":"1.2","capabilities":["rust","sql"],"repository":"a/b","status":"idle""#;
    let answer = put(&format!(r#"{{"ttl":"1m",{said}}}"#)).await.unwrap();
    let answer = axum::body::to_bytes(answer.into_body(), 64 * 1024).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let held = answer["registration"].as_str().unwrap();
    assert_eq!((&answer["name"], &answer["kind"]), (&"reviewer".into(), &"agent".into()));
    for (query, found) in [
        ("", 1),
        ("?kind=agent&version=1.2&repository=a%2Fb&status=idle&app=reviewer&node=alpha", 1),
        ("?capability=rust&capability=sql", 1),
        ("?capability=rust&capability=go", 0),
        ("?kind=Agent", 0),
        ("?status=working", 0),
        ("?node=beta", 0),
    ] {
        let answer = get(&router, &format!("/v1/apps{query}"), None).await;
        let answer = axum::body::to_bytes(answer.into_body(), 64 * 1024).await.unwrap();
        let apps: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(apps["apps"].as_array().unwrap().len(), found, "{query}: {apps}");
        assert!(!apps.to_string().contains(held), "what proves the holder is nobody else's");
    }
    for (body, code) in [
        (r#"{"ttl":"1m"}"#, "app_registered"),
        (r#"{"ttl":"2h"}"#, "malformed"),
        (r#"{"ttl":"1m","registration":"short"}"#, "malformed"),
        (r#"{"registration":"0123456789abcdef"}"#, "malformed"),
        (r#"{"ttl":"1m","takeover":true,"kind":"a\u0007b"}"#, "malformed"),
        (r#"{"ttl":"1m","takeover":true,"status":"asleep"}"#, "malformed"),
        (r#"{"ttl":"1m","takeover":true,"capabilities":[""]}"#, "malformed"),
    ] {
        let request = Request::put("/v1/apps/reviewer").header("content-type", "application/json");
        let (refused, detail) = problem(&router, request.body(Body::from(body)).unwrap()).await.expect(body);
        assert_eq!(refused, code, "{body}: {detail}");
    }
    let long = format!(r#"{{"ttl":"1m","takeover":true,"summary":"{}"}}"#, "x".repeat(1_025));
    assert_eq!(put(&long).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let meta = format!(r#"{{"ttl":"1m","takeover":true,"meta":{{"x":"{}"}}}}"#, "x".repeat(16 * 1024));
    assert_eq!(put(&meta).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let kept = get(&router, "/v1/apps?capability=sql", None).await;
    assert_eq!(kept.status(), StatusCode::OK, "what was refused has changed nothing");
}

#[tokio::test]
async fn bad_stream_requests_are_refused() {
    let (_folder, mesh) = alone().await;
    let (router, _stop) = api(&mesh);
    for query in ["after=x", "kind=gossip", "register=2", "app=A", "since=1"] {
        let answer = get(&router, &format!("/v1/events?{query}"), None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let request = Request::get("/v1/events").header("last-event-id", "last").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn metrics_are_text_for_monitors_and_of_all_meshes() {
    let folder = tempfile::tempdir().unwrap();
    let (_one, home) = alone().await;
    let team = opened(folder.path(), "team", "ws://127.0.0.1:1").await;
    let router = served([&home, &team]);
    let response = get(&router, "/v1/metrics", None).await;
    let text = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(text.starts_with("application/openmetrics-text; version=1.0.0"), "{text}");
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap();
    let page = String::from_utf8(body.to_vec()).unwrap();
    for sample in ["link_up{mesh=\"home\"} 0", "link_up{mesh=\"team\"} 0", "members{mesh=\"team\"} 1"] {
        assert!(page.lines().any(|line| line.strip_prefix("waxwing_node_") == Some(sample)), "{page}");
    }
}
