//! Time is paused: where everybody waits, it jumps to whatever comes first. A server's time would go on, so stores are in files.

use futures_util::StreamExt as _;
use tokio::time::{Instant, pause, resume, sleep};
use tokio_tungstenite::tungstenite::Message;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Reason, ToNode, decode};

use crate::harness::{Broker, Dialled, Mesh, envelopes, item, wire};

#[tokio::test]
async fn a_login_that_is_not_finished_in_time_is_closed() {
    let broker = Broker::in_a_file().await;
    let mut dialled = Dialled::dial(&broker).await;
    pause();
    let before = Instant::now();
    while let Some(Ok(message)) = dialled.socket.next().await {
        assert!(matches!(message, Message::Close(_)), "nothing is said: {message:?}");
    }
    let waited = before.elapsed();
    // It had begun before the clock stood still.
    assert!(2 * waited > limits::LOGIN_WITHIN && waited < 2 * limits::LOGIN_WITHIN, "{waited:?}");
}

#[tokio::test]
async fn an_idle_link_is_pinged_and_lives_while_it_answers() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.until_tail().await;
    pause();
    let before = Instant::now();
    for _ in 0..5 {
        // Reading it answers it.
        let message = link.socket.next().await.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    let waited = before.elapsed();
    assert!(waited >= 4 * limits::PING_EVERY && waited <= 6 * limits::PING_EVERY, "{waited:?}");
    resume();
    link.round_trip().await;
}

#[tokio::test]
async fn a_link_that_answers_no_ping_is_dead() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.until_tail().await;
    pause();
    sleep(limits::DEAD_AFTER + limits::PING_EVERY).await; // Reads nothing, so answers nothing.
    resume();
    let mut pings = 0;
    while let Some(Ok(message)) = link.socket.next().await {
        assert!(matches!(message, Message::Ping(_) | Message::Close(_)), "{message:?}");
        pings += usize::from(matches!(message, Message::Ping(_)));
    }
    assert_eq!(pings, 2, "and then it was closed");
}

#[tokio::test]
async fn a_link_that_settles_nothing_of_a_full_window_is_too_slow_and_comes_back_to_all_of_it() {
    let broker = Broker::with(|config| {
        config.limits.window_items = 3;
        config.database = None;
    })
    .await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send((0..9).map(|n| item(&broker.clock, &beta, n)).collect()).await;
    let mut to = mesh.login(&broker, &beta).await;
    to.until_envelopes(3).await; // Now nothing is under way but time.
    pause();
    let before = Instant::now();
    let goaway = loop {
        match to.socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => match decode(&bytes).unwrap() {
                ToNode::GoAway(goaway) => break goaway,
                other => panic!("{other:?}"),
            },
            other => assert!(matches!(other, Message::Ping(_)), "{other:?}"), // Reading it answers it.
        }
    };
    let waited = before.elapsed().as_secs();
    assert_eq!((goaway.reason, goaway.again), (Reason::TooSlow, Some((1_000, 15_000))));
    assert!((59..80).contains(&waited), "{waited}");
    resume();
    let got = mesh.login(&broker, &beta).await.until_envelopes(3).await;
    assert_eq!(envelopes(&got).iter().map(|envelope| envelope.id).collect::<Vec<_>>(), [0, 1, 2].map(wire));
}
