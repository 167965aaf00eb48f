//! What no caller is let in with, whoever he is.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::{Extension, Router};
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use waxwing_protocol::api::TokenRequest;

use super::*;
use crate::home::Home;
use crate::ipc::router;
use crate::mesh::tests::alone;
use crate::meshes::Meshes;
use crate::tokens::Tokens;

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
    let all = router(Api::of(Meshes::holding([&mesh])));
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
    let all = router(Api::of(Meshes::holding([])));
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/v1/send").header("content-type", "application/json");
    let answer = by(&all, 1).oneshot(request.body(never).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn what_a_web_page_asks_and_what_nobody_vouches_for_is_refused() {
    let all = router(Api::of(Meshes::holding([])));
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

/// Tokens in a folder of their own, and the routes they are shown at.
fn at_a_port(meshes: Meshes) -> (tempfile::TempDir, Arc<Tokens>, Router) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Arc::new(Tokens::load(&Home::new(folder.path().to_path_buf())).unwrap());
    let all = router(Api::new(meshes, Arc::clone(&tokens), None)).layer(Extension(Door::Tcp { port: 7980 }));
    (folder, tokens, all)
}

fn made(tokens: &Tokens, scope: TokenScope, app: Option<&str>) -> String {
    let name = format!("t-{}", tokens.list().len()).parse().unwrap();
    let request = TokenRequest { name, scope, app: app.map(|app| app.parse().unwrap()) };
    tokens.create(request).unwrap().0.reveal().to_string()
}

fn showing(token: &str, host: &str, path: &str) -> Request {
    let request = Request::get(path).header("host", host).header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn over_tcp_a_request_must_be_for_this_machine_and_show_one_token_that_counts() {
    let (_folder, tokens, all) = at_a_port(Meshes::holding([]));
    let token = made(&tokens, TokenScope::Read, None);
    for host in ["localhost:7980", "127.0.0.1:7980", "[::1]:7980"] {
        assert_eq!(status(all.clone(), showing(&token, host, "/v1/version")).await, StatusCode::OK, "{host}");
    }
    for host in
        ["localhost", "localhost:7981", "evil.example:7980", "localhost:7980.evil.example", "", "0:7980"]
    {
        let answered = status(all.clone(), showing(&token, host, "/v1/version")).await;
        assert_eq!(answered, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let absolute = showing(&token, "localhost:7980", "http://evil.example:7980/v1/version");
    assert_eq!(status(all.clone(), absolute).await, StatusCode::MISDIRECTED_REQUEST);
    let other = AccessToken::generate(&mut crate::rng()).reveal().to_string();
    for shown in
        ["".to_owned(), format!("Basic {token}"), token.clone(), format!("Bearer {other}"), "Bearer ".into()]
    {
        let request =
            Request::get("/v1/version").header("host", "localhost:7980").header("authorization", &shown);
        let answer = all.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{shown}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }
    let mut twice = showing(&token, "localhost:7980", "/v1/version");
    twice.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(status(all.clone(), twice).await, StatusCode::UNAUTHORIZED);
    let in_query = showing(&token, "localhost:7980", &format!("/v1/version?x={token}"));
    assert_eq!(status(all, in_query).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn callers_with_different_tokens_are_counted_apart() {
    let (_mesh_folder, mesh) = alone().await;
    let (_folder, tokens, all) = at_a_port(Meshes::holding([&mesh]));
    let (one, other) = (made(&tokens, TokenScope::Read, None), made(&tokens, TokenScope::Read, None));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..limits::API_AT_ONCE {
        waiting.spawn(all.clone().oneshot(showing(&one, "localhost:7980", "/v1/inbox?wait=60s")));
    }
    let begin = Instant::now();
    let version =
        async |token: &str| status(all.clone(), showing(token, "localhost:7980", "/v1/version")).await;
    while version(&one).await != StatusCode::TOO_MANY_REQUESTS {
        assert!(begin.elapsed() < WITHIN);
        tokio::task::yield_now().await;
    }
    assert_eq!(version(&other).await, StatusCode::OK);
    tokens.revoke(&"t-0".parse().unwrap()).unwrap();
    while let Some(answered) = timeout(WITHIN, waiting.join_next()).await.expect("they end with their token")
    {
        assert_eq!(answered.unwrap().unwrap().status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn what_is_in_no_table_takes_everything() {
    let unlisted = Router::new().route("/v1/new", axum::routing::get(async || "served"));
    let api = Api::of(Meshes::holding([]));
    let all = unlisted.layer(axum::middleware::from_fn_with_state(api.clone(), admit));
    assert_eq!(status(by(&all, 1), get("/v1/new")).await, StatusCode::OK, "whoever comes by the socket");
    let who = |scope| Who { scope, app: None, caller: Caller::Process(None), ended: None };
    let (send, admin) = (who(TokenScope::Send), who(TokenScope::Admin));
    assert!(must_reach(&send, TokenScope::Admin).is_err() && must_reach(&admin, TokenScope::Admin).is_ok());
}
