//! Meshes of one, whose brokers nobody is.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::apps::{Claim, Which};
use crate::mesh::tests::{HOST, alone, folder_of_one};
use crate::store::{self, meta};

const WITHIN: Duration = Duration::from_secs(10);

struct Node {
    _folder: tempfile::TempDir,
    meshes: Meshes,
    failed: mpsc::Receiver<Error>,
    stop: CancellationToken,
}

/// A node in these meshes, all open, whose brokers nobody is.
async fn node(names: &[&str]) -> Node {
    let node = closed(names).await;
    node.meshes.open_all().await.unwrap();
    node
}

/// The same before anything is opened.
async fn closed(names: &[&str]) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::resolve(Some(folder.path().to_path_buf())).unwrap();
    for name in names {
        folder_of_one(&config, &self::name(name), "ws://127.0.0.1:1").await;
    }
    config.host_id = Some(HOST.into());
    let stop = CancellationToken::new();
    let (meshes, failed) = Meshes::new(config, stop.clone(), TaskTracker::new());
    Node { _folder: folder, meshes, failed, stop }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_mesh_is_closed_worked_on_and_opened_while_the_other_goes_on() {
    let node = node(&["one", "two"]).await;
    let (one, two) = (name("one"), node.meshes.find(Some(&name("two"))).unwrap());
    let claim =
        Claim { which: Which { name: name("ci"), instance: None }, registration: None, takeover: false };
    let registered =
        node.meshes.find(Some(&one)).unwrap().apps.register(&claim, Some(WITHIN), &Default::default());
    let (_, ci) = registered.unwrap();
    let meshes = node.meshes.clone();
    let worked = node.meshes.change(move |changing| async move {
        let work = |folder: PathBuf| async move {
            let during = meshes.find(Some(&name("one"))).unwrap_err();
            assert_eq!(during, NoMesh::Closed { name: name("one"), why: "a test has it".into() });
            assert_eq!(meshes.closed(), [(name("one"), "a test has it".into())]);
            // Nobody else writes: the writer's lock can be had at once.
            let (mut db, readers) = store::open(&folder.join("node.db")).await?;
            waxwing_sqlite::query("BEGIN EXCLUSIVE").execute(&mut db).await?;
            meta::set_text(&mut db, meta::BROKER, "ws://127.0.0.1:2").await?;
            waxwing_sqlite::query("COMMIT").execute(&mut db).await?;
            store::close(db, readers).await?;
            Ok(7)
        };
        changing.reopen_with(&one, "a test has it", work).await
    });
    assert_eq!(worked.await.unwrap(), 7);
    let one = node.meshes.find(Some(&name("one"))).unwrap();
    assert!(one.broker.to_string().starts_with("ws://127.0.0.1:2"), "{}", one.broker);
    assert_eq!((one.apps.list(), two.apps.list()), (vec![ci], vec![]), "what is registered there stays");
    assert!(Arc::ptr_eq(&two, &node.meshes.find(Some(&name("two"))).unwrap()), "the other was not touched");
    assert!(!two.stop.is_cancelled());
}

#[tokio::test]
async fn work_that_fails_leaves_the_mesh_open_and_a_folder_that_is_broken_leaves_it_closed() {
    let mut node = node(&["one", "two"]).await;
    let fail = |changing: Changing| async move {
        changing.reopen_with(&name("one"), "", |_| async { Err::<(), _>(Error::Usage("no".into())) }).await
    };
    assert_eq!(node.meshes.change(fail).await.unwrap_err().to_string(), "no");
    node.meshes.find(Some(&name("one"))).unwrap();
    let destroy = |changing: Changing| async move {
        let work = |folder: PathBuf| async move {
            std::fs::write(folder.join("identity.json"), "{}").unwrap();
            Ok(())
        };
        changing.reopen_with(&name("one"), "", work).await
    };
    let refused = node.meshes.change(destroy).await.unwrap_err();
    assert!(refused.to_string().contains("identity.json"), "{refused}");
    let closed = node.meshes.find(Some(&name("one"))).unwrap_err();
    assert!(matches!(&closed, NoMesh::Closed { why, .. } if why.contains("identity.json")), "{closed:?}");
    assert!(node.failed.try_recv().is_err(), "the other goes on");
    node.meshes
        .change(|changing| async move {
            let work = |folder: PathBuf| async move {
                std::fs::write(folder.join("identity.json"), "{}").map_err(Error::file("", &folder))
            };
            changing.reopen_with(&name("two"), "", work).await
        })
        .await
        .unwrap_err();
    assert!(node.failed.try_recv().is_ok(), "nothing is left to do");
}

#[tokio::test]
async fn which_mesh_is_meant_must_be_clear() {
    let node = node(&["one", "two"]).await;
    let find =
        |name: Option<&str>| node.meshes.find(name.map(self::name).as_ref()).map(|mesh| mesh.name.clone());
    assert_eq!(find(Some("two")), Ok(name("two")));
    assert_eq!(find(Some("three")), Err(NoMesh::Unknown("one, two".into())));
    assert_eq!(find(None), Err(NoMesh::Several("one, two".into())));
    let (_folder, only) = alone().await;
    assert_eq!(Meshes::holding([&only]).find(None).unwrap().name, only.name);
    assert_eq!(Meshes::holding([]).find(None).unwrap_err(), NoMesh::None);
}

#[tokio::test]
async fn opening_and_closing_leaves_no_task_and_no_descriptor() {
    const TIMES: usize = 20;
    let node = node(&["one", "two"]).await;
    let reopen = async || {
        let again = |changing: Changing| async move {
            changing.reopen_with(&name("one"), "again", |_| async { Ok(()) }).await
        };
        node.meshes.change(again).await.unwrap();
    };
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    reopen().await;
    let before = tasks();
    for _ in 0..TIMES {
        reopen().await;
    }
    // What a database leaves to the runtime ends a moment later.
    let ended = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, ended).await.unwrap_or_else(|_| panic!("{before} tasks became {}", tasks()));
}

#[tokio::test]
async fn a_stopping_node_closes_everything_and_changes_nothing_more() {
    let node = node(&["one", "two"]).await;
    let (started, begun) = tokio::sync::oneshot::channel();
    let endless = |_: Changing| async move {
        started.send(()).unwrap();
        std::future::pending::<Result<()>>().await
    };
    let meshes = node.meshes.clone();
    let change = tokio::spawn(async move { meshes.change(endless).await });
    begun.await.unwrap();
    node.stop.cancel();
    timeout(WITHIN, node.meshes.end()).await.unwrap();
    assert!(change.await.unwrap().is_err());
    assert!(matches!(node.meshes.find(Some(&name("one"))), Err(NoMesh::Closed { .. })));
    assert!(node.meshes.open().is_empty());
    assert!(node.meshes.change(|_| async { Ok(()) }).await.is_err());
}

#[tokio::test]
async fn a_mesh_that_is_refused_while_another_is_being_opened_is_not_taken_for_the_last() {
    let mut node = closed(&["one", "two"]).await;
    let (one, two) = (name("one"), name("two"));
    // As long as somebody else writes there, it cannot be opened.
    let (mut db, readers) = store::open(&node.meshes.0.home.mesh(&two).join("node.db")).await.unwrap();
    waxwing_sqlite::query("BEGIN IMMEDIATE").execute(&mut db).await.unwrap();
    let meshes = node.meshes.clone();
    let opening = tokio::spawn(async move { meshes.open_all().await });
    let is_open = async || {
        while node.meshes.find(Some(&one)).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, is_open()).await.unwrap();
    node.meshes.ended(&one, Error::Revoked("as the test has it".into()));
    assert!(node.meshes.find(Some(&two)).is_err() && node.failed.try_recv().is_err());
    waxwing_sqlite::query("ROLLBACK").execute(&mut db).await.unwrap();
    store::close(db, readers).await.unwrap();
    opening.await.unwrap().unwrap();
    node.meshes.ended(&two, Error::Revoked("as the test has it".into()));
    assert!(node.failed.try_recv().is_ok(), "nothing is left");
}

#[tokio::test]
async fn a_mesh_that_somebody_holds_is_not_worked_on_until_he_lets_go() {
    let node = node(&["one", "two"]).await;
    let held = node.meshes.find(Some(&name("one"))).unwrap();
    tokio::time::pause();
    let reopen = |changing: Changing| async move {
        changing.reopen_with(&name("one"), "", |_| async { Ok(()) }).await
    };
    let refused = node.meshes.change(reopen).await.unwrap_err();
    assert!(refused.to_string().contains("did not close"), "{refused}");
    assert!(matches!(node.meshes.find(Some(&name("one"))), Err(NoMesh::Closed { .. })));
    tokio::time::resume();
    drop(held);
    node.meshes.change(reopen).await.unwrap();
    node.meshes.find(Some(&name("one"))).unwrap();
}
