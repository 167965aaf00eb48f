use std::time::Duration;

use bytes::Bytes;
use waxwing_crypto::{Fingerprint, Priority};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Outcome, SendItem};

use crate::harness::{Broker, Keys, Mesh, delivered, envelopes, item};

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[tokio::test]
async fn an_item_is_accepted_delivered_settled_and_its_sender_told() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let mut to = mesh.login(&broker, &beta).await;
    let sent = item(&broker.clock, &beta, 1);
    assert!(is_accepted(&from.send_one(sent.clone()).await));
    let got = to.envelope().await;
    assert_eq!((got.n, got.from, got.id, got.pri), (1, alpha.id(), sent.id, sent.pri));
    assert_eq!((got.exp, got.seal), (sent.exp, 0));
    to.settle(1, vec![waxwing_protocol::link::Settlement::Receipt(crate::harness::receipt(&got.id))]).await;
    let notice = from.notice().await;
    assert_eq!((notice.id, notice.kind), (sent.id, delivered(sent.id)));
}

#[tokio::test]
async fn an_envelope_is_moved_byte_by_byte() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let all = Bytes::from_iter((0..=255).cycle().take(limits::ENVELOPE));
    for (n, size) in [(1, 1), (2, 255), (3, 65_536), (4, limits::ENVELOPE)] {
        let sent = SendItem { env: all.slice(..size), ..item(&broker.clock, &beta, n) };
        assert!(is_accepted(&from.send_one(sent).await), "{size}");
    }
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    let sizes: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.env.len()).collect();
    assert_eq!(sizes, [1, 255, 65_536, limits::ENVELOPE]);
    assert!(envelopes(&got).iter().all(|envelope| all.starts_with(&envelope.env)));
}

#[tokio::test]
async fn a_retry_is_a_duplicate_of_the_first() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let Outcome::Accepted { message } = from.send_one(item(&broker.clock, &beta, 1)).await else { panic!() };
    let before = broker.clock.now();
    broker.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let Outcome::Duplicate { message: again, first_seen } =
            from.send_one(item(&broker.clock, &beta, 1)).await
        else {
            panic!()
        };
        assert_eq!(again, message);
        assert!(first_seen <= before);
    }
}

#[tokio::test]
async fn an_id_with_another_fingerprint_recipient_or_priority_is_reused() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let first = item(&broker.clock, &beta, 1);
    assert!(is_accepted(&from.send_one(first.clone()).await));
    let other = SendItem { fp: Fingerprint::from_bytes([9; 32]), ..first.clone() };
    assert_eq!(from.send_one(other.clone()).await, Outcome::IdReused);
    assert_eq!(from.send_one(SendItem { seal: 7, ..other }).await, Outcome::IdReused, "whatever its seal");
    assert_eq!(from.send_one(SendItem { to: alpha.id(), ..first.clone() }).await, Outcome::IdReused);
    assert_eq!(from.send_one(SendItem { pri: Priority::Now, ..first }).await, Outcome::IdReused);
}

#[tokio::test]
async fn two_senders_may_use_the_same_id() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    for sender in [&alpha, &mesh.founder] {
        let mut from = mesh.login(&broker, sender).await;
        assert!(is_accepted(&from.send_one(item(&broker.clock, &beta, 1)).await));
    }
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    let senders: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.from).collect();
    assert_eq!(senders, [alpha.id(), mesh.founder.id()]);
}

#[tokio::test]
async fn the_same_item_fifty_times_at_once_is_one_row() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let one = item(&broker.clock, &beta, 1);
    let mut reqs = Vec::new();
    for _ in 0..25 {
        reqs.push(from.post(vec![one.clone(), one.clone()]).await);
    }
    let mut outcomes = Vec::new();
    for req in reqs {
        outcomes.extend(from.sent(req).await);
    }
    assert_eq!(outcomes.iter().filter(|outcome| is_accepted(outcome)).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Duplicate { .. })).count(), 49);
    assert_eq!(mesh.login(&broker, &beta).await.until_tail().await.len(), 1);
}

#[tokio::test]
async fn what_can_never_be_accepted_says_why() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (gone, left) = (mesh.join(&broker, "gone").await, mesh.join(&broker, "left").await);
    mesh.commit(&broker, mesh.revoke_entry(&gone)).await;
    mesh.commit(&broker, mesh.leave_entry(&left)).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    let longest = limits::DEDUPE - limits::TTL_MARGIN;
    let minute = Duration::from_secs(60);
    let good = item(clock, &beta, 1);
    for (bad, outcome) in [
        (item(clock, &Keys::new("stranger"), 1), Outcome::UnknownRecipient),
        (item(clock, &gone, 1), Outcome::RevokedRecipient),
        (item(clock, &left, 1), Outcome::RevokedRecipient),
        (SendItem { env: vec![0; limits::ENVELOPE + 1].into(), ..good.clone() }, Outcome::TooLarge),
        (SendItem { env: Bytes::new(), ..good.clone() }, Outcome::BadItem),
        (SendItem { exp: clock.now().plus(longest + minute), ..good.clone() }, Outcome::TtlTooLong),
        (SendItem { exp: clock.now(), ..good.clone() }, Outcome::Expired),
    ] {
        assert_eq!(from.send_one(bad).await, outcome);
    }
    // None of them has left a trace.
    assert!(is_accepted(&from.send_one(SendItem { exp: clock.now().plus(longest - minute), ..good }).await));
}

#[tokio::test]
async fn a_retry_is_known_whatever_would_refuse_it_now() {
    let broker = Broker::with(|config| config.limits.queue_items = 1).await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let first = item(&broker.clock, &beta, 1);
    assert!(is_accepted(&from.send_one(first.clone()).await));
    assert_eq!(from.send_one(item(&broker.clock, &beta, 2)).await, Outcome::QueueFull);
    let is_known = |outcome| matches!(outcome, Outcome::Duplicate { .. });
    assert!(is_known(from.send_one(first.clone()).await), "the queue is full, its lane waits");
    broker.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    assert!(is_known(from.send_one(first.clone()).await), "it has expired");
    mesh.commit(&broker, mesh.revoke_entry(&beta)).await;
    assert!(is_known(from.send_one(first).await), "its recipient is gone");
}

#[tokio::test]
async fn after_a_full_queue_a_lane_waits_for_its_first() {
    let broker = Broker::with(|config| config.limits.queue_items = 2).await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let other = mesh.join(&broker, "other").await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    let outcomes = from.send((1..=4).map(|n| item(clock, &beta, n)).collect()).await;
    assert!(outcomes[..2].iter().all(is_accepted));
    assert_eq!(outcomes[2..], [Outcome::QueueFull, Outcome::Behind]);
    assert!(is_accepted(&from.send_one(item(clock, &other, 9)).await), "other lanes go on");

    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    assert_eq!(from.until_notices(2).await.len(), 2);
    // There is room, but an earlier item has not been accepted: this one must not overtake it.
    assert_eq!(from.send_one(item(clock, &beta, 4)).await, Outcome::Behind);
    let urgent = SendItem { pri: Priority::Now, ..item(clock, &beta, 5) };
    assert!(is_accepted(&from.send_one(urgent).await), "another priority is another lane");
    let first = SendItem { first: true, ..item(clock, &beta, 3) };
    let outcomes = from.send(vec![first, item(clock, &beta, 4)]).await;
    assert!(is_accepted(&outcomes[0]));
    assert_eq!(outcomes[1], Outcome::QueueFull, "asked again, and full again");
}

#[tokio::test]
async fn a_known_first_lets_its_lane_go_on() {
    let broker = Broker::with(|config| config.limits.queue_items = 1).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    from.send(vec![item(clock, &beta, 1), item(clock, &beta, 2)]).await;
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    from.notice().await;
    // As after a lost answer: the oldest unaccepted row turns out to have been accepted.
    let first = SendItem { first: true, ..item(clock, &beta, 1) };
    let outcomes = from.send(vec![first, item(clock, &beta, 2)]).await;
    assert!(matches!(outcomes[0], Outcome::Duplicate { .. }));
    assert!(is_accepted(&outcomes[1]));
}

#[tokio::test]
async fn a_queue_has_a_cap_in_bytes_too_and_notices_do_not_count() {
    let broker = Broker::with(|config| config.limits.queue_bytes = limits::ENVELOPE as u64).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    let large = |n| SendItem { env: vec![7; limits::ENVELOPE].into(), ..item(clock, &beta, n) };
    assert!(is_accepted(&from.send_one(large(1)).await));
    assert_eq!(from.send_one(item(clock, &beta, 2)).await, Outcome::QueueFull);
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    from.until_notices(1).await; // Not settled: it stays in alpha's queue.
    let back = SendItem { env: vec![7; limits::ENVELOPE].into(), ..item(clock, &alpha, 1) };
    assert!(is_accepted(&to.send_one(back).await));
    let first = SendItem { first: true, ..item(clock, &beta, 2) };
    assert!(is_accepted(&from.send_one(first).await));
}

#[tokio::test]
async fn many_frames_under_way_are_answered_in_order() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let mut reqs = Vec::new();
    for frame in 0..50 {
        let items = (0..40).map(|n| item(&broker.clock, &beta, frame * 40 + n)).collect();
        reqs.push(from.post(items).await);
    }
    for req in reqs {
        let next = from.next_sent().await;
        assert_eq!(next.req, req);
        assert!(next.outcomes.len() == 40 && next.outcomes.iter().all(is_accepted));
    }
}
