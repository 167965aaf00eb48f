//! One process in several meshes: joined and founded while it runs, and one closed for a moment while the others go on.

use std::path::Path;

use serde_json::Value;
use waxwing_client::Client;
use waxwing_client::api::{BrokerRequest, InviteRequest, LinkState};
use waxwing_lab::{Lab, eventually};

use crate::support::{PROGRAM, Pair, WITHIN, mesh, private_folder};
use crate::terminal::Desk;

/// Runs a command of a node and gives its exit code and error code.
pub(crate) async fn refused(lab: &Lab, node: &str, arguments: &[&str]) -> (i32, String) {
    let mut words = vec!["--json"];
    words.extend_from_slice(arguments);
    let output = lab.run(node, &words, b"").await.unwrap();
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("no error of {arguments:?}: {output:?}"));
    (output.code.unwrap(), error["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// A token into the one mesh of a node.
pub(crate) async fn token(lab: &Lab, node: &str) -> String {
    lab.client(node).invite(&InviteRequest::default()).await.unwrap().token
}

/// Has a node join by a token, by name.
pub(crate) async fn join(lab: &Lab, node: &str, token: &str) -> Value {
    lab.run(node, &["--json", "join", "-", "--name", node], token.as_bytes()).await.unwrap().json().unwrap()
}

/// Waits until a node is linked in a mesh.
pub(crate) async fn linked(client: &Client, mesh: &str) {
    let up = async || {
        let health = client.health().await.ok()?;
        let up = |shown: &waxwing_client::api::MeshHealth| {
            shown.mesh.as_str() == mesh && shown.link.state == LinkState::Up
        };
        health.meshes.iter().any(up).then_some(())
    };
    eventually(WITHIN, &format!("a link in {mesh}"), up).await.unwrap();
}

/// What is in a folder, and in the folders in it.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path.strip_prefix(folder).unwrap().display().to_string());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_node_in_no_mesh_joins_its_first_while_it_runs() {
    let lab = mesh(&["alpha"]).await;
    lab.json("beta", &["node", "up"]).await.unwrap();
    assert_eq!(refused(&lab, "beta", &["send", "alpha", "x"]).await, (7, "no_mesh".to_owned()));
    assert_eq!(refused(&lab, "beta", &["node", "up"]).await, (8, "already_running".to_owned()));
    let joined = join(&lab, "beta", &token(&lab, "alpha").await).await;
    assert_eq!((&joined["mesh"], &joined["node"]), (&Value::from("lab"), &Value::from("beta")));
    let sent = lab.json("beta", &["send", "alpha", "hello", "--wait", "delivered"]).await.unwrap();
    assert_eq!(sent["state"], "delivered");
    lab.json("beta", &["node", "down"]).await.unwrap();
}

#[tokio::test]
async fn a_second_mesh_on_another_broker_is_joined_while_mail_flows_in_the_first() {
    let mut pair = Pair::start().await;
    let mut other = Lab::start(PROGRAM).await.unwrap();
    other.add("gamma").await.unwrap();
    other.add("delta").await.unwrap();
    let invite = token(&other, "gamma").await;
    let joining = async {
        // The name of its mesh is `lab` as well: a node is in one of that name.
        let taken = pair.lab.run("beta", &["--json", "join", "-"], invite.as_bytes()).await.unwrap();
        assert_eq!(taken.code, Some(8), "{taken:?}");
        let url = other.proxy().url();
        let create = ["mesh", "create", "second", "--broker", &url, "--node", "beta-2"];
        let created = pair.lab.json("beta", &create).await.unwrap();
        assert_eq!(created["recovery_words"].as_str().unwrap().split(' ').count(), 24);
        linked(&pair.lab.client("beta"), "second").await;
        let invite = InviteRequest { mesh: Some("second".parse().unwrap()), ..InviteRequest::default() };
        let token = pair.lab.client("beta").invite(&invite).await.unwrap().token;
        let joined = join(&other, "delta", &token).await;
        assert_eq!(joined["mesh"], "second");
        created
    };
    let app = pair.sender.clone();
    let sending = async {
        let mut sent = Vec::new();
        for n in 1..=40 {
            let id = format!("m-{n}");
            app.send("beta", &id, WITHIN).await.unwrap();
            sent.push(id);
        }
        sent
    };
    let (created, sent) = tokio::join!(joining, sending);
    pair.sent.extend(sent);
    for (lab, node, to) in [(&other, "delta", "beta-2"), (&pair.lab, "beta", "delta")] {
        let send = ["--mesh", "second", "send", to, "over there", "--wait", "delivered"];
        assert_eq!(lab.json(node, &send).await.unwrap()["state"], "delivered", "from {node}");
    }
    let log = pair.lab.process("beta").log();
    // One by itself may well be in a log.
    let words: Vec<_> = created["recovery_words"].as_str().unwrap().split(' ').collect();
    for two in words.windows(2) {
        assert!(!log.contains(&two.join(" ")), "the words are logged");
    }
    // Each mesh has a stream of its own.
    let page = pair.lab.json("beta", &["--mesh", "second", "inbox"]).await.unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    pair.lab.restart("beta").await.unwrap();
    pair.lab.linked("beta").await.unwrap();
    let page = pair.lab.json("beta", &["--mesh", "lab", "inbox", "--app", "*"]).await.unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), pair.sent.len());
}

#[tokio::test]
async fn a_refused_join_says_the_same_whether_the_node_runs_or_not_and_leaves_nothing() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let used = token(&lab, "alpha").await;
    lab.run("gamma", &["join", "-", "--name", "gamma"], used.as_bytes()).await.unwrap();
    let cut: String = used.chars().take(used.len() - 2).collect();
    let before = files(&lab.state("beta").join("meshes"));
    let mut said = Vec::new();
    for runs in [true, false] {
        if !runs {
            lab.stop("beta").await.unwrap();
        }
        let join = ["--json", "join", "-"];
        let create = |mesh, url| ["--json", "mesh", "create", mesh, "--broker", url, "--node", "beta"];
        let mut words = Vec::new();
        for (what, arguments, token, code) in [
            ("a token cut short", &join[..], cut.as_str(), 2),
            ("a mesh it is in", &join, used.as_str(), 8),
            ("a broker that is away", &create("far", "ws://127.0.0.1:9"), "", 6),
            ("a name that is taken", &create("lab", "ws://127.0.0.1:9"), "", 8),
            ("no TLS", &create("far", "ws://192.0.2.1:9"), "", 2),
        ] {
            let output = lab.run("beta", arguments, token.as_bytes()).await.unwrap();
            assert_eq!(output.code, Some(code), "{what}, runs: {runs}: {output:?}");
            let mut error: Value = serde_json::from_str(output.stderr.trim()).unwrap();
            // What the node itself said is there only if one runs.
            error["error"].as_object_mut().unwrap().remove("problem");
            words.push(error);
        }
        said.push(words);
        let now = files(&lab.state("beta").join("meshes"));
        let kept = |files: &[String]| {
            files.iter().filter(|file| !file.contains("node.db-")).cloned().collect::<Vec<_>>()
        };
        assert_eq!(kept(&now), kept(&before), "runs: {runs}");
        assert_eq!(files(&lab.state("beta").join("entering")), Vec::<String>::new(), "runs: {runs}");
    }
    assert_eq!(said[0], said[1], "code, words and hint");
}

#[tokio::test]
async fn up_founds_in_the_node_that_runs_already() {
    let desk = Desk::new();
    desk.json(&["node", "up"]).await;
    let first = desk.up().await;
    assert_eq!((&first["node"]["started"], &first["founded"]["mesh"]), (&false.into(), &"home".into()));
    let second = desk.json(&["up", "--mesh", "second", "--name", "there"]).await;
    assert_eq!((&second["node"], &second["broker"]["started"]), (&first["node"], &false.into()));
    assert_eq!((&second["founded"]["mesh"], &second["founded"]["node"]), (&"second".into(), &"there".into()));
    assert!(second["founded"]["invite"].as_str().unwrap().starts_with("ww1_"));
    let sent = desk.json(&["--mesh", "second", "send", "there", "hello", "--wait", "delivered"]).await;
    assert_eq!(sent["state"], "delivered");
}

#[tokio::test]
async fn closing_and_opening_while_mail_comes_and_goes_loses_and_repeats_nothing() {
    const TIMES: usize = 8;
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let url = pair.lab.proxy().url();
    let (reopened, done) = (pair.lab.client("beta"), std::cell::Cell::new(false));
    let request = BrokerRequest { url, plaintext: false, mesh: None };
    let reopening = async {
        for _ in 0..TIMES {
            reopened.move_broker(&request).await.unwrap();
            linked(&reopened, "lab").await;
        }
        done.set(true);
    };
    let (app, mut reader) = (pair.sender.clone(), pair.reader.clone());
    let sending = async {
        let mut sent = Vec::new();
        while !done.get() {
            let id = format!("r-{}", sent.len() + 1);
            app.send("beta", &id, WITHIN).await.unwrap();
            sent.push(id);
        }
        sent
    };
    let ((), sent) = tokio::join!(reopening, sending);
    reader.read(sent.len(), WITHIN).await.unwrap();
    assert!(sent.len() > TIMES, "mail went on: {}", sent.len());
    pair.reader = reader;
    pair.sent.extend(sent);
    pair.conclude().await;
}

#[tokio::test]
async fn a_mesh_is_dialled_elsewhere_while_the_node_runs_and_its_streams_come_back() {
    let lab = mesh(&["alpha", "beta"]).await;
    let url = lab.proxy().url();
    let mut events = lab.client("beta").events_resuming(&Default::default()).await.unwrap();
    let moved = lab.json("beta", &["mesh", "broker", &url]).await.unwrap();
    assert_eq!((&moved["mesh"], &moved["before"]), (&Value::from("lab"), &moved["broker"]));
    lab.linked("beta").await.unwrap();
    lab.json("alpha", &["send", "beta", "hello", "--wait", "delivered"]).await.unwrap();
    loop {
        let event = tokio::time::timeout(WITHIN, events.next()).await.unwrap().unwrap();
        if let waxwing_client::api::EventBody::Message { message } = event.body {
            assert_eq!(message.body.as_deref(), Some("hello"));
            break;
        }
    }
    assert_eq!(refused(&lab, "beta", &["mesh", "broker", "http://x"]).await.0, 2);
    assert_eq!(
        refused(&lab, "beta", &["--mesh", "other", "mesh", "broker", &url]).await,
        (7, "unknown_mesh".to_owned())
    );
}

/// Commands about one mesh, with arguments that are good in any.
const OF_A_MESH: &[&[&str]] = &[
    &["send", "alpha", "x"],
    &["inbox"],
    &["ack", "1"],
    &["events"],
    &["trace", "m-1"],
    &["peers"],
    &["apps"],
    &["profile"],
    &["run", "--name", "ci", "--", "true"],
    &["members"],
    &["invite"],
    &["grant", "alpha", "admin"],
    &["revoke", "alpha", "--yes"],
    &["leave", "--yes"],
    &["rotate-keys"],
    &["peers", "verify", "alpha"],
    &["peers", "block", "alpha"],
    &["peers", "allow", "alpha"],
    &["mesh", "broker", "ws://127.0.0.1:9"],
    &["mesh", "resume"],
    &["node", "outbox", "list"],
    &["node", "outbox", "show", "1"],
    &["node", "outbox", "requeue", "m-1"],
    &["node", "outbox", "abort", "m-1"],
];

#[tokio::test]
async fn with_several_meshes_every_command_must_be_told_which() {
    let lab = mesh(&["alpha"]).await;
    let url = lab.proxy().url();
    lab.json("alpha", &["mesh", "create", "second", "--broker", &url, "--node", "alpha"]).await.unwrap();
    linked(&lab.client("alpha"), "second").await;
    for arguments in OF_A_MESH {
        assert_eq!(refused(&lab, "alpha", arguments).await, (2, "mesh_required".to_owned()), "{arguments:?}");
        let mut named = vec!["--mesh", "nowhere"];
        named.extend_from_slice(arguments);
        assert_eq!(refused(&lab, "alpha", &named).await, (7, "unknown_mesh".to_owned()), "{arguments:?}");
    }
    let people = lab.run("alpha", &["peers"], b"").await.unwrap().stderr;
    assert!(people.contains("one of lab, second") && people.contains("mesh list"), "{people}");
    let listed = lab.json("alpha", &["mesh", "list"]).await.unwrap();
    let names: Vec<_> =
        listed["meshes"].as_array().unwrap().iter().map(|mesh| mesh["mesh"].clone()).collect();
    assert_eq!(names, ["lab", "second"]);
}

#[tokio::test]
async fn meshes_are_listed_the_same_by_a_node_and_by_its_folder_alone() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.json("alpha", &["send", "beta", "unread", "--wait", "delivered"]).await.unwrap();
    lab.json("beta", &["mesh", "create", "second", "--broker", &lab.proxy().url(), "--node", "b"])
        .await
        .unwrap();
    linked(&lab.client("beta"), "second").await;
    let mut running = lab.json("beta", &["mesh", "list"]).await.unwrap();
    let first = running["meshes"][0].clone();
    let known = (
        &first["node"],
        &first["role"],
        &first["link"],
        &first["members"],
        &first["unread"],
        &first["epoch"],
    );
    assert_eq!(known, (&"beta".into(), &"member".into(), &"up".into(), &2.into(), &1.into(), &1.into()));
    lab.stop("beta").await.unwrap();
    let before = files(&lab.state("beta"));
    let stopped = lab.json("beta", &["mesh", "list"]).await.unwrap();
    assert_eq!(files(&lab.state("beta")), before, "looking changes nothing");
    for mesh in running["meshes"].as_array_mut().unwrap() {
        mesh["link"] = "not running".into();
    }
    assert_eq!((&stopped["running"], &stopped["meshes"]), (&false.into(), &running["meshes"]));
    std::fs::write(lab.state("beta").join("meshes").join("second").join("identity.json"), "{}").unwrap();
    let broken = lab.json("beta", &["mesh", "list"]).await.unwrap();
    assert_eq!(broken["meshes"][0], stopped["meshes"][0]);
    assert!(broken["meshes"][1]["reason"].as_str().unwrap().contains("identity.json"), "{broken}");
}

#[tokio::test]
async fn a_mesh_whose_state_was_set_back_does_not_stop_the_others() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let url = lab.proxy().url();
    lab.json("beta", &["mesh", "create", "second", "--broker", &url, "--node", "b"]).await.unwrap();
    linked(&lab.client("beta"), "second").await;
    lab.stop("beta").await.unwrap();
    let (folder, copy) = (lab.state("beta").join("meshes").join("second"), lab.folder().join("copy"));
    copy_folder(&folder, &copy);
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    lab.json("beta", &["--mesh", "second", "send", "b", "one more", "--wait", "delivered"]).await.unwrap();
    lab.stop("beta").await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&copy, &folder);
    lab.restart("beta").await.unwrap();
    let client = lab.client("beta");
    let stopped = async || {
        let health = client.health().await.ok()?;
        let second = health.meshes.into_iter().find(|mesh| mesh.mesh.as_str() == "second")?;
        (second.link.state == LinkState::Stopped).then_some(second.link.reason)
    };
    let reason = eventually(WITHIN, "the second mesh is stopped", stopped).await.unwrap();
    assert!(reason.as_deref().unwrap_or_default().contains("copy"), "{reason:?}");
    linked(&client, "lab").await;
    lab.json("beta", &["--mesh", "lab", "send", "alpha", "hello", "--wait", "delivered"]).await.unwrap();
    let listed = lab.json("beta", &["mesh", "list"]).await.unwrap();
    assert_eq!(
        (&listed["meshes"][0]["link"], &listed["meshes"][1]["link"]),
        (&"up".into(), &"stopped".into())
    );
}

fn copy_folder(from: &Path, to: &Path) {
    private_folder(to);
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
