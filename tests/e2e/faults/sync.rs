//! A sync that fails: nothing is acknowledged that may not be on the disk, and the process does not go on as if it were.

use serde_json::Value;
use waxwing_client::api::MessageState;
use waxwing_lab::Lab;
use waxwing_lab::apps::request;

use super::Faults;
use crate::support::{Pair, WITHIN};

/// Waits until a node has ended by itself, with 1 and the reason.
async fn ends_with_the_reason(lab: &mut Lab, node: &str) {
    let status = lab.process(node).ended(WITHIN).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = lab.process(node).log();
    assert!(said.contains("nothing of what was to be stored then is acknowledged"), "{said}");
}

/// A start on a disk that still fails is refused, with what is wrong.
async fn is_refused(lab: &Lab, node: &str) {
    let output = lab.run(node, &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((output.code, error["error"]["code"].as_str()), (Some(1), Some("database")), "{output:?}");
}

#[tokio::test]
async fn a_send_whose_sync_fails_is_not_acknowledged_the_node_ends_and_a_new_start_goes_on_from_the_disk() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let faults = Faults::at(&mut pair.lab, "alpha").await;
    pair.send(2).await;
    faults.fail_syncs(true);
    let refused = pair.lab.client("alpha").send(&request("beta", "m-4").unwrap()).await;
    assert!(refused.is_err(), "it is not acknowledged: {refused:?}");
    ends_with_the_reason(&mut pair.lab, "alpha").await;
    is_refused(&pair.lab, "alpha").await;
    faults.fail_syncs(false);
    pair.lab.restart("alpha").await.unwrap();
    // The same again, be it that it is there after all.
    pair.send(2).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_message_that_comes_in_while_syncs_fail_has_no_receipt_until_it_is_on_the_disk() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let faults = Faults::at(&mut pair.lab, "beta").await;
    faults.fail_syncs(true);
    pair.send(1).await;
    ends_with_the_reason(&mut pair.lab, "beta").await;
    let state = pair.state("m-2").await;
    assert!(!matches!(state, MessageState::Delivered), "{state:?}");
    faults.fail_syncs(false);
    pair.lab.restart("beta").await.unwrap();
    pair.send(2).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_broker_whose_sync_fails_acknowledges_nothing_ends_and_all_mail_arrives_once_the_disk_is_well() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let faults = Faults::at(&mut pair.lab, Lab::BROKER).await;
    pair.send(2).await;
    pair.read(2).await;
    faults.fail_syncs(true);
    pair.send(1).await;
    let status = pair.lab.process(Lab::BROKER).ended(WITHIN).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = pair.lab.process(Lab::BROKER).log();
    assert!(said.contains("disk I/O error"), "{said}");
    assert_eq!(pair.state("m-4").await, MessageState::Queued);
    let refused = pair.lab.restart(Lab::BROKER).await.unwrap_err().to_string();
    assert!(refused.contains("disk I/O error"), "{refused}");
    assert_eq!(pair.state("m-4").await, MessageState::Queued);
    faults.fail_syncs(false);
    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.send(2).await;
    pair.conclude().await;
}
