use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;
use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::{Body, Update};
use waxwing_protocol::limits;
use waxwing_protocol::link::{EnteringHello, Features, Hello, MemberHello, Reason, ToNodeLogin};

use crate::harness::{Broker, Dialled, Keys, Link, Mesh, receive, rng};

#[track_caller]
fn refused(login: Result<Link, waxwing_protocol::link::GoAway>) -> Reason {
    let goaway = login.err().expect("the login is refused");
    assert_eq!(goaway.again, None, "{}: never", goaway.detail);
    goaway.reason
}

#[tokio::test]
async fn a_welcome_tells_the_login_the_head_and_the_limits() {
    let broker = Broker::with(|config| config.limits.dedupe_days = 10).await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut last = None;
    for _ in 1..=3 {
        let welcome = mesh.login(&broker, &alpha).await.welcome;
        assert_eq!(welcome.head, Some(mesh.roster.head()));
        assert!(welcome.login > last, "{last:?}");
        last = welcome.login;
        let limits = welcome.limits;
        assert_eq!((limits.items, limits.bytes), (1_024, 8 * 1024 * 1024));
        assert_eq!(limits.ttl_max().as_secs(), 5 * 24 * 60 * 60);
    }
}

#[tokio::test]
async fn strangers_are_told_that_they_are_not_known() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    assert_eq!(
        refused(mesh.try_login(&broker, &Keys::new("x")).await),
        Reason::Unauthenticated,
        "unknown node"
    );
    let dialled = Dialled::dial(&broker).await;
    let hello = Hello::Member(mesh.member_hello(&broker, &dialled.challenge, &alpha));
    let stranger = SigningKey::generate(&mut rng());
    assert_eq!(refused(dialled.login(hello, &stranger).await), Reason::Unauthenticated, "bad signature");
}

#[tokio::test]
async fn a_hello_answers_one_challenge_of_one_broker() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let (one, two) = (Dialled::dial(&broker).await, Dialled::dial(&broker).await);
    assert_ne!(one.challenge.nonce, two.challenge.nonce);
    let replayed = Hello::Member(mesh.member_hello(&broker, &one.challenge, &alpha));
    assert_eq!(refused(two.login(replayed, &alpha.signing).await), Reason::Unauthenticated);
    for url in ["ws://127.0.0.1:1", "wss://other.example", "", "127.0.0.1"] {
        let dialled = Dialled::dial(&broker).await;
        let hello = mesh.member_hello(&broker, &dialled.challenge, &alpha);
        let elsewhere = Hello::Member(MemberHello { url: url.into(), ..hello });
        assert_eq!(refused(dialled.login(elsewhere, &alpha.signing).await), Reason::WrongBroker, "{url}");
    }
}

#[tokio::test]
async fn any_of_the_brokers_urls_will_do() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let port = broker.addr.port();
    for url in [format!("ws://localhost:{port}/"), format!("ws://127.0.0.1:{port}/v1/link")] {
        let dialled = Dialled::dial(&broker).await;
        let hello = mesh.member_hello(&broker, &dialled.challenge, &alpha);
        dialled.login(Hello::Member(MemberHello { url, ..hello }), &alpha.signing).await.unwrap();
    }
    let named = Broker::with(|config| config.urls = vec!["ws://mesh.example:7900".into()]).await;
    let mesh = Mesh::new(&named.clock);
    let dialled = Dialled::dial(&named).await;
    let hello = mesh.member_hello(&named, &dialled.challenge, &mesh.founder);
    let login = dialled.login(Hello::Member(hello), &mesh.founder.signing).await;
    assert_eq!(refused(login), Reason::WrongBroker, "no log is wanted from who means another broker");
    let login = mesh.try_enter(&named, &mesh.founder.signing).await;
    assert_eq!(refused(login), Reason::WrongBroker, "an advertised URL replaces the listen address");
}

#[tokio::test]
async fn a_version_or_feature_that_is_not_there_is_named_to_whoever_can_sign() {
    let broker = Broker::with(|config| config.limits.dedupe_days = 10).await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    mesh.commit(&broker, mesh.revoke_entry(&beta)).await;
    let needed = Features::needed;
    for (version, features, says) in [
        (1, needed(), "the node speaks 1"),
        (u32::MAX, needed(), "serves versions [0]"),
        (0, needed().with("telepathy", 1), "does not have the feature `telepathy`"),
        (0, needed().with("dedupe_days", 11), "has 10 of the feature `dedupe_days`, and the node needs 11"),
        (0, needed().with("envelope", limits::ENVELOPE as u64 + 1), "`envelope`"),
    ] {
        let dialled = Dialled::dial(&broker).await;
        assert_eq!(dialled.challenge.versions, [0]);
        let hello = mesh.member_hello(&broker, &dialled.challenge, &alpha);
        let hello = MemberHello { version, features: features.clone(), ..hello };
        let goaway = dialled.login(Hello::Member(hello.clone()), &alpha.signing).await.err().unwrap();
        assert_eq!((goaway.reason, goaway.again), (Reason::Unsupported, None));
        assert!(goaway.detail.contains(says), "{}", goaway.detail);

        let dialled = Dialled::dial(&broker).await;
        let nonce = dialled.challenge.nonce;
        let stranger = SigningKey::generate(&mut rng());
        let login = dialled.login(Hello::Member(MemberHello { nonce, ..hello.clone() }), &stranger).await;
        assert_eq!(refused(login), Reason::Unauthenticated, "who asks comes first");
        let dialled = Dialled::dial(&broker).await;
        let nonce = dialled.challenge.nonce;
        let gone = MemberHello { nonce, node: beta.id(), ..hello };
        assert_eq!(refused(dialled.login(Hello::Member(gone), &beta.signing).await), Reason::Revoked);

        let dialled = Dialled::dial(&broker).await;
        let founder = &mesh.founder.signing;
        let hello = EnteringHello {
            nonce: dialled.challenge.nonce,
            url: broker.url.clone(),
            mesh: mesh.id(),
            key: founder.public(),
            version,
            features,
            creation: None,
        };
        assert_eq!(refused(dialled.login(Hello::Entering(hello), founder).await), Reason::Unsupported);
    }
    let welcome = mesh.login(&broker, &alpha).await.welcome;
    assert_eq!(welcome.features, Features::of(10));
}

#[tokio::test]
async fn who_was_a_member_is_told_so_if_it_can_prove_it() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    mesh.commit(&broker, mesh.revoke_entry(&alpha)).await;
    mesh.commit(&broker, mesh.leave_entry(&beta)).await;
    for gone in [&alpha, &beta] {
        assert_eq!(refused(mesh.try_login(&broker, gone).await), Reason::Revoked);
        let dialled = Dialled::dial(&broker).await;
        let hello = Hello::Member(mesh.member_hello(&broker, &dialled.challenge, gone));
        let stranger = SigningKey::generate(&mut rng());
        assert_eq!(refused(dialled.login(hello, &stranger).await), Reason::Unauthenticated);
    }
}

#[tokio::test]
async fn a_newer_login_replaces_the_older_link() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut older = mesh.login(&broker, &alpha).await;
    let mut newer = mesh.login(&broker, &alpha).await;
    let goaway = older.goaway().await;
    assert_eq!(goaway.reason, Reason::Replaced);
    assert!(goaway.again.is_some());
    newer.round_trip().await;
}

#[tokio::test]
async fn a_node_that_is_revoked_loses_its_link() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let mut bystander = mesh.login(&broker, &beta).await;
    mesh.commit(&broker, mesh.revoke_entry(&alpha)).await;
    let goaway = link.goaway().await;
    assert_eq!((goaway.reason, goaway.again), (Reason::Revoked, None));
    bystander.round_trip().await;
}

#[tokio::test]
async fn a_new_signing_key_ends_the_link_and_the_old_keys_logins() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let new = SigningKey::generate(&mut rng());
    let update = Update { node: alpha.id(), signing: Some(new.public()), sealing: None, host: None };
    mesh.commit(&broker, mesh.entry(Body::Update(update), &[&alpha.signing, &new])).await;
    assert_eq!(link.goaway().await.reason, Reason::Superseded);
    assert_eq!(refused(mesh.try_login(&broker, &alpha).await), Reason::Superseded);
    let dialled = Dialled::dial(&broker).await;
    let hello = Hello::Member(mesh.member_hello(&broker, &dialled.challenge, &alpha));
    dialled.login(hello, &new).await.unwrap();
}

#[tokio::test]
async fn before_login_there_is_one_frame_and_little_room() {
    let broker = Broker::start().await;
    for (message, reason) in [
        (Message::Binary(vec![0x80].into()), Reason::ProtocolViolation),
        (Message::Binary(b"\x81\xa4send\x80".to_vec().into()), Reason::ProtocolViolation),
        (Message::Text("hello".into()), Reason::ProtocolViolation),
        (Message::Binary(vec![0; limits::BEFORE_LOGIN].into()), Reason::FrameTooLarge),
    ] {
        let mut dialled = Dialled::dial(&broker).await;
        dialled.socket.send(message).await.unwrap();
        let Some(ToNodeLogin::GoAway(goaway)) = receive(&mut dialled.socket).await else {
            panic!("{reason}")
        };
        assert_eq!(goaway.reason, reason);
        assert!(goaway.again.is_some(), "a bug is not the end of a mesh");
    }
}
