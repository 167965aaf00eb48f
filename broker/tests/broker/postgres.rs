use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use waxwing_broker::{Config, Database, Error};
use waxwing_lab_postgres::Server;
use waxwing_protocol::link::{Outcome, Reason};

use crate::admin::get;
use crate::harness::{Broker, Keys, Link, Mesh, PATIENCE, envelopes, item, wire};

/// A server that was killed looks for what it had not finished, and a broker tries again every two seconds.
const BACK: Duration = Duration::from_secs(30);

async fn on(database: &str) -> Broker {
    let database: Database = database.parse().unwrap();
    Broker::with(|config| config.database = Some(database)).await
}

async fn run(config: Config) -> waxwing_broker::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    waxwing_broker::run(config, listener, |_| (), std::future::pending()).await
}

/// How a broker on this database ends, that does not get to run.
async fn refused(database: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { database: Some(database.parse().unwrap()), ..Config::new(dir.path()) };
    timeout(BACK, run(config)).await.unwrap().unwrap_err()
}

/// Logs in as soon as the broker's store is back.
async fn login(mesh: &Mesh, broker: &Broker, keys: &Keys) -> Link {
    timeout(BACK, async {
        loop {
            if let Ok(link) = mesh.try_login(broker, keys).await {
                return link;
            }
        }
    })
    .await
    .unwrap()
}

/// Everything that waits for a node: each message once, in the order of its number.
async fn waiting(mesh: &Mesh, broker: &Broker, keys: &Keys) -> Vec<waxwing_crypto::WireId> {
    let got = login(mesh, broker, keys).await.until_tail().await;
    envelopes(&got).iter().map(|envelope| envelope.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_costs_the_links_and_nothing_else() {
    let Some(mut server) = Server::own() else { return };
    let broker = on(&server.url(&server.database().unwrap())).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let store = from.welcome.login;
    assert!(matches!(from.send_one(item(&broker.clock, &beta, 0)).await, Outcome::Accepted { .. }));

    server.stop().unwrap();
    from.post(vec![item(&broker.clock, &beta, 1)]).await;
    let admin = broker.admin().await;
    let not_ready = async { while get(admin, "/readyz", "").await.0 != 503 {} };
    timeout(BACK, not_ready).await.unwrap();
    server.resume().unwrap();
    assert_eq!(timeout(BACK, from.goaway()).await.unwrap().reason, Reason::Restarting);
    assert!(!from.has_sent(), "nothing was acknowledged that was not stored");

    let mut from = login(&mesh, &broker, &alpha).await;
    assert!(from.welcome.login > store);
    let outcomes = from.send((0..3).map(|n| item(&broker.clock, &beta, n)).collect()).await;
    assert!(matches!(
        outcomes[..],
        [Outcome::Duplicate { .. }, Outcome::Accepted { .. }, Outcome::Accepted { .. }]
    ));
    assert_eq!(waiting(&mesh, &broker, &beta).await, (0..3).map(wire).collect::<Vec<_>>());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_outlives_a_server_that_is_killed_under_load() {
    const KILLS: u32 = 3;
    let Some(mut server) = Server::own() else { return };
    let broker = on(&server.url(&server.database().unwrap())).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut next, mut acknowledged) = (0, HashSet::new());
    for _ in 0..KILLS {
        let mut from = login(&mesh, &broker, &alpha).await;
        // One frame is known to be stored; of the others nobody knows where the kill meets them.
        for _ in 0..10 {
            from.post((next..next + 20).map(|n| item(&broker.clock, &beta, n)).collect()).await;
            next += 20;
        }
        from.next_sent().await;
        server.kill().unwrap();
        server.resume().unwrap();
        drop(from);
        // As a node does: all again, and what is answered counts.
        let mut from = login(&mesh, &broker, &alpha).await;
        let all: Vec<_> = (0..next).map(|n| item(&broker.clock, &beta, n)).collect();
        for (chunk, at) in all.chunks(500).zip((0..).step_by(500)) {
            for (outcome, n) in from.send(chunk.to_vec()).await.iter().zip(at..) {
                assert!(
                    matches!(outcome, Outcome::Accepted { .. } | Outcome::Duplicate { .. }),
                    "{outcome:?}"
                );
                acknowledged.insert(wire(n));
            }
        }
    }
    let got = waiting(&mesh, &broker, &beta).await;
    assert_eq!(got.len(), acknowledged.len(), "none twice");
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), acknowledged, "none lost");
    broker.stop().await;
}

/// An address that leads to one server, and later to another, as one does that follows a failover.
struct Door {
    port: u16,
    to: Arc<AtomicU16>,
}

impl Door {
    async fn open(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU16::new(to)));
        let target = Arc::clone(&to);
        tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let to = target.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let _ = copy_bidirectional(&mut inner, &mut outer).await;
                });
            }
        });
        Self { port, to }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_promoted_has_everything_that_was_acknowledged() {
    let Some(mut server) = Server::own() else { return };
    let name = server.database().unwrap();
    let standby = server.standby().unwrap();
    let door = Door::open(server.port()).await;
    let broker = on(&format!("postgres://waxwing@127.0.0.1:{}/{name}", door.port)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send((0..100).map(|n| item(&broker.clock, &beta, n)).collect()).await;

    server.kill().unwrap();
    door.to.store(standby.port(), Ordering::SeqCst);
    // It answers, and takes no writes: the broker waits.
    from.post(vec![item(&broker.clock, &beta, 100)]).await;
    standby.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''").unwrap();
    standby.promote().unwrap();
    timeout(BACK, from.goaway()).await.unwrap();
    assert!(!from.has_sent());
    let mut from = login(&mesh, &broker, &alpha).await;
    from.send_one(item(&broker.clock, &beta, 100)).await;
    assert_eq!(waiting(&mesh, &broker, &beta).await, (0..101).map(wire).collect::<Vec<_>>());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_older_than_what_was_acknowledged_stops_the_broker() {
    let Some(server) = Server::own() else { return };
    let name = server.database().unwrap();
    let broker = on(&server.url(&name)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (config, dir, clock) = broker.stop().await;
    let older = server.copy(&name).unwrap();
    let broker = Broker::run(config, dir, clock).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send_one(item(&broker.clock, &beta, 0)).await;
    server.replace(&name, Some(&older)).unwrap();
    from.try_send(vec![item(&broker.clock, &beta, 1)]).await;
    let ended = timeout(BACK, broker.ended()).await.unwrap().unwrap_err();
    assert!(ended.to_string().contains("is not the one that went"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_write_ends_with_its_session() {
    let Some(server) = Server::own() else { return };
    let name = server.database().unwrap();
    let broker = on(&server.url(&name)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let terminate =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    assert_eq!(server.sql(&name, terminate).unwrap().trim(), "1");
    from.try_send(vec![item(&broker.clock, &beta, 0)]).await;
    assert_eq!(timeout(BACK, from.goaway()).await.unwrap().reason, Reason::Restarting);
    let mut from = login(&mesh, &broker, &alpha).await;
    from.send_one(item(&broker.clock, &beta, 0)).await;
    assert_eq!(waiting(&mesh, &broker, &beta).await, [wire(0)]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_again_before_it_has_said_what_it_holds_is_tried_again() {
    let Some(server) = Server::own() else { return };
    let name = server.database().unwrap();
    let broker = on(&server.url(&name)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    // Ends the session that writes, and the next one as it waits to read what is locked here.
    let twice = "DO $$ DECLARE next integer; BEGIN
        LOCK TABLE meta IN ACCESS EXCLUSIVE MODE;
        PERFORM pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted;
        FOR i IN 1..3000 LOOP
            SELECT pid INTO next FROM pg_locks
                WHERE relation = 'meta'::regclass AND NOT granted
                AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted);
            IF next IS NOT NULL THEN PERFORM pg_terminate_backend(next); RETURN; END IF;
            PERFORM pg_sleep(0.01);
        END LOOP;
        RAISE 'nobody came back';
    END $$";
    let locked =
        "SELECT count(*) FROM pg_locks WHERE relation = 'meta'::regclass AND mode = 'AccessExclusiveLock'";
    let server = Arc::new(server);
    let ended = tokio::task::spawn_blocking({
        let (server, name) = (Arc::clone(&server), name.clone());
        move || server.sql(&name, twice)
    });
    timeout(BACK, async {
        while server.sql(&name, locked).unwrap().trim() != "1" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    from.try_send(vec![item(&broker.clock, &beta, 0)]).await;
    ended.await.unwrap().unwrap();
    let mut from = login(&mesh, &broker, &alpha).await;
    from.send_one(item(&broker.clock, &beta, 0)).await;
    assert_eq!(waiting(&mesh, &broker, &beta).await, [wire(0)]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_a_database_is_refused_and_says_no_password() {
    let Some(server) = Server::own() else { return };
    let database = server.url(&server.database().unwrap());
    let broker = on(&database).await;
    broker.ready().await;
    let err = refused(&database.replace("waxwing@", "waxwing:sesame@")).await;
    assert!(matches!(err, Error::InUse(_)), "{err:?}");
    assert!(!format!("{err} {err:?}").contains("sesame"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_keep_what_it_confirms_is_refused() {
    let Some(mut server) = Server::own() else { return };
    let database = server.url(&server.database().unwrap());
    for (setting, reset) in [("fsync", "on"), ("full_page_writes", "on")] {
        server.sql("postgres", &format!("ALTER SYSTEM SET {setting} = off")).unwrap();
        server.stop().unwrap();
        server.resume().unwrap();
        let err = refused(&database).await;
        assert!(matches!(&err, Error::Config(why) if why.contains(setting)), "{err:?}");
        server.sql("postgres", &format!("ALTER SYSTEM SET {setting} = {reset}")).unwrap();
    }
    // What a session may set for itself, the broker does.
    server.sql("postgres", "ALTER SYSTEM SET synchronous_commit = off").unwrap();
    server.stop().unwrap();
    server.resume().unwrap();
    let broker = on(&database).await;
    broker.ready().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_a_standby_is_named_at_the_start() {
    let Some(mut server) = Server::own() else { return };
    let name = server.database().unwrap();
    let standby = server.standby().unwrap();
    let err = refused(&standby.url(&name)).await;
    assert!(matches!(&err, Error::Unavailable(_)) && err.to_string().contains("standby"), "{err:?}");
    drop(standby);
    server.stop().unwrap();
    assert!(matches!(refused(&server.url(&name)).await, Error::Unavailable(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_on_a_server_is_refused() {
    let Some(server) = Server::own() else { return };
    let name = server.database().unwrap();
    let broker = on(&server.url(&name)).await;
    broker.ready().await;
    broker.stop().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99, 'later', true, '', 0)";
    server.sql(&name, newer).unwrap();
    assert!(matches!(refused(&server.url(&name)).await, Error::NewerSchema { found: 99, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_stops_the_broker_and_answers_nothing() {
    let Some(server) = Server::own() else { return };
    let name = server.database().unwrap();
    let broker = on(&server.url(&name)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    server.sql(&name, "DROP TABLE dedupe").unwrap();
    link.post(vec![item(&broker.clock, &beta, 1)]).await;
    assert_eq!(link.goaway().await.reason, Reason::Restarting);
    assert!(!link.has_sent());
    drop(link);
    let ended = timeout(PATIENCE + Duration::from_secs(1), broker.ended()).await.unwrap();
    assert!(matches!(ended, Err(Error::Internal(_))));
}
