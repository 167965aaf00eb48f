use std::time::Duration;

use waxwing_crypto::Priority;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Delivery, Reason, SendItem, Settlement};

use crate::harness::{Broker, Keys, Link, Mesh, TestClock, envelopes, item, receipt, wire};

fn receipts(ids: std::ops::Range<u32>) -> Vec<Settlement> {
    ids.map(|n| Settlement::Receipt(receipt(&wire(n)))).collect()
}

/// Queues items `0..count`, in frames of 500.
async fn queue(link: &mut Link, clock: &TestClock, to: &Keys, count: u32) {
    let items: Vec<_> = (0..count).map(|n| item(clock, to, n)).collect();
    for chunk in items.chunks(500) {
        let outcomes = link.send(chunk.to_vec()).await;
        assert!(outcomes.iter().all(|outcome| !outcome.is_transient()));
    }
}

#[tokio::test]
async fn the_first_frame_says_what_there_is() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut to = mesh.login(&broker, &beta).await;
    let first = to.deliver().await;
    assert_eq!((first.items.len(), first.tail), (0, true), "nothing, and says so");
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 1).await;
    let next = to.deliver().await;
    assert_eq!((next.items.len(), next.tail), (1, true), "caught up with it");
}

#[tokio::test]
async fn a_backlog_comes_in_order_and_ends_with_a_tail() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 5_000).await;
    let mut to = mesh.login(&broker, &beta).await;
    let (mut got, mut tails) = (Vec::new(), 0);
    while got.len() < 5_000 || tails == 0 {
        let deliver = to.deliver().await;
        to.receipt(&deliver.items).await;
        tails += usize::from(deliver.tail);
        got.extend(deliver.items);
    }
    assert_eq!(tails, 1);
    let numbers: Vec<_> = got.iter().map(Delivery::number).collect();
    assert_eq!(numbers, (1..=5_000).collect::<Vec<_>>());
    let ids: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.id).collect();
    assert_eq!(ids, (0..5_000).map(wire).collect::<Vec<_>>());
    assert_eq!(from.until_notices(5_000).await.len(), 5_000);
}

#[tokio::test]
async fn no_more_is_under_way_than_the_window_holds() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 1_500).await;
    let mut to = mesh.login(&broker, &beta).await;
    let mut got = 0;
    while got < limits::WINDOW_ITEMS {
        let deliver = to.deliver().await;
        assert!(!deliver.tail);
        got += deliver.items.len();
    }
    assert_eq!(got, limits::WINDOW_ITEMS);
    to.round_trip().await;
    assert!(!to.has_deliver(), "nothing more, however long one waits");
    to.settle(100, receipts(0..100)).await;
    let more = to.deliver().await;
    assert_eq!((more.items.len(), more.items[0].number()), (100, 1_025));
}

#[tokio::test]
async fn the_window_counts_bytes_too() {
    let broker = Broker::with(|config| config.limits.window_bytes = limits::FRAME as u32).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    for n in 0..6 {
        let large = SendItem { env: vec![n as u8; 300 * 1024].into(), ..item(&broker.clock, &beta, n) };
        from.send_one(large).await;
    }
    let mut to = mesh.login(&broker, &beta).await;
    let mut got = 0;
    for upto in [3, 6] {
        while got < upto {
            let deliver = to.deliver().await;
            let bytes: usize = envelopes(&deliver.items).iter().map(|envelope| envelope.env.len()).sum();
            assert!(bytes <= limits::FRAME_ENVELOPES);
            got += deliver.items.len();
        }
        to.round_trip().await;
        assert!(got == upto && !to.has_deliver(), "{got}");
        to.settle(u64::from(upto as u32), receipts(upto as u32 - 3..upto as u32)).await;
    }
    assert!(to.deliver().await.tail);
}

#[tokio::test]
async fn what_is_urgent_goes_before_a_backlog() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let order = [Priority::Low, Priority::Next, Priority::Low, Priority::Now, Priority::Next, Priority::Now];
    for (n, pri) in (0..).zip(order) {
        from.send_one(SendItem { pri, ..item(&broker.clock, &beta, n) }).await;
    }
    // A notice, too: beta has sent something that was delivered while it was away.
    let mut to = mesh.login(&broker, &beta).await;
    to.send_one(item(&broker.clock, &alpha, 77)).await;
    drop(to);
    let got = from.envelope().await;
    from.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
    from.round_trip().await;

    let got = mesh.login(&broker, &beta).await.until_tail().await;
    assert!(matches!(&got[0], Delivery::Notice(notice) if notice.id == wire(77)));
    let ids: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.id).collect();
    assert_eq!(ids, [3, 5, 1, 4, 0, 2].map(wire));
}

#[tokio::test]
async fn what_is_urgent_overtakes_within_the_window_too() {
    let broker = Broker::with(|config| config.limits.window_items = 2).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 4).await;
    let mut to = mesh.login(&broker, &beta).await;
    assert_eq!(to.deliver().await.items.len(), 2);
    from.send_one(SendItem { pri: Priority::Now, ..item(&broker.clock, &beta, 9) }).await;
    to.settle(1, receipts(0..1)).await;
    let ids = envelopes(&to.deliver().await.items).iter().map(|envelope| envelope.id).collect::<Vec<_>>();
    assert_eq!(ids, [wire(9)]);
}

#[tokio::test]
async fn a_notice_waits_for_its_sender() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 3).await;
    drop(from);
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    to.round_trip().await;
    let broker = broker.restart().await;
    for _ in 0..2 {
        // Not settled the first time: it comes again.
        let notices = mesh.login(&broker, &alpha).await.until_notices(3).await;
        assert_eq!(notices.iter().map(|notice| notice.id).collect::<Vec<_>>(), [0, 1, 2].map(wire));
    }
    let mut from = mesh.login(&broker, &alpha).await;
    from.until_notices(3).await;
    from.settle(3, vec![]).await;
    from.round_trip().await;
    let broker = broker.restart().await;
    assert_eq!(mesh.login(&broker, &alpha).await.until_tail().await.len(), 0);
}

#[tokio::test]
async fn a_settle_that_does_not_match_is_a_violation_and_changes_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 3).await;
    for (through, items) in [(4, 0..4), (3, 0..2), (2, 0..3), (0, 0..1), (u64::MAX, 0..3), (2, 0..0)] {
        let mut to = mesh.login(&broker, &beta).await;
        assert_eq!(to.until_tail().await.len(), 3);
        to.settle(through, receipts(items)).await;
        let goaway = to.goaway().await;
        assert_eq!(goaway.reason, Reason::ProtocolViolation, "{through}");
        assert!(goaway.again.is_some());
    }
    from.round_trip().await;
    assert!(!from.has_notice());
}

#[tokio::test]
async fn a_link_that_ends_leaves_what_it_has_not_settled() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 3).await;
    let mut to = mesh.login(&broker, &beta).await;
    assert_eq!(to.until_tail().await.len(), 3);
    to.settle(1, receipts(0..1)).await;
    // It is committed: what a link has only handed over when the next one logs in is ignored.
    from.until_notices(1).await;
    drop(to);
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    let ids: Vec<_> = envelopes(&got).iter().map(|envelope| (envelope.n, envelope.id)).collect();
    assert_eq!(ids, [(1, wire(1)), (2, wire(2))]);
}

#[tokio::test]
async fn a_replaced_link_settles_nothing_and_sends_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    queue(&mut from, &broker.clock, &beta, 1).await;
    let mut older = mesh.login(&broker, &beta).await;
    assert_eq!(older.until_tail().await.len(), 1);
    let mut newer = mesh.login(&broker, &beta).await;
    // The broker may have closed already; it does not matter whether this arrives.
    older.try_settle(1, receipts(0..1)).await;
    older.try_send(vec![item(&broker.clock, &alpha, 1)]).await;
    assert_eq!(older.goaway().await.reason, Reason::Replaced);
    assert_eq!(newer.until_tail().await.len(), 1, "it is delivered to the newer");
    newer.round_trip().await;
    from.round_trip().await;
    assert!(!from.has_notice());
    newer.settle(1, receipts(0..1)).await;
    assert_eq!(from.notice().await.id, wire(0));
}

#[tokio::test]
async fn readers_that_stall_hold_up_nobody() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let stalled = mesh.join(&broker, "stalled").await;
    let mut from = mesh.login(&broker, &alpha).await;
    let deaf = mesh.login(&broker, &stalled).await; // Never reads again.
    for n in 0..40 {
        let large = SendItem { env: vec![0; limits::ENVELOPE].into(), ..item(&broker.clock, &stalled, n) };
        from.send_one(large).await;
    }
    let mut to = mesh.login(&broker, &beta).await;
    tokio::time::timeout(Duration::from_secs(10), async {
        for n in 100..200 {
            from.send_one(item(&broker.clock, &beta, n)).await;
            let got = to.envelope().await;
            to.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
            from.notice().await;
        }
    })
    .await
    .unwrap();
    drop(deaf);
}

#[tokio::test]
async fn a_node_may_write_to_itself() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.send_one(item(&broker.clock, &alpha, 1)).await;
    let got = link.envelope().await;
    link.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
    assert_eq!(link.notice().await.id, wire(1));
}
