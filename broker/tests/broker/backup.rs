use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::net::TcpListener;
use waxwing_broker::doctor::{Verdict, examine};
use waxwing_broker::{Config, Error, backup};
use waxwing_sqlite::query_scalar;

use crate::admin::get;
use crate::harness::{Broker, Dialled, Keys, Link, Mesh, envelopes, item, wire};

/// A broker that starts on a backup.
async fn restore(backup: &Path) -> Broker {
    let backup = backup.to_owned();
    let place = move |config: &mut Config| {
        private(&config.data);
        config.database = None;
        std::fs::copy(backup, config.data.join("broker.db")).unwrap();
    };
    Broker::with(place).await
}

fn private(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
}

async fn send(link: &mut Link, broker: &Broker, to: &Keys, numbers: std::ops::Range<u32>) {
    link.send(numbers.map(|n| item(&broker.clock, to, n)).collect()).await;
}

#[tokio::test]
async fn a_backup_beside_the_mail_is_one_moment_of_it_and_a_new_store() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let store = Dialled::dial(&broker).await.challenge.store;
    let mut from = mesh.login(&broker, &alpha).await;
    send(&mut from, &broker, &beta, 0..500).await;
    let file = broker.path().join("backup.db");
    let busy = async {
        for batch in 5..15 {
            send(&mut from, &broker, &beta, batch * 100..(batch + 1) * 100).await;
        }
    };
    let mut told = Vec::new();
    let config = Config::new(broker.path());
    let (made, ()) = tokio::join!(backup(&config, &file, |done, all| told.push((done, all))), busy);
    assert_eq!(made.unwrap(), std::fs::metadata(&file).unwrap().len());
    assert!(!told.is_empty() && told.iter().all(|(done, all)| done <= all), "{told:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(16).any(|window| window == store.as_bytes()), "the store's id is in it");
    let secret: Vec<u8> =
        query_scalar("SELECT secret FROM meta").fetch_one(&mut broker.file()).await.unwrap();
    assert!(!bytes.windows(32).any(|window| window == secret), "its secret is in it");

    let restored = restore(&file).await;
    assert_ne!(Dialled::dial(&restored).await.challenge.store, store);
    let wires: Vec<Vec<u8>> =
        query_scalar("SELECT wire FROM queue ORDER BY seq").fetch_all(&mut restored.file()).await.unwrap();
    assert!(
        (500..=1_500).contains(&wires.len()) && wires.len().is_multiple_of(100),
        "whole batches: {}",
        wires.len()
    );
    for (n, stored) in wires.iter().enumerate() {
        assert_eq!(stored[..], wire(n as u32).as_bytes()[..], "none is missing before the last");
    }
    let (_, status) = get(restored.admin().await, "/status", "").await;
    assert!(status.contains("\"meshes\":1,\"meshes_waiting\":1,"), "its mesh waits for an admin: {status}");
    let findings = examine(&Config::new(restored.path()), "").await;
    let meshes = findings.iter().find(|finding| finding.check == "meshes").unwrap();
    assert!(meshes.verdict == Verdict::Warning && meshes.mend.as_ref().unwrap().contains("mesh resume"));
    // The broker that was copied has lost nothing by it.
    let got = mesh.login(&broker, &beta).await.until_envelopes(1_024).await;
    assert_eq!(envelopes(&got).first().map(|envelope| envelope.id), Some(wire(0)));
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_leaves_nothing_half_made() {
    let broker = Broker::in_a_file().await;
    drop(Mesh::found(&broker).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.db");
    std::fs::write(&file, "dear").unwrap();
    let refused = backup(&Config::new(broker.path()), &file, |_, _| ()).await;
    assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear");
    let nowhere = folder.path().join("no/such/folder/backup.db");
    backup(&Config::new(broker.path()), &nowhere, |_, _| ()).await.unwrap_err();
    let nothing = backup(&Config::new(folder.path()), &folder.path().join("new.db"), |_, _| ()).await;
    assert!(matches!(nothing, Err(Error::Config(_))), "there is no store in that folder: {nothing:?}");
    // What a backup that was killed has left is in nobody's way.
    std::fs::write(folder.path().join("second.db.partial"), "half").unwrap();
    backup(&Config::new(broker.path()), &folder.path().join("second.db"), |_, _| ()).await.unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["backup.db", "second.db"]);
}

#[tokio::test]
async fn a_stopped_broker_is_backed_up_too() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    send(&mut mesh.login(&broker, &alpha).await, &broker, &beta, 0..10).await;
    let (_, dir, _) = broker.stop().await;
    let file = dir.path().join("backup.db");
    backup(&Config::new(dir.path()), &file, |_, _| ()).await.unwrap();
    let restored = restore(&file).await;
    restored.ready().await;
    assert_eq!(examine(&Config::new(restored.path()), "").await.len(), 9);
}

/// The files of a broker that was killed: those of one that runs and is idle, in a folder of their own.
async fn killed(broker: &Broker) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    private(dir.path());
    for name in ["broker.db", "broker.db-wal"] {
        std::fs::copy(broker.path().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

async fn start(dir: &Path) -> waxwing_broker::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    waxwing_broker::run(Config::new(dir), listener, |_| (), std::future::ready(())).await
}

#[tokio::test]
async fn after_a_kill_a_whole_store_starts_and_a_damaged_one_does_not() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    send(&mut mesh.login(&broker, &alpha).await, &broker, &beta, 0..500).await;
    let broker = broker.restart().await; // Everything is in the database file now.
    mesh.login(&broker, &alpha).await.round_trip().await; // And this login in its log.

    let whole = killed(&broker).await;
    start(whole.path()).await.unwrap();
    let damaged = killed(&broker).await;
    let path = damaged.path().join("broker.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4_096 * 4_096;
    bytes[page..page + 4_096].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let refused = start(damaged.path()).await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was written to it");
    let findings = examine(&Config::new(damaged.path()), " --data D").await;
    let database = findings.iter().find(|finding| finding.check == "database").unwrap();
    assert_eq!(database.verdict, Verdict::Wrong, "{findings:?}");

    std::fs::write(
        &path,
        "not a database at all, and longer than a header of one hundred bytes is: ".repeat(3),
    )
    .unwrap();
    std::fs::remove_file(damaged.path().join("broker.db-wal")).unwrap();
    assert!(matches!(start(damaged.path()).await, Err(Error::Damaged(_))));
}
