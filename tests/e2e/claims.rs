//! Claims: processes on several nodes race for one, with one winner each time, and the others learn what came of it.

use serde_json::Value;
use tokio::net::UnixStream;
use waxwing_client::api::{ClaimRequest, ClaimState, ClaimsQuery, CompleteRequest, ProblemCode};
use waxwing_client::{Client, Error};
use waxwing_lab::{Lab, eventually};

use crate::api::exchange_on;
use crate::commands::{json, run};
use crate::support::{WITHIN, mesh};

const NODES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

fn app(lab: &Lab, node: &str, name: &str) -> Client {
    lab.client(node).app(name.parse().unwrap())
}

fn ask(key: &str) -> ClaimRequest {
    ClaimRequest { key: key.to_owned(), ..ClaimRequest::default() }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ProblemCode {
    result.unwrap_err().problem().expect("a refusal").code
}

/// Two processes at each of four nodes ask for the same; who was told what.
async fn race(lab: &Lab, key: &str) -> Vec<(String, String)> {
    let ask = async |n: usize| {
        let (node, app) = (NODES[n % NODES.len()], format!("racer-{n}"));
        let asked = run(lab, node, &["--json", "claim", "try", key, "--app", &app]).await;
        let answer: Value =
            serde_json::from_str(asked.stdout.lines().next().unwrap_or_else(|| panic!("{asked:?}"))).unwrap();
        let state = answer["state"].as_str().unwrap().to_owned();
        assert_eq!(asked.code, Some(if state == "claimed" { 0 } else { 8 }), "{asked:?}");
        (app, state)
    };
    let told = tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5), ask(6), ask(7));
    let (a, b, c, d, e, f, g, h) = told;
    vec![a, b, c, d, e, f, g, h]
}

/// The one who has it.
fn winner(told: &[(String, String)]) -> &str {
    let winners: Vec<_> = told.iter().filter(|(_, state)| state == "claimed").collect();
    let others = told.iter().filter(|(_, state)| state == "held").count();
    assert_eq!((winners.len(), others), (1, 7), "{told:?}");
    &winners[0].0
}

/// CB-02, CB-08, CB-09.
#[tokio::test]
async fn ct_13_of_eight_processes_on_four_nodes_one_wins_each_round_also_across_a_restart_of_the_broker() {
    let mut lab = mesh(&NODES).await;
    let mut first = Vec::new();
    for round in 0..6 {
        let key = format!("round-{round}");
        let told = race(&lab, &key).await;
        first.push((key, winner(&told).to_owned()));
        if round == 2 {
            lab.kill(Lab::BROKER).await.unwrap();
            lab.restart(Lab::BROKER).await.unwrap();
            for node in NODES {
                lab.linked(node).await.unwrap();
            }
        }
    }
    // Whoever won before the restart has it still, by every node, and nobody wins twice.
    for (key, winner) in &first {
        for node in NODES {
            let query = ClaimsQuery { key: Some(key.clone()), ..ClaimsQuery::default() };
            let holds = async || {
                let claims = lab.client(node).claims(&query).await.ok()?;
                let holder = claims.claims.first()?.holder.clone()?;
                (claims.current && holder.app.unwrap().as_str() == winner).then_some(())
            };
            eventually(WITHIN, &format!("{node} says that {winner} has {key}"), holds).await.unwrap();
        }
    }
    let told = race(&lab, "round-0").await;
    let again: Vec<_> =
        told.iter().filter(|(_, state)| state == "claimed").map(|(app, _)| app.as_str()).collect();
    assert_eq!(again, [first[0].1.as_str()], "its own winner has it, and nobody else: {told:?}");
}

#[tokio::test]
async fn cb_14_one_of_many_acts_on_a_failed_build_and_the_others_learn_what_came_of_it() {
    let lab = mesh(&["alpha", "beta"]).await;
    let key = "ci:build-4711:failed";
    let claimed = json(&lab, "alpha", &["claim", "try", key, "--app", "ann", "--purpose", "bisect"]).await;
    assert_eq!(claimed["state"], "claimed", "{claimed}");
    let other = run(&lab, "beta", &["claim", "try", key, "--app", "bob"]).await;
    assert_eq!(other.code, Some(8), "{other:?}");
    assert!(
        other.stdout.contains("held by ann@alpha") && other.stderr.contains("another has claimed it"),
        "{other:?}"
    );
    let listed = run(&lab, "beta", &["claim", "list", "--prefix", "ci:"]).await;
    assert!(listed.stdout.contains("held") && listed.stdout.contains("ann@alpha"), "{listed:?}");
    let not_his = run(&lab, "beta", &["claim", "complete", key, "--app", "bob"]).await;
    assert_eq!(not_his.code, Some(7), "{not_his:?}");
    let done = ["claim", "complete", key, "--app", "ann", "--outcome", "a flaky test, switched off"];
    let done = json(&lab, "alpha", &done).await;
    assert_eq!(done["completion"]["token"], claimed["token"], "{done}");
    let late = async || {
        let late = run(&lab, "beta", &["claim", "try", key, "--app", "bob"]).await;
        late.stdout.contains("done by ann@alpha").then_some(late)
    };
    let late = eventually(WITHIN, "beta knows that it is done", late).await.unwrap();
    assert!(late.code == Some(8) && late.stdout.contains(": a flaky test, switched off"), "{late:?}");
    json(&lab, "alpha", &["claim", "try", "other", "--app", "ann"]).await;
    json(&lab, "alpha", &["claim", "abandon", "other", "--app", "ann"]).await;
    assert_eq!(json(&lab, "alpha", &["claim", "try", "other", "--app", "bob"]).await["state"], "claimed");
}

/// One request as text, as another program would write it.
async fn asked(lab: &Lab, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    let socket = lab.state("alpha").join("node.sock");
    let (status, _, answer) =
        exchange_on(UnixStream::connect(socket).await.unwrap(), request.as_bytes()).await;
    (status, answer)
}

#[tokio::test]
async fn ct_15_cb_10_cb_11_cb_16_whatever_is_no_claim_is_refused_by_its_code_and_claims_nothing() {
    let lab = mesh(&["alpha"]).await;
    const CI: &str = "waxwing-app: ci\r\n";
    let long = format!(r#"{{"key":"{}"}}"#, "x".repeat(257));
    let outcome = format!(r#"{{"key":"k","token":1,"outcome":"{}"}}"#, "x".repeat(1_025));
    for (path, headers, body, expected) in [
        ("try", "", r#"{"key":"k"}"#, (400, "app_required")),
        ("try", CI, "{}", (400, "malformed")),
        ("try", CI, r#"{"key":""}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"a\nb"}"#, (400, "malformed")),
        ("try", CI, &long, (400, "malformed")),
        ("try", CI, r#"{"key":"k","ttl":"0s"}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"k","ttl":"-1s"}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"k","ttl":"NaN"}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"k","ttl":"25h"}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"k","ttl":30}"#, (400, "malformed")),
        ("try", CI, r#"{"key":"k","wait":"61s"}"#, (400, "malformed")),
        ("complete", CI, r#"{"key":"k"}"#, (400, "malformed")),
        ("complete", CI, r#"{"key":"k","token":-1}"#, (400, "malformed")),
        ("complete", CI, r#"{"key":"k","token":1.5}"#, (400, "malformed")),
        ("complete", CI, &outcome, (400, "malformed")),
        ("abandon", "", r#"{"key":"k","token":1}"#, (400, "app_required")),
    ] {
        let (status, answer) = asked(&lab, &format!("/v1/claims/{path}"), headers, body).await;
        let code = answer["code"].as_str().unwrap_or_default();
        assert_eq!((status, code), expected, "{path} {body:.60}: {answer}");
    }
    let (ci, bob) = (app(&lab, "alpha", "ci"), app(&lab, "alpha", "bob"));
    assert!(ci.claims(&ClaimsQuery::default()).await.unwrap().claims.is_empty());
    let token = ci.claim(&ask("k")).await.unwrap().token.unwrap();
    let complete = |token| CompleteRequest { key: "k".to_owned(), token, ..CompleteRequest::default() };
    assert_eq!(code(bob.complete_claim(&complete(token)).await), ProblemCode::NotHolder);
    assert_eq!(code(ci.complete_claim(&complete(token + 1)).await), ProblemCode::NotHolder);
    assert_eq!(bob.claim(&ask("k")).await.unwrap().state, ClaimState::Held);
    ci.complete_claim(&complete(token)).await.unwrap();
}

#[tokio::test]
async fn without_a_link_nothing_is_claimed_and_what_is_known_is_said_with_its_age() {
    let mut lab = mesh(&["alpha"]).await;
    let (ann, bob) = (app(&lab, "alpha", "ann"), app(&lab, "alpha", "bob"));
    ann.claim(&ask("held")).await.unwrap();
    lab.kill(Lab::BROKER).await.unwrap();
    let down = async || (!bob.claims(&ClaimsQuery::default()).await.ok()?.current).then_some(());
    eventually(WITHIN, "alpha has no link", down).await.unwrap();
    assert_eq!(code(bob.claim(&ask("free")).await), ProblemCode::Offline);
    let known = bob.claims(&ClaimsQuery::default()).await.unwrap();
    assert!(known.claims.len() == 1 && known.as_of.is_some(), "{known:?}");
}
