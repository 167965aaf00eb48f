//! Requests between apps of one node, which has no broker at all: so all of this is in its memory alone.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use waxwing_crypto::{ClientMessageId, Name};
use waxwing_protocol::api::{
    CancelReason, EventBody, Problem, ProblemCode, ReplyError, ReplyRequest, RequestItem,
};
use waxwing_protocol::limits;

use super::*;
use crate::apps::Which;
use crate::content::Content;
use crate::mesh::tests::alone;
use crate::outbox::Caller;

/// What should take microseconds has failed after this.
const WITHIN: Duration = Duration::from_secs(20);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(text: &str) -> ClientMessageId {
    text.parse().unwrap()
}

fn content(text: &str) -> Content {
    let body = text.as_bytes().to_vec().into();
    Content { content_type: "text/plain".to_owned(), body, ..Content::default() }
}

/// A mesh of one, whose loop runs.
struct Alone {
    mesh: Arc<Mesh>,
    running: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Alone {
    async fn new() -> Self {
        let (folder, mesh) = alone().await;
        let own = Arc::clone(&mesh);
        let running = tokio::spawn(async move { run(&own).await.unwrap() });
        Self { mesh, running, _folder: folder }
    }

    fn serve(&self, app: &str, instance: Option<&str>) -> Listener {
        listen(&self.mesh, Which { name: name(app), instance: instance.map(name) })
    }

    fn asking(&self, app: &str, text: &str) -> Asking {
        Asking {
            node: name("alpha"),
            recipient: self.mesh.identity.node,
            app: name(app),
            from_app: Some(name("author")),
            content: content(text),
            timeout: WITHIN,
            progress: false,
            name: None,
        }
    }

    async fn ask(&self, app: &str, text: &str) -> Result<Call, ProblemCode> {
        begin(&self.mesh, self.asking(app, text)).await.map_err(|problem| problem.code)
    }

    async fn reply(&self, request: ReplyRequest) -> Result<(), ProblemCode> {
        reply(&self.mesh, &Caller::default(), request).await.map_err(|problem| problem.code)
    }

    async fn answers(&self, request: &RequestItem, text: &str) -> Result<(), ProblemCode> {
        self.reply(ReplyRequest { body: Some(text.to_owned()), ..ReplyRequest::to(request.id.clone()) }).await
    }

    /// How many requests have ended in each way, and how many answers came late.
    fn counted(&self) -> (BTreeMap<&'static str, u64>, u64) {
        self.mesh.requests.counts.all().requests()
    }
}

/// What a stream is given next.
async fn given(listener: &mut Listener) -> RequestItem {
    let event = timeout(WITHIN, listener.next()).await.unwrap().unwrap();
    let EventBody::Request { request } = event else { panic!("{event:?}") };
    *request
}

async fn told(listener: &mut Listener) -> (ClientMessageId, CancelReason) {
    let event = timeout(WITHIN, listener.next()).await.unwrap().unwrap();
    let EventBody::Cancel { request, reason } = event else { panic!("{event:?}") };
    (request, reason)
}

/// The text of the answer, or what came in its place.
async fn end(call: &mut Call) -> Result<String, Problem> {
    match timeout(WITHIN, call.next()).await.unwrap() {
        Happening::End(end) => end.map(|answer| String::from_utf8(answer.content.body.to_vec()).unwrap()),
        Happening::Note(note) => panic!("{note:?}"),
    }
}

async fn code(call: &mut Call) -> ProblemCode {
    end(call).await.unwrap_err().code
}

#[tokio::test]
async fn apps_of_one_node_ask_and_answer_without_a_link_and_nothing_of_it_is_on_the_disk() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let mut call = node.ask("reviewer", "have a look").await.unwrap();
    let request = given(&mut reviewer).await;
    assert_eq!(request.body.as_deref(), Some("have a look"));
    assert_eq!((&request.from_app, &request.app), (&Some(name("author")), &name("reviewer")));
    assert_eq!(request.from_node, node.mesh.identity.node);
    node.answers(&request, "looks good").await.unwrap();
    assert_eq!(end(&mut call).await.unwrap(), "looks good");
    for table in ["outbox", "inbox", "dedupe", "event"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = waxwing_sqlite::query_scalar(sql).fetch_one(&node.mesh.db).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(node.answers(&request, "again").await, Err(ProblemCode::UnknownRequest), "one answer each");
    assert_eq!(node.counted(), ([("answered", 1)].into(), 1));
}

#[tokio::test]
async fn an_app_that_nobody_serves_is_no_responder_at_once() {
    let node = Alone::new().await;
    assert_eq!(node.ask("reviewer", "anybody?").await.unwrap_err(), ProblemCode::NoResponder);
    let reviewer = node.serve("reviewer", None);
    let other = node.serve("reviewer-2", None);
    drop(reviewer);
    let refused = begin(&node.mesh, node.asking("reviewer", "anybody?")).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NoResponder);
    assert_eq!(refused.detail.as_deref(), Some("no app is registered there as reviewer"));
    drop(other);
    assert_eq!(node.counted().0, [("no_responder", 2)].into());
}

#[tokio::test]
async fn what_an_app_refuses_with_is_what_its_caller_gets() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let mut call = node.ask("reviewer", "x").await.unwrap();
    let request = given(&mut reviewer).await;
    let error = |code: &str, message: &str| {
        Some(ReplyError { code: Some(code.to_owned()), message: Some(message.to_owned()) })
    };
    let to = || ReplyRequest::to(request.id.clone());
    for bad in [
        ReplyRequest { error: error("No Such", "x"), ..to() },
        ReplyRequest { error: error("", "x"), ..to() },
        ReplyRequest { error: error(&"x".repeat(65), "x"), ..to() },
        ReplyRequest { error: error("gone", &"x".repeat(4_097)), ..to() },
        ReplyRequest { error: error("gone", "x"), body: Some(String::new()), ..to() },
        ReplyRequest { error: error("gone", "x"), progress: true, ..to() },
        ReplyRequest { body: Some("x".into()), body_base64: Some("eA==".into()), ..to() },
        ReplyRequest { content_type: Some("a\nb".into()), ..to() },
    ] {
        assert_eq!(node.reply(bad.clone()).await, Err(ProblemCode::Malformed), "{bad:?}");
    }
    let large = ReplyRequest { body: Some("x".repeat(limits::BODY + 1)), ..to() };
    assert_eq!(node.reply(large).await, Err(ProblemCode::TooLarge));
    node.reply(ReplyRequest { error: error("not_found", "no such revision"), ..to() }).await.unwrap();
    let refused = end(&mut call).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
    assert_eq!(refused.reason.as_deref(), Some("not_found"));
    assert_eq!(refused.detail.as_deref(), Some("no such revision"));
}

#[tokio::test]
async fn sb_17_a_token_for_one_app_answers_for_no_other() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let mut call = node.ask("reviewer", "x").await.unwrap();
    let request = given(&mut reviewer).await;
    let as_app = async |app: &str| {
        let caller = Caller { app: Some(name(app)), bound: true, id: None };
        reply(&node.mesh, &caller, ReplyRequest::to(request.id.clone())).await.map_err(|problem| problem.code)
    };
    assert_eq!(as_app("intruder").await, Err(ProblemCode::UnknownRequest));
    as_app("reviewer").await.unwrap();
    assert_eq!(end(&mut call).await.unwrap(), "");
}

#[tokio::test]
async fn instances_are_served_in_turn_and_one_that_does_not_read_is_passed_over() {
    let node = Alone::new().await;
    let mut streams = [Some("a"), Some("b"), None].map(|instance| node.serve("reviewer", instance));
    let mut calls = Vec::new();
    for n in 0..6 {
        calls.push(node.ask("reviewer", &n.to_string()).await.unwrap());
    }
    for (stream, expected) in streams.iter_mut().zip([["1", "4"], ["2", "5"], ["0", "3"]]) {
        for expected in expected {
            assert_eq!(given(stream).await.body.as_deref(), Some(expected));
        }
    }
    let [mut a, b, none] = streams;
    drop((b, none));
    assert_eq!(calls.len(), 6);
    // Nobody reads `a`, until its stream is full.
    let mut waiting = Vec::new();
    let full = loop {
        match node.ask("reviewer", "more").await {
            Ok(call) => waiting.push(call),
            Err(code) => break code,
        }
    };
    assert_eq!(full, ProblemCode::ResponderBusy);
    let mut c = node.serve("reviewer", Some("c"));
    let _passed = [node.ask("reviewer", "c").await.unwrap(), node.ask("reviewer", "c").await.unwrap()];
    for _ in 0..2 {
        assert_eq!(given(&mut c).await.body.as_deref(), Some("c"));
    }
    assert_eq!(given(&mut a).await.body.as_deref(), Some("more"));
}

#[tokio::test]
async fn sb_21_a_stream_that_ends_before_it_has_answered_is_peer_gone_at_once() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", Some("a"));
    let other = node.serve("reviewer", Some("b"));
    let mut call = node.ask("reviewer", "x").await.unwrap();
    let request = given(&mut reviewer).await;
    drop(reviewer);
    assert_eq!(code(&mut call).await, ProblemCode::PeerGone, "and it is given to no other: it may be done");
    drop(other);
    assert_eq!(node.answers(&request, "late").await, Err(ProblemCode::UnknownRequest));
    assert_eq!(node.counted(), ([("peer_gone", 1)].into(), 1));
}

#[tokio::test]
async fn whoever_serves_is_told_when_nobody_waits_any_more() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let call = node.ask("reviewer", "dropped").await.unwrap();
    let request = given(&mut reviewer).await;
    drop(call);
    assert_eq!(told(&mut reviewer).await, (request.id.clone(), CancelReason::Cancelled));
    assert_eq!(node.answers(&request, "late").await, Err(ProblemCode::UnknownRequest));
    let named = Asking { name: Some(id("r-1")), ..node.asking("reviewer", "named") };
    let mut call = begin(&node.mesh, named.clone()).await.unwrap();
    let request = given(&mut reviewer).await;
    let taken = begin(&node.mesh, named.clone()).await.unwrap_err().code;
    assert_eq!(taken, ProblemCode::Conflict, "a name is of one request at a time");
    let as_app = |app: Option<&str>| Caller { app: app.map(name), ..Caller::default() };
    for (app, other) in [(None, "r-1"), (Some("reviewer"), "r-1"), (Some("author"), "r-2")] {
        let refused = cancel(&node.mesh, &as_app(app), &id(other)).unwrap_err();
        assert_eq!(refused.code, ProblemCode::UnknownRequest, "{app:?} {other}");
    }
    cancel(&node.mesh, &as_app(Some("author")), &id("r-1")).unwrap();
    assert_eq!(code(&mut call).await, ProblemCode::Cancelled);
    drop(call);
    assert_eq!(told(&mut reviewer).await, (request.id, CancelReason::Cancelled));
    let again = begin(&node.mesh, named).await.unwrap();
    assert_eq!(given(&mut reviewer).await.body.as_deref(), Some("named"), "the name is free again");
    drop(again);
    assert_eq!(node.counted().0["cancelled"], 3);
}

#[tokio::test]
async fn a_deadline_ends_a_request_on_both_sides_and_an_answer_after_it_is_counted() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let asking = Asking { timeout: limits::ANSWER_MIN, ..node.asking("reviewer", "slow") };
    let mut call = begin(&node.mesh, asking).await.unwrap();
    let request = given(&mut reviewer).await;
    assert_eq!(code(&mut call).await, ProblemCode::Timeout);
    assert_eq!(told(&mut reviewer).await, (request.id.clone(), CancelReason::Timeout));
    assert_eq!(node.answers(&request, "late").await, Err(ProblemCode::UnknownRequest));
    assert_eq!(node.counted(), ([("timeout", 1)].into(), 1));
}

#[tokio::test]
async fn notes_on_the_way_come_in_order_before_the_answer_and_are_bounded() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let asking = Asking { progress: true, ..node.asking("reviewer", "long") };
    let mut call = begin(&node.mesh, asking).await.unwrap();
    let request = given(&mut reviewer).await;
    assert!(request.progress);
    let note = |text: &str| ReplyRequest {
        progress: true,
        body: Some(text.to_owned()),
        ..ReplyRequest::to(request.id.clone())
    };
    for text in ["one", "two"] {
        node.reply(note(text)).await.unwrap();
    }
    node.answers(&request, "done").await.unwrap();
    for (number, text) in [(1, "one"), (2, "two")] {
        let Happening::Note(note) = call.next().await else { panic!("{number}") };
        assert_eq!((note.number, &note.content.body[..]), (number, text.as_bytes()));
    }
    assert_eq!(end(&mut call).await.unwrap(), "done");
    assert_eq!(node.reply(note("late")).await, Err(ProblemCode::UnknownRequest));
    // Who does not look at them is given none, and none is refused to whoever makes them but too many.
    let mut call = node.ask("reviewer", "quiet").await.unwrap();
    let request = given(&mut reviewer).await;
    assert!(!request.progress);
    let note = ReplyRequest { progress: true, ..ReplyRequest::to(request.id.clone()) };
    for _ in 0..limits::PROGRESS {
        node.reply(note.clone()).await.unwrap();
    }
    assert_eq!(node.reply(note).await, Err(ProblemCode::Busy));
    node.answers(&request, "done").await.unwrap();
    assert_eq!(end(&mut call).await.unwrap(), "done");
}

#[tokio::test]
async fn fifty_requests_at_once_are_each_answered_with_their_own_answer() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let mut calls = Vec::new();
    for n in 0..50 {
        calls.push(node.ask("reviewer", &n.to_string()).await.unwrap());
    }
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(given(&mut reviewer).await);
    }
    // From the last to the first.
    for request in requests.iter().rev() {
        node.answers(request, &format!("answer {}", request.body.as_deref().unwrap())).await.unwrap();
    }
    for (n, call) in calls.iter_mut().enumerate() {
        assert_eq!(end(call).await.unwrap(), format!("answer {n}"));
    }
}

#[tokio::test]
async fn a_node_takes_so_many_requests_and_no_more() {
    let node = Alone::new().await;
    let _many: Vec<Listener> = (0..16).map(|n| node.serve("reviewer", Some(&format!("i-{n}")))).collect();
    let mut calls = Vec::new();
    for _ in 0..limits::REQUESTS {
        calls.push(node.ask("reviewer", "x").await.unwrap());
    }
    assert_eq!(node.ask("reviewer", "x").await.unwrap_err(), ProblemCode::Busy);
    calls.pop();
    node.ask("reviewer", "x").await.unwrap();
}

#[tokio::test]
async fn what_another_node_says_of_a_request_that_it_was_not_asked_counts_for_nothing() {
    let node = Alone::new().await;
    let mut reviewer = node.serve("reviewer", None);
    let mut call = node.ask("reviewer", "x").await.unwrap();
    let request = given(&mut reviewer).await;
    let of = || node.mesh.requests.board().named(Some(&name("author")), &call.name).unwrap();
    let from = waxwing_crypto::NodeId::from_bytes([7; 16]);
    for said in [
        live::Said::Reply { of: of(), content: content("forged") },
        live::Said::Progress { of: of(), content: content("forged") },
        live::Said::Cancel { of: of() },
    ] {
        let expires = node.mesh.clock.broker_now().plus(WITHIN);
        let live = Live { from, id: id("m-1"), from_app: None, to_app: None, expires, said };
        node.mesh.signals.happened(vec![Happened::Arrived(Box::new(live))]);
    }
    let late = async {
        while node.counted().1 < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, late).await.unwrap();
    node.answers(&request, "true").await.unwrap();
    assert_eq!(end(&mut call).await.unwrap(), "true");
}
