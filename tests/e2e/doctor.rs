//! What is wrong with a node is named, with what mends it; and nothing is changed by looking.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use waxwing_lab::eventually;

use crate::support::{PROGRAM, WITHIN, private_folder};
use crate::terminal::Desk;

/// What the doctor says, and whether it says that all is well.
async fn examined(desk: &Desk) -> (bool, Vec<Value>) {
    let output = desk.run(&["--json", "node", "doctor"]).await;
    let document: Value = serde_json::from_str(output.stdout.trim()).unwrap_or_else(|_| panic!("{output:?}"));
    let ok = document["ok"].as_bool().unwrap();
    assert_eq!(output.code, Some(if ok { 0 } else { 1 }), "{output:?}");
    (ok, document["findings"].as_array().unwrap().clone())
}

/// The only thing that is not in order, by what was looked at; with its verdict and what mends it.
async fn only(desk: &Desk, check: &str, verdict: &str) -> String {
    let (ok, findings) = examined(desk).await;
    let amiss: Vec<_> = findings.iter().filter(|finding| finding["verdict"] != "ok").collect();
    assert!(amiss.len() == 1 && amiss[0]["check"] == check && amiss[0]["verdict"] == verdict, "{amiss:#?}");
    assert_eq!(ok, verdict != "wrong");
    amiss[0]["mend"].as_str().unwrap().to_owned()
}

async fn well(desk: &Desk) {
    let (ok, findings) = examined(desk).await;
    assert!(ok && findings.iter().all(|finding| finding["verdict"] == "ok"), "{findings:#?}");
}

/// Does as the doctor says, with what it would ask.
fn mend(command: &str, answer: &str) {
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let done =
        Command::new("sh").args(["-c", &format!("{command} {answer}")]).env("PATH", path).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
}

fn set(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_healthy_node_has_nothing_wrong_with_it_running_or_not_and_looking_changes_nothing() {
    let desk = Desk::new();
    let nothing = only(&desk, "folder", "wrong").await;
    assert!(nothing.ends_with(" up"), "{nothing}");
    assert!(!desk.state().exists());
    desk.up().await;
    desk.json(&["send", "here", "hello", "--wait", "delivered"]).await;
    well(&desk).await;
    let (_, findings) = examined(&desk).await;
    let checks: Vec<_> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    let all = [
        "configuration",
        "process",
        "access",
        "hooks",
        "disk",
        "keys",
        "host",
        "database",
        "queues",
        "broker",
        "clock",
        "link",
        "service",
    ];
    assert_eq!(checks, all);
    desk.json(&["node", "down"]).await;
    let files = || {
        let entries = std::fs::read_dir(desk.state().join("meshes/home")).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name(), entry.metadata().unwrap().modified().unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let before = files();
    well(&desk).await;
    assert_eq!(files(), before);
    let people = desk.run(&["node", "doctor"]).await;
    assert!(
        people.stdout.lines().any(|line| line == "ok       host: home: belongs to this one"),
        "{people:?}"
    );
}

#[tokio::test]
async fn what_others_could_read_or_change_is_named_and_the_command_mends_it() {
    let desk = Desk::new();
    desk.up().await;
    let meshes = desk.state().join("meshes");
    for (path, mode) in [
        (meshes.join("home/identity.json"), 0o644),
        (meshes.join("home/node.db"), 0o660),
        (meshes.clone(), 0o755),
    ] {
        set(&path, mode);
        let (ok, findings) = examined(&desk).await;
        assert!(!ok);
        let access = findings.iter().find(|finding| finding["check"] == "access").unwrap();
        assert!(access["detail"].as_str().unwrap().contains(path.to_str().unwrap()), "{access}");
        mend(access["mend"].as_str().unwrap(), "");
        well(&desk).await;
    }
    let (hooks, config) = (desk.state().join("page"), desk.state().join("config.toml"));
    std::fs::write(&hooks, "#!/bin/sh\n").unwrap();
    std::fs::write(&config, "[hooks]\nsecurity = 'page'").unwrap();
    set(&config, 0o600);
    for mode in [0o600, 0o720] {
        set(&hooks, mode);
        mend(&only(&desk, "hooks", "wrong").await, "");
        well(&desk).await;
    }
    std::fs::write(&config, "[hooks]\nsecurty = 'page'").unwrap();
    let shown = only(&desk, "configuration", "wrong").await;
    assert!(shown.ends_with(" config path"), "{shown}");
    std::fs::remove_file(&config).unwrap();
}

#[tokio::test]
async fn another_host_a_damaged_database_and_damaged_keys_are_named() {
    let desk = Desk::new();
    private_folder(&desk.state());
    let config = desk.state().join("config.toml");
    std::fs::write(&config, "host_id = 'one'").unwrap();
    set(&config, 0o600);
    desk.up().await;
    desk.json(&["node", "down"]).await;
    std::fs::write(&config, "host_id = 'another'").unwrap();
    let accept = only(&desk, "host", "wrong").await;
    mend(&accept, "--yes");
    well(&desk).await;

    let folder = desk.state().join("meshes/home");
    let database = folder.join("node.db");
    let whole = std::fs::read(&database).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    // Pages in the middle, whatever they are of: what is not a page is no page.
    for page in 3..20 {
        file.write_all_at(&[0xa5; 512], page * 4_096).unwrap();
    }
    let mends = only(&desk, "database", "wrong").await;
    assert!(mends.contains("from a backup") && mends.contains("accept-host"), "{mends}");
    std::fs::write(&database, whole).unwrap();
    well(&desk).await;

    let keys = folder.join("identity.json");
    let whole = std::fs::read(&keys).unwrap();
    std::fs::write(&keys, b"{}").unwrap();
    only(&desk, "keys", "wrong").await;
    std::fs::write(&keys, whole).unwrap();
    well(&desk).await;
}

#[tokio::test]
async fn a_broker_that_is_away_and_mail_that_has_waited_for_hours_are_named() {
    let desk = Desk::new();
    desk.up().await;
    desk.json(&["down"]).await;
    desk.json(&["node", "up"]).await;
    desk.json(&["send", "here", "hello"]).await;
    desk.json(&["node", "down"]).await;
    let up = only(&desk, "broker", "wrong").await;
    let database = desk.state().join("meshes/home/node.db");
    let mut db = waxwing_sqlite::Options::new(&database).open().unwrap();
    waxwing_sqlite::query("UPDATE outbox SET queued_at = queued_at - 7200000")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().unwrap();
    let (_, findings) = examined(&desk).await;
    let queues = findings.iter().find(|finding| finding["check"] == "queues").unwrap();
    assert_eq!(queues["verdict"], "warning");
    assert!(
        queues["detail"].as_str().unwrap().contains("1 wait for the broker, the first for 2 h"),
        "{queues}"
    );
    mend(&up, "");
    // What has waited goes on its way first.
    let is_well =
        async || examined(&desk).await.1.iter().all(|finding| finding["verdict"] == "ok").then_some(());
    eventually(WITHIN, "nothing waits any more", is_well).await.unwrap();
    well(&desk).await;
}
