use std::time::Duration;

use waxwing_crypto::Timestamp;
use waxwing_crypto::membership::{Body, Grant, InviteSeed, Role};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, Log, ToNode};

use crate::harness::{Broker, Keys, Link, Mesh, rng};

async fn pushed(link: &mut Link) -> Log {
    link.wait_for(|frame| match frame {
        ToNode::Log(log) if log.req.is_none() => Some(log.clone()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn an_entry_that_does_not_stand_on_the_head_is_a_conflict() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let grant = |mesh: &Mesh, to: &Keys| {
        mesh.entry(Body::Grant(Grant { node: to.id(), role: Role::Admin }), &[&mesh.founder.signing])
    };
    let (one, two) = (grant(&mesh, &alpha), grant(&mesh, &beta));
    let mut link = mesh.login(&broker, &mesh.founder).await;
    link.append(&one).await.unwrap();
    assert_eq!(link.append(&two).await.unwrap_err().code, Code::LogConflict);
    assert_eq!(link.append(&one).await.unwrap_err().code, Code::LogConflict, "nor is one appended twice");
    mesh.roster.apply(&one).unwrap();
    link.append(&grant(&mesh, &beta)).await.unwrap();
}

#[tokio::test]
async fn the_rules_of_the_log_are_told_in_their_own_words() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let grant = Body::Grant(Grant { node: beta.id(), role: Role::Admin });
    let mut link = mesh.login(&broker, &alpha).await;
    let error = link.append(&mesh.entry(grant, &[&alpha.signing])).await.unwrap_err();
    assert_eq!((error.code, error.detail.contains("only an admin may do this")), (Code::NotAllowed, true));
    let taken = mesh.join_entry(&Keys::new("alpha"));
    let error = link.append(&taken).await.unwrap_err();
    assert_eq!((error.code, error.detail.contains("has this name already")), (Code::NotAllowed, true));
}

#[tokio::test]
async fn an_entry_is_about_as_old_as_it_says() {
    let broker = Broker::start().await;
    let mesh = Mesh::found(&broker).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let (now, limit) = (broker.clock.now(), limits::CLOCK_SKEW + Duration::from_secs(5));
    let at = |at: Timestamp| {
        let body = mesh.join_entry(&Keys::new("gamma")).parse().unwrap();
        waxwing_crypto::membership::Entry { at, ..body }.sign(&[&mesh.invite.signing_key()])
    };
    assert_eq!(link.append(&at(now.plus(limit))).await.unwrap_err().code, Code::ClockSkew);
    let past = Timestamp::from_millis(now.as_millis() - limit.as_millis() as u64);
    assert_eq!(link.append(&at(past)).await.unwrap_err().code, Code::ClockSkew);
    // Backdated, it is not even asked whether the rules would allow it; in time, it is.
    assert_eq!(link.append(&at(now)).await.unwrap_err().code, Code::NotAllowed);
}

#[tokio::test]
async fn a_founders_clock_is_checked_too() {
    let broker = Broker::start().await;
    let mesh = Mesh::new(&broker.clock);
    broker.clock.advance(limits::CLOCK_SKEW + Duration::from_secs(5));
    let mut link = mesh.enter(&broker, &mesh.founder.signing).await;
    assert_eq!(link.append(&mesh.genesis).await.unwrap_err().code, Code::ClockSkew);
}

#[tokio::test]
async fn connected_members_are_told_what_is_appended() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut one, mut two) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let join = mesh.join_entry(&Keys::new("gamma"));
    mesh.commit(&broker, join.clone()).await;
    for link in [&mut one, &mut two] {
        let log = pushed(link).await;
        assert_eq!((log.entries, log.head), (vec![join.clone()], Some(mesh.roster.head())));
    }
}

#[tokio::test]
async fn the_log_comes_in_pages() {
    let broker = Broker::start().await;
    let mut mesh = Mesh::found(&broker).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let mut entries = vec![mesh.genesis.clone()];
    entries.extend(link.log_get(1).await.entries);
    for _ in 0..limits::LOG_PAGE {
        mesh.invite = InviteSeed::generate(&mut rng());
        let invite = mesh.invite_entry(1, Duration::from_secs(3_600));
        link.append(&invite).await.unwrap();
        mesh.roster.apply(&invite).unwrap();
        entries.push(invite);
    }
    let mut read = Vec::new();
    while read.len() < entries.len() {
        let log = link.log_get(read.len() as u64).await;
        assert!((1..=limits::LOG_PAGE).contains(&log.entries.len()));
        let bytes: usize = log.entries.iter().map(|entry| entry.bytes.len()).sum();
        assert!(bytes <= limits::LOG_PAGE_BYTES);
        assert_eq!(log.head, Some(mesh.roster.head()));
        read.extend(log.entries);
    }
    assert_eq!(read, entries);
    let past = link.log_get(u64::MAX).await;
    assert_eq!((past.entries.len(), past.head), (0, Some(mesh.roster.head())));
}
