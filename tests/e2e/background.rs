//! Processes in the background: started once, stopped in time, found again after a crash, and their logs.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use waxwing_client::api::{EventQuery, InboxQuery};
use waxwing_lab::apps::request;
use waxwing_lab::{Scan, eventually};

use crate::support::{WITHIN, private_folder};
use crate::terminal::{Desk, command, output};

/// Apps that send without a pause while their node is stopped.
const APPS: usize = 8;

/// Whether a process of this id exists, and is not only waiting for its parent to look. Until the last of its threads
/// is gone, its locks are held.
fn exists(pid: &Value) -> bool {
    let Ok(stat) = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) else {
        return false;
    };
    let after_name: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (state, threads) = (after_name[0], after_name[17]);
    !(["Z", "X"].contains(&state) && ["0", "1"].contains(&threads))
}

/// Ends a process as the kernel would, and waits until it is gone.
async fn kill(pid: &Value) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    let gone = async || (!exists(pid)).then_some(());
    eventually(WITHIN, "the process is gone", gone).await.unwrap();
}

/// M-65.
#[tokio::test]
async fn up_and_down_are_idempotent_and_everything_is_found_again() {
    let desk = Desk::new();
    let first = desk.up().await;
    assert_eq!((&first["changed"], &first["meshes"][0]["mesh"]), (&true.into(), &"home".into()));
    let founded = &first["founded"];
    assert_eq!(founded["recovery_words"].as_str().unwrap().split(' ').count(), 24);
    assert_eq!(founded["node"], "here");
    let second = desk.up().await;
    assert_eq!((&second["changed"], second.get("founded")), (&false.into(), None));
    for part in ["broker", "node"] {
        assert_eq!((&second[part]["pid"], &second[part]["started"]), (&first[part]["pid"], &false.into()));
    }
    let people = desk.run(&["up"]).await;
    assert!(people.code == Some(0) && people.stdout.contains("nothing was changed"), "{people:?}");
    let sent = desk.json(&["send", "here", "still there?", "--wait", "delivered"]).await;
    assert_eq!((&sent["state"], &sent["reached"]), (&"delivered".into(), &true.into()));

    let down = desk.json(&["down"]).await;
    for part in ["broker", "node"] {
        assert_eq!((&down[part]["stopped"], &down[part]["pid"]), (&true.into(), &first[part]["pid"]));
        assert!(!exists(&first[part]["pid"]), "{part}");
    }
    let again = desk.run(&["down"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "no node is running\nno broker is running\n"));
    assert_eq!(desk.json(&["node", "down"]).await["node"]["stopped"], false);

    let third = desk.json(&["up"]).await;
    assert_eq!((&third["changed"], &third["broker"]["at"]), (&true.into(), &first["broker"]["at"]));
    let inbox = desk.json(&["inbox"]).await;
    assert_eq!(inbox["items"][0]["body"], "still there?");
}

#[tokio::test]
async fn the_first_up_says_what_is_next_and_shows_the_words_even_when_quiet() {
    let desk = Desk::new();
    let up = desk.run(&["--quiet", "up", "--listen", "127.0.0.1:0", "--mesh", "team"]).await;
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.stderr.contains("24 words") && !up.stderr.contains("log to"), "{up:?}");
    let join = up.stdout.lines().find(|line| line.starts_with("waxwing join ww1_")).unwrap();
    let other = Desk::new();
    let words: Vec<&str> = join.split(' ').skip(1).chain(["--name", "other"]).collect();
    let joined = other.json(&words).await;
    assert_eq!((&joined["mesh"], &joined["node"]), (&"team".into(), &"other".into()));
    // It has no broker of its own, and is not given one.
    let up = other.json(&["up"]).await;
    assert_eq!((up.get("broker"), up.get("founded"), &up["node"]["started"]), (None, None, &true.into()));
    let sent = other.json(&["send", "other", "hello", "--wait", "delivered"]).await;
    assert_eq!(sent["state"], "delivered");
}

#[tokio::test]
async fn a_second_start_is_refused() {
    let desk = Desk::new();
    let up = desk.up().await;
    for arguments in [&["node", "up"][..], &["node", "up", "--foreground"]] {
        assert_eq!(desk.fails(arguments, 8).await["code"], "already_running", "{arguments:?}");
    }
    assert_eq!(desk.fails(&["broker", "run", "--listen", "127.0.0.1:0"], 8).await["code"], "conflict");
    assert_eq!(desk.fails(&["up", "--listen", "127.0.0.1:9"], 8).await["code"], "conflict");
    assert_eq!(desk.json(&["up"]).await["node"]["pid"], up["node"]["pid"]);
}

#[tokio::test]
async fn many_starts_at_once_make_one_node() {
    let desk = Desk::new();
    desk.up().await;
    desk.json(&["node", "down"]).await;
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let mut start = command(&desk.state(), &["--json", "node", "up"]);
            tokio::spawn(async move { output(&mut start).await })
        })
        .collect();
    let mut codes = Vec::new();
    for start in starts {
        codes.push(start.await.unwrap().code.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, 8, 8, 8, 8, 8]);
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why_with_its_own_exit_code() {
    let desk = Desk::new();
    let config = desk.state().join("config.toml");
    private_folder(&desk.state());
    std::fs::write(&config, "host_id = 'one'").unwrap();
    desk.up().await;
    desk.json(&["node", "down"]).await;
    std::fs::write(&config, "host_id = 'two'").unwrap();
    let refused = desk.fails(&["node", "up"], 4).await;
    assert_eq!(refused["code"], "wrong_host");
    let hint = refused["hint"].as_str().unwrap();
    let mended = format!("`waxwing --state {} node accept-host`", desk.state().display());
    assert!(hint.contains(&mended), "{hint}");
    std::fs::write(&config, "no_such_key = 1").unwrap();
    assert_eq!(desk.fails(&["node", "up"], 2).await["code"], "usage");
    std::fs::remove_file(&config).unwrap();
}

/// SB-16.
#[tokio::test]
async fn a_node_that_was_killed_leaves_nothing_in_the_way() {
    let desk = Desk::new();
    let up = desk.up().await;
    let pid = &up["node"]["pid"];
    kill(pid).await;
    assert!(desk.state().join("node.sock").exists(), "the socket is stale");
    assert_eq!(std::fs::read_to_string(desk.state().join("lock")).unwrap().trim(), pid.to_string());
    assert_eq!(desk.fails(&["node", "status"], 6).await["code"], "not_running");
    assert_eq!(desk.json(&["node", "down"]).await["node"]["stopped"], false);
    let again = desk.json(&["up"]).await;
    assert_eq!((&again["broker"]["started"], &again["node"]["started"]), (&false.into(), &true.into()));

    kill(&again["broker"]["pid"]).await;
    let again = desk.json(&["up"]).await;
    assert_eq!((&again["broker"]["started"], &again["node"]["started"]), (&true.into(), &false.into()));
    assert_eq!(again["broker"]["at"], up["broker"]["at"]);
    let sent = desk.json(&["send", "here", "hello", "--wait", "delivered"]).await;
    assert_eq!(sent["state"], "delivered");
}

#[tokio::test]
async fn down_takes_less_than_ten_seconds_under_load_and_loses_nothing() {
    let desk = Desk::new();
    desk.up().await;
    let accepted = std::sync::Arc::new(AtomicUsize::new(0));
    let mut apps: Vec<_> = (0..APPS)
        .map(|app| {
            let (client, accepted) = (desk.client(), accepted.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if client.send(&request("here", &format!("{app}-{n}")).unwrap()).await.is_err() {
                        return;
                    }
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let client = desk.client();
    apps.push(tokio::spawn(async move {
        let mut events = client.events(&EventQuery::default()).await.unwrap();
        while events.next().await.is_ok() {}
    }));
    let client = desk.client();
    apps.push(tokio::spawn(async move {
        let nobody =
            InboxQuery { app: Some("nobody".into()), wait: Some("60s".into()), ..InboxQuery::default() };
        drop(client.inbox(&nobody).await);
    }));
    let busy = async || (accepted.load(Ordering::Relaxed) > 50 * APPS).then_some(());
    eventually(WITHIN, "the node is busy", busy).await.unwrap();

    let begin = Instant::now();
    let down = desk.json(&["down"]).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((&down["node"]["stopped"], &down["broker"]["stopped"]), (&true.into(), &true.into()));
    for app in apps {
        app.await.unwrap();
    }
    desk.up().await;
    let all = async || {
        let health = desk.client().health().await.ok()?;
        (health.meshes[0].inbox_unread as usize >= accepted.load(Ordering::Relaxed)).then_some(())
    };
    eventually(WITHIN, "all that was accepted has arrived", all).await.unwrap();
}

#[tokio::test]
async fn logs_are_files_of_a_day_each_without_what_is_secret() {
    const BODY: &str = "a heron stands in the reeds";
    let desk = Desk::new();
    let logs = desk.state().join("logs");
    private_folder(&logs);
    for day in 10..30 {
        std::fs::write(logs.join(format!("node.2020-01-{day}.log")), "old").unwrap();
    }
    std::fs::write(desk.state().join("config.toml"), "log_files = 3").unwrap();
    let up = desk.json(&["-v", "up", "--listen", "127.0.0.1:0", "--name", "here"]).await;
    desk.json(&["send", "here", BODY, "--id", "the-heron", "--wait", "delivered"]).await;
    desk.json(&["down"]).await;

    let mut names: Vec<String> = std::fs::read_dir(&logs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let (broker, node): (Vec<_>, Vec<_>) =
        names.iter().filter(|name| name.ends_with(".log")).partition(|name| name.starts_with("broker."));
    assert_eq!((broker.len(), node.len()), (1, 3), "{names:?}");
    let today = node.last().unwrap();
    assert!(today.len() == "node.2020-01-01.log".len() && today.as_str() > "node.2026", "{today}");
    for name in [broker[0], today] {
        let text = std::fs::read_to_string(logs.join(name)).unwrap();
        assert!(text.lines().count() > 2, "{name}");
        for line in text.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {line}"));
            assert!(entry["level"].is_string(), "{line}");
        }
    }
    let token = up["founded"]["invite"].as_str().unwrap();
    let words = up["founded"]["recovery_words"].as_str().unwrap();
    let mut scan = Scan::default();
    scan.path(&logs, &[BODY, token, words]).unwrap();
    assert_eq!(scan.found, []);
}

#[tokio::test]
async fn without_a_state_folder_everything_is_where_the_desktop_has_it() {
    let desk = Desk::new();
    let home = desk.state();
    private_folder(&home);
    let ends = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(crate::support::PROGRAM);
        command.args(["--json"]).args(arguments).env_clear();
        for (variable, folder) in
            [("XDG_STATE_HOME", "s"), ("XDG_CONFIG_HOME", "c"), ("XDG_RUNTIME_DIR", "r"), ("HOME", "h")]
        {
            command.env(variable, home.join(folder));
        }
        output(&mut command).await
    };
    let run = async |arguments: &[&str]| ends(arguments).await.json().unwrap();
    let up = run(&["up", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(up["node"]["at"], home.join("r/waxwing/node.sock").to_str().unwrap());
    assert!(home.join("s/waxwing/meshes/home").is_dir());
    assert_eq!(run(&["config", "path"]).await["path"], home.join("c/waxwing/config.toml").to_str().unwrap());
    assert_eq!(run(&["node", "status"]).await["ready"], true);
    let within = ends(&["run", "--name", "ci", "--", crate::support::PROGRAM, "node", "status"]).await;
    assert_eq!(within.code, Some(0), "a program that it runs finds the node too: {within:?}");
    let down = run(&["down"]).await;
    assert_eq!((&down["node"]["stopped"], &down["broker"]["stopped"]), (&true.into(), &true.into()));
}
