//! What a monitor reads from a node, and what it must not.

use waxwing_client::api::SendRequest;
use waxwing_lab::{Lab, eventually};

use crate::commands::{json, run};
use crate::support::{Pair, WITHIN, mesh};

/// One sample of a node's metrics, in the mesh of the lab: `alarms` and `what="log_mismatch"`, for example.
pub(crate) async fn sample(lab: &Lab, node: &str, metric: &str, labels: &str) -> f64 {
    let page = lab.client(node).metrics().await.unwrap();
    let comma = if labels.is_empty() { "" } else { "," };
    let name = format!("waxwing_node_{metric}{{mesh=\"lab\"{comma}{labels}}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or_else(|| panic!("no {name}in {page}")).parse().unwrap()
}

/// Waits until a sample has this value.
pub(crate) async fn shows(lab: &Lab, node: &str, metric: &str, labels: &str, value: f64) {
    let there = async || (sample(lab, node, metric, labels).await == value).then_some(());
    eventually(WITHIN, &format!("{metric} {labels} of {node} is {value}"), there).await.unwrap();
}

#[tokio::test]
async fn a_node_shows_what_it_did_with_mail_and_no_name_but_its_meshes() {
    let mut pair = Pair::start().await;
    let (app, body) = ("nightjar", "a heron stands in the reeds");
    let to_app = SendRequest {
        to: format!("{app}@beta"),
        body: Some(body.to_owned()),
        client_message_id: Some("the-heron".parse().unwrap()),
        ..SendRequest::default()
    };
    pair.lab.client("alpha").app("kingfisher".parse().unwrap()).send(&to_app).await.unwrap();
    pair.warm_up().await;
    let lab = &mut pair.lab;
    shows(lab, "alpha", "messages_delivered_total", "", 2.0).await;
    assert_eq!(sample(lab, "alpha", "messages_accepted_total", "").await, 2.0);
    assert_eq!(sample(lab, "beta", "messages_received_total", "").await, 2.0);
    assert_eq!(sample(lab, "beta", "messages_accepted_total", "").await, 0.0);
    assert_eq!(sample(lab, "beta", "members", "").await, 2.0);
    shows(lab, "beta", "state_key_held", "", 1.0).await;

    let ids = [lab.id("alpha").to_string(), lab.id("beta").to_string()];
    for node in ["alpha", "beta"] {
        let page = lab.run(node, &["node", "metrics"], b"").await.unwrap().stdout;
        assert!(page.contains("waxwing_node_build_info") && page.ends_with("# EOF\n"), "{page}");
        let secrets = ["alpha", "beta", "kingfisher", "nightjar", "heron", "m-1", &ids[0], &ids[1]];
        for secret in secrets {
            assert!(!page.contains(secret), "{node} shows {secret}: {page}");
        }
        let document = lab.json(node, &["node", "metrics"]).await.unwrap();
        assert!(document["metrics"].as_str().unwrap().contains("waxwing_node_link_up{mesh=\"lab\"} 1\n"));
    }
    lab.kill(Lab::BROKER).await.unwrap();
    shows(lab, "alpha", "link_up", "", 0.0).await;
    assert_eq!(sample(lab, "alpha", "link_stopped", "").await, 0.0);
    lab.stop("beta").await.unwrap();
    assert_eq!(lab.run("beta", &["node", "metrics"], b"").await.unwrap().code, Some(6));
}

#[tokio::test]
async fn how_long_mail_has_waited_for_the_broker_is_shown_until_it_is_there() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let lab = &mut pair.lab;
    assert_eq!(sample(lab, "alpha", "outbox_oldest_seconds", "").await, 0.0);
    lab.kill(Lab::BROKER).await.unwrap();
    pair.send(2).await;
    let lab = &mut pair.lab;
    let waits = async || (sample(lab, "alpha", "outbox_oldest_seconds", "").await >= 2.0).then_some(());
    eventually(WITHIN, "the first of both has waited for two seconds", waits).await.unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
    shows(lab, "alpha", "outbox_oldest_seconds", "", 0.0).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_node_shows_what_its_apps_have_and_what_they_have_not_read() {
    let lab = mesh(&["alpha"]).await;
    let has = async |values: [(&str, f64); 4]| {
        for (metric, value) in values {
            shows(&lab, "alpha", metric, "", value).await;
        }
    };
    has([("leases_held", 0.0), ("claims_held", 0.0), ("state_keys", 0.0), ("topic_backlog", 0.0)]).await;
    json(&lab, "alpha", &["claim", "try", "nightly", "--app", "ann"]).await;
    json(&lab, "alpha", &["kv", "put", "deploy/target", "blue", "--app", "ann"]).await;
    // Two who have not read the same message: it waits once.
    for app in ["ann", "bob"] {
        json(&lab, "alpha", &["topic", "subscribe", "build:*", "--app", app, "--only"]).await;
    }
    json(&lab, "alpha", &["topic", "publish", "build:failed", "main is red", "--app", "ci"]).await;
    has([("leases_held", 0.0), ("claims_held", 1.0), ("state_keys", 1.0), ("topic_backlog", 1.0)]).await;
    json(&lab, "alpha", &["claim", "abandon", "nightly", "--app", "ann"]).await;
    json(&lab, "alpha", &["kv", "delete", "deploy/target", "--app", "ann"]).await;
    let reads = ["topic", "subscribe", "build:*", "--count", "1", "--app"];
    run(&lab, "alpha", &[&reads[..], &["ann"]].concat()).await;
    assert_eq!(sample(&lab, "alpha", "topic_backlog", "").await, 1.0, "bob has not read it");
    run(&lab, "alpha", &[&reads[..], &["bob"]].concat()).await;
    has([("leases_held", 0.0), ("claims_held", 0.0), ("state_keys", 0.0), ("topic_backlog", 0.0)]).await;
}
