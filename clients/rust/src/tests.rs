//! Against a socket that answers what a test tells it to.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use waxwing_protocol::api::{MeshQuery, ProblemCode, SendRequest};

use super::*;

/// A socket in a folder of its own, and a client of it.
fn listen() -> (tempfile::TempDir, UnixListener, Client) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    (folder, listener, Client::new(socket))
}

/// Reads one request and returns its head.
async fn request(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    head
}

async fn answer(stream: &mut UnixStream, status: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_not_running_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let absent = Client::new(&socket).health().await.unwrap_err();
    assert!(matches!(absent, Error::Unreachable { .. }), "{absent:?}");
    drop(UnixListener::bind(&socket).unwrap());
    let deserted = Client::new(&socket).health().await.unwrap_err();
    assert!(matches!(deserted, Error::Unreachable { .. }), "{deserted:?}");
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_its_code() {
    let (_folder, listener, client) = listen();
    let client = client.app("ci".parse().unwrap());
    let node = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        assert!(head.starts_with("post /v1/send http/1.1"), "{head}");
        assert!(
            head.contains("waxwing-app: ci") && head.contains("content-type: application/json"),
            "{head}"
        );
        let body =
            r#"{"code":"unknown_recipient","status":404,"title":"no member has this name","near":["beta"]}"#;
        answer(&mut stream, "404 Not Found", body).await;
    };
    let message = SendRequest::default();
    let (refused, ()) = tokio::join!(client.send(&message), node);
    let refused = refused.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(
        (problem.code, problem.near.as_slice()),
        (ProblemCode::UnknownRecipient, &["beta".to_owned()][..])
    );
}

#[tokio::test]
async fn something_else_on_the_socket_is_incompatible() {
    let (_folder, listener, client) = listen();
    for (status, body) in
        [("200 OK", "<html>"), ("500 Oops", "<html>"), ("200 OK", r#"{"version":"9.0.0","api":9}"#)]
    {
        let node = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            answer(&mut stream, status, body).await;
            drop(stream);
        };
        let (answered, ()) = tokio::join!(client.version(), node);
        assert!(matches!(answered, Err(Error::Incompatible(_))), "{answered:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_replaced_when_the_node_closed_it() {
    const VERSION: &str = r#"{"version":"0.1.0","api":1}"#;
    let (_folder, listener, client) = listen();
    let node = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut stream).await;
            answer(&mut stream, "200 OK", VERSION).await;
        }
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        answer(&mut stream, "200 OK", VERSION).await;
    };
    let calls = async {
        for _ in 0..3 {
            client.version().await.unwrap();
        }
    };
    tokio::join!(calls, node);
}

/// A request that is written as the node gives up on its connection would be lost.
#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_taken() {
    const VERSION: &str = r#"{"version":"0.1.0","api":1}"#;
    let (_folder, listener, client) = listen();
    let node = async {
        let (mut old, _) = listener.accept().await.unwrap();
        request(&mut old).await;
        answer(&mut old, "200 OK", VERSION).await;
        let (mut new, _) = listener.accept().await.unwrap();
        request(&mut new).await;
        answer(&mut new, "200 OK", VERSION).await;
        assert_eq!(old.read(&mut [0]).await.unwrap(), 0, "nothing more came, and it was closed");
    };
    let calls = async {
        client.version().await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        client.version().await.unwrap();
    };
    tokio::join!(calls, node);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_lost_and_not_asked_twice() {
    let (_folder, listener, client) = listen();
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        drop(stream);
    };
    let message = SendRequest::default();
    let (answered, ()) = tokio::join!(client.send(&message), silent);
    assert!(matches!(answered, Err(Error::Lost(_))), "{answered:?}");

    let client = client.timeout(Duration::from_millis(20));
    let query = MeshQuery::default();
    let answered = client.peers(&query).await;
    assert!(matches!(answered, Err(Error::Lost(_))), "{answered:?}");
}

/// What a node answers to a request for events.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn event(cursor: u64) -> String {
    let data = format!(r#"{{"cursor":{cursor},"at":0,"kind":"system","what":"started"}}"#);
    format!("id: {cursor}\nevent: system\ndata: {data}\n\n")
}

#[tokio::test]
async fn a_stream_gives_events_and_says_how_it_ended() {
    let (_folder, listener, client) = listen();
    let node = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        assert!(head.starts_with("get /v1/events?kind=system http/1.1"), "{head}");
        stream.write_all(format!("{STREAM}id: 7\n\n{}", event(8)).as_bytes()).await.unwrap();
    };
    let reading = async {
        let query = api::EventQuery { kind: Some("system".to_owned()), ..Default::default() };
        let mut events = client.events(&query).await.unwrap();
        assert_eq!(events.next().await.unwrap().cursor, 8);
        let end = events.next().await.unwrap_err();
        assert!(matches!(end, Error::Lost(_)), "{end:?}");
        assert_eq!(events.cursor(), Some(8));
    };
    tokio::join!(node, reading);
}

#[tokio::test]
async fn a_resuming_stream_goes_on_where_it_was_even_before_its_first_event() {
    let (_folder, listener, client) = listen();
    let node = async {
        for (after, said) in
            [("", "id: 7\n\n"), ("?after=7", "id: 7\n\n"), ("?after=7", ""), ("?after=8", "")]
        {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = request(&mut stream).await;
            assert!(head.starts_with(&format!("get /v1/events{after} http/1.1")), "{head}");
            let next =
                if said.is_empty() { event(after[7..].parse::<u64>().unwrap() + 1) } else { said.to_owned() };
            stream.write_all(format!("{STREAM}{next}").as_bytes()).await.unwrap();
        }
    };
    let reading = async {
        let gaps = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&gaps);
        let events = client.events_resuming(&api::EventQuery::default()).await.unwrap();
        let mut events = events.on_away(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(events.next().await.unwrap().cursor, 8);
        assert_eq!(events.next().await.unwrap().cursor, 9);
        assert_eq!(gaps.load(std::sync::atomic::Ordering::Relaxed), 3);
    };
    tokio::join!(node, reading);
}

#[tokio::test]
async fn a_stream_that_is_refused_is_a_problem() {
    let (_folder, listener, client) = listen();
    let node = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        let body = r#"{"code":"app_registered","status":409,"title":"taken"}"#;
        answer(&mut stream, "409 Conflict", body).await;
    };
    let query = api::EventQuery { register: Some(1), ..Default::default() };
    let (refused, ()) = tokio::join!(client.events_resuming(&query), node);
    assert_eq!(refused.unwrap_err().problem().unwrap().code, ProblemCode::AppRegistered);
}

#[test]
fn there_is_a_method_for_every_route_that_the_node_serves() {
    let rows = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | [`Client::"));
    let documented: std::collections::BTreeSet<&str> =
        rows.map(|row| row.split('`').nth_back(1).expect("a route")).collect();
    let served: Vec<String> =
        api::ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(documented, served.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn whoever_has_registered_an_app_proves_to_be_it_until_he_ends_that() {
    let (_folder, listener, client) = listen();
    let client = client.app("ci".parse().unwrap());
    let id = "0123456789abcdef";
    let node = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let registered = format!(
            r#"{{"registration":"{id}","name":"ci","node":"alpha","node_id":"ugq2dinbugq2dinbugq2dinbue","since":0}}"#
        );
        let profile = r#"{"mesh":"home","node":"alpha","visible":true}"#;
        let answers = [&registered, profile, "", profile];
        let mut heads = Vec::new();
        for body in answers {
            heads.push(request(&mut stream).await);
            answer(&mut stream, "200 OK", body).await;
        }
        heads
    };
    let calls = async {
        let ttl = Some("1m".to_owned());
        let app = "ci".parse().unwrap();
        client.register(&app, &api::Registration { ttl, ..Default::default() }).await.unwrap();
        let _ = client.clone().instance("two".parse().unwrap()).profile(&MeshQuery::default()).await;
        client.unregister(&app, &api::RemoveQuery::default()).await.unwrap();
        let _ = client.profile(&MeshQuery::default()).await;
    };
    let (heads, ()) = tokio::join!(node, calls);
    let shown: Vec<_> =
        heads.iter().map(|head| head.contains(&format!("waxwing-registration: {id}"))).collect();
    assert_eq!(shown, [false, true, true, false], "{heads:?}");
    assert!(heads[1].contains("waxwing-instance: two"), "{}", heads[1]);
    let other = client.clone().app("deploy".parse().unwrap());
    assert!(other.proof().is_none(), "it is no proof for another app");
    let shown = client.registration("fedcba9876543210".parse().unwrap()).proof();
    assert_eq!(shown.unwrap().as_str(), "fedcba9876543210");
}
