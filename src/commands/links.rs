//! Whether brokers let the node in: what a start in the background waits for.
//!
//! A broker that is away, or on a network that is, is nothing wrong: the node goes on trying, and nobody waits for it. A node
//! that is refused for good is: that is how the command ends, whatever else goes on.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waxwing_client::Client;
use waxwing_client::api::{Health, LinkState, MeshHealth};

use crate::background::Started;
use crate::failure::{Failure, Result};
use crate::output::inline;

/// A broker that has not answered by then may still do, but nobody waits any longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// The second attempt begins a quarter of a second after the first has failed, at the latest.
const TWICE_WITHIN: Duration = Duration::from_millis(500);
/// A broker that was started just now lets its nodes in within this time, also one that waits before it dials again.
const OWN_WITHIN: Duration = Duration::from_secs(10);
/// A node that has no mesh to go on with is gone by then, by its own promise.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How the node is once every broker has let it in or refused it, or has had time enough. `started`, if this command has
/// started it; `own`: the broker that this command sees to.
///
/// # Errors
/// The node's own, if it ends instead.
pub(super) async fn judged(
    client: &Client,
    mut started: Option<&mut Started>,
    own: Option<&str>,
) -> Result<Health> {
    let begin = Instant::now();
    loop {
        let health = client.health().await;
        if let Some(ended) = started.as_mut().and_then(|started| started.ended()) {
            return Err(ended);
        }
        let waited = begin.elapsed();
        let ending = started.is_some() && waited < ENDED_WITHIN;
        match health {
            Ok(health) if ending && is_over(&health) => {}
            Ok(health) if health.meshes.iter().any(|mesh| waited < patience(mesh, own)) => {}
            Ok(health) => return Ok(health),
            Err(_) if ending => {}
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether the node has meshes and none to go on with: it ends, or is about to, and says why itself. At its end it closes them.
fn is_over(health: &Health) -> bool {
    let in_some = !health.meshes.is_empty() || !health.closed.is_empty();
    in_some && health.meshes.iter().all(|mesh| mesh.link.state == LinkState::Stopped)
}

/// How long a mesh is waited for.
fn patience(mesh: &MeshHealth, own: Option<&str>) -> Duration {
    match mesh.link.state {
        LinkState::Up | LinkState::Stopped => Duration::ZERO,
        LinkState::Down if own == Some(&mesh.broker) => OWN_WITHIN,
        LinkState::Down if mesh.link.reason.is_some() => TWICE_WITHIN,
        LinkState::Down => ANSWERED_WITHIN,
    }
}

/// The refusal that the command ends with: of the first mesh that has stopped.
pub(super) fn refusal(health: &[MeshHealth]) -> Result<()> {
    let stopped = health.iter().find_map(|mesh| Some((mesh, mesh.link.stop.as_ref()?)));
    stopped.map_or(Ok(()), |(mesh, stop)| {
        let goes_on = health.iter().any(|mesh| mesh.link.state != LinkState::Stopped);
        let others = if goes_on { ", and the node goes on with its others" } else { "" };
        let reason = mesh.link.reason.as_deref().unwrap_or("nobody knows why");
        Err(Failure::stopped(stop, format!("mesh {} has stopped{others}: {reason}", mesh.mesh)))
    })
}

/// One line of how a mesh is, for people.
pub(super) fn line(mesh: &MeshHealth) -> String {
    let reason = mesh.link.reason.as_deref().map_or_else(|| "it has not answered".to_owned(), inline);
    let what = match mesh.link.state {
        LinkState::Up => String::new(),
        LinkState::Down => format!(": its broker is not reachable yet: {reason}"),
        LinkState::Stopped => format!(": {reason}"),
    };
    format!("mesh    {} as {}, link {}{what}", mesh.mesh, mesh.node, mesh.link.state.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A node in these meshes, each by the state of its link, or closed.
    fn health(meshes: &[&str]) -> Health {
        let (closed, open): (Vec<&str>, Vec<&str>) = meshes.iter().partition(|state| **state == "closed");
        let id = waxwing_client::NodeId::from_bytes([1; 16]);
        let mesh = |state: &&str| {
            json!({
                "mesh": "home", "mesh_id": id, "node": "here", "node_id": id, "broker": "ws://127.0.0.1:1",
                "link": {"state": state, "since": 1}, "members": 1, "epoch": 1, "outbox_pending": 0,
                "outbox_unreceipted": 0, "inbox_unread": 0, "inbox_held": 0, "quarantined": 0,
                "clock_offset_ms": 0, "state_key": {"held": true},
            })
        };
        let open: Vec<Value> = open.iter().map(mesh).collect();
        let closed: Vec<Value> =
            closed.iter().map(|_| json!({"mesh": "home", "reason": "stopping"})).collect();
        serde_json::from_value(json!({"live": true, "ready": true, "meshes": open, "closed": closed}))
            .unwrap()
    }

    #[test]
    fn a_node_is_over_when_no_mesh_goes_on_and_it_was_in_one() {
        for over in [&["stopped"][..], &["stopped", "stopped"], &["closed"], &["stopped", "closed"]] {
            assert!(is_over(&health(over)), "{over:?}");
        }
        for goes_on in [&[][..], &["up"], &["down"], &["stopped", "down"], &["closed", "up"]] {
            assert!(!is_over(&health(goes_on)), "{goes_on:?}");
        }
    }

    #[test]
    fn only_a_mesh_that_is_neither_let_in_nor_refused_is_waited_for_and_longest_if_its_broker_is_ours() {
        let mesh = |state| health(&[state]).meshes.remove(0);
        for settled in ["up", "stopped"] {
            assert_eq!(patience(&mesh(settled), Some("ws://127.0.0.1:1")), Duration::ZERO);
        }
        let mut down = mesh("down");
        let unanswered = patience(&down, None);
        down.link.reason = Some("nobody listens there".to_owned());
        let refused = patience(&down, Some("ws://127.0.0.1:2"));
        let own = patience(&down, Some("ws://127.0.0.1:1"));
        assert!(Duration::ZERO < refused && refused < unanswered && unanswered < own);
    }
}
