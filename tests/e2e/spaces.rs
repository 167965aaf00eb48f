//! A broker that lies about a space, and a member that wants what is another's: told, or harmless, and mail goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use waxwing_client::api::{EventBody, EventQuery, InviteRequest, LeaveReason, MeshQuery};
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, NodeId, SpaceId};
use waxwing_lab::hostile::{Member, broker};
use waxwing_lab::{Lab, eventually};
use waxwing_protocol::link::{Change, ChangeOutcome, Delete, Put, Record, ToNode, Touch};

use crate::commands::json;
use crate::forks::{hostile, told};
use crate::support::{PROGRAM, Pair, WITHIN};

/// Waits until alpha shows this of beta, who is online.
async fn shows(lab: &Lab, summary: &str) {
    let client = lab.client("alpha");
    let shows = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        let beta = peers.into_iter().find(|peer| peer.node.as_str() == "beta" && peer.online)?;
        (beta.profile?.summary.as_deref() == Some(summary)).then_some(())
    };
    eventually(WITHIN, &format!("alpha shows {summary}"), shows).await.unwrap();
}

async fn says(lab: &Lab, summary: &str) {
    json(lab, "beta", &["profile", "--summary", summary]).await;
}

/// The last record of presence that alpha has been shown of a node, and its space.
fn last_record(lab: &Lab, of: NodeId) -> (SpaceId, Record) {
    let shown = broker::shown_records(lab.proxy(), lab.id("alpha"));
    shown.into_iter().rfind(|(_, record)| record.writer == of).unwrap()
}

/// Two nodes that see each other, of which beta has said something, and how the broker has shown that.
async fn seen() -> (Pair, SpaceId, Record) {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    says(&pair.lab, "first").await;
    shows(&pair.lab, "first").await;
    let (space, record) = last_record(&pair.lab, pair.lab.id("beta"));
    (pair, space, record)
}

#[tokio::test]
async fn an_old_record_of_presence_in_the_place_of_a_new_one_is_told_and_not_shown() {
    let (mut pair, _, old) = seen().await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    says(&pair.lab, "second").await;
    shows(&pair.lab, "second").await;
    let replayed = broker::replay_record(pair.lab.proxy(), alpha, old);
    says(&pair.lab, "third").await;
    replayed.happened().await.unwrap();
    assert_eq!(told(&pair.lab, "alpha", "space_replay").await, Some(beta));
    shows(&pair.lab, "second").await;
    says(&pair.lab, "fourth").await;
    shows(&pair.lab, "fourth").await;
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_space_that_is_rolled_back_is_told_and_one_whose_changes_are_dropped_only_lags() {
    let (mut pair, ..) = seen().await;
    let alpha = pair.lab.id("alpha");
    let rolled_back = broker::roll_back_space(pair.lab.proxy(), alpha);
    says(&pair.lab, "second").await;
    rolled_back.happened().await.unwrap();
    told(&pair.lab, "alpha", "space_rollback").await;
    // It was a lie about one answer: the next is believed.
    shows(&pair.lab, "second").await;
    let dropped = broker::drop_changes(pair.lab.proxy(), alpha);
    says(&pair.lab, "third").await;
    dropped.happened().await.unwrap();
    says(&pair.lab, "fourth").await;
    shows(&pair.lab, "fourth").await;
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_member_cannot_take_touch_or_delete_anothers_presence_nor_pass_its_record_off_as_his() {
    let (mut pair, space, record) = seen().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let id = |n: u8| ChangeId::from_bytes([n; ChangeId::SIZE]);
    let Record { key, seq, sealed, .. } = record;
    let delete = |n: u8, own: bool, seq: Option<u64>| {
        let sealed = b"a tombstone".to_vec().into();
        Change::Delete(Delete { id: id(n), key, own, seq, when: Condition::Any, sealed })
    };
    let wanted = vec![
        delete(1, true, None),
        delete(2, false, None),
        delete(3, false, Some(seq)),
        Change::Touch(Touch { seqs: vec![seq], ttl: 1_000 }),
    ];
    let outcomes = mallory.change(space, wanted).await.unwrap();
    let refused =
        [ChangeOutcome::NotFound, ChangeOutcome::NotFound, ChangeOutcome::NotFound, ChangeOutcome::NotYours];
    assert_eq!(outcomes, refused);
    // Under the key that is beta's stands one of his own then, with beta's words: nobody believes it.
    let put = Put { id: id(4), key, own: true, when: Condition::Any, ttl: None, bound: Some(0), sealed };
    let outcomes = mallory.change(space, vec![Change::Put(put)]).await.unwrap();
    assert!(matches!(outcomes[..], [ChangeOutcome::Applied { .. }]), "{outcomes:?}");
    assert_eq!(told(&pair.lab, "alpha", "space_forged").await, Some(mallory.node()));
    shows(&pair.lab, "first").await;
    says(&pair.lab, "second").await;
    shows(&pair.lab, "second").await;
    pair.send(1).await;
    pair.conclude().await;
}

/// Nodes that come and go: as many as a test has time to let in.
const FLAPPING: usize = 200;
/// How often each is cut and back.
const CUTS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_nodes_that_flap_within_their_lease_join_once_and_none_leaves() {
    let lab = Lab::mesh_by(PROGRAM, "[limits]\nlease_seconds = 20\n", &["alpha"]).await.unwrap();
    let uses = Some(u32::try_from(FLAPPING).unwrap());
    let invite = InviteRequest { uses, ..InviteRequest::default() };
    let invite = lab.client("alpha").invite(&invite).await.unwrap();
    let mut flapping = JoinSet::new();
    for n in 0..FLAPPING {
        let mut member = Member::join(&lab.proxy().url(), &invite.token, &format!("flap-{n}")).await.unwrap();
        member.is_present().await.unwrap();
        flapping.spawn(flaps(member, n));
    }
    let mut members = Vec::new();
    while let Some(member) = tokio::time::timeout(WITHIN, flapping.join_next()).await.expect("they flap") {
        members.push(member.unwrap());
    }
    let client = lab.client("alpha");
    let all = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        (peers.iter().filter(|peer| peer.online).count() >= FLAPPING).then_some(())
    };
    eventually(WITHIN, "alpha sees all of them", all).await.unwrap();
    members[0].says_goodbye().await.unwrap();
    let kind = Some("peer_join,peer_leave".to_owned());
    let query = EventQuery { after: Some(0), kind, ..EventQuery::default() };
    let mut events = client.events(&query).await.unwrap();
    let mut joined = BTreeSet::new();
    loop {
        let event =
            tokio::time::timeout(WITHIN, events.next()).await.expect("a goodbye is told").unwrap().body;
        if let EventBody::PeerLeave { reason, .. } = event {
            assert_eq!(reason, Some(LeaveReason::Goodbye), "nobody else has left");
            break;
        }
        let EventBody::PeerJoin { node, .. } = event else { panic!("{event:?}") };
        assert!(joined.insert(node.to_string()), "{node} has joined twice");
    }
    assert_eq!(joined.len(), FLAPPING);
}

/// Is heard for some moments, cut, and back at once, again and again.
async fn flaps(mut member: Member, seed: usize) -> Member {
    for cut in 0..CUTS {
        let pause = Duration::from_millis((seed as u64 * 7_919 + u64::from(cut) * 104_729) % 1_500);
        let listens = async { while member.link.receive::<ToNode>().await.is_ok() {} };
        let _ = tokio::time::timeout(pause, listens).await;
        member.login().await.unwrap();
    }
    member
}
