//! What no caller is let in with, whoever he is.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::{Extension, Router};
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use super::*;
use crate::ipc::router;
use crate::mesh::tests::alone;
use crate::meshes::Meshes;

const WITHIN: Duration = Duration::from_secs(10);

/// What a process is served.
fn by(router: &Router, process: i32) -> Router {
    router.clone().layer(Extension(Door::Socket { process: Some(process) }))
}

async fn status(router: Router, request: Request) -> StatusCode {
    timeout(WITHIN, router.oneshot(request)).await.expect("an answer").unwrap().status()
}

fn get(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_caller_has_64_requests_under_way_and_its_65th_hurts_nobody_else() {
    let (_folder, mesh) = alone().await;
    let all = router(Api::new(Meshes::holding([&mesh])));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..limits::API_AT_ONCE {
        waiting.spawn(by(&all, 1).oneshot(get("/v1/inbox?wait=60s")));
    }
    let begin = Instant::now();
    let until = async |wanted: StatusCode| {
        while status(by(&all, 1), get("/v1/version")).await != wanted {
            assert!(begin.elapsed() < WITHIN, "{wanted}");
            tokio::task::yield_now().await;
        }
    };
    until(StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(status(by(&all, 2), get("/v1/version")).await, StatusCode::OK, "another process");
    waiting.shutdown().await;
    until(StatusCode::OK).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let all = router(Api::new(Meshes::holding([])));
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/v1/send").header("content-type", "application/json");
    let answer = by(&all, 1).oneshot(request.body(never).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn what_a_web_page_asks_and_what_nobody_vouches_for_is_refused() {
    let all = router(Api::new(Meshes::holding([])));
    for (name, value) in [
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("referer", "http://127.0.0.1/"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request = Request::get("/v1/version").header(name, value).body(Body::empty()).unwrap();
        assert_eq!(status(by(&all, 1), request).await, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    for query in ["token=x", "a=b&Access_Token=x", "authorization=Bearer%20x"] {
        let path = format!("/v1/version?{query}");
        assert_eq!(status(by(&all, 1), get(&path)).await, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(status(by(&all, 1), get("/v1/version")).await, StatusCode::OK);
    let unsaid = status(all, get("/v1/version")).await;
    assert_eq!(unsaid, StatusCode::INTERNAL_SERVER_ERROR, "no connection has said where it came in");
}
