use std::time::Duration;

use waxwing_crypto::membership::{Body, SignedEntry, Update};
use waxwing_crypto::{NodeId, SigningKey};
use waxwing_protocol::link::{
    Code, Delivery, GoAway, Hello, MemberHello, MeshNoticeKind, Progress, Reason, Send, ToBroker, ToNode,
};

use crate::harness::{Broker, Dialled, Keys, Link, Mesh, item, rng};

/// A state as its node would show it.
const fn at(login: u64, through: u64, rows: u64) -> Progress {
    Progress { login, through, rows }
}

impl Mesh {
    /// Logs in showing this.
    async fn show(&self, broker: &Broker, keys: &Keys, progress: Progress) -> Result<Link, GoAway> {
        let dialled = Dialled::dial(broker).await;
        let hello = MemberHello { progress, ..self.member_hello(broker, &dialled.challenge, keys) };
        dialled.login_with(Hello::Member(hello), &keys.signing, &self.log).await
    }

    /// An update of a node's signing key, as its owner signs it.
    fn update_entry(&self, keys: &Keys, new: &SigningKey) -> SignedEntry {
        let update = Update { node: keys.id(), signing: Some(new.public()), sealing: None, host: None };
        self.entry(Body::Update(update), &[&keys.signing, new])
    }
}

impl Link {
    fn login(&self) -> u64 {
        self.welcome.login.unwrap()
    }

    /// Says that the welcome is committed, and waits until the broker has written that.
    async fn confirm(&mut self, mesh: &Mesh) {
        self.settle(0, vec![]).await;
        // Refused by the task that writes, with or after what came before.
        self.append(&mesh.genesis).await.unwrap_err();
    }

    /// The member of which a copy has shown up.
    async fn duplicated(&mut self) -> NodeId {
        self.wait_for(|frame| match frame {
            ToNode::MeshNotice(notice) => match &notice.kind {
                MeshNoticeKind::NodeDuplicated { node } => Some(*node),
                MeshNoticeKind::ResumeWanted { .. } => None,
            },
            _ => None,
        })
        .await
    }
}

fn refused(login: Result<Link, GoAway>) -> Reason {
    let goaway = login.err().expect("the login is refused");
    assert_eq!(goaway.again, None, "{}: never", goaway.detail);
    goaway.reason
}

/// Has alpha log in, take one envelope, and send one: it has shown everything there is to show.
async fn used(broker: &Broker, mesh: &Mesh, alpha: &Keys, beta: &Keys) -> Progress {
    let mut link = mesh.show(broker, alpha, at(0, 0, 0)).await.unwrap();
    link.confirm(mesh).await;
    mesh.login(broker, beta).await.send_one(item(&broker.clock, alpha, 1)).await;
    let items = vec![Delivery::Envelope(link.envelope().await)];
    link.receipt(&items).await;
    link.send_one(item(&broker.clock, beta, 2)).await;
    at(link.login(), 1, 1)
}

#[tokio::test]
async fn a_state_that_is_behind_is_refused_and_one_that_is_not_is_not() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let now = used(&broker, &mesh, &alpha, &beta).await;
    for behind in [
        at(0, 0, 0),
        at(now.login - 1, 9, 9),
        at(now.login, 0, 1),
        at(now.login, 1, 0),
        at(now.login, 0, 9),
        at(now.login, 9, 0),
    ] {
        assert_eq!(refused(mesh.show(&broker, &alpha, behind).await), Reason::StaleState, "{behind:?}");
    }
    let again = mesh.show(&broker, &alpha, now).await.unwrap();
    assert!(again.login() > now.login);
}

#[tokio::test]
async fn lost_welcomes_and_lost_settles_refuse_nobody() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let before = used(&broker, &mesh, &alpha, &beta).await;
    // Welcomes that never arrive: the node shows what it showed before.
    for _ in 0..3 {
        mesh.show(&broker, &alpha, before).await.unwrap();
    }
    // A welcome that is committed, and whose confirmation never arrives.
    let committed = mesh.show(&broker, &alpha, before).await.unwrap().login();
    let link = mesh.show(&broker, &alpha, at(committed, 0, 1)).await.unwrap();
    assert!(link.login() > committed);
    // Deliveries settled and rows given of which the broker never hears.
    let link = mesh.show(&broker, &alpha, at(link.login(), 300, 70)).await.unwrap();
    mesh.show(&broker, &alpha, at(link.login(), 0, 70)).await.unwrap();
}

#[tokio::test]
async fn of_two_identical_copies_the_first_to_confirm_its_login_goes_on() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let shared = used(&broker, &mesh, &alpha, &beta).await;
    let mut first = mesh.show(&broker, &alpha, shared).await.unwrap();
    let mut second = mesh.show(&broker, &alpha, shared).await.unwrap();
    assert_eq!(first.goaway().await.reason, Reason::Replaced);
    second.confirm(&mesh).await;
    let mut bystander = mesh.login(&broker, &beta).await;
    let lost = at(first.login(), 0, 1);
    assert_eq!(
        refused(mesh.show(&broker, &alpha, lost).await),
        Reason::StaleState,
        "it has the lower number"
    );
    assert_eq!(refused(mesh.show(&broker, &alpha, shared).await), Reason::StaleState);
    assert_eq!(bystander.duplicated().await, alpha.id(), "its members hear of it");
    assert_eq!(second.duplicated().await, alpha.id(), "and so does the node itself");
    mesh.show(&broker, &alpha, at(second.login(), 0, 1)).await.unwrap();
}

#[tokio::test]
async fn what_a_replaced_link_shows_is_not_believed() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let shared = used(&broker, &mesh, &alpha, &beta).await;
    let mut first = mesh.show(&broker, &alpha, shared).await.unwrap();
    let second = mesh.show(&broker, &alpha, shared).await.unwrap();
    first.try_settle(0, vec![]).await;
    first.goaway().await;
    mesh.show(&broker, &alpha, shared).await.expect("nothing newer was confirmed by a current link");
    drop(second);
}

#[tokio::test]
async fn a_restarted_broker_remembers_and_a_new_store_takes_what_it_is_shown_first() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let now = used(&broker, &mesh, &alpha, &beta).await;
    let broker = broker.restart().await;
    assert_eq!(refused(mesh.show(&broker, &alpha, at(now.login, 0, 1)).await), Reason::StaleState);
    let broker = broker.lose_store().await;
    let link = mesh.show(&broker, &alpha, at(50, 3, 3)).await.unwrap();
    assert_eq!(link.login(), 51, "above what it was shown");
    assert_eq!(refused(mesh.show(&broker, &alpha, at(49, 3, 3)).await), Reason::StaleState);
    mesh.show(&broker, &alpha, at(51, 0, 3)).await.unwrap();
}

#[tokio::test]
async fn a_new_signing_key_begins_anew_and_the_old_one_is_superseded() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let now = used(&broker, &mesh, &alpha, &beta).await;
    let mut copy = mesh.show(&broker, &alpha, now).await.unwrap();
    let mut bystander = mesh.login(&broker, &beta).await;
    let new = SigningKey::generate(&mut rng());
    let update = mesh.update_entry(&alpha, &new);
    mesh.enter(&broker, &alpha.signing).await.append(&update).await.unwrap();
    mesh.learn(update);
    let goaway = copy.goaway().await;
    assert_eq!((goaway.reason, goaway.again), (Reason::Superseded, None));
    assert_eq!(refused(mesh.show(&broker, &alpha, at(99, 9, 9)).await), Reason::Superseded);
    assert_eq!(bystander.duplicated().await, alpha.id());
    let alpha = Keys { signing: new, ..alpha };
    let dialled = Dialled::dial(&broker).await;
    let hello = mesh.member_hello(&broker, &dialled.challenge, &alpha);
    let hello = MemberHello { node: copy_id(&mesh), progress: at(0, 0, 0), ..hello };
    dialled.login(Hello::Member(hello), &alpha.signing).await.expect("its progress is that of a new key");
}

/// The node called alpha, whatever its keys.
fn copy_id(mesh: &Mesh) -> NodeId {
    mesh.roster.members().find(|member| member.name.as_str() == "alpha").unwrap().id
}

#[tokio::test]
async fn a_key_that_is_given_up_may_read_the_log_and_change_nothing() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (first, second) = (SigningKey::generate(&mut rng()), SigningKey::generate(&mut rng()));
    let stolen = mesh.update_entry(&beta, &second);
    let mut link = mesh.enter(&broker, &alpha.signing).await;
    assert_eq!(link.append(&stolen).await.unwrap_err().code, Code::NotAllowed);
    let update = mesh.update_entry(&alpha, &first);
    link.append(&update).await.unwrap();
    mesh.learn(update);
    let late = mesh.update_entry(&alpha, &second);
    let mut link = mesh.enter(&broker, &alpha.signing).await;
    assert_eq!(
        link.log_get(0).await.entries.len() as u64,
        mesh.roster.head().seq,
        "it sees what has become of it"
    );
    assert_eq!(link.append(&late).await.unwrap_err().code, Code::NotAllowed);
    mesh.commit(&broker, mesh.revoke_entry(&beta)).await;
    assert_eq!(refused(mesh.try_enter(&broker, &beta.signing).await), Reason::Revoked);
}

#[tokio::test]
async fn numbers_beyond_all_measure_are_a_bug() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let most = Progress::MAX;
    for beyond in [at(most + 1, 0, 0), at(0, u64::MAX, 0), at(0, 0, most + 1)] {
        let goaway = mesh.show(&broker, &alpha, beyond).await.err().unwrap();
        assert_eq!(goaway.reason, Reason::ProtocolViolation);
    }
    let mut link = mesh.show(&broker, &alpha, at(most, most, most)).await.unwrap();
    assert_eq!(link.login(), most + 1);
    let items = vec![item(&broker.clock, &beta, 1)];
    let send = Send { req: 1, rows: most + 1, items };
    link.transmit(&ToBroker::Send(send)).await;
    assert_eq!(link.goaway().await.reason, Reason::ProtocolViolation);
}

#[tokio::test]
async fn a_clock_that_jumps_refuses_nobody() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut now = used(&broker, &mesh, &alpha, &beta).await;
    for days in [1, 400] {
        broker.clock.advance(Duration::from_secs(days * 24 * 60 * 60));
        let mut link = mesh.show(&broker, &alpha, now).await.unwrap();
        link.confirm(&mesh).await;
        now = at(link.login(), 0, 1);
    }
}
