//! A node leaves one of its meshes: it is a member, or it has left and nothing of it is there; whatever happens on the way.

use std::path::PathBuf;

use serde_json::Value;
use waxwing_client::NodeId;
use waxwing_client::api::{
    EventQuery, InviteRequest, LinkState, MeshQuery, MessageState, ProblemCode, RevokeRequest,
};
use waxwing_lab::{Lab, When, eventually};

use crate::meshes::{files, linked, refused, token};
use crate::support::{PROGRAM, Pair, WITHIN, mesh};

/// The folder of beta's one mesh, or first mesh.
fn folder(lab: &Lab) -> PathBuf {
    lab.state("beta").join("meshes").join("lab")
}

/// Waits until a node's folder of the mesh is gone, and all that was in it.
async fn forgotten(lab: &Lab) {
    let gone = async || (!folder(lab).exists() && !lab.state("beta").join("leaving").exists()).then_some(());
    eventually(WITHIN, "the folder is gone", gone).await.unwrap();
}

/// Whether alpha's mesh has a member beta.
async fn is_member(lab: &Lab) -> bool {
    let peers = lab.client("alpha").peers(&MeshQuery { mesh: Some("lab".parse().unwrap()) }).await.unwrap();
    peers.peers.iter().any(|peer| peer.node.as_str() == "beta")
}

/// Waits until alpha sees that beta is no member any more.
async fn out(lab: &Lab) {
    eventually(WITHIN, "beta is out", async || (!is_member(lab).await).then_some(())).await.unwrap();
}

/// The broker's answer to a leave, or the end of the link that comes with it: whichever is first.
fn answer(node: NodeId) -> When {
    When::matches(node, |frame| matches!(frame.name(), "log" | "goaway"))
}

#[tokio::test]
async fn a_node_leaves_one_mesh_while_the_other_goes_on() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let url = pair.lab.proxy().url();
    let create = ["mesh", "create", "second", "--broker", &url, "--node", "beta"];
    pair.lab.json("beta", &create).await.unwrap();
    linked(&pair.lab.client("beta"), "second").await;
    let query = EventQuery { mesh: Some("lab".parse().unwrap()), ..EventQuery::default() };
    let mut stream = pair.lab.client("beta").events_resuming(&query).await.unwrap();
    // One is unread at beta, and one on its way to it.
    pair.send(1).await;
    pair.settled("m-2").await;
    let hold = pair.lab.proxy().hold(When::envelope(pair.lab.id("beta")));
    pair.send(1).await;
    let held = hold.held().await.unwrap();
    let unsaid = pair.lab.run("beta", &["--mesh", "lab", "leave"], b"").await.unwrap();
    assert_eq!(unsaid.code, Some(2), "nobody was there to ask: {unsaid:?}");
    assert!(unsaid.stderr.contains("1 messages unread") && unsaid.stderr.contains("--yes"), "{unsaid:?}");
    assert_eq!(refused(&pair.lab, "beta", &["leave", "--yes"]).await, (2, "mesh_required".to_owned()));

    let left = pair.lab.json("beta", &["--mesh", "lab", "leave", "--yes"]).await.unwrap();
    held.release();
    assert_eq!((&left["mesh"], &left["node"], &left["unread"]), (&"lab".into(), &"beta".into(), &1.into()));
    forgotten(&pair.lab).await;
    out(&pair.lab).await;
    let status = pair.settled("m-3").await;
    assert_eq!((status.state, status.reason.as_deref()), (MessageState::Dead, Some("revoked_recipient")));
    let ended = loop {
        if let Err(error) = tokio::time::timeout(WITHIN, stream.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!(ended.problem().unwrap().code, ProblemCode::UnknownMesh, "its stream says that there is none");
    // The other one needs no name any more.
    let sent = pair.lab.json("beta", &["send", "beta", "to myself", "--wait", "delivered"]).await.unwrap();
    assert_eq!(sent["state"], "delivered");
    pair.lab.restart("beta").await.unwrap();
    pair.lab.linked("beta").await.unwrap();
}

#[tokio::test]
async fn a_node_that_has_left_its_last_mesh_goes_on_and_joins_again_as_another() {
    let lab = mesh(&["alpha", "beta"]).await;
    lab.json("beta", &["leave", "--yes"]).await.unwrap();
    out(&lab).await;
    assert_eq!(lab.json("beta", &["mesh", "list"]).await.unwrap()["meshes"], Value::Array(Vec::new()));
    let invite = token(&lab, "alpha").await;
    let joined =
        lab.run("beta", &["--json", "join", "-", "--name", "beta"], invite.as_bytes()).await.unwrap();
    assert_ne!(
        joined.json().unwrap()["node_id"],
        lab.id("beta").to_string(),
        "another node of the same name"
    );
    lab.json("beta", &["send", "alpha", "back", "--wait", "delivered"]).await.unwrap();
}

#[tokio::test]
async fn the_last_admin_stays_and_whoever_is_offline_does() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    assert_eq!(refused(&lab, "alpha", &["leave", "--yes"]).await, (8, "last_admin".to_owned()));
    lab.proxy().set_broker(None);
    lab.proxy().cut_links();
    // Before it knows, it would say that it leaves, and then not know what has become of that.
    lab.unlinked("beta").await.unwrap();
    assert_eq!(refused(&lab, "beta", &["leave", "--yes"]).await, (6, "offline".to_owned()));
    lab.stop("beta").await.unwrap();
    assert_eq!(refused(&lab, "beta", &["leave", "--yes"]).await, (6, "offline".to_owned()), "no node runs");
    assert!(!folder(&lab).join("leaving").exists(), "nothing is half done");
    lab.restart(Lab::BROKER).await.unwrap();
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    lab.json("beta", &["send", "alpha", "still here", "--wait", "delivered"]).await.unwrap();
    lab.json("alpha", &["grant", "beta", "admin"]).await.unwrap();
    lab.json("alpha", &["leave", "--yes"]).await.unwrap();
}

#[tokio::test]
async fn a_node_that_does_not_run_leaves_too() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    let left = lab.json("beta", &["leave", "--yes"]).await.unwrap();
    assert_eq!(left["node"], "beta");
    forgotten(&lab).await;
    out(&lab).await;
    assert_eq!(refused(&lab, "beta", &["leave", "--yes"]).await, (7, "not_found".to_owned()));
}

#[tokio::test]
async fn killed_before_the_entry_is_at_the_broker_it_is_a_member() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let beta = lab.id("beta");
    let append = lab.proxy().drop_next(When::named(beta, "log.append"));
    let client = lab.client("beta");
    let leaving = tokio::spawn(async move { client.leave(&Default::default()).await });
    append.happened().await.unwrap();
    assert!(folder(&lab).join("leaving").exists(), "it is written down before it is said");
    lab.kill("beta").await.unwrap();
    leaving.await.unwrap().unwrap_err();
    lab.restart("beta").await.unwrap();
    let unmarked = async || (!folder(&lab).join("leaving").exists()).then_some(());
    eventually(WITHIN, "the mark is gone", unmarked).await.unwrap();
    lab.linked("beta").await.unwrap();
    lab.json("beta", &["send", "alpha", "still here", "--wait", "delivered"]).await.unwrap();
    assert!(is_member(&lab).await);
}

#[tokio::test]
async fn killed_before_the_answer_it_has_left_and_is_cleaned_up_at_the_next_start() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let beta = lab.id("beta");
    let append = lab.proxy().hold(When::named(beta, "log.append"));
    let client = lab.client("beta");
    let leaving = tokio::spawn(async move { client.leave(&Default::default()).await });
    let append = append.held().await.unwrap();
    let answer = lab.proxy().hold(answer(beta));
    append.release();
    let answer = answer.held().await.unwrap();
    lab.kill("beta").await.unwrap();
    drop(answer);
    leaving.await.unwrap().unwrap_err();
    out(&lab).await;
    assert!(folder(&lab).exists());
    lab.restart("beta").await.unwrap();
    forgotten(&lab).await;
    assert_eq!(lab.json("beta", &["mesh", "list"]).await.unwrap()["meshes"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_lost_answer_is_found_out_and_a_lost_entry_is_said_again() {
    for lost in ["log.append", "log"] {
        let lab = mesh(&["alpha", "beta"]).await;
        let beta = lab.id("beta");
        let client = lab.client("beta");
        let append = lab.proxy().hold(When::named(beta, "log.append"));
        let leaving = tokio::spawn(async move { client.leave(&Default::default()).await });
        let held = append.held().await.unwrap();
        if lost == "log" {
            let cut = lab.proxy().cut_at(answer(beta));
            held.release();
            cut.happened().await.unwrap();
        } else {
            lab.proxy().cut_links();
        }
        assert_eq!(leaving.await.unwrap().unwrap().mesh.as_str(), "lab", "{lost}");
        forgotten(&lab).await;
        out(&lab).await;
    }
}

#[tokio::test]
async fn only_what_this_node_has_written_down_removes_its_folder() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    let revoke = RevokeRequest { node: "beta".parse().unwrap(), reason: None, mesh: None };
    lab.client("alpha").revoke(&revoke).await.unwrap();
    let before = files(&folder(&lab));
    lab.restart("beta").await.unwrap();
    let ended = lab.process("beta").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(3));
    assert!(files(&folder(&lab)).starts_with(&before), "the broker's word removes nothing");
    // The same, had it been leaving.
    std::fs::write(folder(&lab).join("leaving"), "").unwrap();
    lab.restart("beta").await.unwrap();
    forgotten(&lab).await;
    assert_eq!(refused(&lab, "beta", &["peers"]).await, (7, "no_mesh".to_owned()), "the node goes on");
}

#[tokio::test]
async fn whoever_was_revoked_removes_what_is_left_with_the_same_command() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.json("alpha", &["revoke", "beta", "--yes"]).await.unwrap();
    assert_eq!(lab.process("beta").ended(WITHIN).await.unwrap().code(), Some(3));
    lab.json("beta", &["leave", "--yes"]).await.unwrap();
    forgotten(&lab).await;
}

#[tokio::test]
async fn a_mesh_that_has_thrown_this_node_out_is_left_while_the_other_goes_on() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let url = lab.proxy().url();
    lab.json("beta", &["mesh", "create", "second", "--broker", &url, "--node", "beta"]).await.unwrap();
    linked(&lab.client("beta"), "second").await;
    lab.json("alpha", &["revoke", "beta", "--yes"]).await.unwrap();
    let client = lab.client("beta");
    let stopped = async || {
        let health = client.health().await.ok()?;
        health.meshes.iter().any(|mesh| mesh.link.state == LinkState::Stopped).then_some(())
    };
    eventually(WITHIN, "it is stopped", stopped).await.unwrap();
    lab.proxy().set_broker(None);
    lab.json("beta", &["--mesh", "lab", "leave", "--yes"]).await.unwrap();
    forgotten(&lab).await;
    lab.restart(Lab::BROKER).await.unwrap();
    linked(&client, "second").await;
    lab.json("beta", &["send", "beta", "still here", "--wait", "delivered"]).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_removed_is_at_the_next_start() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let blocked = lab.state("beta").join("leaving");
    std::fs::write(&blocked, "in the way").unwrap();
    assert_eq!(refused(&lab, "beta", &["leave", "--yes"]).await.0, 1);
    out(&lab).await;
    let listed = lab.json("beta", &["mesh", "list"]).await.unwrap();
    assert_eq!((&listed["meshes"][0]["link"], folder(&lab).exists()), (&"closed".into(), true), "{listed}");
    assert_eq!(refused(&lab, "beta", &["send", "alpha", "x"]).await, (8, "mesh_closed".to_owned()));
    lab.kill("beta").await.unwrap();
    std::fs::remove_file(&blocked).unwrap();
    lab.restart("beta").await.unwrap();
    forgotten(&lab).await;
}

#[tokio::test]
async fn the_rest_of_a_folder_is_deleted_at_the_next_start() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("beta").await.unwrap();
    let leaving = lab.state("beta").join("leaving");
    std::fs::create_dir_all(leaving.join("old")).unwrap();
    std::fs::write(leaving.join("old").join("identity.json"), "{}").unwrap();
    lab.restart("beta").await.unwrap();
    assert!(!leaving.exists());
    lab.linked("beta").await.unwrap();
}

#[tokio::test]
async fn twenty_joins_and_leaves_leave_nothing_behind() {
    const TIMES: usize = 20;
    let mut lab = mesh(&["alpha"]).await;
    let mut other = Lab::start(PROGRAM).await.unwrap();
    other.add("gamma").await.unwrap();
    let url = other.proxy().url();
    let create = ["mesh", "create", "team", "--broker", &url, "--node", "gamma-2"];
    other.json("gamma", &create).await.unwrap();
    let invite = InviteRequest {
        uses: Some(TIMES as u32 + 1),
        mesh: Some("team".parse().unwrap()),
        ..InviteRequest::default()
    };
    linked(&other.client("gamma"), "team").await;
    let pid = lab.process("alpha").pid().unwrap();
    let held = || {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        (count("fd"), count("task"), files(&lab.state("alpha")))
    };
    let once = async || {
        // Each leave closes the invite that the node came by.
        let token = other.client("gamma").invite(&invite).await.unwrap().token;
        let joined =
            lab.run("alpha", &["--json", "join", "-", "--name", "alpha"], token.as_bytes()).await.unwrap();
        assert_eq!(joined.json().unwrap()["mesh"], "team");
        linked(&lab.client("alpha"), "team").await;
        lab.json("alpha", &["--mesh", "team", "send", "gamma-2", "hello", "--wait", "delivered"])
            .await
            .unwrap();
        lab.json("alpha", &["--mesh", "team", "leave", "--yes"]).await.unwrap();
    };
    once().await;
    let before = held();
    for _ in 0..TIMES {
        once().await;
    }
    // Threads that work for a while and go again may be fewer than they were.
    let no_more = async || {
        let (descriptors, threads, files) = held();
        (descriptors <= before.0 && threads <= before.1 && files == before.2).then_some(())
    };
    eventually(WITHIN, "nothing more is held", no_more)
        .await
        .unwrap_or_else(|_| panic!("{before:?} became {:?}", held()));
    lab.json("alpha", &["send", "alpha", "still here", "--wait", "delivered"]).await.unwrap();
}
