use std::time::Duration;

use tokio::time::Instant;
use waxwing_crypto::Digest;
use waxwing_crypto::membership::{Body, Grant, NewEpoch, Revoke, Role, Target};
use waxwing_crypto::state_key::{Holder, KeyList, ProvenSlot};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, ErrorFrame, FoundKeys, KeysGet, KeysPut, ToBroker, ToNode};

use crate::admin::until;
use crate::harness::{Broker, Keys, Link, Mesh, PATIENCE, item};

impl Link {
    async fn put_part(
        &mut self,
        list: &KeyList,
        root: Digest,
        slots: Vec<ProvenSlot>,
    ) -> Result<(), ErrorFrame> {
        let req = self.next_req();
        let put = KeysPut { req, root, head: list.head().clone(), slots };
        self.transmit(&ToBroker::KeysPut(put)).await;
        self.wait_for(|frame| match frame {
            ToNode::Done(done) if done.req == req => Some(Ok(())),
            ToNode::Error(error) if error.req == Some(req) => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    /// Puts a whole list, so many slots at a time.
    async fn put(&mut self, list: &KeyList) -> Result<(), ErrorFrame> {
        let slots: Vec<_> = list.slots().collect();
        for part in slots.chunks(2) {
            self.put_part(list, list.root(), part.to_vec()).await?;
        }
        Ok(())
    }

    /// Puts a part, as often as it is told to come again.
    async fn put_patiently(&mut self, list: &KeyList, part: &[ProvenSlot]) -> Result<(), ErrorFrame> {
        loop {
            match self.put_part(list, list.root(), part.to_vec()).await {
                Err(error) if error.code == Code::RateLimited => {
                    tokio::time::sleep(Duration::from_millis(error.after.unwrap())).await;
                }
                done => return done,
            }
        }
    }

    async fn slot(&mut self, epoch: u64) -> Option<Box<FoundKeys>> {
        let req = self.next_req();
        self.transmit(&ToBroker::KeysGet(KeysGet { req, epoch })).await;
        self.wait_for(|frame| match frame {
            ToNode::Keys(keys) if keys.req == req => Some(keys.found.clone()),
            _ => None,
        })
        .await
    }
}

/// Waits until something holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whose slot it is, once it is proven to be in this list.
fn holder(found: Option<Box<FoundKeys>>, mesh: &Mesh, list: &KeyList) -> Option<Holder> {
    let found = found?;
    Some(found.slot.verify(mesh.id(), &found.head, &list.root()).unwrap().holder)
}

fn refused(answer: Result<(), ErrorFrame>) -> Code {
    answer.unwrap_err().code
}

/// Puts a list, and appends its epoch.
async fn begin_epoch(mesh: &mut Mesh, broker: &Broker) -> KeyList {
    let list = mesh.key_list(None);
    mesh.login(broker, &mesh.founder).await.put(&list).await.unwrap();
    mesh.commit(broker, mesh.epoch_entry(&list)).await;
    list
}

#[tokio::test]
async fn an_entry_is_taken_once_the_list_that_it_names_is_whole() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let list = mesh.key_list(None);
    let entry = mesh.epoch_entry(&list);
    assert_eq!(link.append(&entry).await.unwrap_err().code, Code::KeysWanted);
    let slots: Vec<_> = list.slots().collect();
    assert_eq!(slots.len(), 4, "three members and an invite");
    link.put_part(&list, list.root(), slots[1..].to_vec()).await.unwrap();
    link.put_part(&list, list.root(), slots[1..].to_vec()).await.unwrap();
    assert_eq!(link.append(&entry).await.unwrap_err().code, Code::KeysWanted);
    let mut member = mesh.login(&broker, &beta).await;
    assert_eq!(member.slot(2).await, None, "what no entry names is nobody's");
    link.put_part(&list, list.root(), slots[..1].to_vec()).await.unwrap();
    link.append(&entry).await.unwrap();
    mesh.learn(entry);
    assert_eq!(holder(member.slot(2).await, &mesh, &list), Some(Holder::Node(beta.id())));
    let broker = broker.restart().await;
    let mut member = mesh.login(&broker, &alpha).await;
    assert_eq!(holder(member.slot(2).await, &mesh, &list), Some(Holder::Node(alpha.id())));
    for other in [0, 1, 3, u64::MAX] {
        assert_eq!(member.slot(other).await, None, "{other}");
    }
}

#[tokio::test]
async fn a_revoke_needs_its_list_too_and_who_is_revoked_is_not_served() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let old = begin_epoch(&mut mesh, &broker).await;
    let target = Target::Node(alpha.id());
    let list = mesh.key_list(Some(&target));
    let epoch = Some(NewEpoch { n: 3, keys: list.root() });
    let revoke = Revoke { target, reason: "test".parse().unwrap(), epoch };
    let entry = mesh.entry(Body::Revoke(revoke), &[&mesh.founder.signing]);
    let mut gone = mesh.login(&broker, &alpha).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(link.append(&entry).await.unwrap_err().code, Code::KeysWanted);
    link.put(&list).await.unwrap();
    assert_eq!(gone.slot(3).await, None);
    assert_eq!(holder(gone.slot(2).await, &mesh, &old), Some(Holder::Node(alpha.id())));
    link.append(&entry).await.unwrap();
    mesh.learn(entry);
    gone.goaway().await;
    assert!(mesh.try_login(&broker, &alpha).await.is_err());
    let mut member = mesh.login(&broker, &beta).await;
    assert_eq!(holder(member.slot(3).await, &mesh, &list), Some(Holder::Node(beta.id())));
    assert_eq!(member.slot(2).await, None, "a list opens all keys before it");
}

#[tokio::test]
async fn a_newcomer_gets_the_slot_of_the_invite_it_joined_by() {
    let broker = Broker::start().await;
    let (mut mesh, ..) = Mesh::with_two(&broker).await;
    let list = begin_epoch(&mut mesh, &broker).await;
    let invite = Holder::Invite(mesh.invite.signing_key().public());
    for name in ["gamma", "delta"] {
        let newcomer = mesh.join(&broker, name).await;
        let mut link = mesh.login(&broker, &newcomer).await;
        assert_eq!(holder(link.slot(2).await, &mesh, &list), Some(invite), "{name}");
    }
    let list = begin_epoch(&mut mesh, &broker).await;
    let (gamma, founder) = (mesh.roster.by_name(&"gamma".parse().unwrap()).unwrap().id, &mesh.founder);
    assert!(list.slots().any(|proven| proven.slot.holder == Holder::Node(gamma)));
    let mut link = mesh.login(&broker, founder).await;
    assert_eq!(holder(link.slot(3).await, &mesh, &list), Some(Holder::Node(founder.id())));
}

#[tokio::test]
async fn an_entering_link_gets_no_keys_and_puts_none() {
    let broker = Broker::start().await;
    let (mut mesh, ..) = Mesh::with_two(&broker).await;
    begin_epoch(&mut mesh, &broker).await;
    let mut entering = mesh.enter(&broker, &mesh.invite.signing_key()).await;
    let list = mesh.key_list(None);
    assert_eq!(refused(entering.put(&list).await), Code::NotAllowed);
    entering.transmit(&ToBroker::KeysGet(KeysGet { req: 9, epoch: 2 })).await;
    let error = entering.error().await;
    assert_eq!((error.req, error.code), (Some(9), Code::NotAllowed));
}

#[tokio::test]
async fn only_an_admin_puts_keys_and_only_of_the_next_epoch() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, _) = Mesh::with_two(&broker).await;
    let list = mesh.key_list(None);
    let mut member = mesh.login(&broker, &alpha).await;
    assert_eq!(refused(member.put(&list).await), Code::NotAllowed);
    begin_epoch(&mut mesh, &broker).await;
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(refused(founder.put(&list).await), Code::LogConflict, "somebody else was faster");
    let grant = Grant { node: alpha.id(), role: Role::Admin };
    mesh.commit(&broker, mesh.entry(Body::Grant(grant), &[&mesh.founder.signing])).await;
    member.put(&mesh.key_list(None)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_proven_to_be_in_its_list_is_not_kept() {
    let broker = Broker::start().await;
    let (mesh, ..) = Mesh::with_two(&broker).await;
    let (list, other) = (mesh.key_list(None), mesh.key_list(None));
    let slots: Vec<_> = list.slots().collect();
    let mut link = mesh.login(&broker, &mesh.founder).await;
    assert_eq!(refused(link.put_part(&list, other.root(), slots.clone()).await), Code::NotAllowed);
    assert_eq!(refused(link.put_part(&other, other.root(), slots.clone()).await), Code::NotAllowed);
    let mut swapped = slots.clone();
    swapped[2].slot = slots[3].slot.clone();
    assert_eq!(refused(link.put_part(&list, list.root(), swapped).await), Code::NotAllowed);
    let moved = ProvenSlot { at: 3, ..slots[2].clone() };
    assert_eq!(refused(link.put_part(&list, list.root(), vec![moved]).await), Code::NotAllowed);
    // Nothing of these parts was kept, the good slots in them included.
    link.put_part(&list, list.root(), slots[1..].to_vec()).await.unwrap();
    assert_eq!(link.append(&mesh.epoch_entry(&list)).await.unwrap_err().code, Code::KeysWanted);
}

#[tokio::test]
async fn a_part_has_a_bounded_number_of_slots_and_a_list_no_more_than_there_were_holders() {
    let broker = Broker::start().await;
    let (mesh, ..) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let list = mesh.key_list(None);
    let slot = list.slots().next().unwrap();
    for count in [0, limits::KEY_SLOTS + 1] {
        let part = vec![slot.clone(); count];
        assert_eq!(refused(link.put_part(&list, list.root(), part).await), Code::BadFrame, "{count}");
    }
    let most = vec![slot; limits::KEY_SLOTS];
    link.put_part(&list, list.root(), most).await.unwrap();
    let long = mesh.key_list_for(mesh.roster.most_key_holders() as usize + 1);
    assert_eq!(refused(link.put(&long).await), Code::NotAllowed);
}

#[tokio::test]
async fn a_node_puts_one_list_at_a_time_and_a_mesh_has_few() {
    let broker = Broker::start().await;
    let (mut mesh, ..) = Mesh::with_two(&broker).await;
    let admins = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
    let mut links = Vec::new();
    for name in admins {
        let keys: Keys = mesh.join(&broker, name).await;
        let grant = Grant { node: keys.id(), role: Role::Admin };
        mesh.commit(&broker, mesh.entry(Body::Grant(grant), &[&mesh.founder.signing])).await;
        links.push(mesh.login(&broker, &keys).await);
    }
    for link in &mut links {
        link.put(&mesh.key_list(None)).await.unwrap();
    }
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    let list = mesh.key_list(None);
    let full = founder.put(&list).await.unwrap_err();
    assert_eq!((full.code, full.after), (Code::RateLimited, Some(1_000)));

    // What one gives up makes room.
    let again = mesh.key_list(None);
    eventually("the one who puts another list gives up the first", async || {
        links[0].put(&again).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn lists_that_no_entry_names_go_and_the_newest_stays() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, _) = Mesh::with_two(&broker).await;
    let newest = begin_epoch(&mut mesh, &broker).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let unnamed = mesh.key_list(None);
    link.put(&unnamed).await.unwrap();
    broker.clock.advance(Duration::from_secs(11 * 60));
    let broker = broker.restart().await; // Which looks through the store at once.
    // Asked before, the entry would be taken.
    let slots = unnamed.slots().count() as f64;
    until(&broker, "swept_total{reason=\"key_slots\"}", |swept| swept >= slots).await;
    let mut link = mesh.login(&broker, &mesh.founder).await;
    let entry = mesh.epoch_entry(&unnamed);
    assert_eq!(link.append(&entry).await.unwrap_err().code, Code::KeysWanted);
    let mut member = mesh.login(&broker, &alpha).await;
    assert_eq!(holder(member.slot(2).await, &mesh, &newest), Some(Holder::Node(alpha.id())));
}

/// Everybody of a large mesh gets a new key within bounded time: that of making the list is spent by the admin's node.
#[tokio::test]
async fn a_large_mesh_begins_an_epoch_and_mail_goes_on_beside_it() {
    const MEMBERS: usize = 1_000;
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    mesh.join_many(MEMBERS);
    let broker = broker.lose_store().await;
    let mut founder = mesh.login(&broker, &mesh.founder).await; // Which brings the whole log.
    let resume = mesh.resume_entry();
    founder.append(&resume).await.unwrap();
    mesh.learn(resume);

    let started = Instant::now();
    let list = mesh.key_list(None);
    let sealed = started.elapsed();
    let slots: Vec<_> = list.slots().collect();
    assert_eq!(slots.len(), MEMBERS + 4, "the founder, two more, and the invite");
    let (mut from, mut slowest) = (mesh.login(&broker, &alpha).await, Duration::ZERO);
    let started = Instant::now();
    for (n, part) in slots.chunks(limits::KEY_SLOTS).enumerate() {
        let mail = async {
            let sent = Instant::now();
            from.send_one(item(&broker.clock, &beta, n as u32)).await;
            sent.elapsed()
        };
        let (put, waited) = tokio::join!(founder.put_patiently(&list, part), mail);
        put.unwrap();
        slowest = slowest.max(waited);
    }
    let put = started.elapsed();
    founder.append(&mesh.epoch_entry(&list)).await.unwrap();
    let appended = started.elapsed() - put;
    println!(
        "{MEMBERS}: sealed in {sealed:.2?}, put in {put:.2?}, appended in {appended:.2?}, mail within {slowest:.2?}"
    );
    assert!(sealed + put < PATIENCE && appended < PATIENCE / 10);
    let mut member = mesh.login(&broker, &beta).await;
    assert_eq!(holder(member.slot(2).await, &mesh, &list), Some(Holder::Node(beta.id())));
}

#[tokio::test]
async fn a_mesh_that_waits_for_a_resume_takes_no_keys_and_then_a_new_epoch() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, _) = Mesh::with_two(&broker).await;
    begin_epoch(&mut mesh, &broker).await;
    let broker = broker.lose_store().await;
    let mut founder = mesh.login(&broker, &mesh.founder).await;
    let mut member = mesh.login(&broker, &alpha).await;
    assert_eq!(member.slot(2).await, None, "the list is lost with the store");
    assert_eq!(refused(founder.put(&mesh.key_list(None)).await), Code::ResumeWanted);
    let resume = mesh.resume_entry();
    founder.append(&resume).await.unwrap();
    mesh.learn(resume);
    assert!(mesh.roster.wants_epoch());
    let list = begin_epoch(&mut mesh, &broker).await;
    assert_eq!(holder(member.slot(3).await, &mesh, &list), Some(Holder::Node(alpha.id())));
}
