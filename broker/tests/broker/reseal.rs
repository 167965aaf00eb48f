use std::time::Duration;

use waxwing_crypto::sealing::{Nack, NackReason};
use waxwing_crypto::{Signed, WireId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{NoticeKind, Outcome, SendItem, Settlement};

use crate::harness::{Broker, Keys, Mesh, envelopes, item, receipt, wire};

fn nack(by: &Keys, to: &Keys, id: WireId, seal: u32) -> Signed {
    let nack = Nack { to: to.id(), id, seal, reason: NackReason::UnknownSession, log: None };
    nack.sign(&by.signing).unwrap()
}

fn sealed(first: &SendItem, seal: u32) -> SendItem {
    SendItem { seal, env: format!("seal {seal}").into(), ..first.clone() }
}

#[tokio::test]
async fn a_higher_seal_takes_the_place_of_what_is_queued() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let items: Vec<_> = (1..=3).map(|n| item(&broker.clock, &beta, n)).collect();
    let outcomes = from.send(items.clone()).await;
    let later = SendItem { exp: items[1].exp.plus(Duration::from_secs(60)), ..sealed(&items[1], 4) };
    assert_eq!(from.send_one(later.clone()).await, outcomes[1], "the same message");
    for seal in [0, 3, 4] {
        assert!(matches!(from.send_one(sealed(&items[1], seal)).await, Outcome::Duplicate { .. }), "{seal}");
    }
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    let got: Vec<_> = envelopes(&got).iter().map(|e| (e.id, e.seal, e.exp, e.env.clone())).collect();
    assert_eq!(got[0], (wire(1), 0, items[0].exp, items[0].env.clone()));
    assert_eq!(got[1], (wire(2), 4, later.exp, later.env));
    assert_eq!(got[2], (wire(3), 0, items[2].exp, items[2].env.clone()));
}

#[tokio::test]
async fn seals_of_one_message_in_one_frame_leave_the_highest() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let first = item(&broker.clock, &beta, 1);
    let outcomes = from.send([0, 2, 1, 3].map(|seal| sealed(&first, seal)).to_vec()).await;
    assert!([0, 1, 3].iter().all(|n| outcomes[*n] == outcomes[0]));
    assert!(matches!(outcomes[2], Outcome::Duplicate { .. }));
    let outcomes = from.send([4, 5].map(|seal| sealed(&first, seal)).to_vec()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Accepted { .. })));
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    assert_eq!(
        envelopes(&got).iter().map(|e| (e.seal, &e.env[..])).collect::<Vec<_>>(),
        [(5, &b"seal 5"[..])]
    );
}

#[tokio::test]
async fn a_nack_goes_to_the_sender_and_its_new_seal_is_queued_anew() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut from, mut to) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let first = item(&broker.clock, &beta, 1);
    let accepted = from.send_one(first.clone()).await;
    let got = to.envelope().await;
    let refusal = nack(&beta, &alpha, first.id, 0);
    to.settle(got.n, vec![Settlement::Nack(refusal.clone())]).await;
    let notice = from.notice().await;
    assert_eq!((notice.id, notice.kind), (first.id, NoticeKind::Nack { nack: refusal }));
    assert!(matches!(from.send_one(first.clone()).await, Outcome::Duplicate { .. }));
    assert_eq!(from.send_one(sealed(&first, 1)).await, accepted);
    let again = to.envelope().await;
    assert_eq!((again.n, again.seal, &again.env[..]), (2, 1, &b"seal 1"[..]));
}

#[tokio::test]
async fn a_nack_settles_only_the_seal_that_was_delivered() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut from, mut to) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let items: Vec<_> = (1..=3).map(|n| item(&broker.clock, &beta, n)).collect();
    from.send(items.clone()).await;
    assert_eq!(to.until_envelopes(3).await.len(), 3);
    from.send_one(sealed(&items[1], 1)).await;
    to.round_trip().await;
    assert!(!to.has_envelope(), "it is under way already");
    let refusals = [1, 2].map(|n| Settlement::Nack(nack(&beta, &alpha, wire(n), 0)));
    to.settle(2, refusals.to_vec()).await;
    let again = to.envelope().await;
    assert_eq!(
        (again.n, again.id, again.seal),
        (4, wire(2), 1),
        "and not the third, which is still under way"
    );
    assert_eq!(from.notice().await.id, wire(1));
    to.settle(4, [3, 2].map(|n| Settlement::Receipt(receipt(&wire(n)))).to_vec()).await;
    assert_eq!(from.until_notices(2).await.iter().map(|n| n.id).collect::<Vec<_>>(), [wire(3), wire(2)]);
}

#[tokio::test]
async fn a_receipt_settles_whatever_seal_is_queued() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut from, mut to) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let first = item(&broker.clock, &beta, 1);
    from.send_one(first.clone()).await;
    let got = to.envelope().await;
    from.send_one(sealed(&first, 1)).await;
    to.settle(got.n, vec![Settlement::Receipt(receipt(&got.id))]).await;
    from.notice().await;
    drop(to);
    assert_eq!(mesh.login(&broker, &beta).await.until_tail().await.len(), 0);
}

#[tokio::test]
async fn a_new_seal_is_held_to_the_same_limits() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let first = item(&broker.clock, &beta, 1);
    from.send_one(first.clone()).await;
    let large = SendItem { env: vec![0; limits::ENVELOPE + 1].into(), ..sealed(&first, 1) };
    assert_eq!(from.send_one(large).await, Outcome::TooLarge);
    let late = SendItem { exp: broker.clock.now(), ..sealed(&first, 1) };
    assert_eq!(from.send_one(late).await, Outcome::Expired);
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    assert_eq!(envelopes(&got)[0].seal, 0, "what was queued is still there");
}

#[tokio::test]
async fn a_replacement_needs_no_room_of_its_own() {
    let broker = Broker::with(|config| config.limits.queue_items = 1).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let first = item(&broker.clock, &beta, 1);
    from.send_one(first.clone()).await;
    assert!(matches!(from.send_one(sealed(&first, 1)).await, Outcome::Accepted { .. }));
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    from.notice().await;
    // The counters have followed: there is room for exactly one again.
    let outcomes = from.send(vec![item(&broker.clock, &beta, 2), item(&broker.clock, &beta, 3)]).await;
    assert!(matches!(outcomes[..], [Outcome::Accepted { .. }, Outcome::QueueFull]));
}
