use std::time::Duration;

use tokio::net::TcpListener;
use waxwing_broker::{Config, Error};
use waxwing_protocol::link::{Outcome, Reason};

use crate::harness::{Broker, Dialled, Mesh, PATIENCE, envelopes, item, wire};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let store = Dialled::dial(&broker).await.challenge.store;
    let mut from = mesh.login(&broker, &alpha).await;
    let items: Vec<_> = (0..50).map(|n| item(&broker.clock, &beta, n)).collect();
    let outcomes = from.send(items.clone()).await;
    let first = from.welcome.login;
    drop(from);
    let broker = broker.restart().await;
    assert_eq!(Dialled::dial(&broker).await.challenge.store, store);
    let mut from = mesh.login(&broker, &alpha).await;
    assert!(from.welcome.login > first, "no number is given twice");
    assert_eq!(from.welcome.head, Some(mesh.roster.head()));
    for (outcome, again) in outcomes.iter().zip(from.send(items).await) {
        let (Outcome::Accepted { message }, Outcome::Duplicate { message: known, .. }) = (outcome, again)
        else {
            panic!("{outcome:?} {again:?}")
        };
        assert_eq!(*message, known);
    }
    from.send_one(item(&broker.clock, &beta, 50)).await;
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    let ids: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.id).collect();
    assert_eq!(ids, (0..51).map(wire).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stopping_broker_answers_what_it_has_read_and_says_goodbye() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let mut entering = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    let mut dialled = Dialled::dial(&broker).await;
    let req = link.post((0..500).map(|n| item(&broker.clock, &beta, n)).collect()).await;
    link.round_trip().await;
    let stopped = tokio::spawn(broker.stop());
    assert_eq!(link.sent(req).await.len(), 500);
    for link in [&mut link, &mut entering] {
        let goaway = link.goaway().await;
        assert_eq!((goaway.reason, goaway.again), (Reason::Restarting, Some((0, 2_000))));
        link.is_closed().await;
    }
    let goaway = crate::harness::receive(&mut dialled.socket).await.unwrap();
    assert!(
        matches!(goaway, waxwing_protocol::link::ToNodeLogin::GoAway(g) if g.reason == Reason::Restarting)
    );
    drop((link, entering, dialled));
    stopped.await.unwrap();
}

#[tokio::test]
async fn hundreds_are_answered_sent_away_and_told_to_come_back_spread_out() {
    const NODES: usize = 300;
    let broker = Broker::with(|config| config.reconnects_per_second = 50).await;
    let (mut mesh, _, beta) = Mesh::with_two(&broker).await;
    let mut links = Vec::new();
    for _ in 0..NODES {
        // The name is the node's alone.
        let name = Box::leak(format!("node-{}", links.len()).into_boxed_str());
        let keys = mesh.join(&broker, name).await;
        links.push(mesh.login(&broker, &keys).await);
    }
    let mut reqs = Vec::new();
    for (n, link) in links.iter_mut().enumerate() {
        reqs.push(link.post(vec![item(&broker.clock, &beta, n as u32)]).await);
        link.round_trip().await;
    }
    let stopped = tokio::spawn(broker.stop());
    for (link, req) in links.iter_mut().zip(reqs) {
        assert!(matches!(link.sent(req).await[..], [Outcome::Accepted { .. }]));
        let goaway = link.goaway().await;
        assert_eq!(
            (goaway.reason, goaway.again),
            (Reason::Restarting, Some((0, 6_000))),
            "300 at 50 a second"
        );
        link.is_closed().await;
    }
    drop(links);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_second_broker_on_a_folder_is_refused() {
    let broker = Broker::in_a_file().await;
    broker.ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second =
        waxwing_broker::run(Config::new(broker.path()), listener, |_| (), std::future::pending()).await;
    assert!(matches!(second, Err(Error::InUse(_))));
    let mesh = Mesh::found(&broker).await;
    mesh.login(&broker, &mesh.founder).await.round_trip().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let broker = Broker::in_a_file().await;
    broker.ready().await;
    let (config, dir, _) = broker.stop().await;
    let mut db = waxwing_sqlite::Options::new(&dir.path().join("broker.db")).open().unwrap();
    db.run("PRAGMA user_version = 99").unwrap();
    db.close().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = waxwing_broker::run(config, listener, |_| (), std::future::pending()).await;
    assert!(matches!(refused, Err(Error::NewerSchema { found: 99, .. })));
}

#[tokio::test]
async fn an_address_that_stands_for_all_needs_a_url_that_is_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused =
        waxwing_broker::run(Config::new(dir.path()), listener, |_| (), std::future::pending()).await;
    assert!(refused.unwrap_err().to_string().contains("--advertise wss://"));
}

#[tokio::test]
async fn a_store_that_fails_stops_the_broker_and_answers_nothing() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    broker.file().run("DROP TABLE dedupe").unwrap();
    link.post(vec![item(&broker.clock, &beta, 1)]).await;
    let goaway = link.goaway().await;
    assert_eq!(goaway.reason, Reason::Restarting);
    assert!(!link.has_sent());
    drop(link);
    let ended = tokio::time::timeout(PATIENCE + Duration::from_secs(1), broker.ended()).await.unwrap();
    assert!(matches!(ended, Err(Error::Internal(_))));
}
