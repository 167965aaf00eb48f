//! Who makes an epoch, when, and what becomes of those that get in between.

use waxwing_client::api::{InviteRequest, ProblemCode, ResumeRequest};
use waxwing_lab::proxy::Happened;
use waxwing_lab::{Frame, Lab, When, eventually};
use waxwing_protocol::link::{Code, ErrorFrame, ToBroker, ToNode};

use super::{epochs, held, holds, invite, join, make_admin, revoke};
use crate::support::{WITHIN, mesh};

#[tokio::test]
async fn after_a_leave_one_admins_node_makes_an_epoch_and_no_other_does() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    for admin in ["beta", "gamma"] {
        make_admin(&lab, admin).await;
    }
    let left = held(&lab, "delta").await;
    lab.json("delta", &["leave", "--yes"]).await.unwrap();
    for node in ["alpha", "beta", "gamma"] {
        holds(&lab, node, 2).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await);
    }
    assert_eq!((left.len(), held(&lab, "alpha").await.len()), (1, 2));
    // More happens, and whoever was about to make a second one has had its chance.
    let token = invite(&lab, 1).await;
    join(&mut lab, "epsilon", &token).await;
    revoke(&lab, "gamma").await;
    for node in ["alpha", "beta", "epsilon"] {
        holds(&lab, node, 3).await;
    }
    assert_eq!(epochs(&lab, "epsilon").await, [2, 3], "one for the leave, one for the revoke");
}

#[tokio::test]
async fn after_the_loss_of_the_store_a_resume_brings_one_new_epoch_however_many_admins_there_are() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    for admin in ["beta", "gamma", "delta"] {
        make_admin(&lab, admin).await;
    }
    revoke(&lab, "epsilon").await;
    for node in ["alpha", "beta", "gamma", "delta"] {
        holds(&lab, node, 2).await;
    }
    lab.lose_store().await.unwrap();
    for node in ["alpha", "beta", "gamma", "delta"] {
        lab.linked(node).await.unwrap();
    }
    let client = lab.client("alpha");
    let waits = async || client.health().await.ok()?.meshes.pop()?.resume_wanted;
    eventually(WITHIN, "alpha knows of the loss", waits).await.unwrap();
    client.resume(&ResumeRequest { mesh: None }).await.unwrap();
    for node in ["alpha", "beta", "gamma", "delta"] {
        holds(&lab, node, 3).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await);
    }
    // Another entry passes: whoever was about to make a second epoch has had its chance.
    let token = invite(&lab, 1).await;
    join(&mut lab, "zeta", &token).await;
    holds(&lab, "zeta", 3).await;
    assert_eq!(epochs(&lab, "zeta").await, [2, 3]);
    assert_eq!(held(&lab, "zeta").await, held(&lab, "alpha").await);
}

/// The answer to an append of this node.
fn is_append(frame: &Frame) -> bool {
    matches!(frame, Frame::ToBroker(ToBroker::LogAppend(_)))
}

#[tokio::test]
async fn who_joins_while_an_epoch_is_made_has_a_slot_in_it() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    let token = invite(&lab, 1).await;
    let append = lab.proxy().hold(When::matches(lab.id("alpha"), is_append));
    let client = lab.client("alpha");
    let request =
        waxwing_client::api::RevokeRequest { node: "gamma".parse().unwrap(), reason: None, mesh: None };
    let revoking = tokio::spawn(async move { client.revoke(&request).await });
    // The list is at the broker, the entry is not: delta comes in between, and the list knows it only as an invite.
    let held_back = append.held().await.unwrap();
    join(&mut lab, "delta", &token).await;
    held_back.release();
    revoking.await.unwrap().unwrap();
    for node in ["alpha", "beta", "delta"] {
        holds(&lab, node, 2).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await, "{node}");
    }
    let puts = lab.proxy().captured();
    let puts = puts.iter().filter(|captured| captured.frame.name() == "keys.put").count();
    assert_eq!((puts, epochs(&lab, "delta").await), (2, vec![2]), "the list was made anew");
}

#[tokio::test]
async fn admins_who_revoke_at_the_same_time_each_make_an_epoch() {
    let lab = mesh(&["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    make_admin(&lab, "beta").await;
    let request = |node: &str| waxwing_client::api::RevokeRequest {
        node: node.parse().unwrap(),
        reason: None,
        mesh: None,
    };
    let (one, two) = (request("gamma"), request("delta"));
    let (alpha, beta) = (lab.client("alpha"), lab.client("beta"));
    let knows = async || {
        let health = beta.health().await.ok()?.meshes.pop()?;
        (health.role == Some(waxwing_crypto::membership::Role::Admin)).then_some(())
    };
    eventually(WITHIN, "beta is an admin", knows).await.unwrap();
    let (one, two) = tokio::join!(alpha.revoke(&one), beta.revoke(&two));
    one.unwrap();
    two.unwrap();
    for node in ["alpha", "beta", "epsilon"] {
        holds(&lab, node, 3).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await, "{node}");
    }
    assert_eq!(epochs(&lab, "epsilon").await, [2, 3]);
}

/// A broker that has no slot for this node, as often as it asks, until the rules are dropped.
fn withhold(lab: &Lab, node: &str) -> Vec<Happened> {
    let none = |frame| {
        let Frame::ToNode(ToNode::Keys(mut keys)) = frame else { return vec![frame] };
        keys.found = None;
        vec![Frame::ToNode(ToNode::Keys(keys))]
    };
    (0..50).map(|_| lab.proxy().rewrite_next(When::named(lab.id(node), "keys"), none)).collect()
}

#[tokio::test]
async fn an_epoch_that_was_due_while_no_admin_was_there_is_made_when_one_comes() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    lab.stop("alpha").await.unwrap();
    lab.json("gamma", &["leave", "--yes"]).await.unwrap();
    let client = lab.client("beta");
    let out = async || (client.health().await.ok()?.meshes.pop()?.members == 2).then_some(());
    eventually(WITHIN, "beta sees that gamma has left", out).await.unwrap();
    assert_eq!(held(&lab, "beta").await.len(), 1, "beta is no admin");
    lab.restart("alpha").await.unwrap();
    for node in ["alpha", "beta"] {
        holds(&lab, node, 2).await;
    }
    assert_eq!(held(&lab, "beta").await, held(&lab, "alpha").await);
}

#[tokio::test]
async fn an_admins_node_killed_at_any_step_of_an_epoch_leaves_it_to_be_made_or_makes_one() {
    let mut lab = mesh(&["alpha", "beta", "one", "two", "three", "four"]).await;
    let alpha = lab.id("alpha");
    let steps = [("one", "done"), ("two", "log.append"), ("three", "log"), ("four", "keys")];
    for (n, (node, frame)) in steps.into_iter().enumerate() {
        // A leave is pushed as a `log`; that which answers the append has a number.
        let step = When::matches(alpha, move |seen| {
            let is_push = matches!(seen, Frame::ToNode(ToNode::Log(log)) if log.req.is_none());
            seen.name() == frame && !is_push
        });
        let hold = lab.proxy().hold(step);
        lab.json(node, &["leave", "--yes"]).await.unwrap();
        let held_back = hold.held().await.unwrap();
        lab.kill("alpha").await.unwrap();
        drop(held_back);
        lab.restart("alpha").await.unwrap();
        let epoch = n as u64 + 2;
        for node in ["alpha", "beta"] {
            holds(&lab, node, epoch).await;
            assert_eq!(held(&lab, node).await, held(&lab, "alpha").await, "killed at {frame}");
        }
        assert_eq!(epochs(&lab, "beta").await, (2..=epoch).collect::<Vec<_>>(), "killed at {frame}");
        lab.linked("alpha").await.unwrap();
    }
}

#[tokio::test]
async fn who_changes_keys_before_it_has_the_newest_opens_what_was_sealed_to_the_old() {
    let lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    let withheld = withhold(&lab, "beta");
    revoke(&lab, "gamma").await;
    holds(&lab, "alpha", 2).await;
    lab.json("beta", &["rotate-keys"]).await.unwrap();
    lab.linked("beta").await.unwrap();
    assert_eq!(held(&lab, "beta").await.len(), 1);
    drop(withheld);
    lab.proxy().cut_links();
    holds(&lab, "beta", 2).await;
    // The next one is sealed to its new key.
    revoke(&lab, "delta").await;
    for node in ["alpha", "beta"] {
        holds(&lab, node, 3).await;
    }
    assert_eq!(held(&lab, "beta").await, held(&lab, "alpha").await);
}

#[tokio::test]
async fn an_admin_without_the_newest_key_revokes_at_once_and_invites_nobody() {
    let lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    make_admin(&lab, "beta").await;
    let withheld = withhold(&lab, "beta");
    revoke(&lab, "gamma").await;
    holds(&lab, "alpha", 2).await;
    let client = lab.client("beta");
    let lacks = async || {
        let mesh = client.health().await.ok()?.meshes.pop()?;
        (mesh.epoch == 2 && !mesh.state_key.held).then_some(mesh.state_key.problem?)
    };
    let why = eventually(WITHIN, "beta says what it lacks", lacks).await.unwrap();
    assert_eq!(why, "the broker has no key of epoch 2 for this node");
    let refused = client.invite(&InviteRequest::default()).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::KeysWanted);
    let shown = lab.run("beta", &["invite"], b"").await.unwrap();
    assert_eq!(shown.code, Some(8), "{shown:?}");
    lab.json("beta", &["revoke", "delta", "--yes"]).await.unwrap();
    // Whoever has the keys makes the epoch that is due: alpha.
    holds(&lab, "alpha", 3).await;
    drop(withheld);
    lab.proxy().cut_links(); // On a new link it asks at once.
    holds(&lab, "beta", 3).await;
    assert_eq!(held(&lab, "beta").await, held(&lab, "alpha").await, "with those that it had missed");
    client.invite(&InviteRequest::default()).await.unwrap();
}

#[tokio::test]
async fn an_admins_node_that_cannot_make_an_epoch_says_so_and_goes_on_trying() {
    let lab = mesh(&["alpha", "beta"]).await;
    let refuse = |frame| {
        let Frame::ToNode(ToNode::Done(done)) = frame else { return vec![frame] };
        let detail = "the disk is full of lists".to_owned();
        let error = ErrorFrame { req: Some(done.req), code: Code::NotAllowed, detail, after: None };
        vec![Frame::ToNode(ToNode::Error(error))]
    };
    let refused = lab.proxy().rewrite_next(When::named(lab.id("alpha"), "done"), refuse);
    lab.json("beta", &["leave", "--yes"]).await.unwrap();
    refused.happened().await.unwrap();
    let client = lab.client("alpha");
    let says = async || client.health().await.ok()?.meshes.pop()?.state_key.problem;
    let why = eventually(WITHIN, "alpha says what is wrong", says).await.unwrap();
    assert_eq!(why, "a new epoch is wanted and cannot be made: the disk is full of lists");
    let status = lab.run("alpha", &["node", "status"], b"").await.unwrap();
    assert!(status.stdout.contains("warning a new epoch is wanted"), "{status:?}");
    holds(&lab, "alpha", 2).await;
    let health = client.health().await.unwrap().meshes.pop().unwrap();
    assert_eq!(health.state_key.problem, None);
}
