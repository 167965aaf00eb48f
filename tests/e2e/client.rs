//! The Rust client: its examples do what they say, on real nodes.

use tokio::sync::mpsc;
use tokio::time::timeout;
use waxwing_client::api::ROUTES;

use crate::support::{WITHIN, mesh};

#[path = "../../clients/rust/examples/answer.rs"]
#[expect(dead_code, reason = "its main is for whoever runs it")]
mod answer;
#[path = "../../clients/rust/examples/ask.rs"]
#[expect(dead_code, reason = "its main is for whoever runs it")]
mod ask;
#[path = "../../clients/rust/examples/watch.rs"]
#[expect(dead_code, reason = "its main is for whoever runs it")]
mod watch;

#[tokio::test]
async fn one_example_asks_another_answers_once_also_when_it_is_stopped_and_a_third_watches() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (asking, answering) =
        (lab.client("alpha").app("ask".parse().unwrap()), lab.client("beta").app("answer".parse().unwrap()));
    let (told, mut lines) = mpsc::channel(64);
    let watched = lab.client("beta");
    let asked = async {
        let first = ask::ask(&asking, "answer@beta", "are you there?").await.unwrap();
        let second = ask::ask(&asking, "answer@beta", "still?").await.unwrap();
        (first, second)
    };
    let watching = watch::watch(&watched, |line| told.try_send(line).unwrap());
    let seen = async { while !lines.recv().await.unwrap().contains("from alpha: still?") {} };
    let answers = timeout(WITHIN, async {
        tokio::select! {
            (answers, ()) = async { tokio::join!(asked, seen) } => answers,
            ended = answer::answer(&answering) => panic!("{ended:?}"),
            ended = watching => panic!("{ended:?}"),
        }
    });
    let answers = answers.await.expect("both are answered");
    assert_eq!(answers, ("you said: are you there?".to_owned(), "you said: still?".to_owned()));
}

#[tokio::test]
async fn the_node_serves_its_own_description() {
    let lab = mesh(&["alpha"]).await;
    let served = lab.client("alpha").openapi().await.unwrap();
    let written: serde_json::Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert_eq!(served, written);
    assert_eq!(served["paths"]["/v1/send"]["post"]["security"][0]["token"][0], "send");
    assert!(served["paths"].as_object().unwrap().len() <= ROUTES.len());
}
