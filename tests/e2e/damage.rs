//! Databases that a disk has damaged: refused by name, one mesh without the others, and made anew of what can be read.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use waxwing_client::api::{InboxQuery, MessageState};
use waxwing_lab::Lab;

use crate::support::{Pair, WITHIN};

const PAGE: usize = 4_096;

fn database(lab: &Lab, node: &str) -> PathBuf {
    lab.state(node).join("meshes/lab/node.db")
}

/// The pages that a table or an index has its rows on.
async fn leaves(path: &Path, name: &str) -> Vec<usize> {
    let mut db = waxwing_sqlite::Options::new(path).read_only().open().unwrap();
    let sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path";
    let pages: Vec<i64> = waxwing_sqlite::query_scalar(sql).bind(name).fetch_all(&mut db).await.unwrap();
    db.close().unwrap();
    pages.into_iter().map(|page| usize::try_from(page).unwrap()).collect()
}

/// Spoils a page of a file.
fn spoil(path: &Path, page: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(page - 1) * PAGE..page * PAGE].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

/// Runs a node that must not start: its exit code, the word for it, and what it says.
async fn refused(lab: &Lab, node: &str) -> (Option<i32>, String, String) {
    let output = lab.run(node, &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    (output.code, error["error"]["code"].as_str().unwrap_or_default().into(), error["error"].to_string())
}

/// Repairs a node that does not run; which tables are not as they were.
async fn repair(lab: &Lab, node: &str) -> (Value, Vec<String>) {
    let repaired = lab.json(node, &["node", "repair"]).await.unwrap();
    let tables = repaired["tables"].as_array().unwrap().iter();
    let incomplete = |table: &&Value| table["lost"] != 0 || table["more"] != false;
    let names = tables.filter(incomplete).map(|table| table["table"].as_str().unwrap().to_owned()).collect();
    (repaired, names)
}

/// What a doctor says of the database, and whether he names the command that mends it.
async fn doctor_names_the_repair(lab: &Lab, node: &str) {
    let output = lab.run(node, &["node", "doctor"], b"").await.unwrap();
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("damaged") && output.stdout.contains("node repair"), "{}", output.stdout);
}

/// Messages of alpha's that a stopped node has: some delivered, `queued` more that nobody has had yet.
async fn with_messages(delivered: usize, queued: usize) -> Pair {
    let mut pair = Pair::start().await;
    pair.send(delivered).await;
    pair.read(delivered).await;
    pair.settled(&format!("m-{delivered}")).await;
    pair.lab.kill(Lab::BROKER).await.unwrap();
    pair.send(queued).await;
    pair
}

#[tokio::test]
async fn an_outbox_with_a_damaged_page_is_repaired_and_the_messages_that_are_left_arrive_in_order() {
    what_is_left_of_an_outbox_arrives("outbox").await;
}

#[tokio::test]
async fn an_outbox_that_has_lost_what_was_in_some_messages_is_repaired_and_names_them() {
    what_is_left_of_an_outbox_arrives("outbox_content").await;
}

async fn what_is_left_of_an_outbox_arrives(table: &str) {
    let mut pair = with_messages(40, 60).await;
    pair.lab.stop("alpha").await.unwrap();
    let file = database(&pair.lab, "alpha");
    let pages = leaves(&file, table).await;
    assert!(pages.len() >= 3, "{pages:?}");
    // Of those that nobody has had yet, in the middle.
    spoil(&file, pages[pages.len() * 3 / 4]);
    let damaged = fs::read(&file).unwrap();
    doctor_names_the_repair(&pair.lab, "alpha").await;

    let (repaired, incomplete) = repair(&pair.lab, "alpha").await;
    assert_eq!(incomplete, ["outbox"], "{repaired}");
    let kept = repaired["damaged"].as_str().unwrap();
    assert!(fs::read(kept).unwrap() == damaged, "it is kept as it was");
    let lost: Vec<String> = serde_json::from_value(repaired["lost_sends"].clone()).unwrap();
    assert!(!lost.is_empty() && lost.len() < 50, "{lost:?}");
    let (again, _) = repair(&pair.lab, "alpha").await;
    assert!(again["damaged"].is_null(), "there is nothing left to do: {again}");

    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    // What is lost can be sent again under its id: nobody has had it.
    let left: Vec<String> = pair.sent[40..].iter().filter(|id| !lost.contains(id)).cloned().collect();
    let seen: Vec<String> =
        pair.read(left.len()).await.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(seen, left, "each once, in order");
    for id in &left {
        assert_eq!(pair.settled(id).await.state, MessageState::Delivered, "{id}");
    }
    pair.sender.send("beta", &lost[0], WITHIN).await.unwrap();
    assert_eq!(pair.settled(&lost[0]).await.state, MessageState::Delivered);
}

#[tokio::test]
async fn an_inbox_with_a_damaged_page_is_repaired_and_what_is_left_is_read_where_it_was() {
    let mut pair = Pair::start().await;
    pair.send(80).await;
    pair.read(80).await;
    pair.settled("m-80").await;
    pair.lab.stop("beta").await.unwrap();
    let file = database(&pair.lab, "beta");
    let pages = leaves(&file, "inbox").await;
    spoil(&file, pages[pages.len() / 2]);
    let (repaired, incomplete) = repair(&pair.lab, "beta").await;
    assert_eq!(incomplete, ["inbox"], "{repaired}");
    let lost = repaired["tables"].as_array().unwrap().iter().find(|table| table["table"] == "inbox").unwrap();
    let lost = usize::try_from(lost["lost"].as_u64().unwrap()).unwrap();
    assert!(lost > 0 && lost < 30, "{repaired}");
    pair.lab.restart("beta").await.unwrap();
    pair.lab.linked("beta").await.unwrap();
    let inbox =
        pair.lab.client("beta").inbox(&InboxQuery { limit: Some(1_000), ..InboxQuery::default() }).await;
    let left: Vec<String> =
        inbox.unwrap().items.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(left.len(), 80 - lost);
    let order: Vec<&String> = pair.sent.iter().filter(|id| left.contains(id)).collect();
    assert!(left.iter().eq(order), "in their order: {left:?}");
    // A reader who goes on where he was misses nothing of what comes now, and sees nothing twice.
    pair.send(3).await;
    let seen: Vec<String> =
        pair.read(3).await.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(seen, ["m-81", "m-82", "m-83"]);
}

#[tokio::test]
async fn a_damaged_index_or_header_is_repaired_without_any_loss() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.send(5).await;
    pair.lab.stop("alpha").await.unwrap();
    let file = database(&pair.lab, "alpha");
    spoil(&file, leaves(&file, "sqlite_autoindex_outbox_1").await[0]);
    let (repaired, incomplete) = repair(&pair.lab, "alpha").await;
    assert!(incomplete.is_empty() && repaired["damaged"].is_string(), "{repaired}");

    let mut bytes = fs::read(&file).unwrap();
    bytes[..100].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let (code, word, said) = refused(&pair.lab, "alpha").await;
    assert_eq!((code, word.as_str()), (Some(1), "damaged"), "{said}");
    assert!(said.contains("node repair"), "{said}");
    let (repaired, incomplete) = repair(&pair.lab, "alpha").await;
    assert!(
        incomplete.is_empty() && repaired["damaged"].as_str().unwrap().ends_with("damaged-2"),
        "{repaired}"
    );
    pair.lab.restart("alpha").await.unwrap();
    pair.send(3).await;
    pair.conclude().await;
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_left_as_it_is() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let file = database(&pair.lab, "alpha");
    let size = fs::read(&file).unwrap().len();
    fs::write(&file, vec![0xa5; size]).unwrap();
    let output = pair.lab.run("alpha", &["node", "repair"], b"").await.unwrap();
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.stderr.contains("nothing of it can be read") && output.stderr.contains("backup"),
        "{output:?}"
    );
    assert!(fs::read(&file).unwrap() == vec![0xa5; size]);
}

#[tokio::test]
async fn a_node_that_was_killed_looks_at_every_page_and_one_damaged_mesh_does_not_stop_the_others() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let url = pair.lab.url();
    pair.lab.json("alpha", &["mesh", "create", "other", "--broker", &url, "--node", "alpha"]).await.unwrap();
    pair.lab.kill("alpha").await.unwrap();
    let file = database(&pair.lab, "alpha");
    // What the log of the database has is put into it, and the page is damaged of a mesh that was not closed.
    let log = file.with_extension("db-wal");
    assert!(log.exists());
    let mut db = waxwing_sqlite::Options::new(&file).open().unwrap();
    waxwing_sqlite::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut db).await.unwrap();
    db.close().unwrap();
    spoil(&file, leaves(&file, "dedupe").await[0]);
    fs::write(&log, b"").unwrap();

    pair.lab.restart("alpha").await.unwrap();
    let client = pair.lab.client("alpha");
    let health = client.health().await.unwrap();
    assert!(health.live && !health.ready, "{health:?}");
    assert_eq!((health.meshes.len(), health.meshes[0].mesh.as_str()), (1, "other"));
    assert_eq!((health.closed.len(), health.closed[0].mesh.as_str()), (1, "lab"));
    assert!(health.closed[0].reason.contains("damaged"), "{health:?}");
    pair.lab.linked("alpha").await.unwrap();
    let list = pair.lab.run("alpha", &["mesh", "list"], b"").await.unwrap();
    assert!(list.stdout.contains("lab is closed: the state on this disk is damaged"), "{}", list.stdout);
    doctor_names_the_repair(&pair.lab, "alpha").await;

    // Without the others, it is what the start ends with.
    pair.lab.stop("alpha").await.unwrap();
    let other = pair.lab.state("alpha").join("meshes/other");
    fs::rename(&other, pair.lab.folder().join("other")).unwrap();
    fs::write(&log, b"").unwrap();
    let (code, word, said) = refused(&pair.lab, "alpha").await;
    assert_eq!((code, word.as_str()), (Some(1), "damaged"), "{said}");

    let (repaired, _) = repair(&pair.lab, "alpha").await;
    assert!(repaired["damaged"].is_string(), "{repaired}");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(3).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_log_of_the_database_that_is_damaged_in_the_middle_is_noticed_and_loses_no_mail() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.send(20).await;
    pair.read(20).await;
    pair.settled("m-21").await;
    pair.lab.kill("alpha").await.unwrap();
    let log = database(&pair.lab, "alpha").with_extension("db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xa5);
    fs::write(&log, bytes).unwrap();
    // SQLite takes its log for one that ends there, which is an older state: the broker has seen the newer one.
    let (code, word, said) = refused(&pair.lab, "alpha").await;
    assert_eq!((code, word.as_str()), (Some(4), "stale_state"), "{said}");
    pair.lab.json("alpha", &["node", "accept-host", "--yes"]).await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    pair.send(1).await;
    let seen: Vec<String> =
        pair.read(1).await.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(seen, ["m-22"]);
    // Whatever it has forgotten was delivered: sent again under its id, it is known to the broker, and not shown again.
    pair.sender.send("beta", "m-21", WITHIN).await.unwrap();
    pair.accepted("m-21").await;
    let again: Vec<String> =
        pair.reader.reread().await.unwrap().iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(again, pair.sent, "each once, in order");
}
