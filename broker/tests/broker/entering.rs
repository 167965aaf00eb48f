use std::time::Duration;

use waxwing_crypto::membership::{Body, Leave, Revoke, Target};
use waxwing_crypto::sealing::Prekey;
use waxwing_crypto::{CreationToken, SigningKey, Timestamp};
use waxwing_protocol::link::{Code, PrekeyGet, PrekeyPut, Reason, Send, Settle, ToBroker};

use waxwing_broker::Founding;

use crate::harness::{Broker, Keys, Link, Mesh, item, rng};

async fn refused(link: &mut Link, entry: &waxwing_crypto::membership::SignedEntry) -> Code {
    link.append(entry).await.unwrap_err().code
}

#[tokio::test]
async fn a_founder_appends_its_genesis_and_becomes_a_member() {
    let broker = Broker::start().await;
    let mesh = Mesh::new(&broker.clock);
    let mut link = mesh.enter(&broker, &mesh.founder.signing).await;
    assert_eq!((link.welcome.login, link.welcome.head), (None, None));
    assert_eq!(link.log_get(0).await.head, None);
    let log = link.append(&mesh.genesis).await.unwrap();
    assert_eq!((log.entries, log.head), (vec![mesh.genesis.clone()], Some(mesh.roster.head())));
    let member = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(member.welcome.head, Some(mesh.roster.head()));
    assert!(member.welcome.login.is_some());
}

#[tokio::test]
async fn a_founder_whose_answer_was_lost_finds_its_genesis() {
    let broker = Broker::start().await;
    let mesh = Mesh::found(&broker).await;
    let mut link = mesh.enter(&broker, &mesh.founder.signing).await;
    assert_eq!(link.log_get(0).await.entries[0], mesh.genesis);
    assert_eq!(refused(&mut link, &mesh.genesis).await, Code::LogConflict);
}

#[tokio::test]
async fn a_founder_may_found_nothing_but_the_mesh_it_named() {
    let broker = Broker::start().await;
    let (mesh, other) = (Mesh::new(&broker.clock), Mesh::new(&broker.clock));
    let mut link = mesh.enter(&broker, &mesh.founder.signing).await;
    assert_eq!(refused(&mut link, &other.genesis).await, Code::NotAllowed, "another's mesh");
    let leave = mesh.entry(Body::Leave(Leave { node: mesh.founder.id() }), &[&mesh.founder.signing]);
    assert_eq!(refused(&mut link, &leave).await, Code::NotAllowed, "no genesis");
    let mut thief = mesh.enter(&broker, &other.founder.signing).await;
    assert_eq!(refused(&mut thief, &mesh.genesis).await, Code::NotAllowed, "another's genesis");
    let mut damaged = mesh.genesis.clone();
    damaged.signatures[0] = other.genesis.signatures[0];
    assert_eq!(refused(&mut link, &damaged).await, Code::NotAllowed, "a signature that does not hold");
    damaged.bytes = damaged.bytes.slice(1..);
    assert_eq!(refused(&mut link, &damaged).await, Code::BadFrame, "no entry");
    link.append(&mesh.genesis).await.unwrap();
}

#[tokio::test]
async fn an_invite_reads_the_log_and_appends_its_join() {
    let broker = Broker::start().await;
    let mut mesh = Mesh::found(&broker).await;
    let gamma = Keys::new("gamma");
    let mut link = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    assert_eq!((link.welcome.login, link.welcome.head), (None, Some(mesh.roster.head())));
    assert_eq!(link.log_get(0).await.entries.len(), 2);
    let join = mesh.join_entry(&gamma);
    link.append(&join).await.unwrap();
    mesh.roster.apply(&join).unwrap();
    assert_eq!(mesh.login(&broker, &gamma).await.welcome.head, Some(mesh.roster.head()));
}

#[tokio::test]
async fn an_invite_may_append_nothing_but_a_join_by_itself() {
    let broker = Broker::start().await;
    let mut mesh = Mesh::found(&broker).await;
    let first = mesh.invite.signing_key();
    mesh.invite = waxwing_crypto::membership::InviteSeed::generate(&mut rng());
    let second = mesh.invite_entry(1, Duration::from_secs(60));
    mesh.commit(&broker, second).await;
    let mut link = mesh.enter(&broker, &first).await;
    let by_second = mesh.join_entry(&Keys::new("gamma"));
    assert_eq!(refused(&mut link, &by_second).await, Code::NotAllowed);
    let revoke = mesh.revoke_entry(&mesh.founder);
    assert_eq!(refused(&mut link, &revoke).await, Code::NotAllowed, "however well signed");
}

#[tokio::test]
async fn entering_links_have_nothing_else_to_say() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let fresh = Mesh::new(&broker.clock);
    let prekey = Prekey::mint(&mut rng(), &alpha.signing, alpha.id(), None, Timestamp::default()).unwrap().0;
    for mut link in [
        mesh.enter(&broker, &mesh.invite.signing_key()).await,
        fresh.enter(&broker, &fresh.founder.signing).await,
    ] {
        for frame in [
            ToBroker::Send(Send { req: 1, rows: 1, items: vec![item(&broker.clock, &alpha, 1)] }),
            ToBroker::Settle(Settle { through: 0, items: vec![] }),
            ToBroker::PrekeyPut(PrekeyPut { req: 1, prekey: prekey.clone() }),
            ToBroker::PrekeyGet(PrekeyGet { req: 1, nodes: vec![alpha.id()] }),
        ] {
            link.transmit(&frame).await;
            let error = link.error().await;
            assert_eq!(error.code, Code::NotAllowed, "{frame:?}");
        }
        link.round_trip().await;
    }
}

#[tokio::test]
async fn keys_that_may_not_enter_are_told_why() {
    let broker = Broker::start().await;
    let mut mesh = Mesh::found(&broker).await;
    let told = async |mesh: &Mesh, key: &SigningKey| {
        let goaway = mesh.try_enter(&broker, key).await.err().unwrap();
        assert_eq!(goaway.again, None, "{}", goaway.detail);
        goaway.reason
    };
    assert_eq!(told(&mesh, &SigningKey::generate(&mut rng())).await, Reason::UnknownInvite);

    mesh.invite = waxwing_crypto::membership::InviteSeed::generate(&mut rng());
    let short = mesh.invite_entry(1, Duration::from_secs(60));
    mesh.commit(&broker, short).await;
    broker.clock.advance(Duration::from_secs(61));
    assert_eq!(told(&mesh, &mesh.invite.signing_key()).await, Reason::InviteExpired);

    mesh.invite = waxwing_crypto::membership::InviteSeed::generate(&mut rng());
    let key = mesh.invite.signing_key();
    let closed = mesh.invite_entry(1, Duration::from_secs(60));
    mesh.commit(&broker, closed).await;
    let revoke =
        Revoke { target: Target::Invite(key.public()), reason: "test".parse().unwrap(), epoch: None };
    mesh.commit(&broker, mesh.entry(Body::Revoke(revoke), &[&mesh.recovery])).await;
    assert_eq!(told(&mesh, &key).await, Reason::InviteRevoked);
}

#[tokio::test]
async fn an_invite_that_is_used_up_may_look_for_its_join_and_no_more() {
    let broker = Broker::start().await;
    let mut mesh = Mesh::found(&broker).await;
    mesh.invite = waxwing_crypto::membership::InviteSeed::generate(&mut rng());
    let single = mesh.invite_entry(1, Duration::from_secs(60));
    mesh.commit(&broker, single).await;
    let gamma = Keys::new("gamma");
    let join = mesh.join_entry(&gamma);
    mesh.enter(&broker, &mesh.invite.signing_key()).await.append(&join).await.unwrap();
    mesh.roster.apply(&join).unwrap();

    let mut again = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    assert_eq!(again.log_get(0).await.entries.last(), Some(&join));
    let error = again.append(&mesh.join_entry(&Keys::new("delta"))).await.unwrap_err();
    assert_eq!(error.code, Code::NotAllowed);
    assert!(error.detail.contains("used up"), "{}", error.detail);
}

#[tokio::test]
async fn a_closed_broker_founds_a_mesh_only_for_a_fresh_proof_of_its_token() {
    let broker = Broker::with(|config| config.founding = Some(Founding::Closed)).await;
    broker.ready().await;
    let token = std::fs::read_to_string(broker.path().join("creation.token")).unwrap();
    let token: CreationToken = token.parse().unwrap();
    let (mesh, other) = (Mesh::new(&broker.clock), Mesh::new(&broker.clock));
    let key = &mesh.founder.signing;
    let stolen = CreationToken::from_bytes(&[1; 32]);
    let without = mesh.try_enter(&broker, key).await.err().expect("it is refused");
    assert_eq!((without.reason, without.again), (Reason::UnknownMesh, None), "{}", without.detail);
    for refused in [
        mesh.try_enter_with(&broker, key, |nonce| Some(stolen.prove(nonce, mesh.id()))).await,
        mesh.try_enter_with(&broker, key, |nonce| Some(token.prove(nonce, other.id()))).await,
        mesh.try_enter_with(&broker, key, |_| Some(token.prove(&[7; 32], mesh.id()))).await,
    ] {
        let goaway = refused.err().expect("it is refused");
        assert_eq!((goaway.reason, goaway.again), (Reason::Unauthenticated, None), "{}", goaway.detail);
    }
    let founding = mesh.try_enter_with(&broker, key, |nonce| Some(token.prove(nonce, mesh.id()))).await;
    founding.unwrap().append(&mesh.genesis).await.unwrap();
    // What exists is entered by invite, and its founder comes back, without any token.
    mesh.login(&broker, &mesh.founder).await;
    let mut mesh = mesh;
    let invite = mesh.invite_entry(1, Duration::from_secs(60));
    mesh.commit(&broker, invite).await;
    mesh.enter(&broker, &mesh.invite.signing_key()).await;
}

#[tokio::test]
async fn an_open_broker_makes_no_token() {
    let broker = Broker::start().await;
    broker.ready().await;
    assert!(!broker.path().join("creation.token").exists());
}
