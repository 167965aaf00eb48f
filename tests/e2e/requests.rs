//! Requests: asked across machines and on one, answered once or not at all, and why not is said.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;
use waxwing_client::api::{
    BatchRequest, CallAnswer, CallRequest, EventQuery, InboxQuery, MeshQuery, PeerRequest, ProblemCode,
    ReplyError, ReplyRequest, RequestItem, SendRequest,
};
use waxwing_client::{Asks, Client, Error, Name, Reply, Requests};
use waxwing_lab::{Lab, When, eventually};

use crate::support::{PROGRAM, WITHIN, mesh};

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Serves an app of a node, as a stream.
pub(crate) async fn serve(lab: &Lab, node: &str, app: &str, instance: Option<&str>) -> (Client, Requests) {
    let client = lab.client(node).app(name(app));
    let query = EventQuery { instance: instance.map(name), ..EventQuery::default() };
    let requests = client.serve(&query).await.unwrap();
    (client, requests)
}

pub(crate) fn call(to: &str, body: &str) -> CallRequest {
    let timeout = Some("60s".to_owned());
    CallRequest { to: to.to_owned(), body: Some(body.to_owned()), timeout, ..CallRequest::default() }
}

pub(crate) async fn given(requests: &mut Requests) -> RequestItem {
    match tokio::time::timeout(WITHIN, requests.next()).await.expect("a request").unwrap() {
        Asks::Request(request) => *request,
        Asks::Cancel(id) => panic!("{id} is cancelled"),
    }
}

pub(crate) fn answer(request: &RequestItem, body: &str) -> ReplyRequest {
    ReplyRequest { body: Some(body.to_owned()), ..ReplyRequest::to(request.id.clone()) }
}

/// Why there is no answer.
fn code(refused: Result<CallAnswer, Error>) -> ProblemCode {
    match refused {
        Err(Error::Problem(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

/// Waits until alpha knows that beta is there.
async fn alpha_sees_beta(lab: &Lab) {
    let sees = async || {
        let peers = lab.client("alpha").peers(&MeshQuery::default()).await.ok()?.peers;
        peers.iter().any(|peer| peer.node == name("beta") && peer.online).then_some(())
    };
    eventually(WITHIN, "alpha sees beta", sees).await.unwrap();
}

/// A mesh of two that see each other.
pub(crate) async fn pair() -> Lab {
    let lab = mesh(&["alpha", "beta"]).await;
    alpha_sees_beta(&lab).await;
    lab
}

async fn late_replies(client: &Client) -> f64 {
    let page = client.metrics().await.unwrap();
    let line = page.lines().find(|line| line.starts_with("waxwing_node_late_replies_total{")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn s_10_s_11_st_19_an_app_elsewhere_is_asked_and_its_answer_or_its_refusal_comes_back() {
    let lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", "reviewer", None).await;
    let answering = async {
        let request = given(&mut requests).await;
        assert_eq!((&request.from, &request.from_app), (&name("alpha"), &Some(name("author"))));
        assert_eq!(request.body.as_deref(), Some("have a look"));
        assert_eq!(request.meta.as_ref().unwrap()["pr"], 4711);
        let meta = request.meta.clone();
        beta.reply(&ReplyRequest { meta, ..answer(&request, "looks good") }).await.unwrap();
        let request = given(&mut requests).await;
        let error = ReplyError { code: Some("not_found".into()), message: Some("no such revision".into()) };
        beta.reply(&ReplyRequest { error: Some(error), ..ReplyRequest::to(request.id) }).await.unwrap();
    };
    let asking = async {
        let author = lab.client("alpha").app(name("author"));
        let meta = serde_json::json!({ "pr": 4711 }).as_object().cloned();
        let asked = CallRequest { meta, ..call("reviewer@beta", "have a look") };
        let answer = author.ask(&asked).await.unwrap();
        assert_eq!((answer.body.as_deref(), &answer.meta), (Some("looks good"), &asked.meta));
        assert_eq!((answer.from, answer.app), (name("beta"), name("reviewer")));
        match author.ask(&call("reviewer@beta", "and this")).await {
            Err(Error::Problem(problem)) => {
                assert_eq!(problem.code, ProblemCode::Refused);
                assert_eq!(problem.reason.as_deref(), Some("not_found"));
                assert_eq!(problem.detail.as_deref(), Some("no such revision"));
            }
            other => panic!("{other:?}"),
        }
    };
    tokio::join!(answering, asking);
    for (node, kept) in [("alpha", "outbox"), ("beta", "inbox")] {
        let client = lab.client(node);
        let rows = match kept {
            "outbox" => client.outbox(&Default::default()).await.unwrap().items.len(),
            _ => client
                .inbox(&InboxQuery { app: Some("*".into()), ..Default::default() })
                .await
                .unwrap()
                .items
                .len(),
        };
        assert_eq!(rows, 0, "{node} shows requests among its mail");
    }
}

#[tokio::test]
async fn s_21_sb_15_st_20_without_an_answer_a_request_ends_with_its_deadline_and_a_late_one_is_counted() {
    let lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", "reviewer", None).await;
    let asked = CallRequest { timeout: Some("400ms".into()), ..call("reviewer@beta", "slow") };
    let alpha = lab.client("alpha");
    let (ended, request) = tokio::join!(alpha.ask(&asked), given(&mut requests));
    assert_eq!(code(ended), ProblemCode::Timeout);
    match tokio::time::timeout(WITHIN, requests.next()).await.unwrap().unwrap() {
        Asks::Cancel(id) => assert_eq!(id, request.id, "its node knows the deadline by itself"),
        Asks::Request(request) => panic!("{request:?}"),
    }
    let late = beta.reply(&answer(&request, "late")).await.unwrap_err();
    assert_eq!(late.problem().unwrap().code, ProblemCode::UnknownRequest);
    assert_eq!((late_replies(&beta).await, late_replies(&alpha).await), (1.0, 0.0));
}

#[tokio::test]
async fn sb_14_st_21_fifty_requests_at_once_each_get_their_own_answer() {
    let lab = pair().await;
    let (_, requests) = serve(&lab, "beta", "echo", None).await;
    let serving = tokio::spawn(requests.answer_all(50, |request| async move {
        Ok(Reply::from(format!("answer to {}", request.body.unwrap_or_default())))
    }));
    let (alpha, began) = (lab.client("alpha"), Instant::now());
    let asking = (0..50).map(|n| {
        let alpha = alpha.clone();
        tokio::spawn(async move { alpha.ask(&call("echo@beta", &n.to_string())).await.unwrap().body })
    });
    for (n, answer) in asking.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), Some(format!("answer to {n}")));
    }
    println!("fifty requests at once across two nodes took {:?}", began.elapsed());
    let mut took: Vec<u64> = Vec::new();
    for _ in 0..20 {
        took.push(alpha.ask(&call("echo@beta", "x")).await.unwrap().took_ms);
    }
    took.sort_unstable();
    println!("one by one: median {} ms, longest {} ms", took[10], took[19]);
    serving.abort();
}

#[tokio::test]
async fn st_22_the_largest_request_and_answer_arrive_whole_and_larger_ones_are_too_large() {
    let lab = pair().await;
    let (_, requests) = serve(&lab, "beta", "echo", None).await;
    let serving = tokio::spawn(
        requests.answer_all(1, |request| async move { Ok(Reply { body: request.body, ..Reply::default() }) }),
    );
    let largest = "x".repeat(waxwing_protocol::limits::BODY);
    let answer = lab.client("alpha").ask(&call("echo@beta", &largest)).await.unwrap();
    assert_eq!(answer.body.unwrap(), largest);
    for to in ["echo@beta", "echo@alpha"] {
        let refused = lab.client("alpha").ask(&call(to, &format!("{largest}x"))).await;
        assert_eq!(code(refused), ProblemCode::TooLarge);
    }
    serving.abort();
}

#[tokio::test]
async fn st_23_nobody_who_could_answer_is_said_at_once() {
    let mut lab = pair().await;
    let alpha = lab.client("alpha");
    // Registered, but takes no requests.
    let watching = EventQuery { register: Some(1), app: Some("watcher".into()), ..EventQuery::default() };
    let _watcher = lab.client("beta").events(&watching).await.unwrap();
    let longest = |to: &str| CallRequest { timeout: Some("10m".into()), ..call(to, "anybody?") };
    for (to, expected) in [
        ("nobody@beta", ProblemCode::NoResponder),
        ("watcher@beta", ProblemCode::NoResponder),
        ("nobody@alpha", ProblemCode::NoResponder),
        ("reviewer@gamma", ProblemCode::UnknownRecipient),
    ] {
        let began = Instant::now();
        assert_eq!(code(alpha.ask(&longest(to)).await), expected, "{to}");
        assert!(began.elapsed() < Duration::from_secs(30), "{to}");
    }
    lab.stop("beta").await.unwrap();
    let offline = async || {
        let gone = code(alpha.ask(&longest("reviewer@beta")).await);
        // Until its goodbye has come, it may have been asked.
        assert!([ProblemCode::PeerOffline, ProblemCode::PeerGone].contains(&gone), "{gone:?}");
        (gone == ProblemCode::PeerOffline).then_some(())
    };
    eventually(WITHIN, "beta is offline", offline).await.unwrap();
}

#[tokio::test]
async fn sb_21_st_24_a_responder_that_ends_or_whose_node_goes_is_peer_gone_not_a_timeout() {
    let mut lab = Lab::mesh_by(PROGRAM, "[limits]\nlease_seconds = 3\n", &["alpha", "beta"]).await.unwrap();
    alpha_sees_beta(&lab).await;
    let (_, mut requests) = serve(&lab, "beta", "reviewer", None).await;
    let alpha = lab.client("alpha");
    let longest = CallRequest { timeout: Some("10m".into()), ..call("reviewer@beta", "x") };
    let (ended, ()) = tokio::join!(alpha.ask(&longest), async {
        given(&mut requests).await;
        drop(requests);
    });
    assert_eq!(code(ended), ProblemCode::PeerGone);
    let (_, mut requests) = serve(&lab, "beta", "reviewer", None).await;
    let asking = tokio::spawn({
        let (alpha, longest) = (alpha.clone(), longest.clone());
        async move { alpha.ask(&longest).await }
    });
    given(&mut requests).await;
    lab.kill("beta").await.unwrap();
    // Nothing is heard of it for a lease.
    let gone = tokio::time::timeout(WITHIN, asking).await.unwrap().unwrap();
    assert_eq!(code(gone), ProblemCode::PeerGone);
}

#[tokio::test]
async fn st_26_what_is_no_request_is_refused_before_anybody_is_asked() {
    let lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", "reviewer", None).await;
    let alpha = lab.client("alpha");
    let to = |to: &str| call(to, "x");
    let timeout = |text: &str| CallRequest { timeout: Some(text.to_owned()), ..to("reviewer@beta") };
    let both = CallRequest { body_base64: Some("eA==".into()), ..to("reviewer@beta") };
    let text = CallRequest { body: None, body_base64: Some("?".into()), ..to("reviewer@beta") };
    let huge = "9".repeat(400);
    let mut bad =
        vec![both, text, to("beta"), to(""), to("@beta"), to("a@b@c"), to("reviewer@"), to("R@beta")];
    bad.extend(["0s", "-1s", "1.5", "", "99ms", "601s", "1y", "x", huge.as_str()].map(timeout));
    bad.push(CallRequest { content_type: Some("a\nb".into()), ..to("reviewer@beta") });
    for request in bad {
        let refused = alpha.ask(&request).await;
        assert_eq!(code(refused), ProblemCode::Malformed, "{request:?}");
    }
    let unknown = beta.reply(&ReplyRequest::to("no-such".parse().unwrap())).await.unwrap_err();
    assert_eq!(unknown.problem().unwrap().code, ProblemCode::UnknownRequest);
    for kind in ["request", "cancel", "message,request"] {
        let unregistered = EventQuery { kind: Some(kind.into()), ..EventQuery::default() };
        let refused = beta.events(&unregistered).await.unwrap_err();
        assert_eq!(refused.problem().unwrap().code, ProblemCode::Malformed, "{kind}");
    }
    let good = call("reviewer@beta", "a good one");
    let ((), answered) = tokio::join!(
        async {
            let request = given(&mut requests).await;
            assert_eq!(request.body.as_deref(), Some("a good one"), "none of the others came here");
            beta.reply(&answer(&request, "yes")).await.unwrap();
        },
        alpha.ask(&good)
    );
    assert_eq!(answered.unwrap().body.as_deref(), Some("yes"));
}

#[tokio::test]
async fn two_apps_of_one_node_need_no_link_and_nothing_of_it_leaves_the_host() {
    let mut lab = pair().await;
    lab.kill(Lab::BROKER).await.unwrap();
    lab.unlinked("alpha").await.unwrap();
    let (_, requests) = serve(&lab, "alpha", "clock", None).await;
    let serving = tokio::spawn(requests.answer_all(1, |_| async { Ok(Reply::from("noon")) }));
    let alpha = lab.client("alpha");
    assert_eq!(code(alpha.ask(&call("clock@beta", "?")).await), ProblemCode::Offline);
    let before = lab.proxy().captured().len();
    for _ in 0..10 {
        let answer = alpha.ask(&call("clock@alpha", "what time is it?")).await.unwrap();
        assert_eq!(answer.body.as_deref(), Some("noon"));
    }
    serving.abort();
    assert_eq!(lab.proxy().captured().len(), before, "a frame left the node");
    let metrics = alpha.metrics().await.unwrap();
    let accepted = metrics.lines().find(|line| line.contains("requests_total") && line.contains("answered"));
    assert!(accepted.is_some_and(|line| line.ends_with(" 10")), "{metrics}");
}

#[tokio::test]
async fn a_request_that_comes_again_is_not_given_again() {
    let lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", "counter", None).await;
    // What beta says of having it is lost with the link: the broker delivers it again.
    let cut = lab.proxy().cut_at(When::settlement(lab.id("beta")));
    let alpha = lab.client("alpha");
    let once = call("counter@beta", "once");
    let ((), answered) = tokio::join!(
        async {
            let request = given(&mut requests).await;
            cut.happened().await.unwrap();
            lab.linked("beta").await.unwrap();
            beta.reply(&answer(&request, "1")).await.unwrap();
        },
        alpha.ask(&once)
    );
    assert_eq!(answered.unwrap().body.as_deref(), Some("1"));
    let twice = call("counter@beta", "twice");
    let ((), answered) = tokio::join!(
        async {
            let request = given(&mut requests).await;
            assert_eq!(request.body.as_deref(), Some("twice"), "the first was given once");
            beta.reply(&answer(&request, "2")).await.unwrap();
        },
        alpha.ask(&twice)
    );
    assert_eq!(answered.unwrap().body.as_deref(), Some("2"));
}

#[tokio::test]
async fn mail_that_waits_does_not_delay_a_request() {
    // Some go before it all the same: those that are on their way already.
    const MAIL: usize = 20_000;
    let mut lab = pair().await;
    let (_, requests) = serve(&lab, "beta", "clock", None).await;
    let serving = tokio::spawn(requests.answer_all(1, |_| async { Ok(Reply::from("noon")) }));
    let alpha = lab.client("alpha");
    assert_eq!(alpha.ask(&call("clock@beta", "?")).await.unwrap().body.as_deref(), Some("noon"));
    let mail = SendRequest { to: "beta".into(), body: Some("x".repeat(500)), ..SendRequest::default() };
    // While the broker is held, none of it gets on its way but a window full.
    let broker = Pid::from_raw(lab.process("broker").pid().unwrap().cast_signed()).unwrap();
    kill_process(broker, Signal::STOP).unwrap();
    for _ in 0..MAIL / 1_000 {
        let batch = BatchRequest { items: vec![mail.clone(); 1_000] };
        alpha.send_batch(&batch).await.unwrap();
    }
    let clock = call("clock@beta", "?");
    let (answer, ()) = tokio::join!(alpha.ask(&clock), async {
        // It is asked for before the broker goes on.
        let all =
            async || (alpha.health().await.unwrap().meshes[0].outbox_pending > MAIL as u64).then_some(());
        eventually(WITHIN, "the request is with the mail", all).await.unwrap();
        kill_process(broker, Signal::CONT).unwrap();
    });
    let answer = answer.unwrap();
    let waiting = alpha.health().await.unwrap().meshes[0].outbox_pending;
    assert_eq!(answer.body.as_deref(), Some("noon"));
    println!("{} ms with {waiting} messages still to be sent", answer.took_ms);
    assert!(waiting > 0, "all of the mail went before");
    serving.abort();
}

#[tokio::test]
async fn a_node_that_refuses_all_mail_of_another_refuses_its_requests() {
    let lab = pair().await;
    let (_, _requests) = serve(&lab, "beta", "reviewer", None).await;
    let blocked = PeerRequest { node: name("alpha"), mesh: None };
    lab.client("beta").block_peer(&blocked).await.unwrap();
    match lab.client("alpha").ask(&call("reviewer@beta", "x")).await {
        Err(Error::Problem(problem)) => {
            assert_eq!(
                (problem.code, problem.reason.as_deref()),
                (ProblemCode::Undeliverable, Some("blocked"))
            );
        }
        other => panic!("{other:?}"),
    }
    match lab.client("beta").ask(&call("reviewer@alpha", "x")).await {
        Err(Error::Problem(problem)) => assert_eq!(problem.reason.as_deref(), Some("blocked_here")),
        other => panic!("{other:?}"),
    }
}
