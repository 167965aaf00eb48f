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
    assert_eq!(content(&pair.lab.state("alpha")), before, "nothing was touched");

    let said = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!(said.code, Some(4));
    assert!(said.stderr.contains("another host") && said.stderr.contains("next: "), "{}", said.stderr);

    pair.lab.set_host("alpha", Some(home));
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.conclude().await;
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
