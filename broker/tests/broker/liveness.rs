//! Time is paused: where everybody waits, it jumps to whatever comes first.

use futures_util::StreamExt as _;
use tokio::time::{Instant, pause, resume, sleep};
use tokio_tungstenite::tungstenite::Message;
use waxwing_protocol::limits;

use crate::harness::{Broker, Dialled, Mesh};

#[tokio::test]
async fn a_login_that_is_not_finished_in_time_is_closed() {
    let broker = Broker::start().await;
    let mut dialled = Dialled::dial(&broker).await;
    pause();
    let before = Instant::now();
    while let Some(Ok(message)) = dialled.socket.next().await {
        assert!(matches!(message, Message::Close(_)), "nothing is said: {message:?}");
    }
    let waited = before.elapsed();
    assert!(waited >= limits::LOGIN_WITHIN && waited < 2 * limits::LOGIN_WITHIN, "{waited:?}");
}

#[tokio::test]
async fn an_idle_link_is_pinged_and_lives_while_it_answers() {
    let broker = Broker::start().await;
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
    let broker = Broker::start().await;
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
