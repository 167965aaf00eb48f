//! What comes back after a loss of the broker's store, whoever comes first.

use waxwing_protocol::link::{Record, What};

use super::*;

/// Two members, of whom the first knows what the other does not any more: `a` is `new`, and `b` is deleted.
async fn one_was_away() -> (Broker, [Node; 2]) {
    let broker = Broker::new();
    let [mut knows, mut was_away] = <[Node; 2]>::try_from(Node::members(2).await).map_err(drop).unwrap();
    knows.link(&broker);
    was_away.link(&broker);
    was_away.applied(put("a", "old")).await;
    let last = knows.applied(put("b", "old")).await;
    was_away.complete(last).await;
    knows.complete(last).await;
    was_away.unlink().await;
    knows.applied(put("a", "newer")).await;
    knows.applied(put("a", "new")).await;
    knows.applied(delete("b", None)).await;
    knows.unlink().await;
    (broker, [knows, was_away])
}

/// What everybody has once both have come back, and a newcomer.
async fn stands(broker: &Broker, nodes: &[Node]) -> Vec<Vec<(String, String)>> {
    let mut has = Vec::new();
    for node in nodes {
        // Completeness is said when everything has been handed back.
        let last = broker.space().last;
        node.complete(last).await;
        assert!(node.alarms().await.is_empty(), "{:?}", node.alarms().await);
        has.push(node.has().await);
    }
    has
}

#[tokio::test]
async fn what_was_replaced_or_deleted_does_not_rise_because_somebody_was_away_and_comes_first() {
    let (broker, [mut knows, mut was_away]) = one_was_away().await;
    broker.loses_all();
    was_away.link(&broker);
    let last = broker.space().last;
    was_away.complete(last + 2).await;
    assert_eq!(was_away.has().await, [pair("a", "old"), pair("b", "old")], "it knows no better");
    knows.link(&broker);
    knows.complete(last + 4).await;
    let has = stands(&broker, &[knows, was_away]).await;
    assert!(has.iter().all(|has| *has == [pair("a", "new")]), "{has:?}");
    assert_eq!(broker.space().records().count(), 1);
}

#[tokio::test]
async fn what_was_replaced_or_deleted_does_not_rise_because_somebody_was_away_and_comes_last() {
    let (broker, [mut knows, mut was_away]) = one_was_away().await;
    broker.loses_all();
    knows.link(&broker);
    let last = broker.space().last;
    knows.complete(last + 2).await;
    was_away.link(&broker);
    was_away.complete(last + 2).await;
    let has = stands(&broker, &[knows, was_away]).await;
    assert!(has.iter().all(|has| *has == [pair("a", "new")]), "{has:?}");
    assert_eq!(broker.space().last, last + 2, "there was nothing to be handed back any more");
}

#[tokio::test]
async fn a_store_that_was_set_back_is_brought_up_to_what_its_members_had_and_nobody_is_accused() {
    let (broker, [mut knows, mut was_away]) = one_was_away().await;
    let copy = broker.space().changes.clone();
    knows.link(&broker);
    for value in ["3", "4"] {
        knows.applied(put("a", value)).await;
    }
    knows.applied(append("list", "x")).await;
    knows.unlink().await;
    broker.is_set_back(copy);
    was_away.link(&broker);
    let last = broker.space().last;
    was_away.complete(last).await;
    assert_eq!(was_away.has().await, [pair("a", "new")]);
    knows.link(&broker);
    knows.complete(last + 2).await;
    let has = stands(&broker, &[knows, was_away]).await;
    assert!(has.iter().all(|has| *has == [pair("list", "x"), pair("a", "4")]), "{has:?}");
}

#[tokio::test]
async fn what_was_written_since_a_loss_stays_whatever_is_handed_back() {
    let (broker, [mut knows, mut was_away]) = one_was_away().await;
    broker.loses_all();
    // All that it knows is older, but this is written now.
    was_away.link(&broker);
    was_away.applied(put("a", "now")).await;
    was_away.applied(put("b", "now")).await;
    knows.link(&broker);
    let has = stands(&broker, &[knows, was_away]).await;
    for has in has {
        let mut has = has;
        has.sort();
        assert_eq!(has, [pair("a", "now"), pair("b", "now")]);
    }
}

/// A node that has come through a loss, and a record of before that it was handed back.
async fn through_a_loss() -> (Broker, Node, Record) {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    let old = broker.space().records().next().unwrap().clone();
    node.applied(put("a", "2")).await;
    node.unlink().await;
    broker.loses_all();
    node.link(&broker);
    let last = broker.space().last;
    node.complete(last + 1).await;
    (broker, node, old)
}

async fn shows(broker: &Broker, node: &Node, record: Record) -> Vec<String> {
    let seq = broker.does(|space| {
        let seq = space.last + 1;
        space.push(What::Record(Record { seq, ..record }))
    });
    node.complete(seq).await;
    node.applied(put("sign", "of life")).await;
    node.alarms().await
}

#[tokio::test]
async fn what_was_written_before_a_loss_is_not_shown_as_written_since() {
    let (broker, node, old) = through_a_loss().await;
    assert_eq!(shows(&broker, &node, old).await, ["space_replay"]);
    assert_eq!(node.has().await, [pair("a", "2"), pair("sign", "of life")]);
}

#[tokio::test]
async fn what_was_written_since_a_loss_is_not_shown_as_handed_back() {
    let (broker, node, _) = through_a_loss().await;
    node.applied(put("b", "1")).await;
    let new = broker.space().records().last().unwrap().clone();
    node.applied(delete("b", None)).await;
    assert_eq!(shows(&broker, &node, Record { offered: true, ..new }).await, ["space_replay"]);
    assert_eq!(node.has().await, [pair("a", "2"), pair("sign", "of life")]);
}

/// Also to who knows nothing of before the loss.
#[tokio::test]
async fn nothing_handed_back_takes_the_place_of_what_was_written_since_nor_what_was_bound_to_a_lease_any() {
    let broker = Broker::new();
    let [mut one, mut newcomer] = <[Node; 2]>::try_from(Node::members(2).await).map_err(drop).unwrap();
    one.link(&broker);
    for value in ["1", "2", "3"] {
        one.applied(put("a", value)).await;
    }
    let old = broker.space().records().next().unwrap().clone();
    let value = Bytes::from_static(b"here");
    let bound = DraftChange::Put {
        key: key("me"),
        own: true,
        when: Condition::Any,
        ttl: None,
        bound: Some(0),
        value,
    };
    one.applied(bound).await;
    let bound = broker.space().records().last().unwrap().clone();
    one.unlink().await;
    broker.loses_all();
    newcomer.link(&broker);
    newcomer.applied(put("a", "4")).await;
    for record in [old, bound] {
        assert_eq!(
            shows(&broker, &newcomer, Record { offered: true, ..record }).await.last().unwrap(),
            "space_replay"
        );
    }
    assert_eq!(newcomer.alarms().await.len(), 2);
    assert_eq!(newcomer.has().await, [pair("a", "4"), pair("sign", "of life")]);
}
