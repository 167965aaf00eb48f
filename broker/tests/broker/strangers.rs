use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, pause, resume, sleep, timeout};
use waxwing_protocol::limits;

use crate::harness::raw::{BINARY, FIN, PING, Raw, frame, frame_of, upgrade};
use crate::harness::{Broker, Keys, Mesh, PATIENCE, dial};

/// What somebody sends who never logs in.
#[rustfmt::skip]
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let upgraded = |bytes: Vec<u8>| [upgrade().into_bytes(), bytes].concat();
    vec![
        ("nothing", vec![]),
        ("the first byte of a request", b"G".to_vec()),
        ("half a request", upgrade().into_bytes()[..80].to_vec()),
        ("a request, and then nothing", upgraded(vec![])),
        ("half a frame", upgraded(frame(BINARY, &[7; 100])[..50].to_vec())),
        ("a frame that says it is large", upgraded(frame_of(BINARY, 127, limits::FRAME as u64, b"x"))),
        ("a message without an end", upgraded([frame(BINARY - FIN, b"x"), frame(0, b"y").repeat(100)].concat())),
    ]
}

/// Waits until the broker has closed, and reads nothing that matters.
async fn closed(mut link: Raw) {
    let mut rest = Vec::new();
    drop(timeout(PATIENCE, link.stream.read_to_end(&mut rest)).await.expect("the broker closes"));
}

async fn logs_in(broker: &Broker, mesh: &Mesh, keys: &Keys) {
    mesh.login(broker, keys).await.round_trip().await;
}

#[tokio::test]
async fn strangers_of_every_kind_are_bounded_in_number_and_hold_up_no_login() {
    const ROOM: u32 = 20;
    let broker = Broker::with(|config| config.limits.strangers = ROOM).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut bystander = mesh.login(&broker, &beta).await;
    let mut waiting = Vec::new();
    for (_, bytes) in kinds() {
        for _ in 0..ROOM {
            let mut stranger = Raw::connect(&broker).await;
            stranger.send(&bytes).await;
            waiting.push(stranger);
        }
        logs_in(&broker, &mesh, &alpha).await;
        bystander.round_trip().await;
        // Whoever came before these and the login has lost its place.
        while waiting.len() > ROOM as usize {
            closed(waiting.remove(0)).await;
        }
    }
}

#[tokio::test]
async fn whoever_has_logged_in_is_no_stranger_and_keeps_its_place() {
    let broker = Broker::with(|config| config.limits.strangers = 2).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut member = mesh.login(&broker, &beta).await;
    let mut entering = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    for _ in 0..10 {
        drop(dial(&broker).await);
        let _stays = Raw::connect(&broker).await;
        logs_in(&broker, &mesh, &alpha).await;
    }
    member.round_trip().await;
    entering.round_trip().await;
}

/// How long a connection lives that sends this, and then a byte a second.
async fn lives(mut link: Raw, bytes: &[u8]) -> Duration {
    let before = Instant::now();
    link.send(bytes).await;
    let (mut source, mut sink) = link.stream.split();
    let drip = async {
        while sink.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let mut read = Vec::new();
    let read = source.read_to_end(&mut read);
    tokio::select! {
        () = drip => {}
        _ = read => {}
    }
    before.elapsed()
}

#[tokio::test]
async fn a_byte_a_second_buys_no_more_time_to_log_in() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    mesh.login(&broker, &alpha).await.until_tail().await; // Nothing reads the store when time begins to jump.
    for (what, bytes) in kinds() {
        for drips in [true, false] {
            let mut link = Raw::connect(&broker).await;
            pause();
            let before = Instant::now();
            let lived = if drips {
                lives(link, &bytes).await
            } else {
                link.send(&bytes).await;
                closed(link).await;
                before.elapsed()
            };
            resume();
            let most = 2 * limits::LOGIN_WITHIN + Duration::from_secs(3);
            assert!(lived < most, "{what}, {drips}: {lived:?}");
        }
    }
}

#[tokio::test]
async fn half_a_frame_keeps_no_link_alive_however_slowly_it_comes() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    for (what, bytes) in
        [("a frame", frame_of(BINARY, 126, 60_000, b"x")), ("a ping", frame_of(PING, 125, 125, b"x"))]
    {
        let (mut link, challenge) = Raw::dial(&broker).await;
        link.login(&broker, &challenge, &mesh, &alpha).await;
        link.until_tail().await;
        pause();
        let lived = lives(link, &bytes).await;
        resume();
        assert!(lived >= limits::DEAD_AFTER - Duration::from_secs(1), "{what}: {lived:?}");
        assert!(lived < limits::DEAD_AFTER + limits::LOGIN_WITHIN, "{what}: {lived:?}");
    }
}
