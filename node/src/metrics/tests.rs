//! A page, by what is in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use waxwing_crypto::ClientMessageId;

use super::*;

/// A node that is in `home`, which is well, and in `team`, which is not open.
fn health() -> Health {
    let link = json!({"state": "up", "since": 1});
    let alarm = |node: u8| {
        let node = waxwing_crypto::NodeId::from_bytes([node; 16]);
        json!({"what": "log_withheld", "node": node, "since": 1, "detail": "mail from carol waits"})
    };
    let home = json!({
        "mesh": "home", "mesh_id": waxwing_crypto::MeshId::from_bytes([1; 16]), "node": "alpha",
        "node_id": waxwing_crypto::NodeId::from_bytes([2; 16]), "broker": "ws://127.0.0.1:7900", "link": link,
        "members": 3, "epoch": 4, "outbox_pending": 5, "outbox_oldest_seconds": 77, "outbox_unreceipted": 6, "inbox_unread": 7,
        "inbox_held": 8, "quarantined": 9, "leases_held": 2, "leases_waiting": 1,
        "claims_held": 10, "state_keys": 11, "topic_backlog": 12, "clock_offset_ms": -1500, "state_key": {"held": true},
        "alarms": [alarm(3), alarm(4)],
    });
    let closed = json!({"mesh": "team", "reason": "it is being moved"});
    let health = json!({"live": true, "ready": false, "meshes": [home], "closed": [closed]});
    serde_json::from_value(health).unwrap()
}

/// Of `home` alone: `team` has no folder that could be looked at.
fn disk() -> Disk {
    Disk { stores: vec![("home".parse().unwrap(), [8_192, 4_096])], free: Some(1 << 30) }
}

fn security(what: &str) -> EventBody {
    EventBody::Security { what: what.to_owned(), node: None, detail: "carol".to_owned() }
}

/// Every sample, without the prefix.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.strip_prefix("waxwing_node_").unwrap_or(name).to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[test]
fn a_page_shows_what_health_says_and_what_was_counted() {
    let metrics = Metrics::new();
    let mut batch = Tally::default();
    batch.accepted(2);
    batch.received(3);
    for state in [MessageState::Delivered, MessageState::Read] {
        let client_message_id: ClientMessageId = "m-1".parse().unwrap();
        batch.told(&EventBody::Receipt { client_message_id, state });
    }
    batch.told(&security("node_duplicated"));
    let home = "home".parse().unwrap();
    metrics.counts(&home).add(&batch);
    metrics.counts(&home).add(&batch);
    let shown = samples(&metrics.render(&health(), &disk()));
    for (sample, value) in [
        ("link_up{mesh=\"home\"}", 1.0),
        ("link_up{mesh=\"team\"}", 0.0),
        ("link_stopped{mesh=\"home\"}", 0.0),
        ("members{mesh=\"home\"}", 3.0),
        ("epoch{mesh=\"home\"}", 4.0),
        ("outbox_pending{mesh=\"home\"}", 5.0),
        ("outbox_oldest_seconds{mesh=\"home\"}", 77.0),
        ("outbox_unreceipted{mesh=\"home\"}", 6.0),
        ("inbox_unread{mesh=\"home\"}", 7.0),
        ("inbox_held{mesh=\"home\"}", 8.0),
        ("quarantined{mesh=\"home\"}", 9.0),
        ("leases_held{mesh=\"home\"}", 2.0),
        ("leases_waiting{mesh=\"home\"}", 1.0),
        ("claims_held{mesh=\"home\"}", 10.0),
        ("state_keys{mesh=\"home\"}", 11.0),
        ("topic_backlog{mesh=\"home\"}", 12.0),
        ("clock_offset_seconds{mesh=\"home\"}", -1.5),
        ("state_key_held{mesh=\"home\"}", 1.0),
        ("resume_wanted{mesh=\"home\"}", 0.0),
        ("alarms{mesh=\"home\",what=\"log_withheld\"}", 2.0),
        ("alarms{mesh=\"home\",what=\"log_mismatch\"}", 0.0),
        ("alarms{mesh=\"home\",what=\"log_rollback\"}", 0.0),
        ("commits_total{mesh=\"home\"}", 2.0),
        ("messages_accepted_total{mesh=\"home\"}", 4.0),
        ("messages_received_total{mesh=\"home\"}", 6.0),
        ("messages_delivered_total{mesh=\"home\"}", 2.0),
        ("store_bytes{mesh=\"home\",file=\"database\"}", 8_192.0),
        ("store_bytes{mesh=\"home\",file=\"log\"}", 4_096.0),
        ("disk_free_bytes", 1_073_741_824.0),
        ("security_events_total{mesh=\"home\",what=\"node_duplicated\"}", 2.0),
        ("security_events_total{mesh=\"home\",what=\"bad_seal\"}", 0.0),
        ("security_events_total{mesh=\"team\",what=\"node_duplicated\"}", 0.0),
    ] {
        assert_eq!(shown.get(sample), Some(&value), "{sample}");
    }
    metrics.forget(&home);
    let shown = samples(&metrics.render(&health(), &disk()));
    assert_eq!(
        shown["messages_accepted_total{mesh=\"home\"}"], 0.0,
        "of a mesh that was left and joined anew"
    );
}

#[test]
fn labels_are_meshes_and_words_and_nobody_elses_names() {
    let metrics = Metrics::new();
    let mut batch = Tally::default();
    batch.told(&security("bad_seal"));
    let counts = metrics.counts(&"home".parse().unwrap());
    counts.add(&batch);
    counts.hook(EventKind::Message, "dropped");
    counts.request("dropped");
    let page = metrics.render(&health(), &disk());
    for line in page.lines().filter(|line| line.contains('{')) {
        let labels = line.split_once('{').unwrap().1.split_once('}').unwrap().0;
        for label in labels.split(',') {
            let (name, value) = label.split_once('=').unwrap();
            let known = match name {
                "mesh" => ["\"home\"", "\"team\""].contains(&value),
                "what" => waxwing_protocol::api::SECURITY.iter().any(|what| value == format!("{what:?}")),
                "file" => ["\"database\"", "\"log\""].contains(&value),
                "kind" => value == "\"message\"",
                "outcome" => value == "\"dropped\"",
                "version" => value == format!("{:?}", crate::VERSION),
                _ => false,
            };
            assert!(known, "{line}");
        }
    }
    for secret in ["alpha", "carol", "127.0.0.1", "moved"] {
        assert!(!page.contains(secret), "{secret}");
    }
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_shown() {
    let metrics = Metrics::new();
    // What nobody has configured has no sample, and is not shown.
    metrics.counts(&"home".parse().unwrap()).hook(EventKind::Message, "ok");
    metrics.counts(&"home".parse().unwrap()).request("answered");
    let page = metrics.render(&health(), &disk());
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let shown: BTreeSet<String> = types
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .filter(|name| name.starts_with("waxwing_node_"))
        .collect();
    let docs = include_str!("../../../docs/operations.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> =
        rows.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("waxwing_node_")).collect();
    assert_eq!(shown, documented);
    assert!(page.contains("\nprocess_start_time_seconds "), "{page}");
}
