//! Every command: its JSON, its exit codes, its words when something is wrong.

use serde_json::Value;
use waxwing_lab::{Lab, Output};

use crate::support::{PROGRAM, mesh};

/// Runs a command for people.
pub(crate) async fn run(lab: &Lab, node: &str, arguments: &[&str]) -> Output {
    lab.run(node, arguments, b"").await.unwrap()
}

/// Runs a command that must succeed, and gives its document.
pub(crate) async fn json(lab: &Lab, node: &str, arguments: &[&str]) -> Value {
    let document = lab.json(node, arguments).await.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    assert_eq!(document["schema"], 1, "{arguments:?}");
    document
}

/// Runs a command that must fail, both ways it can be asked, and gives the error's code.
pub(crate) async fn fails(lab: &Lab, node: &str, arguments: &[&str], exit: i32) -> String {
    let people = run(lab, node, arguments).await;
    assert_eq!((people.code, people.stdout.as_str()), (Some(exit), ""), "{arguments:?}: {people:?}");
    assert!(people.stderr.starts_with("error: "), "{arguments:?}: {}", people.stderr);
    let mut words = vec!["--json"];
    words.extend_from_slice(arguments);
    let program = run(lab, node, &words).await;
    assert_eq!((program.code, program.stdout.as_str()), (Some(exit), ""), "{arguments:?}: {program:?}");
    let document: Value = serde_json::from_str(program.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&document["schema"], &document["error"]["exit"]), (&1.into(), &exit.into()), "{arguments:?}");
    assert!(document["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{arguments:?}");
    document["error"]["code"].as_str().unwrap().to_owned()
}

/// M-09.
#[tokio::test]
async fn a_day_at_the_command_line() {
    let lab = mesh(&["alpha", "beta"]).await;
    let peers = json(&lab, "alpha", &["peers"]).await;
    let names: Vec<_> = peers["peers"].as_array().unwrap().iter().map(|peer| &peer["node"]).collect();
    assert_eq!(names, ["alpha", "beta"]);

    let send = ["send", "review@beta", "have a look", "--app", "ci", "--id", "day-1", "--thread", "r-7"];
    let more = ["--priority", "now", "--ttl", "1h", "--meta", "build=4711", "--meta", "branch=main"];
    let sent = json(&lab, "alpha", &[&send[..], &more[..]].concat()).await;
    assert_eq!(sent["client_message_id"], "day-1");
    let file = lab.folder().join("blob");
    std::fs::write(&file, [0xff, 0x00]).unwrap();
    json(&lab, "alpha", &["send", "review@beta", "--file", file.to_str().unwrap(), "--reply-to", "day-1"])
        .await;
    let piped = lab.run("alpha", &["send", "beta"], b"from a pipe\n").await.unwrap();
    assert_eq!(piped.code, Some(0), "{piped:?}");
    received(&lab, 3).await;

    let inbox = json(&lab, "beta", &["inbox", "--app", "review"]).await;
    let items = inbox["items"].as_array().unwrap();
    let first = items.iter().find(|item| item["client_message_id"] == "day-1").unwrap();
    assert_eq!(
        (&first["body"], &first["from"], &first["from_app"]),
        (&"have a look".into(), &"alpha".into(), &"ci".into())
    );
    assert_eq!(
        (&first["meta"]["build"], &first["thread"], &first["priority"]),
        (&"4711".into(), &"r-7".into(), &"now".into())
    );
    assert!(
        items.iter().any(|item| item["body_base64"] == "/wA=" && item["reply_to"] == "day-1"),
        "{items:?}"
    );
    let plain = run(&lab, "beta", &["inbox"]).await;
    assert!(plain.stdout.contains("alpha") && plain.stdout.contains("    from a pipe"), "{plain:?}");
    let thread =
        json(&lab, "beta", &["inbox", "--app", "*", "--thread", "r-7", "--from", "alpha", "--limit", "5"])
            .await;
    assert_eq!(thread["items"].as_array().unwrap().len(), 1);

    acknowledge(&lab, &first["id"].to_string()).await;
}

/// Listing changes nothing, and an acknowledgement does.
async fn acknowledge(lab: &Lab, id: &str) {
    let unread = ["inbox", "--app", "*", "--unread"];
    assert_eq!(json(lab, "beta", &unread).await["items"].as_array().unwrap().len(), 3);
    assert_eq!(json(lab, "beta", &["ack", id]).await["acknowledged"], 1);
    assert_eq!(json(lab, "beta", &["ack", id]).await["acknowledged"], 0);
    assert_eq!(json(lab, "beta", &unread).await["items"].as_array().unwrap().len(), 2);
    let through = run(lab, "beta", &["ack", "--through", "1000000", "--app", "*"]).await;
    assert_eq!((through.code, through.stdout.trim()), (Some(0), "2 marked read"), "{through:?}");
    let empty = run(lab, "beta", &unread).await;
    assert_eq!((empty.stdout.trim(), empty.stderr.trim()), ("", "nothing here"));
}

/// Waits until beta has this many messages.
async fn received(lab: &Lab, count: usize) {
    let record = waxwing_lab::Recorder::default();
    let reader = lab.reader("beta", &record);
    let all = async || (reader.reread().await.ok()?.len() == count).then_some(());
    waxwing_lab::eventually(crate::support::WITHIN, "the messages are there", all).await.unwrap();
}

/// M-45.
#[tokio::test]
async fn the_node_says_how_it_is() {
    let lab = mesh(&["alpha"]).await;
    let health = json(&lab, "alpha", &["node", "status"]).await;
    assert_eq!((&health["ready"], &health["meshes"][0]["link"]["state"]), (&true.into(), &"up".into()));
    for asked in [&["node", "status"][..], &["status"]] {
        let people = run(&lab, "alpha", asked).await;
        assert!(
            people.stdout.contains("mesh lab as alpha") && people.stdout.contains("link    up"),
            "{people:?}"
        );
    }
    assert_eq!(json(&lab, "alpha", &["node", "version"]).await["api"], 1);
    let version = run(&lab, "alpha", &["--version"]).await;
    assert_eq!(version.stdout.trim(), concat!("waxwing ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_wrong_argument_is_2() {
    let lab = mesh(&["alpha"]).await;
    for arguments in [
        &["send"][..],
        &["no-such-command"],
        &["send", "beta", "text", "--file", "also"],
        &["send", "beta", "text", "--meta", "no-value"],
        &["send", "beta", "text", "--id", "no spaces"],
        &["send", "beta", "text", "--priority", "soon"],
        &["mesh", "create", "Not A Name", "--broker", "ws://127.0.0.1:1"],
        &["node", "up", "--detached"],
        &["inbox", "--follow", "--wait", "1s"],
        &["events", "--register"],
        &["send", "beta", "text", "--wait", "soon"],
        &["node", "outbox", "list", "--in", "inflight"],
        &["ack"],
    ] {
        assert_eq!(run(&lab, "alpha", arguments).await.code, Some(2), "{arguments:?}");
    }
    for (arguments, code) in [
        (&["broker", "run", "--listen", "0.0.0.0:0"][..], "usage"),
        (&["mesh", "create", "x", "--broker", "ws://example.org:7900"], "usage"),
        (&["mesh", "create", "x", "--broker", "example.org"], "usage"),
        (&["join", "ww1_AAAA"], "token_truncated"),
        (&["join", "hello"], "token_unknown"),
        (&["send", "not a name", "text"], "malformed"),
        (&["send", "alpha", "text", "--ttl", "forever"], "malformed"),
        (&["send", "alpha", "text", "--ttl", "400d"], "ttl_too_long"),
        (&["send", "alpha", "--file", "/no/such/file"], "usage"),
        (&["invite", "--expires", "soon"], "malformed"),
        (&["inbox", "--limit", "0"], "malformed"),
    ] {
        assert_eq!(fails(&lab, "alpha", arguments, 2).await, code, "{arguments:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_6_or_7() {
    let mut lab = mesh(&["alpha"]).await;
    assert_eq!(fails(&lab, "alpha", &["send", "alpa", "text"], 7).await, "unknown_recipient");
    let near = run(&lab, "alpha", &["send", "alpa", "text"]).await;
    assert!(near.stderr.contains("did you mean alpha?"), "{near:?}");
    assert_eq!(fails(&lab, "alpha", &["--mesh", "nowhere", "peers"], 7).await, "unknown_mesh");

    lab.stop("alpha").await.unwrap();
    for arguments in [
        &["send", "alpha", "text"][..],
        &["inbox"],
        &["ack", "1"],
        &["peers"],
        &["invite"],
        &["node", "status"],
        &["node", "version"],
    ] {
        assert_eq!(fails(&lab, "alpha", arguments, 6).await, "not_running", "{arguments:?}");
    }
    lab.kill(Lab::BROKER).await.unwrap();
    let url = lab.proxy().url();
    assert_eq!(fails(&lab, "beta", &["mesh", "create", "other", "--broker", &url], 6).await, "unreachable");
    assert!(!lab.state("beta").join("meshes/other").exists(), "nothing half made is left");
}

#[tokio::test]
async fn a_token_lets_in_whom_it_should() {
    let lab = mesh(&["alpha", "beta"]).await;
    let invite = json(&lab, "alpha", &["invite", "--uses", "1", "--expires", "1h"]).await;
    let token = invite["token"].as_str().unwrap();
    assert_eq!(fails(&lab, "gamma", &["join", token, "--name", "beta"], 8).await, "name_taken");
    let joined = json(&lab, "gamma", &["join", token, "--name", "gamma"]).await;
    assert_eq!((&joined["mesh"], &joined["node"]), (&"lab".into(), &"gamma".into()));
    assert_eq!(fails(&lab, "delta", &["join", token, "--name", "delta"], 3).await, "invite_used_up");
    assert_eq!(fails(&lab, "delta", &["join", &token[..token.len() - 9]], 2).await, "token_truncated");

    let named = json(&lab, "alpha", &["invite", "--name", "epsilon", "--role", "admin"]).await;
    let joined = json(&lab, "epsilon", &["join", named["token"].as_str().unwrap()]).await;
    assert_eq!(joined["node"], "epsilon");
    let unnamed = json(&lab, "alpha", &["invite"]).await;
    let joined = json(&lab, "zeta", &["join", unnamed["token"].as_str().unwrap()]).await;
    assert!(joined["node"].as_str().is_some_and(|name| !name.is_empty()), "the host's name: {joined}");
    assert_eq!(fails(&lab, "beta", &["invite"], 3).await, "not_admin");

    let people = run(&lab, "alpha", &["invite"]).await;
    assert!(people.stdout.starts_with("ww1_") && people.stdout.lines().count() == 1, "{people:?}");
    assert!(people.stderr.contains("waxwing join"), "{people:?}");
}

#[tokio::test]
async fn what_is_taken_is_8() {
    let lab = mesh(&["alpha"]).await;
    json(&lab, "alpha", &["send", "alpha", "one", "--id", "taken"]).await;
    assert_eq!(
        fails(&lab, "alpha", &["send", "alpha", "two", "--id", "taken"], 8).await,
        "idempotency_key_reused"
    );
    let url = lab.proxy().url();
    assert_eq!(fails(&lab, "alpha", &["node", "up", "--foreground"], 8).await, "already_running");
    assert_eq!(fails(&lab, "alpha", &["mesh", "create", "lab", "--broker", &url], 8).await, "conflict");
    let data = lab.state(Lab::BROKER);
    let second = ["broker", "run", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let second = run(&lab, "alpha", &second).await;
    assert_eq!((second.code, second.stdout.as_str()), (Some(8), ""), "never ready: {second:?}");
    let taken = url.strip_prefix("ws://").unwrap();
    assert_eq!(fails(&lab, "alpha", &["broker", "run", "--listen", taken], 8).await, "conflict");
}

#[tokio::test]
async fn a_broker_under_another_name_is_5() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    let url = lab.process(Lab::BROKER).start().await.unwrap()["url"].as_str().unwrap().to_owned();
    let create = ["mesh", "create", "lab", "--broker", &url, "--node", "alpha"];
    assert_eq!(fails(&lab, "alpha", &create, 5).await, "wrong_broker");
}

#[tokio::test]
async fn founding_a_mesh_prints_its_recovery_words_once() {
    let lab = Lab::start(PROGRAM).await.unwrap();
    let url = lab.proxy().url();
    let created = json(&lab, "alpha", &["mesh", "create", "one", "--broker", &url, "--node", "alpha"]).await;
    let words = created["recovery_words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    let mut scan = waxwing_lab::Scan::default();
    let pair = words.split(' ').take(3).collect::<Vec<_>>().join(" ");
    scan.path(lab.folder(), &[words, &pair]).unwrap();
    assert_eq!(scan.found, []);

    let people = run(&lab, "beta", &["mesh", "create", "two", "--broker", &url]).await;
    assert_eq!(people.code, Some(0), "{people:?}");
    assert!(people.stdout.contains("mesh two is founded"), "{people:?}");
    assert!(people.stderr.contains("24 words") && !people.stdout.contains("words"), "{people:?}");
}

#[tokio::test]
async fn broker_and_node_stop_when_asked() {
    let mut lab = mesh(&["alpha"]).await;
    assert_eq!(lab.stop("alpha").await.unwrap(), Some(0));
    assert!(!lab.state("alpha").join("node.sock").exists(), "the socket goes with the node");
    assert_eq!(lab.stop(Lab::BROKER).await.unwrap(), Some(0));
}
