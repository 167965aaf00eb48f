//! How often a mesh is looked after, on a real database and a clock that the test turns.

use std::sync::Arc;
use std::sync::mpsc;

use waxwing_crypto::Timestamp;

use super::*;
use crate::mesh::tests::alone;
use crate::store::outbox::{NewRow, State, Which};
use crate::writer::Delivered;
use crate::writer::tests::{item, send};

const HOUR: Duration = Duration::from_secs(60 * 60);
const WITHIN: Duration = Duration::from_secs(20);

/// Keeps tokio's clock where it is while a database works: it goes on by itself only if nothing blocks.
struct Stopped(#[expect(dead_code, reason = "it ends what blocks, by being dropped")] mpsc::Sender<()>);

impl Stopped {
    fn new() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        tokio::time::pause();
        Self(end)
    }
}

/// How often a mesh is looked after in an hour of that clock.
async fn looks_in_an_hour(mesh: &Mesh) -> u32 {
    let (mut upkeep, mut looks, end) = (Upkeep::new(), 0, Instant::now() + HOUR);
    while Instant::now() < end {
        let next = upkeep.look(mesh).await.unwrap().max(Instant::now() + EVERY);
        looks += 1;
        tokio::time::advance(next - Instant::now()).await;
    }
    looks
}

/// Logged in at a broker whose clock is the same.
async fn linked() -> (tempfile::TempDir, Arc<Mesh>) {
    let (folder, mesh) = alone().await;
    mesh.clock.login(clock::now());
    mesh.set_broker_dedupe(1_000_000);
    mesh.set_caught_up(true);
    begin(&mesh).await.unwrap();
    (folder, mesh)
}

fn expiring(id: &str, within: Duration) -> NewRow {
    NewRow { expires: clock::now().plus(within), ..send(id, 1) }
}

async fn is_dead(mesh: &Mesh, id: &str) -> bool {
    let life = outbox::life(&mesh.db, Which::Id(&id.parse().unwrap())).await.unwrap().unwrap();
    life.state == State::Dead
}

#[tokio::test]
async fn a_mesh_at_rest_is_looked_after_once_a_minute() {
    let (_folder, mesh) = linked().await;
    mesh.writer.accept(vec![expiring("later", 24 * HOUR)]).await.unwrap();
    let _stopped = Stopped::new();
    // The wall goes on alone, and no faster than this test: nothing but the time of this clock brings a look about.
    let looks = looks_in_an_hour(&mesh).await;
    assert!((60..=61).contains(&looks), "{looks}");
}

#[tokio::test]
async fn a_mesh_whose_database_has_not_met_a_broker_is_not_looked_after_more_often() {
    let (_folder, mesh) = alone().await;
    let _stopped = Stopped::new();
    let looks = looks_in_an_hour(&mesh).await;
    assert!((60..=61).contains(&looks), "{looks}");
}

#[tokio::test]
async fn the_next_look_is_when_the_first_message_has_had_its_time() {
    let (_folder, mesh) = linked().await;
    let mut upkeep = Upkeep::new();
    upkeep.look(&mesh).await.unwrap();
    let rows = [20, 10, 30].map(|s| expiring(&format!("in-{s}"), Duration::from_secs(s)));
    mesh.writer.accept(rows.to_vec()).await.unwrap();
    let next = upkeep.look(&mesh).await.unwrap();
    assert!((Duration::from_secs(1)..=Duration::from_secs(10)).contains(&(next - Instant::now())));
    mesh.clock.login(Timestamp::default().plus(HOUR));
    let next = upkeep.look(&mesh).await.unwrap();
    assert!(
        next - Instant::now() <= Duration::from_secs(10),
        "what the broker's clock says is another matter"
    );
}

#[tokio::test]
async fn a_message_that_has_less_time_than_the_mesh_would_sleep_ends_in_time() {
    let (_folder, mesh) = linked().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (mesh, stop) = (Arc::clone(&mesh), stop.clone());
        async move { run(&mesh, &stop).await }
    });
    // Until it sleeps for as long as it may.
    let looked = async {
        while mesh.signals.first_expiry(None).is_none() {
            mesh.writer.accept(vec![expiring("first", HOUR)]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, looked).await.unwrap();
    mesh.writer.accept(vec![expiring("soon", Duration::from_secs(2))]).await.unwrap();
    let mut moves = mesh.signals.moves();
    let ended = async {
        while !is_dead(&mesh, "soon").await {
            moves.changed().await.unwrap();
        }
    };
    tokio::time::timeout(WITHIN, ended).await.expect("well before a minute is over");
    assert!(!is_dead(&mesh, "first").await);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_missing_is_looked_after_when_it_is_overdue_and_not_before() {
    let (_folder, mesh) = linked().await;
    let mut upkeep = Upkeep::new();
    let _stopped = Stopped::new();
    let delivered = Delivered { items: vec![item("two", 2)], ..Delivered::default() };
    mesh.writer.received(delivered).await.unwrap();
    tokio::time::timeout(WITHIN, mesh.signals.sooner()).await.expect("it is said that a message is missing");
    upkeep.look(&mesh).await.unwrap();
    assert!(mesh.signals.gapped().is_some());
    tokio::time::advance(lane::OVERDUE).await;
    upkeep.look(&mesh).await.unwrap();
    assert_eq!(mesh.signals.gapped(), None, "it is passed over");
}
