use std::time::Duration;

use waxwing_crypto::Timestamp;
use waxwing_protocol::link::{NoticeKind, Outcome, SendItem, Settlement};

use crate::harness::{Broker, Keys, Mesh, delivered, item, receipt, wire};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn ends(broker: &Broker, to: &Keys, n: u32, after: Duration) -> SendItem {
    SendItem { exp: broker.clock.now().plus(after), ..item(&broker.clock, to, n) }
}

#[tokio::test]
async fn what_ends_in_the_queue_becomes_a_notice() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send(vec![ends(&broker, &beta, 1, MINUTE), ends(&broker, &beta, 2, DAY)]).await;
    broker.clock.advance(2 * MINUTE);
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    assert_eq!(crate::harness::envelopes(&got).iter().map(|e| e.id).collect::<Vec<_>>(), [wire(2)]);
    let notice = from.notice().await;
    assert_eq!((notice.id, notice.kind), (wire(1), NoticeKind::Expired));
    assert!(matches!(from.send_one(ends(&broker, &beta, 1, DAY)).await, Outcome::Duplicate { .. }));
}

#[tokio::test]
async fn what_nobody_reads_ends_too() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let items = (0..600).map(|n| ends(&broker, &beta, n, MINUTE)).collect();
    from.send(items).await;
    drop(from);
    broker.clock.advance(2 * MINUTE);
    let broker = broker.restart().await; // A start looks through the store.
    let mut from = mesh.login(&broker, &alpha).await;
    let notices = from.until_notices(600).await;
    assert!(notices.iter().all(|notice| notice.kind == NoticeKind::Expired));
}

#[tokio::test]
async fn the_place_of_what_ended_is_free() {
    let broker = Broker::with(|config| config.limits.queue_items = 1).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send_one(ends(&broker, &beta, 1, MINUTE)).await;
    broker.clock.advance(2 * MINUTE);
    mesh.login(&broker, &beta).await.until_tail().await;
    from.notice().await;
    assert!(matches!(from.send_one(item(&broker.clock, &beta, 2)).await, Outcome::Accepted { .. }));
}

#[tokio::test]
async fn a_receipt_for_what_ended_under_way_still_reaches_its_sender() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let mut to = mesh.login(&broker, &beta).await;
    from.send_one(ends(&broker, &beta, 1, MINUTE)).await;
    let got = to.envelope().await;
    from.send_one(ends(&broker, &mesh.founder, 2, MINUTE)).await;
    broker.clock.advance(2 * MINUTE);
    mesh.login(&broker, &mesh.founder).await.until_tail().await; // Reads an expired row: the broker cleans up.
    let notices = from.until_notices(2).await;
    assert!(notices.iter().all(|notice| notice.kind == NoticeKind::Expired));
    to.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
    let notice = from.notice().await;
    assert_eq!((notice.id, notice.kind), (wire(1), delivered(wire(1))));
}

#[tokio::test]
async fn the_mail_of_a_revoked_node_goes_back_as_notices() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send((0..600).map(|n| item(&broker.clock, &beta, n)).collect()).await;
    mesh.commit(&broker, mesh.revoke_entry(&beta)).await;
    let notices = from.until_notices(600).await;
    assert!(notices.iter().all(|notice| notice.kind == NoticeKind::RevokedRecipient));
}

#[tokio::test]
async fn what_has_been_forgotten_is_new() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let Outcome::Accepted { message } = from.send_one(ends(&broker, &beta, 1, DAY)).await else { panic!() };
    broker.clock.advance(34 * DAY);
    let known = from.send_one(ends(&broker, &beta, 1, DAY)).await;
    assert!(matches!(known, Outcome::Duplicate { message: known, .. } if known == message));
    broker.clock.advance(2 * DAY);
    let Outcome::Accepted { message: other } = from.send_one(ends(&broker, &beta, 1, DAY)).await else {
        panic!()
    };
    assert_ne!(other, message);
}

#[tokio::test]
async fn a_notice_ends_35_days_after_its_message() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send_one(ends(&broker, &beta, 1, DAY)).await;
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    assert_eq!(from.notice().await.id, wire(1));
    drop(from);
    broker.clock.advance(35 * DAY);
    assert_eq!(mesh.login(&broker, &alpha).await.until_tail().await.len(), 1);
    broker.clock.advance(2 * DAY);
    assert_eq!(mesh.login(&broker, &alpha).await.until_tail().await.len(), 0);
}

#[tokio::test]
async fn an_expiry_beyond_all_time_is_too_long() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let never = SendItem { exp: Timestamp::from_millis(u64::MAX), ..item(&broker.clock, &beta, 1) };
    assert_eq!(from.send_one(never).await, Outcome::TtlTooLong);
}
