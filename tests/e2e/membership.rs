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
    let (code, _) = refused(&lab, "alpha", &["invite"]).await;
    assert_eq!(code, Some(3));
}
