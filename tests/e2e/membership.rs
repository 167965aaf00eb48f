//! Who may do what, and what becomes of a node that is thrown out.

use waxwing_client::api::{InviteRequest, MessageState};
use waxwing_lab::Lab;

use crate::support::{PROGRAM, Pair, WITHIN, mesh};

/// Runs a command that must fail, and says how.
async fn refused(lab: &Lab, node: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = lab.run(node, arguments, b"").await.unwrap();
    assert_ne!(output.code, Some(0), "{output:?}");
    (output.code, output.stderr)
}

#[tokio::test]
async fn a_revoked_node_is_out_its_mail_goes_back_and_no_invite_lets_it_in_again() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    lab.add("alpha").await.unwrap();
    let twice = InviteRequest { uses: Some(2), ..InviteRequest::default() };
    let invite = lab.client("alpha").invite(&twice).await.unwrap();
    lab.enrol_by("beta", &InviteRequest::default()).await.unwrap();
    let joined = lab.run("gamma", &["join", "-", "--name", "gamma"], invite.token.as_bytes()).await.unwrap();
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    let mut pair = Pair::on(lab);
    pair.warm_up().await;

    // One message is at the broker, and one for a node that has no keys yet waits here.
    pair.lab.stop("beta").await.unwrap();
    pair.send(1).await;
    pair.accepted("m-2").await;
    pair.sender.send("gamma", "early", WITHIN).await.unwrap();
    for (node, id) in [("beta", "m-2"), ("gamma", "early")] {
        let (code, stderr) = refused(&pair.lab, "alpha", &["revoke", node]).await;
        assert_eq!((code, stderr.contains("--yes")), (Some(2), true), "{stderr}");
        pair.lab.json("alpha", &["revoke", node, "--yes", "--reason", "a test"]).await.unwrap();
        let status = pair.settled(id).await;
        assert_eq!((status.state, status.reason.as_deref()), (MessageState::Dead, Some("revoked_recipient")));
    }
    let (code, stderr) = refused(&pair.lab, "alpha", &["send", "beta", "too late"]).await;
    assert_eq!((code, stderr.contains("no longer a member")), (Some(3), true), "{stderr}");

    // It is told so, and ends; and the invite that let gamma in lets nobody in any more.
    drop(pair.lab.restart("beta").await);
    let ended = pair.lab.process("beta").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(3), "{}", pair.lab.process("beta").log_end());
    let again =
        pair.lab.run("delta", &["join", "-", "--name", "delta"], invite.token.as_bytes()).await.unwrap();
    assert_eq!((again.code, again.stderr.contains("revoked")), (Some(3), true), "{}", again.stderr);
    // The name is free for another.
    pair.lab.enrol("epsilon").await.unwrap();
}

#[tokio::test]
async fn a_node_that_is_revoked_while_it_runs_is_cut_off_at_once() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.json("alpha", &["revoke", "beta", "--yes"]).await.unwrap();
    let ended = lab.process("beta").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(3), "{}", lab.process("beta").log_end());
    assert!(lab.process("beta").log().contains("this node was revoked"), "{}", lab.process("beta").log_end());
}

#[tokio::test]
async fn admins_decide_who_is_an_admin_and_one_remains() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (code, _) = refused(&lab, "beta", &["grant", "beta", "admin"]).await;
    assert_eq!(code, Some(3), "beta is a member");
    let (code, stderr) = refused(&lab, "alpha", &["grant", "alpha", "member"]).await;
    assert_eq!((code, stderr.contains("without an admin")), (Some(8), true), "{stderr}");
    let (code, stderr) = refused(&lab, "alpha", &["revoke", "betta", "--yes"]).await;
    assert_eq!((code, stderr.contains("beta")), (Some(7), true), "near names are shown: {stderr}");
    lab.json("alpha", &["grant", "beta", "admin"]).await.unwrap();
    let (code, _) = refused(&lab, "alpha", &["grant", "beta", "admin"]).await;
    assert_eq!(code, Some(8), "it is one already");
    lab.json("beta", &["invite"]).await.unwrap();
    lab.json("beta", &["grant", "alpha", "member"]).await.unwrap();
    // Until alpha has heard of it, it is the broker that says no.
    let knows = async || (refused(&lab, "alpha", &["invite"]).await.0 == Some(3)).then_some(());
    waxwing_lab::eventually(WITHIN, "alpha knows that it is no admin", knows).await.unwrap();
}

#[tokio::test]
async fn two_people_who_compare_their_words_see_the_same_ones() {
    let lab = mesh(&["alpha", "beta", "gamma"]).await;
    let words = async |node: &str, peer: &str| {
        lab.json(node, &["peers", "verify", peer]).await.unwrap()["words"].as_array().unwrap().clone()
    };
    let seen = words("alpha", "beta").await;
    assert_eq!(seen.len(), 6);
    assert_eq!(seen, words("beta", "alpha").await);
    assert_ne!(seen, words("alpha", "gamma").await);
    let (code, stderr) = refused(&lab, "alpha", &["peers", "verify", "alpha"]).await;
    assert_eq!((code, stderr.contains("this node itself")), (Some(2), true), "{stderr}");
    // With another key they are others, on both sides alike.
    lab.json("beta", &["rotate-keys"]).await.unwrap();
    let after = words("beta", "alpha").await;
    assert_ne!(seen, after);
    let same = async || (words("alpha", "beta").await == after).then_some(());
    waxwing_lab::eventually(WITHIN, "alpha knows beta's new key", same).await.unwrap();
}

#[tokio::test]
async fn mail_of_a_blocked_member_ends_at_its_sender_and_allowed_again_it_arrives() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let blocked = pair.lab.json("beta", &["peers", "block", "alpha"]).await.unwrap();
    assert_eq!(blocked["blocked"], true);
    pair.lab.json("beta", &["peers", "block", "alpha"]).await.unwrap();
    pair.lab.kill("beta").await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    let peers = pair.lab.json("beta", &["peers"]).await.unwrap();
    let shown = |name: &str| {
        let of = |peer: &&serde_json::Value| peer["node"] == name;
        peers["peers"].as_array().unwrap().iter().find(of).unwrap()["blocked"].as_bool()
    };
    assert_eq!((shown("alpha"), shown("beta")), (Some(true), None), "also after a restart");
    pair.sender.send("beta", "refused", WITHIN).await.unwrap();
    let status = pair.settled("refused").await;
    assert_eq!((status.state, status.reason.as_deref()), (MessageState::Dead, Some("blocked")));
    let sent = pair.lab.json("beta", &["send", "alpha", "still", "--wait", "delivered"]).await.unwrap();
    assert_eq!(sent["state"], "delivered", "the other way is open");

    pair.lab.json("beta", &["peers", "allow", "alpha"]).await.unwrap();
    pair.send(2).await;
    assert_eq!(pair.settled("m-3").await.state, MessageState::Delivered);
    let ids: Vec<_> = pair.read(2).await.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(ids, ["m-2", "m-3"], "at once: nobody waits for the counter of what was refused");
}
