//! Two members, one of whom may be up to something.

use waxwing_crypto::membership::{Body, InviteSeed, Join, Leave, NewEpoch, NewInvite, NewMember, Role};
use waxwing_crypto::space::{Operation, Seen, Stands, Statement};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{Digest, SealingKey, SigningKey};
use waxwing_protocol::link::{Record, What};

use super::*;
use crate::clock;

/// Another member of a node's mesh, who writes with his own hands.
struct Member {
    id: NodeId,
    key: SigningKey,
    keys: Arc<StateKeys>,
    sealing: space::Space,
    counter: u64,
    log_seq: u64,
}

/// Lets somebody join a node's mesh.
async fn join(node: &Node) -> Member {
    let mesh = &node.mesh;
    let mut rng = crate::rng();
    let keys = mesh.epochs.held();
    let (seed, key) = (InviteSeed::generate(&mut rng), SigningKey::generate(&mut rng));
    let sealing = seed.sealing_key().public().unwrap();
    let invite = NewInvite {
        key: seed.signing_key().public(),
        state_keys: keys.seal_to(&sealing, &mut rng).unwrap(),
        sealing,
        role: Role::Member,
        uses: 1,
        expires: clock::now().plus(Duration::from_secs(3_600)),
        name: None,
    };
    let sealing = SealingKey::generate(&mut rng).public().unwrap();
    let host = Digest::from_bytes([0; 32]);
    let member = NewMember { name: "beta".parse().unwrap(), signing: key.public(), sealing, host };
    let mut roster = mesh.roster(Clone::clone);
    let invites = mesh.sign_entry_on(&roster, &mesh.identity.signing, Body::Invite(invite));
    roster.apply(&invites).unwrap();
    let joins = Join { member, invite: seed.signing_key().public() };
    let joins = roster.entry(clock::now(), Body::Join(joins)).sign(&[&seed.signing_key(), &key]);
    mesh.grow(&[invites, joins], None).await.unwrap();
    let (id, log_seq) = (key.public().node_id(), mesh.roster(|roster| roster.head().seq));
    Member { id, key, keys, sealing: node.space.sealing.clone(), counter: 0, log_seq }
}

impl Member {
    /// What he would say.
    fn says(&mut self, name: &str, value: &str) -> Statement {
        self.counter += 1;
        Statement {
            operation: Operation::Put,
            stands: Stands::Shared,
            id: ChangeId::from_bytes([self.counter as u8; 16]),
            writer: self.id,
            when: Condition::Any,
            ttl: None,
            bound: None,
            version: 1,
            counter: self.counter,
            log_seq: self.log_seq,
            life: [1; 16], // That of the broker's first store.
            of: None,
            seen: None,
            at: clock::now(),
            name: key(name),
            app: None,
            value: Bytes::copy_from_slice(value.as_bytes()),
        }
    }

    /// Puts at the broker what he says, signed by a key.
    fn puts_signed(&self, broker: &Broker, statement: &Statement, key: &SigningKey) -> u64 {
        let (epoch, _) = self.keys.newest();
        let sealed = self.sealing.seal(statement, epoch, &self.keys, key, &mut crate::rng()).unwrap();
        broker.does(|space| {
            let record = Record {
                seq: space.last + 1,
                key: self.sealing.key(&statement.name),
                writer: statement.writer,
                stands: statement.stands,
                expires: None,
                bound: statement.bound,
                offered: false,
                sealed,
            };
            space.push(What::Record(record))
        })
    }

    fn puts(&self, broker: &Broker, statement: &Statement) -> u64 {
        self.puts_signed(broker, statement, &self.key)
    }
}

async fn linked() -> (Broker, Node, Member) {
    let (broker, mut node) = (Broker::new(), Node::new().await);
    let member = join(&node).await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    (broker, node, member)
}

#[tokio::test]
async fn what_another_member_writes_is_believed_for_what_he_is() {
    let (broker, node, mut member) = linked().await;
    let said = member.says("b", "2");
    let seq = member.puts(&broker, &said);
    node.complete(seq).await;
    let entries = node.space.under(&node.mesh, &key("b")).await.unwrap();
    assert_eq!((entries[0].writer, &entries[0].value[..]), (member.id, &b"2"[..]));
    assert!(node.alarms().await.is_empty());
}

#[tokio::test]
async fn a_member_cannot_write_in_anothers_name_nor_before_he_was_one_nor_ahead_of_the_log() {
    let (broker, node, mut member) = linked().await;
    let theirs = Statement { writer: node.mesh.identity.node, ..member.says("b", "in the founder's name") };
    member.puts(&broker, &theirs);
    let before = Statement { log_seq: 1, ..member.says("c", "before he was a member") };
    member.puts(&broker, &before);
    let stranger = member.says("d", "signed by somebody else");
    let seq = member.puts_signed(&broker, &stranger, &SigningKey::generate(&mut crate::rng()));
    node.complete(seq).await;
    node.applied(put("sign", "of life")).await;
    assert_eq!(node.has().await, [pair("a", "1"), pair("sign", "of life")]);
    assert!(node.alarms().await.iter().all(|alarm| alarm == "space_forged"));
}

#[tokio::test]
async fn a_member_who_gives_one_number_twice_is_believed_once() {
    let (broker, node, mut member) = linked().await;
    let first = member.says("b", "1");
    let again = Statement { name: key("c"), ..first.clone() };
    member.puts(&broker, &first);
    let seq = member.puts(&broker, &again);
    node.complete(seq).await;
    node.applied(put("sign", "of life")).await;
    assert_eq!(node.has().await, [pair("a", "1"), pair("b", "1"), pair("sign", "of life")]);
    assert_eq!(node.alarms().await, ["space_replay"]);
}

#[tokio::test]
async fn what_was_written_before_its_writer_left_stays_and_nothing_comes_after() {
    let (broker, node, mut member) = linked().await;
    let before = member.says("b", "kept");
    let seq = member.puts(&broker, &before);
    node.complete(seq).await;
    let leaves =
        node.mesh.roster(|roster| roster.entry(clock::now(), Body::Leave(Leave { node: member.id })));
    node.mesh.grow(&[leaves.sign(&[&member.key])], None).await.unwrap();
    let now = node.mesh.roster(|roster| roster.head().seq);
    let after = Statement { log_seq: now, ..member.says("c", "after") };
    let seq = member.puts(&broker, &after);
    node.complete(seq).await;
    node.applied(put("sign", "of life")).await;
    assert_eq!(node.has().await, [pair("a", "1"), pair("b", "kept"), pair("sign", "of life")]);
    assert_eq!(node.alarms().await, ["space_forged"]);
}

#[tokio::test]
async fn a_writer_who_was_shown_another_record_at_a_place_gives_the_fork_away() {
    let (broker, node, mut member) = linked().await;
    let mine = broker.space().records().next().unwrap().clone();
    let honest = Seen { seq: mine.seq, digest: space::digest(&mine.sealed) };
    let said = Statement { seen: Some(honest), ..member.says("b", "1") };
    let seq = member.puts(&broker, &said);
    node.complete(seq).await;
    let forked = Seen { digest: [9; 16], ..honest };
    let said = Statement { seen: Some(forked), ..member.says("b", "2") };
    member.puts(&broker, &said);
    node.applied(put("sign", "of life")).await;
    assert_eq!(node.alarms().await, ["space_fork"]);
}

#[tokio::test]
async fn after_a_new_epoch_nothing_is_sealed_under_the_key_of_the_one_before() {
    let (broker, node, member) = linked().await;
    let epoch = Body::Epoch(NewEpoch { n: 2, keys: Digest::from_bytes([2; 32]) });
    let begins =
        node.mesh.roster(|roster| node.mesh.sign_entry_on(roster, &node.mesh.identity.signing, epoch));
    node.mesh.grow(&[begins], None).await.unwrap();
    let refused = node.change(put("b", "2")).await.unwrap_err();
    assert!(refused.to_string().contains("the state key of epoch 2 is not here yet"), "{refused}");
    let newer = member.keys.next(2, &mut crate::rng()).unwrap();
    crate::epochs::tests::hold(&node.mesh, newer).await;
    node.applied(put("b", "2")).await;
    let sealed = broker.space().records().last().unwrap().clone();
    assert_eq!(space::epoch_of(&sealed.sealed), Ok(2));
    let Record { key, writer, stands, .. } = sealed;
    let frame = space::Frame { key, operation: Operation::Put, stands, writer };
    assert!(member.sealing.open(&sealed.sealed, &frame, &member.keys).is_err(), "who has only the old key");
    assert_eq!(
        node.has().await,
        [pair("a", "1"), pair("b", "2")],
        "what was sealed before is read as before"
    );
}
