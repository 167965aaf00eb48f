//! A start in the background ends with what became of it: let in, refused for good, or nobody there.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use waxwing_lab::Lab;

use crate::copies::{copy, put_back, snapshot};
use crate::support::{Pair, mesh};
use crate::terminal::Desk;

/// The document or the error in a text that a command has printed; null if it has printed none.
fn document(text: &str) -> Value {
    text.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
}

/// Runs a command that must fail like this. Gives what it printed, and its error.
async fn fails(lab: &Lab, node: &str, arguments: &[&str], exit: i32, code: &str) -> (Value, Value) {
    let output = lab.run(node, &[&["--json"], arguments].concat(), b"").await.unwrap();
    let error = document(&output.stderr)["error"].clone();
    assert_eq!((output.code, &error["code"]), (Some(exit), &code.into()), "{arguments:?}: {output:?}");
    assert_eq!(error["exit"], exit);
    (document(&output.stdout), error)
}

/// A mesh of a document, by name.
fn link<'a>(document: &'a Value, mesh: &str) -> &'a Value {
    let meshes = document["meshes"].as_array().unwrap_or_else(|| panic!("no meshes in {document}"));
    &meshes.iter().find(|shown| shown["mesh"] == mesh).unwrap()["link"]
}

#[tokio::test]
async fn a_copy_that_is_started_in_the_background_fails_as_in_the_foreground() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let earlier = snapshot(&pair.lab, "alpha", "earlier");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.settled("m-2").await;
    pair.lab.stop("alpha").await.unwrap();
    put_back(&pair.lab, "alpha", &earlier);
    for arguments in [&["node", "up"][..], &["up"], &["node", "up", "--foreground"]] {
        let (_, error) = fails(&pair.lab, "alpha", arguments, 4, "stale_state").await;
        let state = pair.lab.state("alpha");
        let mended = format!("`waxwing --state {} node accept-host`", state.display());
        assert!(error["hint"].as_str().unwrap().contains(&mended), "{error}");
        fails(&pair.lab, "alpha", &["node", "status"], 6, "not_running").await;
    }
}

#[tokio::test]
async fn a_mesh_that_is_refused_fails_the_start_and_the_others_go_on() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let earlier = snapshot(&pair.lab, "alpha", "earlier").join("meshes/lab");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(1).await;
    pair.settled("m-2").await;
    let lab = &mut pair.lab;
    let url = lab.proxy().url();
    lab.json("alpha", &["mesh", "create", "second", "--broker", &url, "--node", "alpha-2"]).await.unwrap();
    lab.stop("alpha").await.unwrap();
    let folder = lab.state("alpha").join("meshes/lab");
    std::fs::remove_dir_all(&folder).unwrap();
    copy(&earlier, &folder);

    let (shown, error) = fails(lab, "alpha", &["node", "up"], 4, "stale_state").await;
    assert_eq!((&shown["event"], shown["pid"].is_u64()), (&"ready".into(), true));
    let (refused, other) = (link(&shown, "lab"), link(&shown, "second"));
    assert_eq!((&refused["state"], &other["state"]), (&"stopped".into(), &"up".into()));
    assert_eq!((&refused["stop"]["code"], &refused["stop"]["exit"]), (&"stale_state".into(), &4.into()));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("mesh lab has stopped, and the node goes on"), "{message}");
    assert!(error["hint"].as_str().unwrap().contains("accept-host"), "{error}");

    let to_itself = ["--mesh", "second", "send", "alpha-2", "still here", "--wait", "delivered"];
    assert_eq!(lab.json("alpha", &to_itself).await.unwrap()["state"], "delivered");
    let (again, _) = fails(lab, "alpha", &["up"], 4, "stale_state").await;
    assert_eq!((&again["changed"], &again["node"]["pid"]), (&false.into(), &shown["pid"]));
    let people = lab.run("alpha", &["up"], b"").await.unwrap();
    assert!(people.stdout.contains("mesh    lab as alpha, link stopped: the broker has seen"), "{people:?}");
    let status = lab.run("alpha", &["node", "status"], b"").await.unwrap().stdout;
    assert!(status.contains("  next    if the other copy is gone"), "{status}");
    lab.json("alpha", &["node", "down"]).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_thrown_out_is_told_so_by_its_start() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    lab.json("alpha", &["revoke", "beta", "--yes"]).await.unwrap();
    let (_, error) = fails(&lab, "beta", &["node", "up"], 3, "revoked").await;
    assert!(error["hint"].as_str().unwrap().contains("leave"), "{error}");
}

#[tokio::test]
async fn a_start_says_that_the_link_is_up_once_it_is() {
    let desk = Desk::new();
    desk.up().await;
    for _ in 0..3 {
        desk.json(&["node", "down"]).await;
        let up = desk.json(&["node", "up"]).await;
        assert_eq!(link(&up, "home")["state"], "up");
        let health = desk.client().health().await.unwrap();
        assert_eq!(health.meshes[0].link.state.as_str(), "up");
    }
    desk.json(&["node", "down"]).await;
    let people = desk.run(&["node", "up"]).await;
    assert!(people.stdout.ends_with("mesh    home as here, link up\n"), "{people:?}");
}

#[tokio::test]
async fn nobody_waits_long_for_a_broker_that_is_away_or_says_nothing() {
    let desk = Desk::new();
    desk.up().await;
    desk.json(&["down"]).await;
    let begin = Instant::now();
    let up = desk.run(&["node", "up"]).await;
    let away = begin.elapsed();
    assert_eq!(up.code, Some(0), "being offline is normal: {up:?}");
    let cause = "mesh    home as here, link down: its broker is not reachable yet: ";
    assert!(up.stdout.contains(cause) && !up.stdout.contains("has not answered"), "{up:?}");
    desk.json(&["node", "down"]).await;

    // It takes connections, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    desk.json(&["mesh", "broker", &url]).await;
    let begin = Instant::now();
    let up = desk.json(&["node", "up"]).await;
    let mute = begin.elapsed();
    let shown = link(&up, "home");
    assert_eq!((&shown["state"], shown.get("reason")), (&"down".into(), None));
    assert!(away < mute && mute < Duration::from_secs(15), "{away:?}, {mute:?}");
    desk.json(&["node", "down"]).await;
}

#[tokio::test]
async fn a_start_in_no_mesh_waits_for_nobody() {
    let desk = Desk::new();
    let up = desk.json(&["node", "up"]).await;
    assert_eq!((&up["event"], &up["meshes"]), (&"ready".into(), &Value::Array(Vec::new())));
    desk.json(&["node", "down"]).await;
    let people = desk.run(&["node", "up"]).await;
    assert!(people.code == Some(0) && people.stderr.contains("in no mesh yet"), "{people:?}");
}
