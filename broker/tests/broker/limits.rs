use std::time::Duration;

use tokio::time::{advance, pause, resume};
use waxwing_broker::{MeshLimits, MeshSettings};
use waxwing_crypto::Priority;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, LogGet, Outcome, PrekeyGet, Reason, SendItem, ToBroker, ToNode};

use crate::harness::{Broker, Dialled, Link, Mesh, item};

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

/// Lets time pass for the broker, and goes on.
async fn pass(millis: u64) {
    pause();
    advance(Duration::from_millis(millis)).await;
    resume();
}

#[tokio::test]
async fn a_sender_over_its_rate_is_told_when_to_come_again_and_its_lane_waits() {
    let broker =
        Broker::with(|config| (config.limits.send_items, config.limits.send_items_burst) = (1, 3)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    let outcomes = from.send((1..=5).map(|n| item(clock, &beta, n)).collect()).await;
    assert!(outcomes[..3].iter().all(is_accepted), "{outcomes:?}");
    let [Outcome::RateLimited { after }, Outcome::Behind] = outcomes[3..] else { panic!("{outcomes:?}") };
    assert!((1..=1_000).contains(&after), "{after}");
    for n in 1..=3 {
        let outcome = from.send_one(item(clock, &beta, n)).await;
        assert!(
            matches!(outcome, Outcome::Duplicate { .. }),
            "a retry is known, and costs nothing: {outcome:?}"
        );
    }
    pass(1_000).await;
    assert_eq!(from.send_one(item(clock, &beta, 5)).await, Outcome::Behind, "nothing overtakes");
    let first = |n| SendItem { first: true, ..item(clock, &beta, n) };
    assert!(is_accepted(&from.send_one(first(4)).await));
    assert!(matches!(from.send_one(item(clock, &beta, 5)).await, Outcome::RateLimited { .. }));
    pass(1_000).await;
    assert!(is_accepted(&from.send_one(first(5)).await));
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    assert_eq!(got.len(), 5, "each once, in order");
}

#[tokio::test]
async fn an_allowance_is_the_nodes_own_whatever_its_links_and_lanes() {
    let broker =
        Broker::with(|config| (config.limits.send_items, config.limits.send_items_burst) = (1, 3)).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let clock = &broker.clock;
    assert!(from.send((1..=3).map(|n| item(clock, &beta, n)).collect()).await.iter().all(is_accepted));
    let limited = |outcome| matches!(outcome, Outcome::RateLimited { .. });
    let other_lane = SendItem { pri: Priority::Now, ..item(clock, &beta, 4) };
    assert!(limited(from.send_one(other_lane).await));
    let mut again = mesh.login(&broker, &alpha).await;
    assert!(limited(again.send_one(item(clock, &beta, 5)).await), "a new link is no new allowance");
    let mut other = mesh.login(&broker, &beta).await;
    assert!(other.send((1..=3).map(|n| item(clock, &alpha, n)).collect()).await.iter().all(is_accepted));
}

#[tokio::test]
async fn bytes_are_limited_too_and_what_is_sealed_anew_counts() {
    let broker = Broker::with(|config| {
        config.limits.send_bytes = 1024;
        config.limits.send_bytes_burst = 3 * limits::ENVELOPE as u64;
    })
    .await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let large = |n, seal| {
        let env = vec![0; limits::ENVELOPE].into();
        SendItem { env, seal, first: true, ..item(&broker.clock, &beta, n) }
    };
    assert!(is_accepted(&from.send_one(large(1, 0)).await));
    assert!(is_accepted(&from.send_one(large(1, 1)).await));
    assert!(is_accepted(&from.send_one(large(1, 2)).await));
    let Outcome::RateLimited { after } = from.send_one(large(1, 3)).await else { panic!() };
    assert_eq!(after, limits::AFTER_MAX.as_millis() as u64, "no longer than a node heeds");
    assert!(matches!(from.send_one(large(1, 2)).await, Outcome::Duplicate { .. }));
}

/// Asks for the log until that is too much. Says how often it was answered.
async fn ask_until_limited(link: &mut Link) -> usize {
    for answered in 0.. {
        let req = link.next_req();
        link.transmit(&ToBroker::LogGet(LogGet { req, after: u64::MAX })).await;
        let refused = link.wait_for(|frame| match frame {
            ToNode::Log(log) if log.req == Some(req) => Some(None),
            ToNode::Error(error) => Some(Some(error.clone())),
            _ => None,
        });
        if let Some(error) = refused.await {
            assert_eq!((error.req, error.code), (Some(req), Code::RateLimited));
            assert!((1..=100).contains(&error.after.unwrap()), "{error:?}");
            return answered;
        }
    }
    unreachable!()
}

/// A broker on which a node may make 256 requests at once, and 10 a second.
async fn with_few_requests() -> Broker {
    Broker::with(|config| (config.limits.requests, config.limits.requests_burst) = (10, 256)).await
}

#[tokio::test]
async fn requests_are_limited_each_by_what_it_is_worth_and_mail_goes_on() {
    let broker = with_few_requests().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let asked = ask_until_limited(&mut link).await;
    assert!((256..512).contains(&asked), "{asked}");
    assert!(is_accepted(&link.send_one(item(&broker.clock, &beta, 1)).await), "sends have their own");
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_tail().await;
    to.receipt(&got).await;
    link.notice().await;

    let req = to.next_req();
    let nodes = vec![alpha.id(); limits::PREKEY_PAGE];
    let ask = ToBroker::PrekeyGet(PrekeyGet { req, nodes });
    to.transmit(&ask).await;
    to.wait_for(|frame| matches!(frame, ToNode::Prekeys(_)).then_some(())).await;
    to.transmit(&ask).await;
    assert_eq!(to.error().await.code, Code::RateLimited, "one request was worth all of them");
    pass(26_000).await;
    to.transmit(&ask).await;
    to.wait_for(|frame| matches!(frame, ToNode::Prekeys(_)).then_some(())).await;
}

#[tokio::test]
async fn an_entering_link_is_limited_as_well() {
    let broker = with_few_requests().await;
    let mesh = Mesh::found(&broker).await;
    let mut link = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    let asked = ask_until_limited(&mut link).await;
    assert!((256..512).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_mesh_may_have_limits_of_its_own() {
    let clock = crate::harness::TestClock::default();
    let (mut own, common) = (Mesh::new(&clock), Mesh::new(&clock));
    let broker = Broker::with(|config| {
        config.limits.queue_items = 2;
        let limits = MeshLimits { queue_items: Some(5), ..MeshLimits::default() };
        config.mesh.insert(own.id(), MeshSettings { limits });
    })
    .await;
    for (mesh, room) in [(&mut own, 5), (&mut { common }, 2)] {
        mesh.enter(&broker, &mesh.founder.signing).await.append(&mesh.genesis).await.unwrap();
        let mut link = mesh.login(&broker, &mesh.founder).await;
        let items = (0..9).map(|n| item(&broker.clock, &mesh.founder, n)).collect();
        let outcomes = link.send(items).await;
        assert_eq!(outcomes.iter().filter(|outcome| is_accepted(outcome)).count(), room);
        assert_eq!(outcomes[room], Outcome::QueueFull);
    }
}

#[tokio::test]
async fn who_may_be_about_to_found_a_mesh_makes_room_for_others() {
    let broker = Broker::with(|config| config.limits.strangers = 3).await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let new = Mesh::new(&broker.clock);
    let mut entering = new.enter(&broker, &new.founder.signing).await;
    entering.log_get(0).await;
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(Dialled::dial(&broker).await);
    }
    let goaway = entering.goaway().await;
    assert_eq!((goaway.reason, goaway.again), (Reason::Busy, Some((1_000, 10_000))));
    mesh.login(&broker, &alpha).await.round_trip().await;
}

#[tokio::test]
async fn a_broker_with_as_many_links_as_it_takes_is_busy() {
    let broker = Broker::with(|config| config.limits.links = 1).await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let goaway = mesh.try_login(&broker, &beta).await.err().unwrap();
    assert_eq!((goaway.reason, goaway.again), (Reason::Busy, Some((1_000, 10_000))));
    link.round_trip().await;
    let mut again = mesh.login(&broker, &alpha).await;
    assert_eq!(link.goaway().await.reason, Reason::Replaced, "a node's own place is its own");
    again.round_trip().await;
}
