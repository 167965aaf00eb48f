//! One id is one message, however often and by however many it is sent.

use std::collections::HashSet;

use waxwing_client::Error;
use waxwing_client::api::{MessageState, ProblemCode, SendRequest};
use waxwing_lab::Recorder;
use waxwing_lab::apps::request;

use crate::support::{Pair, WITHIN, mesh};

/// Apps that send at the same moment.
const APPS: usize = 50;

/// MB-38.
#[tokio::test]
async fn the_same_id_sent_fifty_times_at_once_is_one_message() {
    let mut pair = Pair::start().await;
    let sends: Vec<_> = (0..APPS)
        .map(|_| {
            let client = pair.lab.client("alpha");
            tokio::spawn(async move { client.send(&request("beta", "once").unwrap()).await })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap().unwrap().client_message_id.as_str(), "once");
    }
    pair.sender.send("beta", "once", WITHIN).await.unwrap();
    pair.sent.push("once".to_owned());
    // What is sent after it arrives after it, so nothing of it can still be under way.
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn the_same_id_with_another_content_is_refused_whoever_comes_first() {
    let mut pair = Pair::start().await;
    let sends: Vec<_> = (0..APPS)
        .map(|n| {
            let client = pair.lab.client("alpha");
            let message =
                SendRequest { body: Some(format!("text {n}")), ..request("beta", "contested").unwrap() };
            tokio::spawn(async move { client.send(&message).await.map(|_| message.body.unwrap()) })
        })
        .collect();
    let mut winners = HashSet::new();
    for send in sends {
        match send.await.unwrap() {
            Ok(text) => drop(winners.insert(text)),
            Err(Error::Problem(problem)) => {
                assert_eq!(problem.code, ProblemCode::IdempotencyKeyReused);
                let conflict = problem.conflict.as_deref().unwrap_or_default();
                assert!(conflict.ends_with("_fingerprint_mismatch"), "{conflict}");
                assert_eq!(problem.fingerprint.as_deref().map(str::len), Some(16));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let read = pair.read(1).await;
    assert_eq!(winners, HashSet::from([read[0].body.clone().unwrap()]));
    assert_eq!(pair.settled("contested").await.state, MessageState::Delivered);
    assert_eq!(pair.reader.reread().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_send_answers_with_what_became_of_the_first() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let again = pair.sender.client.send(&request("beta", "m-1").unwrap()).await.unwrap();
    assert_eq!((again.state, again.duplicate), (MessageState::Delivered, true));
    assert!(again.broker_message_id.is_some() && again.delivered_at.is_some());
    pair.conclude().await;
}

#[tokio::test]
async fn two_senders_using_the_same_id_are_two_messages() {
    let lab = mesh(&["alpha", "beta", "gamma"]).await;
    let record = Recorder::default();
    let mut reader = lab.reader("beta", &record);
    for node in ["alpha", "gamma"] {
        lab.sender(node, &record).send("beta", "same", WITHIN).await.unwrap();
    }
    let read = reader.read(2, WITHIN).await.unwrap();
    let from: HashSet<&str> = read.iter().map(|item| item.from.as_str()).collect();
    assert_eq!(from, HashSet::from(["alpha", "gamma"]));
    for node in ["alpha", "gamma"] {
        let status = lab.sender(node, &record).settled("same", WITHIN).await.unwrap();
        assert_eq!(status.state, MessageState::Delivered, "{node}");
    }
    record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
}
