//! What the broker says when it ends a link is obeyed, and a refusal stops one mesh, not the process.

use waxwing_client::NodeId;
use waxwing_client::api::{Link, LinkState};
use waxwing_lab::{Frame, Lab, When, eventually};
use waxwing_protocol::link::{GoAway, Reason, ToNode};

use crate::support::{WITHIN, mesh};

fn goaway(reason: Reason, again: Option<(u64, u64)>) -> Vec<Frame> {
    vec![Frame::ToNode(ToNode::GoAway(GoAway { reason, detail: "as the test has it".into(), again }))]
}

/// Refuses the next login of a node, and has it log in.
async fn refuse(lab: &Lab, node: NodeId, reason: Reason) {
    let refused = lab.proxy().rewrite_next(When::named(node, "welcome"), move |_| goaway(reason, None));
    lab.proxy().cut_links();
    refused.happened().await.unwrap();
}

/// The link of one of alpha's meshes, by the id that alpha has in it.
async fn link(lab: &Lab, node: NodeId) -> Option<Link> {
    let health = lab.client("alpha").health().await.ok()?;
    health.meshes.into_iter().find(|mesh| mesh.node_id == node).map(|mesh| mesh.link)
}

#[tokio::test]
async fn a_refusal_stops_one_mesh_and_the_others_go_on_until_none_is_left() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.stop("alpha").await.unwrap();
    let url = lab.proxy().url();
    let create = ["mesh", "create", "second", "--broker", &url, "--node", "alpha"];
    let created = lab.json("alpha", &create).await.unwrap();
    let second: NodeId = created["node_id"].as_str().unwrap().parse().unwrap();
    lab.restart("alpha").await.unwrap();
    lab.linked("alpha").await.unwrap();

    refuse(&lab, second, Reason::Revoked).await;
    let stopped = async || link(&lab, second).await.filter(|link| link.state == LinkState::Stopped);
    let stopped = eventually(WITHIN, "the second mesh is stopped", stopped).await.unwrap();
    let reason = stopped.reason.unwrap();
    assert!(reason.contains("revoked") && reason.contains("as the test has it"), "{reason}");
    let first = lab.id("alpha");
    let up = async || link(&lab, first).await.filter(|link| link.state == LinkState::Up);
    eventually(WITHIN, "the first mesh is up", up).await.unwrap();
    for (node, arguments) in [
        ("alpha", ["--mesh", "lab", "send", "beta", "hello", "--wait", "delivered"]),
        ("beta", ["--mesh", "lab", "send", "alpha", "hello", "--wait", "delivered"]),
    ] {
        assert_eq!(lab.json(node, &arguments).await.unwrap()["state"], "delivered", "from {node}");
    }

    refuse(&lab, first, Reason::WrongBroker).await;
    let ended = lab.process("alpha").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(5), "nothing is left to do, and the last refusal says why");
}

#[tokio::test]
async fn a_link_that_is_ended_for_a_while_comes_back_and_carries_mail() {
    let lab = mesh(&["alpha", "beta"]).await;
    let alpha = lab.id("alpha");
    for reason in [Reason::Restarting, Reason::Busy, Reason::TooSlow, Reason::Replaced] {
        // In the middle of a link, in place of an answer: the message is sent again on the next.
        let ended =
            lab.proxy().rewrite_next(When::named(alpha, "sent"), move |_| goaway(reason, Some((0, 50))));
        let send = ["send", "beta", "hello", "--wait", "delivered"];
        assert_eq!(lab.json("alpha", &send).await.unwrap()["state"], "delivered", "{reason}");
        ended.happened().await.unwrap();
    }
}
