//! A broker that lies about a space, and a member that wants what is another's: told, or harmless, and mail goes on.

use waxwing_client::api::MeshQuery;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, NodeId, SpaceId};
use waxwing_lab::hostile::broker;
use waxwing_lab::{Lab, eventually};
use waxwing_protocol::link::{Change, ChangeOutcome, Delete, Put, Record, Touch};

use crate::commands::json;
use crate::forks::{hostile, told};
use crate::metrics;
use crate::support::{Pair, WITHIN};

/// Waits until alpha shows this of beta, who is online.
pub(crate) async fn shows(lab: &Lab, summary: &str) {
    let client = lab.client("alpha");
    let shows = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        let beta = peers.into_iter().find(|peer| peer.node.as_str() == "beta" && peer.online)?;
        (beta.profile?.summary.as_deref() == Some(summary)).then_some(())
    };
    eventually(WITHIN, &format!("alpha shows {summary}"), shows).await.unwrap();
}

/// Lets beta say this.
pub(crate) async fn says(lab: &Lab, summary: &str) {
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

/// Waits until a node shows mallory with this version.
async fn sees_version(lab: &Lab, at: &str, version: char) {
    let client = lab.client(at);
    let sees = async || {
        let peers = client.peers(&MeshQuery::default()).await.ok()?.peers;
        let mallory = peers.into_iter().find(|peer| peer.node.as_str() == "mallory")?;
        (mallory.version? == version.to_string()).then_some(())
    };
    eventually(WITHIN, &format!("{at} sees version {version}"), sees).await.unwrap();
}

#[tokio::test]
async fn nodes_that_are_shown_different_records_at_one_place_find_out_by_what_either_writes_next() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    // A member in league with the broker signs two records under one number: no signature gives that away.
    for (counter, misled, other) in [(1, "alpha", "beta"), (2, "beta", "alpha")] {
        let versions = if counter == 1 { ['1', '2'] } else { ['3', '4'] };
        let [one, another] = versions.map(|version| mallory.presence(counter, version).unwrap());
        let shown =
            broker::show_other(pair.lab.proxy(), pair.lab.id(misled), another.1.key, another.1.sealed);
        let outcomes = mallory.change(one.0, vec![Change::Put(one.1)]).await.unwrap();
        assert!(matches!(outcomes[..], [ChangeOutcome::Applied { .. }]), "{outcomes:?}");
        shown.happened().await.unwrap();
        sees_version(&pair.lab, other, versions[0]).await;
        sees_version(&pair.lab, misled, versions[1]).await;
        json(&pair.lab, misled, &["profile", "--summary", "what I have seen"]).await;
        assert_eq!(told(&pair.lab, other, "space_fork").await, Some(pair.lab.id(misled)));
        metrics::shows(&pair.lab, other, "security_events_total", "what=\"space_fork\"", 1.0).await;
    }
    pair.send(1).await;
    pair.conclude().await;
}
