//! A node runs on its own host and refuses another, touching nothing.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use waxwing_lab::{Host, Lab};

use crate::support::{PROGRAM, Pair};

const AT_HOME: &str = "0123456789abcdef0123456789abcdef";
const ABROAD: &str = "fedcba9876543210fedcba9876543210";

#[tokio::test]
async fn a_node_on_another_host_is_refused_touches_nothing_and_works_again_on_its_own() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    let home = Host::new(lab.folder(), AT_HOME).unwrap();
    let abroad = Host::new(lab.folder(), ABROAD).unwrap();
    lab.set_host("alpha", Some(home.clone()));
    lab.add("alpha").await.unwrap();
    lab.add("beta").await.unwrap();
    let mut pair = Pair::on(lab);
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let before = content(&pair.lab.state("alpha"));

    pair.lab.set_host("alpha", Some(abroad));
    let refused = pair.lab.run("alpha", &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""), "{refused:?}");
    let error: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"wrong_host".into(), &4.into()));
    assert!(error["error"]["hint"].is_string(), "{error}");
    assert!(!refused.stderr.contains(ABROAD) && !refused.stderr.contains(AT_HOME), "{}", refused.stderr);
    assert!(content(&pair.lab.state("alpha")) == before, "nothing was touched");

    let said = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!(said.code, Some(4));
    assert!(said.stderr.contains("another host") && said.stderr.contains("next: "), "{}", said.stderr);

    pair.lab.set_host("alpha", Some(home));
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_moved_node_runs_where_its_host_is_accepted_and_no_longer_where_it_was() {
    let mut pair = at_home().await;
    let abroad = Host::new(pair.lab.folder(), ABROAD).unwrap();
    let home = Host::new(pair.lab.folder(), AT_HOME).unwrap();
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let before = content(&pair.lab.state("alpha"));
    pair.lab.set_host("alpha", Some(abroad.clone()));
    let refused = pair.lab.run("alpha", &["node", "accept-host"], b"yes\n").await.unwrap();
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (Some(4), ""),
        "nobody is at a terminal: {refused:?}"
    );
    assert!(
        refused.stderr.contains("it belongs to  machine id")
            && refused.stderr.contains("this host is   machine id")
    );
    assert!(!refused.stderr.contains(ABROAD) && !refused.stderr.contains(AT_HOME), "{}", refused.stderr);
    assert!(content(&pair.lab.state("alpha")) == before, "nothing was touched");

    let accepted = pair.lab.json("alpha", &["node", "accept-host", "--yes"]).await.unwrap();
    let accepted = &accepted["accepted"][0];
    assert_eq!(accepted["mesh"], "lab");
    assert_ne!(accepted["stored"], accepted["found"]);
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.settled("m-2").await;
    pair.lab.stop("alpha").await.unwrap();

    pair.lab.set_host("alpha", Some(home));
    let copy = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!(copy.code, Some(4), "{copy:?}");
    pair.lab.set_host("alpha", Some(abroad));
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_host_without_a_machine_id_is_not_silently_taken_for_the_nodes_own() {
    for nothing in ["", "uninitialized", "00000000000000000000000000000000"] {
        let mut pair = at_home().await;
        pair.lab.stop("alpha").await.unwrap();
        let blank = Host::new(pair.lab.folder(), nothing).unwrap();
        pair.lab.set_host("alpha", Some(blank));
        // The cards of this machine, if it has any, are the same: then it may run, and says that it is less protected.
        if !has_network_cards(&pair.lab.state("alpha")) {
            let refused = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
            assert_eq!(refused.code, Some(4), "{nothing:?}: {refused:?}");
            pair.lab.json("alpha", &["node", "accept-host", "--yes"]).await.unwrap();
        }
        pair.lab.restart("alpha").await.unwrap();
        let health = pair.lab.client("alpha").health().await.unwrap();
        assert!(health.meshes[0].host_warning.is_some(), "{nothing:?}: {health:?}");
        pair.send(1).await;
        pair.conclude().await;
    }
}

#[tokio::test]
async fn a_wiped_or_edited_host_record_is_refused() {
    let mut pair = at_home().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let path = pair.lab.state("alpha").join("meshes/lab/host.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let record: Value = serde_json::from_str(&before).unwrap();
    let digest = record["machine_id"].as_str().unwrap();
    let other = digest.replace(|digit: char| digit.is_ascii_hexdigit(), "7");
    for edited in
        [None, Some(before.replace(digest, &other)), Some(before.replace("\"schema\"", "\"scheme\""))]
    {
        match &edited {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let refused = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
        assert_eq!(refused.code, Some(4), "{edited:?}: {refused:?}");
        // With the modes that it had.
        std::fs::write(&path, &before).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
}

/// Alpha on a host of its own, and beta.
async fn at_home() -> Pair {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    let home = Host::new(lab.folder(), AT_HOME).unwrap();
    lab.set_host("alpha", Some(home));
    lab.add("alpha").await.unwrap();
    lab.add("beta").await.unwrap();
    Pair::on(lab)
}

/// Whether this machine has any that count as evidence.
fn has_network_cards(state: &Path) -> bool {
    let record = std::fs::read_to_string(state.join("meshes/lab/host.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    record["macs"].as_array().is_some_and(|macs| !macs.is_empty())
}

/// Every file below a folder, and what is in it.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
    }
    files
}
