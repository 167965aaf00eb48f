use std::time::Duration;

use waxwing_broker::Founding;
use waxwing_crypto::CreationToken;
use waxwing_crypto::mark::MeshPass;
use waxwing_crypto::membership::{Body, SignedEntry};
use waxwing_protocol::link::{
    Code, Hello, LogUpload, Mark, MeshNoticeKind, Outcome, Reason, ToBrokerLogin, ToNode, ToNodeLogin,
};
use waxwing_protocol::{RunId, StoreId, limits};

use crate::harness::{Broker, Dialled, Link, Mesh, envelopes, item, receive, transmit};

impl Link {
    /// The ends of the logs between which an admin has to choose.
    async fn branches(&mut self) -> Vec<u64> {
        self.wait_for(|frame| match frame {
            ToNode::MeshNotice(notice) => {
                let MeshNoticeKind::ResumeWanted { branches } = &notice.kind else { return None };
                Some(branches.iter().map(|head| head.seq).collect())
            }
            _ => None,
        })
        .await
    }

    async fn refusal(&mut self, entry: &SignedEntry) -> Code {
        self.append(entry).await.unwrap_err().code
    }

    /// The newest mark.
    async fn mark(&mut self) -> Mark {
        self.log_get(0).await.mark.unwrap()
    }
}

#[tokio::test]
async fn after_the_loss_of_the_store_members_bring_the_log_back_and_mail_goes_on() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let before = Dialled::dial(&broker).await.challenge.store;
    let broker = broker.lose_store().await;
    assert_ne!(Dialled::dial(&broker).await.challenge.store, before);
    let mut from = mesh.login(&broker, &alpha).await;
    assert_eq!((from.welcome.head, from.welcome.waits), (Some(mesh.roster.head()), true));
    let mut to = mesh.login(&broker, &beta).await;
    assert_eq!(to.branches().await, [mesh.log.len() as u64]);
    assert!(matches!(from.send_one(item(&broker.clock, &beta, 1)).await, Outcome::Accepted { .. }));
    assert_eq!(to.envelope().await.id, item(&broker.clock, &beta, 1).id);

    // Nobody comes in meanwhile.
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(founder.refusal(&mesh.invite_entry(1, Duration::from_secs(60))).await, Code::ResumeWanted);
    let gamma = crate::harness::Keys::new("gamma");
    let mut entering = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    assert!(entering.welcome.waits);
    assert_eq!(entering.refusal(&mesh.join_entry(&gamma)).await, Code::ResumeWanted);

    let not_admin = mesh.entry(
        Body::Resume(waxwing_crypto::membership::Resume { head: mesh.roster.head() }),
        &[&alpha.signing],
    );
    assert_eq!(from.refusal(&not_admin).await, Code::NotAllowed);
    let resume = mesh.resume_entry();
    founder.append(&resume).await.unwrap();
    mesh.learn(resume);
    mesh.join(&broker, "gamma").await;
    let broker = broker.restart().await;
    let link = mesh.login(&broker, &alpha).await;
    assert_eq!((link.welcome.head, link.welcome.waits), (Some(mesh.roster.head()), false));
}

#[tokio::test]
async fn marks_rise_with_every_commit_and_name_the_run() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let store = Dialled::dial(&broker).await.challenge.store;
    let mut last = link.mark().await;
    for n in 0..3 {
        let req = link.post(vec![item(&broker.clock, &beta, n)]).await;
        let sent = link.next_sent().await;
        assert_eq!((sent.req, sent.mark.store, sent.mark.run), (req, store, last.run));
        assert!(sent.mark.m > last.m);
        last = sent.mark;
    }
    let broker = broker.restart().await;
    let mark = mesh.login(&broker, &alpha).await.mark().await;
    assert_eq!(mark.store, store);
    assert_ne!(mark.run, last.run);
    assert!(mark.m >= last.m);
}

#[tokio::test]
async fn a_store_that_is_set_back_is_found_out_by_a_mark() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (broker, copy) = broker.copied().await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.send_one(item(&broker.clock, &beta, 1)).await;
    let mark = link.mark().await;
    let broker = broker.set_back(&copy).await;
    let store = Dialled::dial(&broker).await.challenge.store;
    assert_eq!(store, mark.store, "it does not know it");
    let mut other = mesh.login(&broker, &beta).await;
    let told = mesh.try_login_showing(&broker, &alpha, Some(mark)).await.err().unwrap();
    assert_eq!((told.reason, told.again.is_some()), (Reason::Restarting, true));
    assert_eq!(other.goaway().await.reason, Reason::Restarting, "every link ends");
    let now = Dialled::dial(&broker).await.challenge.store;
    assert_ne!(now, store);
    // Once is enough, and it lasts.
    let broker = broker.restart().await;
    assert_eq!(Dialled::dial(&broker).await.challenge.store, now);
    let mut link = mesh.try_login_showing(&broker, &alpha, Some(mark)).await.unwrap();
    assert!(link.welcome.waits, "what has been lost of the log, nobody knows");
    assert!(matches!(link.send_one(item(&broker.clock, &beta, 1)).await, Outcome::Accepted { .. }));
}

#[tokio::test]
async fn an_honest_restart_and_a_made_up_mark_prove_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut mark = mesh.login(&broker, &alpha).await.mark().await;
    let mut broker = broker;
    for _ in 0..3 {
        broker = broker.restart().await;
        let mut link = mesh.try_login_showing(&broker, &alpha, Some(mark)).await.unwrap();
        assert!(!link.welcome.waits);
        mark = link.mark().await;
    }
    let store = mark.store;
    for forged in [
        Mark { m: mark.m + 1_000, ..mark },
        Mark { run: RunId::from_bytes([9; 16]), ..mark },
        Mark { store: StoreId::from_bytes([9; 16]), ..mark },
        Mark { code: [0; 32], m: u64::MAX, ..mark },
    ] {
        mesh.try_login_showing(&broker, &alpha, Some(forged)).await.unwrap();
    }
    assert_eq!(Dialled::dial(&broker).await.challenge.store, store);
}

#[tokio::test]
async fn what_a_set_back_log_has_lost_is_brought_back() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, _) = Mesh::with_two(&broker).await;
    let (broker, copy) = broker.copied().await;
    let gamma = mesh.join(&broker, "gamma").await;
    let mark = mesh.login(&broker, &gamma).await.mark().await;
    let broker = broker.set_back(&copy).await;
    mesh.try_login_showing(&broker, &gamma, Some(mark)).await.err().unwrap();
    let link = mesh.login(&broker, &gamma).await;
    assert_eq!(link.welcome.head, Some(mesh.roster.head()), "who has the longer log uploads what is missing");
    let known = mesh.log.len() as u64;
    assert_eq!(mesh.login(&broker, &alpha).await.log_get(0).await.entries.len() as u64, known);
}

/// A broker that was set back and has taken another entry since; what it held before; and what it holds now.
async fn forked() -> (Broker, Mesh, Mesh, crate::harness::Keys, crate::harness::Keys) {
    let broker = Broker::start().await;
    let (mut before, alpha, beta) = Mesh::with_two(&broker).await;
    let (broker, copy) = broker.copied().await;
    let mut since = before.snapshot();
    let revoked = before.revoke_entry(&beta);
    before.commit(&broker, revoked).await;
    let mark = before.login(&broker, &alpha).await.mark().await;
    let broker = broker.set_back(&copy).await;
    let invite = since.entry(
        Body::Grant(waxwing_crypto::membership::Grant {
            node: beta.id(),
            role: waxwing_crypto::membership::Role::Admin,
        }),
        &[&since.founder.signing],
    );
    since.commit(&broker, invite).await;
    before.try_login_showing(&broker, &alpha, Some(mark)).await.err().unwrap();
    (broker, before, since, alpha, beta)
}

#[tokio::test]
async fn between_two_logs_an_admin_chooses_and_the_other_is_dropped() {
    let (broker, mut before, since, alpha, _) = forked().await;
    let mut other = since.login(&broker, &since.founder).await;
    assert_eq!(other.branches().await, [since.roster.head().seq]);
    let link = before.login(&broker, &alpha).await;
    assert_eq!(link.welcome.head, Some(since.roster.head()), "its own is kept as a branch");
    assert_eq!(other.branches().await, [since.roster.head().seq, before.roster.head().seq]);
    drop(link);

    let broker = broker.restart().await;
    let mut founder = before.login(&broker, &before.founder).await;
    assert_eq!(founder.branches().await.len(), 2, "branches last");
    let resume = before.resume_entry();
    founder.append(&resume).await.unwrap();
    before.learn(resume);
    assert_eq!(founder.goaway().await.reason, Reason::Restarting, "it was told of another log");
    let broker = broker.restart().await;
    let mut link = before.login(&broker, &alpha).await;
    assert_eq!((link.welcome.head, link.welcome.waits), (Some(before.roster.head()), false));
    assert_eq!(link.log_get(0).await.entries, before.log);
}

#[tokio::test]
async fn a_right_is_one_held_in_every_branch() {
    let (broker, before, since, alpha, beta) = forked().await;
    let mut served = since.login(&broker, &beta).await;
    served.round_trip().await;
    before.login(&broker, &alpha).await.round_trip().await;
    let told = served.goaway().await;
    assert_eq!((told.reason, told.again.is_some()), (Reason::Busy, true), "it is revoked in one");
    let told = since.try_login(&broker, &beta).await.err().unwrap();
    assert_eq!((told.reason, told.again.is_some()), (Reason::Busy, true), "until an admin decides");
    // An admin of one branch alone resumes nothing; neither does what is no resume.
    let mut founder = before.login(&broker, &before.founder).await;
    let by_beta = since.entry(
        Body::Resume(waxwing_crypto::membership::Resume { head: since.roster.head() }),
        &[&beta.signing],
    );
    assert_eq!(founder.refusal(&by_beta).await, Code::NotAllowed);
    assert_eq!(founder.refusal(&before.leave_entry(&alpha)).await, Code::ResumeWanted);
    let mut stale = before.snapshot();
    stale.log.pop();
    stale.roster = waxwing_crypto::membership::Roster::replay(&stale.log).unwrap();
    assert_eq!(founder.refusal(&stale.resume_entry()).await, Code::LogConflict);
}

#[tokio::test]
async fn what_is_no_log_of_the_mesh_is_refused() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let other = Mesh::new(&broker.clock);
    let broker = broker.lose_store().await;
    let log = &mesh.log;
    let part = |after, entries: &[SignedEntry], last| LogUpload {
        after,
        entries: entries.to_vec(),
        last,
        pass: None,
    };
    let mut forged = log.clone();
    forged[1].signatures = forged[2].signatures.clone();
    for (what, parts) in [
        ("another mesh's", vec![part(0, &other.log, true)]),
        ("no genesis", vec![part(0, &log[1..], true)]),
        ("a gap", vec![part(0, &[log[0].clone(), log[2].clone()], true)]),
        ("a forged entry", vec![part(0, &forged, true)]),
        ("nothing", vec![part(0, &[], true)]),
        ("a place the broker has not", vec![part(1, &log[1..], true)]),
        ("parts that do not follow", vec![part(0, &log[..1], false), part(2, &log[1..], true)]),
        ("an empty part", vec![part(0, &[], false)]),
    ] {
        let mut dialled = Dialled::dial(&broker).await;
        let hello = Hello::Member(mesh.member_hello(&broker, &dialled.challenge, &alpha));
        let hello = ToBrokerLogin::Hello(hello.sign(&alpha.signing).unwrap());
        transmit(&mut dialled.socket, &hello).await;
        let wanted = receive(&mut dialled.socket).await.unwrap();
        let ToNodeLogin::LogWanted(wanted) = wanted else { panic!("{what}: {wanted:?}") };
        assert_eq!((wanted.have, wanted.most), (None, limits::LOG as u64));
        for part in parts {
            transmit(&mut dialled.socket, &ToBrokerLogin::LogUpload(part)).await;
        }
        let told = receive(&mut dialled.socket).await.unwrap();
        assert!(
            matches!(&told, ToNodeLogin::GoAway(told) if told.reason == Reason::ProtocolViolation),
            "{what}: {told:?}"
        );
    }
    mesh.login(&broker, &alpha).await.round_trip().await;
}

#[tokio::test]
async fn one_node_at_a_time_brings_a_log_back() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let broker = broker.lose_store().await;
    let mut first = Dialled::dial(&broker).await;
    let hello = Hello::Member(mesh.member_hello(&broker, &first.challenge, &alpha));
    transmit(&mut first.socket, &ToBrokerLogin::Hello(hello.sign(&alpha.signing).unwrap())).await;
    let wanted = receive(&mut first.socket).await.unwrap();
    assert!(matches!(wanted, ToNodeLogin::LogWanted(_)));
    let told = mesh.try_login(&broker, &beta).await.err().unwrap();
    assert_eq!((told.reason, told.again.is_some()), (Reason::Busy, true));
    let upload = LogUpload { after: 0, entries: mesh.log.clone(), last: true, pass: None };
    transmit(&mut first.socket, &ToBrokerLogin::LogUpload(upload)).await;
    assert!(matches!(receive(&mut first.socket).await.unwrap(), ToNodeLogin::Welcome(_)));
    mesh.login(&broker, &beta).await.round_trip().await;
}

#[tokio::test]
async fn what_was_queued_in_the_copy_is_delivered_once_and_what_is_sent_again_is_known() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let items: Vec<_> = (0..20).map(|n| item(&broker.clock, &beta, n)).collect();
    link.send(items[..10].to_vec()).await;
    let (broker, copy) = broker.copied().await;
    let mut link = mesh.login(&broker, &alpha).await;
    link.send(items[10..].to_vec()).await;
    let mark = link.mark().await;
    let broker = broker.set_back(&copy).await;
    mesh.try_login_showing(&broker, &alpha, Some(mark)).await.err().unwrap();
    let outcomes = mesh.login(&broker, &alpha).await.send(items.clone()).await;
    assert!(outcomes[..10].iter().all(|outcome| matches!(outcome, Outcome::Duplicate { .. })));
    assert!(outcomes[10..].iter().all(|outcome| matches!(outcome, Outcome::Accepted { .. })));
    let got = mesh.login(&broker, &beta).await.until_tail().await;
    let ids: Vec<_> = envelopes(&got).iter().map(|envelope| envelope.id).collect();
    assert_eq!(ids, items.iter().map(|item| item.id).collect::<Vec<_>>());
}

/// Asks to log in, and brings the log with this pass.
async fn bring(broker: &Broker, mesh: &Mesh, pass: Option<MeshPass>) -> ToNodeLogin {
    let mut dialled = Dialled::dial(broker).await;
    let hello = Hello::Member(mesh.member_hello(broker, &dialled.challenge, &mesh.founder));
    let hello = hello.sign(&mesh.founder.signing).unwrap();
    transmit(&mut dialled.socket, &ToBrokerLogin::Hello(hello)).await;
    let wanted = receive(&mut dialled.socket).await.unwrap();
    assert!(matches!(wanted, ToNodeLogin::LogWanted(_)));
    let upload = LogUpload { after: 0, entries: mesh.log.clone(), last: true, pass };
    transmit(&mut dialled.socket, &ToBrokerLogin::LogUpload(upload)).await;
    receive(&mut dialled.socket).await.unwrap()
}

#[tokio::test]
async fn a_closed_broker_takes_only_a_mesh_back_that_can_show_it_was_there() {
    let broker = Broker::with(|config| config.founding = Some(Founding::Closed)).await;
    broker.ready().await;
    let token = std::fs::read_to_string(broker.path().join("creation.token")).unwrap();
    let token: CreationToken = token.parse().unwrap();
    let (mesh, stranger) = (Mesh::new(&broker.clock), Mesh::new(&broker.clock));
    let prove = |nonce: &[u8; 32]| Some(token.prove(nonce, mesh.id()));
    let mut founding = mesh.try_enter_with(&broker, &mesh.founder.signing, prove).await.unwrap();
    founding.append(&mesh.genesis).await.unwrap();
    let pass = mesh.login(&broker, &mesh.founder).await.welcome.pass.unwrap();

    let broker = broker.lose_store().await;
    for (who, shown) in [(&stranger, None), (&stranger, Some(pass.clone())), (&mesh, None)] {
        let ToNodeLogin::GoAway(goaway) = bring(&broker, who, shown).await else { panic!("it is taken") };
        assert_eq!(goaway.reason, Reason::Unauthenticated);
        assert!(goaway.again.is_some() && goaway.detail.contains("pass.key"), "{}", goaway.detail);
    }
    assert!(matches!(bring(&broker, &mesh, Some(pass)).await, ToNodeLogin::Welcome(_)));
}
