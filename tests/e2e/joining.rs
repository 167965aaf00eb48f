//! A node that joins a mesh while it runs: killed on the way, or left alone by whoever asked.

use waxwing_client::api::{CreateRequest, InviteRequest, JoinRequest, LeaveRequest, ProblemCode};
use waxwing_lab::{Lab, When};

use crate::meshes::{files, join, linked, token};
use crate::support::{PROGRAM, mesh};

/// Where a join under way is when its node dies.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It says who it is.
    Hello,
    /// It asks for the log.
    Log,
    /// Its entry is on the way, and does not arrive.
    Entry,
    /// Its entry is in the log, and the answer does not arrive.
    Answer,
}

/// Kills a node that joins a second mesh, at a step. The same command, said again, finishes it.
async fn kill_joining(step: Step) {
    let mut lab = mesh(&["alpha"]).await;
    let mut other = Lab::start(PROGRAM).await.unwrap();
    other.add("gamma").await.unwrap();
    let create = ["mesh", "create", "team", "--broker", &other.proxy().url(), "--node", "gamma"];
    other.json("gamma", &create).await.unwrap();
    linked(&other.client("gamma"), "team").await;
    let invite = InviteRequest { mesh: Some("team".parse().unwrap()), ..InviteRequest::default() };
    let token = other.client("gamma").invite(&invite).await.unwrap().token;
    let proxy = other.proxy();
    let request =
        JoinRequest { token: token.clone(), node: Some("alpha".parse().unwrap()), plaintext: false };
    let client = lab.client("alpha");
    let reached = match step {
        Step::Hello => proxy.drop_next(When::entering("hello")),
        Step::Log => proxy.drop_next(When::entering("log.get")),
        Step::Entry => proxy.drop_next(When::entering("log.append")),
        Step::Answer => {
            let entry = proxy.hold(When::entering("log.append"));
            let (client, request) = (client.clone(), request.clone());
            let joining = tokio::spawn(async move { client.join(&request).await });
            let entry = entry.held().await.unwrap();
            let answer = proxy.drop_next(When::entering("log"));
            entry.release();
            answer.happened().await.unwrap();
            lab.kill("alpha").await.unwrap();
            joining.await.unwrap().unwrap_err();
            return finish_joining(&mut lab, &other, &token).await;
        }
    };
    let joining = tokio::spawn(async move { client.join(&request).await });
    reached.happened().await.unwrap();
    lab.kill("alpha").await.unwrap();
    joining.await.unwrap().unwrap_err();
    finish_joining(&mut lab, &other, &token).await;
}

async fn finish_joining(lab: &mut Lab, other: &Lab, token: &str) {
    lab.restart("alpha").await.unwrap();
    lab.linked("alpha").await.unwrap();
    let listed = lab.json("alpha", &["mesh", "list"]).await.unwrap();
    assert_eq!(listed["meshes"].as_array().unwrap().len(), 1, "nothing is half there");
    lab.json("alpha", &["send", "alpha", "meanwhile", "--wait", "delivered"]).await.unwrap();
    assert_eq!(join(lab, "alpha", token).await["mesh"], "team");
    assert_eq!(files(&lab.state("alpha").join("entering")), Vec::<String>::new());
    linked(&lab.client("alpha"), "team").await;
    lab.json("alpha", &["--mesh", "team", "send", "gamma", "hello", "--wait", "delivered"]).await.unwrap();
    let peers = other.json("gamma", &["--mesh", "team", "peers"]).await.unwrap();
    assert_eq!(peers["peers"].as_array().unwrap().len(), 2, "it joined once");
}

#[tokio::test]
async fn a_node_killed_at_any_step_of_a_join_joins_with_the_same_command() {
    for step in [Step::Hello, Step::Log, Step::Entry, Step::Answer] {
        println!("{step:?}");
        kill_joining(step).await;
    }
}

#[tokio::test]
async fn a_join_goes_on_when_whoever_asked_for_it_has_gone() {
    let lab = mesh(&["alpha"]).await;
    lab.json("beta", &["node", "up"]).await.unwrap();
    let token = token(&lab, "alpha").await;
    let held = lab.proxy().hold(When::entering("log.append"));
    let joining = lab.run("beta", &["join", "-", "--name", "beta"], token.as_bytes());
    let held = tokio::select! {
        held = held.held() => held.unwrap(),
        ended = joining => panic!("{ended:?}"),
    };
    // The command was killed with the future that ran it.
    held.release();
    linked(&lab.client("beta"), "lab").await;
    lab.json("beta", &["send", "alpha", "hello", "--wait", "delivered"]).await.unwrap();
    lab.json("beta", &["node", "down"]).await.unwrap();
}

#[tokio::test]
async fn a_node_killed_while_it_founds_a_mesh_founds_another_of_the_name() {
    for frame in ["log.append", "log"] {
        let mut lab = mesh(&["alpha"]).await;
        let url = lab.proxy().url();
        let lost = lab.proxy().drop_next(When::entering(frame));
        let client = lab.client("alpha");
        let request = CreateRequest {
            name: "team".parse().unwrap(),
            broker: url.clone(),
            node: Some("alpha".parse().unwrap()),
            creation_token: None,
            plaintext: false,
        };
        let founding = tokio::spawn(async move { client.create(&request).await });
        lost.happened().await.unwrap();
        lab.kill("alpha").await.unwrap();
        founding.await.unwrap().unwrap_err();
        lab.restart("alpha").await.unwrap();
        let listed = lab.json("alpha", &["mesh", "list"]).await.unwrap();
        assert_eq!(listed["meshes"].as_array().unwrap().len(), 1, "nothing is half there");
        lab.json("alpha", &["mesh", "create", "team", "--broker", &url, "--node", "alpha"]).await.unwrap();
        linked(&lab.client("alpha"), "team").await;
        assert_eq!(files(&lab.state("alpha").join("entering")), Vec::<String>::new());
    }
}

#[tokio::test]
async fn joins_and_leaves_that_come_at_once_are_done_one_after_the_other() {
    const MESHES: usize = 4;
    let lab = mesh(&["alpha"]).await;
    lab.json("beta", &["node", "up"]).await.unwrap();
    let (client, url) = (lab.client("beta"), lab.proxy().url());
    let create = |n: usize| CreateRequest {
        name: format!("team-{n}").parse().unwrap(),
        broker: url.clone(),
        node: Some("beta".parse().unwrap()),
        creation_token: None,
        plaintext: false,
    };
    let token = token(&lab, "alpha").await;
    let join = JoinRequest { token, node: Some("beta".parse().unwrap()), plaintext: false };
    let founding: Vec<_> = (0..MESHES)
        .map(|n| {
            let (client, request) = (client.clone(), create(n));
            tokio::spawn(async move { client.create(&request).await })
        })
        .collect();
    let (first, second) = tokio::join!(client.join(&join), client.join(&join));
    assert_eq!([&first, &second].iter().filter(|joined| joined.is_ok()).count(), 1, "{first:?} {second:?}");
    for founded in founding {
        founded.await.unwrap().unwrap();
    }
    assert_eq!(client.health().await.unwrap().meshes.len(), MESHES + 1);
    linked(&client, "lab").await;
    let leave = LeaveRequest { mesh: Some("lab".parse().unwrap()) };
    let (first, second) = tokio::join!(client.leave(&leave), client.leave(&leave));
    let refused = first.and(second).unwrap_err();
    let code = refused.problem().unwrap().code;
    assert!(matches!(code, ProblemCode::NotFound | ProblemCode::UnknownMesh), "{refused}");
    assert_eq!(client.health().await.unwrap().meshes.len(), MESHES);
    lab.json("beta", &["node", "down"]).await.unwrap();
}
