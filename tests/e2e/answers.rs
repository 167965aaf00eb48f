//! Entries of the log whose answer is lost, or that are lost themselves: each comes into the log once, and whoever asked for
//! it is told so.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;

use waxwing_client::NodeId;
use waxwing_client::api::{InviteRequest, MeshQuery};
use waxwing_crypto::membership::{Body, SignedEntry};
use waxwing_lab::{Frame, Lab, Output, When, eventually};
use waxwing_protocol::link::ToBroker;

use crate::support::{PROGRAM, WITHIN, mesh};

/// What an entry does.
fn kind(entry: &SignedEntry) -> &'static str {
    match entry.parse().unwrap().body {
        Body::Genesis(_) => "genesis",
        Body::Invite(_) => "invite",
        Body::Join(_) => "join",
        Body::Update(_) => "update",
        Body::Grant(_) => "grant",
        Body::Revoke(_) => "revoke",
        Body::Leave(_) => "leave",
        Body::Epoch(_) => "epoch",
        Body::Resume(_) => "resume",
    }
}

fn is_append(frame: &Frame, wanted: &str) -> bool {
    matches!(frame, Frame::ToBroker(ToBroker::LogAppend(append)) if kind(&append.entry) == wanted)
}

/// A node's entry of this kind, on its way.
fn entry(node: NodeId, wanted: &'static str) -> When {
    When::matches(node, move |frame| is_append(frame, wanted))
}

/// How many entries of this kind were handed over.
fn handed_over(lab: &Lab, wanted: &str) -> usize {
    lab.proxy().captured().iter().filter(|captured| is_append(&captured.frame, wanted)).count()
}

/// Does what appends an entry, and loses the answer: the link is cut when the broker has committed the entry.
async fn without_answer<T: Debug>(lab: &Lab, entry: When, answer: When, work: impl Future<Output = T>) -> T {
    let hold = lab.proxy().hold(entry);
    let mut work = pin!(work);
    let held = tokio::select! {
        held = hold.held() => held.unwrap(),
        ended = &mut work => panic!("it has ended without an entry: {ended:?}"),
    };
    let cut = lab.proxy().cut_at(answer);
    held.release();
    tokio::join!(work, async { cut.happened().await.unwrap() }).0
}

/// Does what appends an entry, and loses that: the link is cut before the broker has it.
async fn without_entry<T>(lab: &Lab, entry: When, work: impl Future<Output = T>) -> T {
    let cut = lab.proxy().cut_at(entry);
    tokio::join!(work, async { cut.happened().await.unwrap() }).0
}

async fn run(lab: &Lab, words: &[&str], stdin: &str) -> Output {
    lab.run("alpha", &[&["--json"], words].concat(), stdin.as_bytes()).await.unwrap()
}

/// The beginning of the key of the invite for this name.
async fn key(lab: &Lab, name: &str) -> String {
    let invites = lab.client("alpha").invites(&MeshQuery::default()).await.unwrap().invites;
    let of: Vec<_> = invites.iter().filter(|i| i.name.as_ref().is_some_and(|n| n.as_str() == name)).collect();
    assert_eq!(of.len(), 1, "invites for {name}");
    of[0].key[..16].to_owned()
}

#[tokio::test]
async fn an_entry_whose_answer_is_lost_is_found_in_the_log_and_one_that_is_lost_is_made_again() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    let (alpha, words) = (lab.id("alpha"), lab.recovery_words().to_owned());
    let answer = || When::named(alpha, "log");
    for lost in ["answer", "entry"] {
        let (guest, leaver) = if lost == "answer" { ("guest-a", "gamma") } else { ("guest-b", "delta") };
        let before = lab.json("alpha", &["invite", "--name", guest]).await.unwrap();
        assert!(before["token"].is_string());
        let key = key(&lab, guest).await;
        let other = format!("{guest}-2");
        for (what, words, stdin) in [
            ("invite", vec!["invite", "--name", &other], ""),
            ("grant", vec!["grant", "beta", "admin"], ""),
            ("revoke", vec!["invite", "revoke", &key, "--yes"], ""),
            ("revoke", vec!["revoke", leaver, "--yes"], ""),
            ("grant", vec!["grant", "beta", "member"], ""),
            ("grant", vec!["mesh", "recover", "--node", "beta"], &words),
            ("grant", vec!["grant", "beta", "member"], ""),
        ] {
            // A node whose links are cut again and again waits longer and longer before it dials; a new process does not.
            lab.restart("alpha").await.unwrap();
            lab.linked("alpha").await.unwrap();
            let (before, work) = (handed_over(&lab, what), run(&lab, &words, stdin));
            let (output, times) = if lost == "answer" {
                (without_answer(&lab, entry(alpha, what), answer(), work).await, 1)
            } else {
                (without_entry(&lab, entry(alpha, what), work).await, 2)
            };
            assert_eq!(output.code, Some(0), "{words:?}, the {lost} lost: {output:?}");
            assert_eq!(handed_over(&lab, what) - before, times, "{words:?}, the {lost} lost");
        }
        self::key(&lab, &other).await;
    }
    let members = lab.json("alpha", &["members", "--all"]).await.unwrap();
    let of = |field: &str| {
        let members = members["members"].as_array().unwrap().iter();
        members.map(|member| member[field].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("role"), ["admin", "member", "member", "member"]);
    assert_eq!(of("standing"), ["live", "live", "revoked", "revoked"]);
}

#[tokio::test]
async fn a_resume_whose_answer_is_lost_is_found_in_the_log() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.lose_store().await.unwrap();
    let wanted = async |lab: &Lab| {
        let health = lab.client("alpha").health().await.ok()?;
        health.meshes[0].resume_wanted.is_some().then_some(())
    };
    eventually(WITHIN, "a resume is wanted", async || wanted(&lab).await).await.unwrap();
    lab.linked("alpha").await.unwrap();
    let alpha = lab.id("alpha");
    let work = run(&lab, &["mesh", "resume"], "");
    let output = without_answer(&lab, entry(alpha, "resume"), When::named(alpha, "log"), work).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(handed_over(&lab, "resume"), 1);
    let over = async || if wanted(&lab).await.is_none() { Some(()) } else { None };
    eventually(WITHIN, "the mesh goes on", over).await.unwrap();
}

#[tokio::test]
async fn a_founding_and_a_join_whose_answer_is_lost_end_well_with_the_same_command() {
    let lab = Lab::start(PROGRAM).await.unwrap();
    let url = lab.proxy().url();
    let create = ["--json", "mesh", "create", "home", "--broker", &url, "--node", "alpha"];
    let (append, answer) = (|| When::entering("log.append"), || When::entering("log"));
    let work = lab.run("alpha", &create, b"");
    let created = without_answer(&lab, append(), answer(), work).await.unwrap().json().unwrap();
    assert_eq!(created["recovery_words"].as_str().unwrap().split(' ').count(), 24);
    lab.json("alpha", &["node", "up"]).await.unwrap();
    lab.linked("alpha").await.unwrap();
    let twice = InviteRequest { uses: Some(2), ..InviteRequest::default() };
    let token = lab.client("alpha").invite(&twice).await.unwrap().token;
    for (node, lost) in [("beta", "answer"), ("gamma", "entry")] {
        let join = ["--json", "join", "-", "--name", node];
        let work = lab.run(node, &join, token.as_bytes());
        let joined = if lost == "answer" {
            without_answer(&lab, append(), answer(), work).await
        } else {
            without_entry(&lab, append(), work).await
        };
        assert_eq!(joined.unwrap().json().unwrap()["node"], node, "the {lost} lost");
    }
    let joined = async || {
        let peers = lab.client("alpha").peers(&MeshQuery::default()).await.ok()?.peers;
        (peers.len() == 3).then_some(())
    };
    eventually(WITHIN, "alpha knows both", joined).await.unwrap();
    let left = lab.client("alpha").invites(&MeshQuery::default()).await.unwrap().invites;
    assert!(left.is_empty(), "two uses, each used once: {left:?}");
    lab.json("alpha", &["node", "down"]).await.unwrap();
}
