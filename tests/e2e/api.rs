//! The local API against callers that misbehave: each gets a typed answer, and nothing is half-written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::time::timeout;
use waxwing_client::api::InboxQuery;
use waxwing_lab::Lab;

use crate::support::{WITHIN, mesh};

const JSON: &str = "content-type: application/json\r\n";

/// A request, and the status and code it must be answered with.
struct Case {
    what: &'static str,
    request: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(what: &'static str, head: &str, body: impl AsRef<[u8]>, status: u16, code: &'static str) -> Case {
    let body = body.as_ref();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut request = format!("{line} HTTP/1.1\r\nhost: node\r\n{headers}{length}\r\n").into_bytes();
    request.extend_from_slice(body);
    Case { what, request, status, code }
}

fn post(path: &str) -> String {
    format!("POST {path}\n{JSON}")
}

/// Sends raw bytes, and reads one answer.
async fn exchange(socket: &Path, request: &[u8]) -> (u16, String, Value) {
    exchange_on(UnixStream::connect(socket).await.unwrap(), request).await
}

/// The same on a connection.
pub(crate) async fn exchange_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> (u16, String, Value) {
    // A node that has seen enough may close before it has read all: what it answered counts.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut chunk = [0; 4_096];
    let (head, length) = loop {
        let read = timeout(WITHIN, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            break (head.clone(), end + 4 + length.parse::<usize>().unwrap());
        }
    };
    while answer.len() < length {
        let read = timeout(WITHIN, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(read > 0, "the answer is cut");
        answer.extend_from_slice(&chunk[..read]);
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    (status, head, serde_json::from_slice(&answer[start..length]).unwrap_or(Value::Null))
}

async fn start() -> (Lab, PathBuf) {
    let lab = mesh(&["alpha", "beta"]).await;
    let socket = lab.state("alpha").join("node.sock");
    (lab, socket)
}

fn send_cases() -> Vec<Case> {
    let send = |what, body: &str, status, code| case(what, &post("/v1/send"), body, status, code);
    let big = format!(r#"{{"to":"beta","body":"{}"}}"#, "x".repeat(256 * 1024 + 1));
    let meta = format!(r#"{{"to":"beta","meta":{{"k":"{}"}}}}"#, "x".repeat(16 * 1024));
    let deep = format!(r#"{{"to":"beta","meta":{{"k":{}{}}}}}"#, "[".repeat(64), "]".repeat(64));
    vec![
        send("no JSON", "to beta", 400, "malformed"),
        send("nothing", "", 400, "malformed"),
        send("another type", "[1]", 400, "malformed"),
        send("a misspelt field", r#"{"to":"beta","bodi":"x"}"#, 400, "malformed"),
        send("a bad address", r#"{"to":"Beta!"}"#, 400, "malformed"),
        send("a name like another", r#"{"to":"betta"}"#, 404, "unknown_recipient"),
        send("two bodies", r#"{"to":"beta","body":"x","body_base64":"eA=="}"#, 400, "malformed"),
        send("no base64", r#"{"to":"beta","body_base64":"?"}"#, 400, "malformed"),
        send("a bad id", r#"{"to":"beta","client_message_id":"a b"}"#, 400, "malformed"),
        send(
            "a long id",
            &format!(r#"{{"to":"beta","client_message_id":"{}"}}"#, "i".repeat(129)),
            400,
            "malformed",
        ),
        send("a bad priority", r#"{"to":"beta","priority":"soon"}"#, 400, "malformed"),
        send("a bad ttl", r#"{"to":"beta","ttl":"forever"}"#, 400, "malformed"),
        send("no ttl", r#"{"to":"beta","ttl":"0s"}"#, 400, "malformed"),
        send("a long ttl", r#"{"to":"beta","ttl":"31d"}"#, 400, "ttl_too_long"),
        send("an empty thread", r#"{"to":"beta","thread":""}"#, 400, "malformed"),
        send("a line in the content type", r#"{"to":"beta","content_type":"a\nb"}"#, 400, "malformed"),
        send("a body over the limit", &big, 413, "too_large"),
        send("metadata over the limit", &meta, 413, "too_large"),
        send("metadata that lists could not be read with", &deep, 400, "malformed"),
        send("another mesh", r#"{"to":"beta","mesh":"elsewhere"}"#, 404, "unknown_mesh"),
        case("more than any request", &post("/v1/send"), vec![b'x'; 600 * 1024], 413, "too_large"),
        case("text that is not UTF-8", &post("/v1/send"), b"{\"to\":\"\xff\"}", 400, "malformed"),
        case("no content type", "POST /v1/send", r#"{"to":"beta"}"#, 415, "unsupported_media_type"),
        case(
            "a form",
            "POST /v1/send\ncontent-type: text/plain\r\n",
            r#"{"to":"beta"}"#,
            415,
            "unsupported_media_type",
        ),
        case(
            "two ids",
            &format!("POST /v1/send\n{JSON}idempotency-key: a\r\n"),
            r#"{"to":"beta","client_message_id":"b"}"#,
            400,
            "malformed",
        ),
        case(
            "a bad app",
            &format!("POST /v1/send\n{JSON}waxwing-app: A B\r\n"),
            r#"{"to":"beta"}"#,
            400,
            "malformed",
        ),
        case(
            "a bad key",
            &format!("POST /v1/send\n{JSON}idempotency-key: a b\r\n"),
            r#"{"to":"beta"}"#,
            400,
            "malformed",
        ),
        case("an empty batch", &post("/v1/send/batch"), r#"{"items":[]}"#, 400, "malformed"),
        case(
            "a long batch",
            &post("/v1/send/batch"),
            format!(r#"{{"items":[{}{{}}]}}"#, "{\"to\":\"beta\"},".repeat(1_000)),
            400,
            "malformed",
        ),
        case(
            "one id for a batch",
            &format!("POST /v1/send/batch\n{JSON}idempotency-key: a\r\n"),
            r#"{"items":[{"to":"beta"}]}"#,
            400,
            "malformed",
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    vec![
        case("no such route", "GET /v2/send", "", 404, "no_such_route"),
        case("another method", "GET /v1/inbox/ack", "", 405, "method_not_allowed"),
        case("a message nobody sent", "GET /v1/send/nothing", "", 404, "unknown_message"),
        case("an id that cannot be", "GET /v1/send/a%20b", "", 404, "unknown_message"),
        case("a misspelt parameter", "GET /v1/inbox?limt=1", "", 400, "malformed"),
        case("no limit", "GET /v1/inbox?limit=0", "", 400, "malformed"),
        case("a limit over the limit", "GET /v1/inbox?limit=1001", "", 400, "malformed"),
        case("a negative cursor", "GET /v1/inbox?after=-1", "", 400, "malformed"),
        case("a place that no list has", "GET /v1/inbox?after=9223372036854775808", "", 400, "malformed"),
        case("the same of the outbox", "GET /v1/outbox?after=9223372036854775808", "", 400, "malformed"),
        case("the same of a stream", "GET /v1/events?after=9223372036854775808", "", 400, "malformed"),
        case("a method that nothing has", "TRACE /v1/inbox", "", 405, "method_not_allowed"),
        case("a method that others have", "PUT /v1/inbox", "", 405, "method_not_allowed"),
        case("an app that is no name", "GET /v1/inbox?app=A", "", 400, "malformed"),
        case("a sender nobody knows", "GET /v1/inbox?from=nobody", "", 404, "unknown_recipient"),
        case(
            "a message that is not there",
            &format!("DELETE /v1/inbox/7\n{JSON}"),
            "",
            404,
            "unknown_message",
        ),
        case(
            "a place that cannot be",
            &format!("DELETE /v1/inbox/seven\n{JSON}"),
            "",
            404,
            "unknown_message",
        ),
        case("a form that deletes", "DELETE /v1/inbox/7", "", 415, "unsupported_media_type"),
        case("a web page", "GET /v1/inbox\norigin: http://localhost\r\n", "", 403, "foreign_origin"),
        case("a token in a query", "GET /v1/inbox?token=wwt1_x", "", 400, "token_in_query"),
        case("an ack of nothing", &post("/v1/inbox/ack"), "{}", 400, "malformed"),
        case("an ack of two kinds", &post("/v1/inbox/ack"), r#"{"ids":[1],"through":1}"#, 400, "malformed"),
        case("an ack of a word", &post("/v1/inbox/ack"), r#"{"ids":["one"]}"#, 400, "malformed"),
        case("a list in the place of an object", &post("/v1/mesh/invite"), "[null, null]", 400, "malformed"),
        case("the same of a profile", &post("/v1/profile"), "[null, null]", 400, "malformed"),
        case("the same of a message", &post("/v1/send"), r#"["beta", "x"]"#, 400, "malformed"),
        case("an invite for nobody", &post("/v1/mesh/invite"), r#"{"uses":0}"#, 400, "malformed"),
        case("an invite for ever", &post("/v1/mesh/invite"), r#"{"expires":"9999d"}"#, 400, "malformed"),
        case("an invite for a god", &post("/v1/mesh/invite"), r#"{"role":"god"}"#, 400, "malformed"),
    ]
}

/// S-15.
#[tokio::test]
async fn bad_requests_get_typed_answers_and_nothing_is_stored() {
    let (lab, socket) = start().await;
    for Case { what, request, status, code } in send_cases().into_iter().chain(other_cases()) {
        let (answered, head, problem) = exchange(&socket, &request).await;
        assert_eq!((answered, &problem["code"]), (status, &code.into()), "{what}: {head}\n{problem}");
        assert!(head.contains("application/problem+json") && head.contains("nosniff"), "{what}: {head}");
        assert_eq!(problem["status"], status, "{what}");
        assert!(problem["title"].is_string(), "{what}: {problem}");
    }
    let health = lab.client("alpha").health().await.unwrap();
    assert_eq!((health.meshes[0].outbox_pending, health.meshes[0].outbox_unreceipted), (0, 0));
    let everything = InboxQuery { app: Some("*".into()), ..InboxQuery::default() };
    let inbox = lab.client("beta").inbox(&everything).await.unwrap();
    assert!(inbox.items.is_empty());
}

/// MB-39.
#[tokio::test]
async fn an_unknown_recipient_is_answered_with_names_like_it() {
    let (_lab, socket) = start().await;
    let request = case("", &post("/v1/send"), r#"{"to":"ci@betta"}"#, 404, "").request;
    let (_, _, problem) = exchange(&socket, &request).await;
    assert_eq!(problem["near"][0], "beta", "{problem}");
}

#[tokio::test]
async fn a_caller_that_says_nothing_or_nonsense_hurts_nobody() {
    let (lab, socket) = start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(UnixStream::connect(&socket).await.unwrap());
    }
    let mut nonsense = UnixStream::connect(&socket).await.unwrap();
    nonsense.write_all(&[0x16, 0x03, 0x01, 0x00, 0xff, b'\r', b'\n', b'\r', b'\n']).await.unwrap();
    let mut answer = Vec::new();
    timeout(WITHIN, nonsense.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    // A head of 8 KiB is large enough for anything; what does not fit into the buffer is not even read to its end.
    for (size, status) in [(7, 200), (9, 431), (128, 431)] {
        let header = "y".repeat(size * 1024);
        let request = format!("GET /v1/version HTTP/1.1\r\nhost: node\r\nx: {header}\r\n\r\n");
        assert_eq!(exchange(&socket, request.as_bytes()).await.0, status, "{size} KiB");
    }
    assert!(lab.client("alpha").version().await.is_ok());
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_is_kept_alive() {
    let (_lab, socket) = start().await;
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    let request = b"GET /v1/events?kind=security HTTP/1.1\r\nhost: node\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    // A line that begins with a colon is a comment: it says nothing but that both ends are there.
    while !timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().unwrap().starts_with(':') {}
}

#[tokio::test]
async fn the_socket_is_this_users_alone_from_its_first_moment() {
    let (_lab, socket) = start().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
}
